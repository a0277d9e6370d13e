"""Processor, memory, CUDA, MPS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dmdcli.cli.build import usable_cores
from dmdcli.doctor import devices
from dmdcli.doctor.finding import pip
from dmdcli.doctor.probes import Probe
from tests.doctor.machines import TORCH, one


def with_torch(**facts: Any) -> Probe:
    return Probe("torch", "imported", facts=TORCH | facts)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An NVIDIA card that is plugged in, and no driver."""
    for name, vendor, kind in (("0000:01:00.0", "0x10de", "0x030000"), ("0000:02:00.0", "0x8086", "0x030000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    monkeypatch.setattr(devices, "PCI", tmp_path)
    monkeypatch.setenv("PATH", "")


def test_a_card_and_a_torch_for_the_processor(card: None) -> None:
    finding = one(devices.judge(with_torch(), {}), "CUDA")
    assert finding.status == "warning"
    assert "0000:01:00.0" in finding.text
    assert "0000:02:00.0" not in finding.text
    assert finding.cure == f"{pip('uninstall -y torch torchvision')} && {pip('install torch torchvision')}"


def test_a_card_without_a_driver(card: None) -> None:
    finding = one(devices.judge(with_torch(cuda="13.0"), {}), "CUDA")
    assert (finding.status, finding.cure) == ("warning", "sudo ubuntu-drivers install")
    old = with_torch(cuda="13.0", warnings=["The NVIDIA driver on your system is too old (found version 11040)"])
    assert "too old" in one(devices.judge(old, {}), "CUDA").text


def test_a_driver_is_asked_for_its_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA T4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.nvidia_cards() == ["NVIDIA T4"]


def test_devices_and_what_auto_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "nvidia_cards", list)
    card = {"name": "NVIDIA H100", "memory": 80e9, "capability": "9.0"}
    cuda = with_torch(cuda="13.0", cuda_available=True, devices=[card])
    found = list(devices.judge(cuda, {"DMD_DEVICE": "cuda:0"}))
    assert one(found, "cuda:0").text == "NVIDIA H100, 80 GB, compute capability 9.0"
    assert one(found, "--device auto").text == "takes cuda"
    assert one(found, "processor").text.endswith(" for this process, 2 threads")
    alone = one(devices.judge(with_torch(threads=1), {}), "processor")
    assert alone.text.endswith(" for this process, 1 thread")
    assert one(found, "DMD_DEVICE").status == "ok"
    assert one(devices.judge(with_torch(mps_available=True), {}), "--device auto").text == "takes mps"
    for wanted in ("cuda", "cuda:1", "frob"):
        finding = one(devices.judge(with_torch() if wanted == "cuda" else cuda, {"DMD_DEVICE": wanted}), "DMD_DEVICE")
        assert (finding.status, finding.cure) == ("problem", "unset DMD_DEVICE")
    unknown = list(devices.judge(Probe("torch", "failed"), {"DMD_DEVICE": "cuda"}))
    assert one(unknown, "--device auto").status == "note"


def test_a_container_has_less_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    (tmp_path / "memory.max").write_text("1000000000\n")
    monkeypatch.setattr(devices, "CGROUP", tmp_path)
    assert devices.cores() == 1
    finding = one(devices.judge_memory(), "memory")
    assert finding.status == "warning"
    assert finding.text.startswith("1.0 GB")


@pytest.mark.parametrize(
    ("files", "number"),
    [
        ({}, 16),
        ({"cpu.max": "max 100000\n"}, 16),
        ({"cpu.max": "300000 100000\n"}, 3),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "200000\n"}, 16),
        ({"cpu.max": "nonsense", "cpu/cpu.cfs_quota_us": "nonsense", "cpu/cpu.cfs_period_us": "0"}, 16),
    ],
)
def test_cores_are_those_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], number: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16), raising=False)
    monkeypatch.setattr(devices, "CGROUP", tmp_path)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert devices.cores() == usable_cores() == number
