"""Installed packages: versions, and the traps they are known for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmdcli.doctor import networks, packages
from dmdcli.doctor.finding import brief, in_bytes, pip, python
from dmdcli.doctor.probes import Probe
from tests.doctor.machines import BARE, INTACT, THERE, WELL, judged, one


def test_two_opencvs_are_taken_away_and_one_comes_back() -> None:
    there = THERE | {"opencv-python-headless": "4.10"}
    finding = packages.judge_package(packages.PACKAGES[2], there, {}, WELL)
    assert finding.status == "warning"
    removed = pip("uninstall -y opencv-python opencv-python-headless")
    assert finding.cure == f"{removed} && {pip('install opencv-python')}"
    finding = judged("cv2", "failed", "ImportError: libGL.so.1: cannot open shared object file", there)
    assert finding.status == "problem"
    assert finding.cure == f"{removed} && {pip('install opencv-python-headless')}"
    del there["opencv-python"]
    contrib = packages.judge_package(packages.PACKAGES[2], there | {"opencv-contrib-python": "4.10"}, {}, WELL)
    assert contrib.cure is not None
    assert contrib.cure.endswith("install opencv-contrib-python")


@pytest.mark.parametrize("tool", ["apt-get", "dnf", ""])
def test_a_missing_library_of_the_system(tool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == tool else None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    reason = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    finding = judged("cv2", "failed", reason)
    assert finding.status == "problem"
    assert "libGL.so.1 is missing" in finding.text
    assert (
        finding.cure
        == {
            "apt-get": "sudo apt-get update && sudo apt-get install -y libgl1 libglib2.0-0",
            "dnf": "sudo dnf install -y mesa-libGL",
            "": f"{pip('uninstall -y opencv-python')} && {pip('install opencv-python-headless')}",
        }[tool]
    )


@pytest.mark.parametrize(
    ("torch", "cure"),
    [
        ("2.14.1", "'torchvision==0.29.*'"),
        ("2.5.0+cpu", "'torchvision==0.20.*' --index-url https://download.pytorch.org/whl/cpu"),
        ("3.0", "torchvision"),
    ],
)
@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        ("failed", "RuntimeError: operator torchvision::nms does not exist"),
        ("failed", "ImportError: _C.so: undefined symbol: _ZN3c106detail"),
        ("missing", ""),
    ],
)
def test_a_torchvision_of_another_build(torch: str, cure: str, outcome: str, reason: str) -> None:
    there = THERE | {"torch": torch}
    if outcome == "missing":
        del there["torchvision"]
    finding = judged("torchvision", outcome, reason, there)
    assert finding.status == "warning"  # the embedded kit does without
    assert finding.cure == pip(f"install --force-reinstall --no-deps {cure}")
    broken = WELL | {"torchvision": Probe("torchvision", "failed", reason)}
    kits = list(networks.judge(INTACT, Path("/weights"), broken))
    assert one(kits, "embedded kit").status == "ok"
    assert one(kits, "full kit").status == "warning"
    assert "takes the embedded kit" in one(kits, "--kit auto").text


def test_what_follows_from_another_package_has_no_cure_of_its_own() -> None:
    broken = Probe("torchvision", "failed", "RuntimeError: operator torchvision::nms does not exist")
    finding = judged("facexlib", "failed", broken.reason, torchvision=broken)
    assert "needs torchvision, which does not work" in finding.text
    assert finding.cure is None


def test_a_dlib_for_another_processor() -> None:
    finding = judged("dlib", "crashed", "SIGILL")
    assert finding.status == "warning"
    assert "AVX" in finding.text
    assert finding.cure == f"{pip('uninstall -y dlib-bin')} && {pip('install dlib')}"
    broken = WELL | {"dlib": Probe("dlib", "crashed", "SIGILL")}
    assert one(networks.judge(BARE, Path("/weights"), broken), "--kit auto").status == "problem"
    assert one(networks.judge(INTACT, Path("/weights"), broken), "embedded kit").status == "warning"


@pytest.mark.parametrize(
    "reason", ["ImportError: numpy.core.multiarray failed to import", "ValueError: numpy.dtype size changed, may ..."]
)
def test_a_package_built_for_another_numpy(reason: str) -> None:
    finding = judged("cv2", "failed", f"ImportError: could not import\n{reason}", THERE | {"numpy": "2.4.6"})
    assert "built for another numpy than 2.4.6" in finding.text
    assert finding.cure == pip("install --upgrade --force-reinstall --no-deps opencv-python")


@pytest.mark.parametrize(
    ("outcome", "reason", "cure"),
    [
        ("hung", "no answer within 60 seconds", f"{python()} -X importtime -c 'import PIL'"),
        ("crashed", "SIGSEGV", pip("install --force-reinstall --no-deps pillow")),
        ("missing", "", pip("install --force-reinstall --no-deps pillow")),
        ("failed", "ModuleNotFoundError: No module named 'olefile.x'", pip("install olefile")),
        (
            "failed",
            "ImportError: DLL load failed while importing _imaging",
            "winget install Microsoft.VCRedist.2015+.x64",
        ),
        ("failed", "SyntaxError: invalid syntax", pip("install --force-reinstall --no-deps pillow")),
    ],
)
def test_other_ways_to_be_broken(outcome: str, reason: str, cure: str) -> None:
    finding = judged("PIL", outcome, reason)
    assert (finding.status, finding.cure) == ("problem", cure)


def test_an_old_version_and_one_that_is_not_installed() -> None:
    alignment = next(package for package in packages.PACKAGES if package.title == "face-alignment")
    oldest = {"face-alignment": "1.4"}
    for version, status in (("1.3.5", "warning"), ("1.4.0", "ok"), ("1.10", "ok")):
        found = packages.judge_package(alignment, {"face-alignment": version}, oldest, WELL)
        assert found.status == status
        assert (found.cure == pip("install 'face-alignment>=1.4'")) == (status == "warning")
    gone = WELL | {"face_alignment": Probe("face_alignment", "missing")}
    found = packages.judge_package(alignment, {}, oldest, gone)
    assert (found.status, found.cure) == ("warning", pip("install 'face-alignment>=1.4'"))


def test_the_oldest_versions_are_those_dmd_is_installed_with() -> None:
    oldest = packages.bounds()
    assert oldest["torch"] == "2.5"
    assert oldest["face-recognition-models"]


def test_a_setuptools_without_pkg_resources_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec, count in ((None, 1), (SimpleNamespace(), 0)):
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name, spec=spec: SimpleNamespace() if name == "pip" else spec
        )
        found = [finding for finding in packages.judge(THERE, {}, WELL) if finding.subject == "pkg_resources"]
        assert len(found) == count
        assert [(note.status, note.cure) for note in found] == [("note", pip("install 'setuptools<81'"))] * count


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.14.1+cu130", (2, 14, 1)), ("20.0.1.post1", (20, 0, 1)), ("4.8.0", (4, 8)), ("1.0rc1", (1,)), ("?", ())],
)
def test_versions_are_compared_by_their_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert packages.release(version) == numbers


def test_the_line_of_an_error_that_says_most() -> None:
    assert (
        brief("ImportError: \n\nIMPORTANT: READ\n\nOriginal error was: no libblas\n")
        == "Original error was: no libblas"
    )
    assert len(brief("x" * 1000)) < 170
    assert [in_bytes(size) for size in (5e3, 603_500_000, 1.5e9, 71e9)] == ["5 kB", "604 MB", "1.5 GB", "71 GB"]
