"""What the environment asks for that changes how dmd behaves: offline, proxies, certificates, text, root."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from dmdcli.doctor.finding import Finding

YES, NO = ("1", "true", "t", "yes", "y", "on"), ("0", "false", "f", "no", "n", "off")
"""What DMD_OFFLINE is when it is set, and when it is not; anything else is refused before any command."""
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name files or folders of certificates to trust."""


def judge(environment: Mapping[str, str], encoding: str | None) -> Iterator[Finding]:
    """Judge the environment. encoding: that of stdout; None where there is none."""
    findings = [
        *judge_offline(environment.get("DMD_OFFLINE", "")),
        *judge_proxies(environment),
        *judge_text(encoding),
        *judge_user(environment),
    ]
    if environment.get("PYTHONPATH"):
        text = f"{environment['PYTHONPATH']}: modules there come before installed packages of the same name"
        findings.append(Finding("surroundings", "PYTHONPATH", "note", text, "unset PYTHONPATH"))
    yield from findings or [Finding("surroundings", "environment", "ok", "asks for nothing out of the ordinary")]


def judge_offline(offline: str) -> Iterator[Finding]:
    """Judge DMD_OFFLINE."""
    if offline.lower() in YES:
        text = "set: dmd connects to nothing, `dmd models fetch` included"
        yield Finding("surroundings", "DMD_OFFLINE", "note", text, "unset DMD_OFFLINE")


def judge_proxies(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Judge what `dmd models fetch` would connect through; passwords in it are not repeated."""
    for name in (*PROXIES, *(name.upper() for name in PROXIES)):
        if environment.get(name):
            text = f"`dmd models fetch` connects through {without_password(environment[name])}"
            yield Finding("surroundings", name, "note", text)
    for name in CERTIFICATES:
        if (path := environment.get(name)) and not Path(path).exists():
            text = f"{path} is not there: `dmd models fetch` cannot check whom it talks to"
            yield Finding("surroundings", name, "warning", text, f"unset {name}")


def without_password(address: str) -> str:
    """The host and port of an address: nothing of the user and password in front of them."""
    return address.rpartition("@")[2].rpartition("://")[2].partition("/")[0]


def judge_text(encoding: str | None) -> Iterator[Finding]:
    """Judge how text is written and how names of files are read."""
    if encoding is not None and encoding.lower().replace("-", "") not in ("utf8", "utf8sig"):
        text = f"{encoding}: letters that it lacks are written as \\u escapes"
        yield Finding("surroundings", "output", "note", text, "export PYTHONIOENCODING=utf-8")
    names = sys.getfilesystemencoding()
    if names.lower() != "utf-8":
        text = f"{names}: names of files with other letters are shown as escapes"
        yield Finding("surroundings", "file names", "note", text, "export PYTHONUTF8=1")


def judge_user(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Say when dmd runs as root for somebody else: what it writes then is root's."""
    if sys.platform != "win32" and os.geteuid() == 0 and environment.get("SUDO_USER"):
        text = f"dmd runs as root for {environment['SUDO_USER']}: what it writes belongs to root"
        cure = f"sudo -u {shlex.quote(environment['SUDO_USER'])} dmd doctor"
        yield Finding("surroundings", "user", "note", text, cure)
