"""What computes here: processor, memory, CUDA, MPS; which of them `--device auto` takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dmdcli.doctor.finding import Finding, brief, counted, in_bytes, pip
from dmdcli.doctor.probes import Probe

PCI = Path("/sys/bus/pci/devices")
"""Where Linux lists what is plugged in."""
CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""
NVIDIA, DISPLAY = "0x10de", "0x03"
"""Vendor of a PCI device; how the classes of graphics processors begin."""
LEAST_MEMORY = 2e9
"""Bytes that restoring needs: 1.3 GB were measured for six faces on the CPU with the embedded kit, and the full kit
needs more."""
SMI_SECONDS = 10
"""How long the driver may take to name its cards."""


def judge(torch: Probe | None, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Judge the devices. torch: what came of importing it."""
    facts = torch.facts if torch is not None and torch.works else {}
    threads = f", {counted(facts['threads'], 'thread')}" if facts else ""
    yield Finding("devices", "processor", "ok", f"{counted(cores(), 'core')} for this process{threads}")
    yield from judge_memory()
    there = ["cpu"]
    if facts:
        cards = list(judge_cuda(facts, nvidia_cards()))
        yield from cards
        there += ["cuda"] if facts["cuda_available"] else []
        if facts["mps_available"]:
            there += ["mps"]
            yield Finding("devices", "MPS", "ok", "Apple's graphics processor can be used")
    wanted = environment.get("DMD_DEVICE", "")
    if not facts:
        yield Finding("devices", "--device auto", "note", "not known while torch does not work")
    else:
        yield Finding("devices", "--device auto", "ok", f"takes {there[-1]}")
        if wanted and wanted != "auto":
            yield judge_choice(wanted, there, len(facts["devices"]))


def judge_choice(wanted: str, there: list[str], cards: int) -> Finding:
    """Judge what DMD_DEVICE asks for."""
    kind, _, number = wanted.partition(":")
    if kind in there and (not number or (number.isdigit() and int(number) < cards)):
        return Finding("devices", "DMD_DEVICE", "ok", f"{wanted}, which is taken where --device is not given")
    text = f"{wanted}, which there is not here (there is {' and '.join(there)}): every command without --device fails"
    return Finding("devices", "DMD_DEVICE", "problem", text, "unset DMD_DEVICE")


def judge_cuda(facts: Mapping[str, Any], cards: list[str]) -> Iterator[Finding]:
    """Judge CUDA as torch sees it against the cards that the system sees."""
    complaints = [brief(text) for text in facts["warnings"]]
    for number, device in enumerate(facts["devices"]):
        text = f"{device['name']}, {in_bytes(device['memory'])}, compute capability {device['capability']}"
        yield Finding("devices", f"cuda:{number}", "ok", text)
    if facts["cuda_available"]:
        for complaint in complaints:
            yield Finding(
                "devices", "CUDA", "warning", f"torch warns: {complaint}", pip("install --upgrade torch torchvision")
            )
        return
    seen = ", ".join(cards)
    if not facts["cuda"] and not facts["hip"]:
        if cards:
            index = " --index-url https://download.pytorch.org/whl/cu126" if sys.platform == "win32" else ""
            cure = f"{pip('uninstall -y torch torchvision')} && {pip('install torch torchvision')}{index}"
            text = f"{seen} is not used: torch is built for the processor only"
            yield Finding("devices", "CUDA", "warning", text, cure)
        else:
            yield Finding("devices", "CUDA", "ok", "no NVIDIA card, and a torch that needs none")
    elif cards:
        why = complaints[0] if complaints else "its driver is missing, too old, or out of reach of this process"
        cure = "nvidia-smi" if shutil.which("nvidia-smi") else "sudo ubuntu-drivers install"
        yield Finding("devices", "CUDA", "warning", f"{seen} is not used: {why}", cure)
    else:
        built = f"CUDA {facts['cuda']}" if facts["cuda"] else f"ROCm {facts['hip']}"
        yield Finding("devices", "CUDA", "ok", f"no NVIDIA card seen; torch is built for {built} and does without")


def nvidia_cards() -> list[str]:
    """The NVIDIA cards that the driver knows or, without a driver, that are plugged in."""
    if shutil.which("nvidia-smi"):
        try:
            answer = subprocess.run(
                ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=SMI_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ["an NVIDIA card whose driver does not answer"]
        names = [line.strip() for line in answer.stdout.splitlines() if line.strip()]
        if answer.returncode == 0 and names:
            return names
    found = []
    for device in sorted(PCI.glob("*")):
        try:
            vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        if vendor == NVIDIA and kind.startswith(DISPLAY):
            found.append(f"the NVIDIA card at {device.name}")
    return found


def cores() -> int:
    """How many processor cores this process may use: those it is bound to, and no more than its container has."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _limit("cpu.max").partition(" ")
    if not quota:  # the older files, where no limit is -1
        quota, period = _limit("cpu/cpu.cfs_quota_us"), _limit("cpu/cpu.cfs_period_us")
    if quota.isdigit() and period.isdigit() and int(period):
        number = min(number, max(1, round(int(quota) / int(period))))
    return number


def judge_memory() -> Iterator[Finding]:
    """Judge the memory that is there and free; nothing on systems that do not say."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _limit("memory.max")
    total = min(total, int(limit)) if limit.isdigit() else total
    free = free_memory(Path("/proc/meminfo"), total)
    text = in_bytes(total) if free is None else f"{in_bytes(total)}, {in_bytes(free)} of it free"
    if (total if free is None else free) >= LEAST_MEMORY:
        yield Finding("devices", "memory", "ok", text)
    else:
        text = f"{text}; restoring needs about {in_bytes(LEAST_MEMORY)}: close other programs; these use most"
        yield Finding("devices", "memory", "warning", text, "ps aux --sort=-rss | head -n 6")


def free_memory(meminfo: Path, total: int) -> int | None:
    """Bytes that programs can still have, never more than `total`; None on systems that do not say."""
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return min(int(line.split()[1]) * 1024, total)
    return None


def _limit(name: str) -> str:
    try:
        return (CGROUP / name).read_text().strip()
    except OSError:
        return ""
