"""What the environment asks for."""

from __future__ import annotations

import os

import pytest

from dmdcli.doctor import surroundings
from tests.doctor.machines import one


def test_an_ordinary_environment() -> None:
    assert [finding.status for finding in surroundings.judge({"DMD_OFFLINE": "0", "HOME": "/root"}, "utf-8")] == ["ok"]


def test_an_environment_with_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    environment = {
        "DMD_OFFLINE": "yes",
        "https_proxy": "http://me:se@cret@proxy.example:3128/",
        "REQUESTS_CA_BUNDLE": "/nowhere/ca.pem",
        "SSL_CERT_FILE": "/nowhere/ca.pem",
        "PYTHONPATH": "/some/where",
        "SUDO_USER": "alice",
    }
    found = list(surroundings.judge(environment, "ANSI_X3.4-1968"))
    assert {finding.subject: (finding.status, finding.cure) for finding in found} == {
        "DMD_OFFLINE": ("note", "unset DMD_OFFLINE"),
        "https_proxy": ("note", None),
        "REQUESTS_CA_BUNDLE": ("warning", "unset REQUESTS_CA_BUNDLE"),
        "SSL_CERT_FILE": ("warning", "unset SSL_CERT_FILE"),
        "output": ("note", "export PYTHONIOENCODING=utf-8"),
        "PYTHONPATH": ("note", "unset PYTHONPATH"),
        "user": ("note", "sudo -u alice dmd doctor"),
    }
    assert "proxy.example:3128" in one(found, "https_proxy").text
    assert "cret" not in one(found, "https_proxy").text
