"""What the doctor recognises: broken packages, devices, files, folders and environments made for it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import pytest

from dmdcli import weights
from dmdcli.doctor import devices, networks, packages, places, probes, surroundings
from dmdcli.doctor.finding import Finding, brief, in_bytes, pip, python
from dmdcli.doctor.places import Place
from dmdcli.doctor.probes import LIBRARY, Probe, probe

TORCH = {
    "version": "2.14.1",
    "cuda": None,
    "hip": None,
    "cuda_available": False,
    "mps_available": False,
    "threads": 2,
    "devices": [],
    "warnings": [],
}
"""What a torch for the processor says of itself."""
WELL = {
    package.module: Probe(package.module, "imported", facts=TORCH if package.module == "torch" else {})
    for package in packages.PACKAGES
    if package.module
}
"""Every package works."""
THERE = {package.distributions[0]: "99.0" for package in packages.PACKAGES} | {"torch": "2.14.1"}
"""Every distribution is installed."""
INTACT: dict[str, weights.State] = {file.name: "intact" for file in weights.FILES}
BARE: dict[str, weights.State] = {file.name: "intact" if file.package else "missing" for file in weights.FILES}
"""Every file is there; only those that come installed are."""


def one(findings: Any, subject: str) -> Finding:
    found = [finding for finding in findings if finding.subject == subject]
    assert len(found) == 1, found
    return found[0]


def judged(
    module: str, outcome: Any, reason: str = "", there: dict[str, str] | None = None, **others: Probe
) -> Finding:
    """What is said of one package that does not work."""
    package = next(package for package in packages.PACKAGES if package.module == module)
    found = WELL | others | {module: Probe(module, outcome, reason)}
    return packages.judge_package(package, THERE if there is None else there, {}, found)


def make_package(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)


# Imports in processes of their own


def test_imports_that_raise_crash_exit_print_or_hang_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = {
        "dmd_raises": "raise RuntimeError('operator torchvision::nms does not exist')",
        "dmd_crashes": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
        "dmd_leaves": "import os; os._exit(3)",
        "dmd_exits": "raise SystemExit('no licence')",
        "dmd_hangs": "import time; time.sleep(600)",
        "dmd_lacks": "import dmd_not_there_either",
        "dmd_chatters": 'print(\'{"module": "something else"}\')',
    }
    for name, lines in code.items():
        make_package(tmp_path, name, lines)
    monkeypatch.syspath_prepend(tmp_path)
    asked = [*code, "dmd_not_there", "json"]
    found = {answer.module: (answer.outcome, answer.reason) for answer in probe(asked, tmp_path, patience=2)}
    assert list(found) == asked
    assert found == {
        "dmd_raises": ("failed", "RuntimeError: operator torchvision::nms does not exist"),
        "dmd_crashes": ("crashed", "SIGILL"),
        "dmd_leaves": ("crashed", "exit code 3"),
        "dmd_exits": ("failed", "SystemExit: no licence"),
        "dmd_hangs": ("hung", "no answer within 2 seconds"),
        "dmd_lacks": ("failed", "ModuleNotFoundError: No module named 'dmd_not_there_either'"),
        "dmd_chatters": ("imported", ""),
        "dmd_not_there": ("missing", ""),
        "json": ("imported", ""),
    }


def test_what_lies_in_the_current_folder_is_not_taken_for_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('not what is meant')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert [answer.outcome for answer in probe(["dataclasses"], tmp_path)] == ["imported"]


def test_the_library_is_read_and_its_lock_is_seen(tmp_path: Path) -> None:
    def look(home: Path) -> Any:
        return next(probe([LIBRARY], home)).facts

    assert look(tmp_path / "none") == {"locked": False, "people": 0, "references": 0}
    assert not (tmp_path / "none").exists()
    (tmp_path / "library.json").write_text('{"format": 1}')
    with filelock.FileLock(tmp_path / "library.lock"):
        assert look(tmp_path)["locked"] is True
    (tmp_path / "library.json").write_text('{"format": 2}')
    newer = look(tmp_path)
    assert (newer["locked"], newer["kind"]) == (False, "LibraryFormatError")
    finding = one(places.judge_library(at(tmp_path), Probe(LIBRARY, "imported", facts=newer)), "library")
    assert finding.status == "problem"
    assert "format 2" in finding.text


@pytest.mark.slow
def test_the_packages_here_work() -> None:
    assert [answer for group in probes.GROUPS for answer in probe(group, Path("/nowhere")) if not answer.works] == []


# Packages


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


# Devices


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


# Networks


@pytest.mark.parametrize(
    ("changes", "kit", "auto"),
    [
        ({}, "ok", "takes the full kit"),
        ({"parsenet": "missing", "bisenet": "missing"}, "ok", "takes the full kit"),
        ({"retinaface-resnet50": "missing"}, "ok", "takes the full kit"),
        ({"retinaface-resnet50": "missing", "retinaface-mobilenet": "missing"}, "note", "takes the embedded kit"),
        ({"fan": "missing", "arcface": "damaged"}, "note", "takes the embedded kit"),
        ({"arcface": "damaged"}, "note", "fails"),
        ({"bisenet": "damaged"}, "note", "fails"),
        ({"parsenet": "damaged"}, "ok", "takes the full kit"),
    ],
)
def test_which_kit_is_taken(changes: dict[str, weights.State], kit: str, auto: str) -> None:
    found = list(networks.judge(INTACT | changes, Path("/weights"), WELL))
    assert one(found, "full kit").status == kit
    chosen = one(found, "--kit auto")
    assert chosen.text.startswith(auto)
    assert (chosen.status == "problem") == (auto == "fails")
    if auto == "fails":
        assert chosen.cure == f"dmd models fetch {next(iter(changes))}"


@pytest.mark.parametrize(
    ("names", "said", "cure"),
    [
        (["fan", "arcface"], "2DFAN-4 and ArcFace IR-SE50 are damaged", "full"),
        (["fan", "arcface", "bisenet"], "2DFAN-4, ArcFace IR-SE50 and BiSeNet are damaged", "full"),
        (["retinaface-mobilenet", "fan"], "RetinaFace MobileNet and 2DFAN-4 are damaged", "retinaface-mobilenet fan"),
    ],
)
def test_several_damaged_files_of_the_full_kit(names: list[str], said: str, cure: str) -> None:
    changes: dict[str, weights.State] = dict.fromkeys(names, "damaged")
    if "retinaface-mobilenet" in names:
        changes["retinaface-resnet50"] = "missing"
    chosen = one(networks.judge(INTACT | changes, Path("/weights"), WELL), "--kit auto")
    assert chosen.text.endswith(said)
    assert chosen.cure == f"dmd models fetch {cure}"


def test_a_folder_in_the_place_of_a_network(tmp_path: Path) -> None:
    place = tmp_path / weights.DMDNET.file
    place.mkdir()
    finding = one(networks.judge(BARE, tmp_path, WELL), "dmdnet")
    assert finding.status == "warning"
    assert finding.text.startswith(f"{place} is a folder and in the way")
    assert "not fetched" not in finding.text
    assert finding.cure == f"mv {place} {place}.folder"


def test_files_that_are_not_there_or_not_whole() -> None:
    found = list(networks.judge(BARE, Path("/weights"), WELL))
    assert one(found, "full kit").cure == "dmd models fetch full"
    assert one(found, "dmdnet").cure == "dmd models fetch dmdnet"
    assert {finding.status for finding in found} == {"ok", "note"}
    damaged = list(networks.judge(INTACT | {"base": "damaged", "dmdnet": "damaged"}, Path("/weights"), WELL))
    assert one(damaged, "base").status == "problem"
    assert one(damaged, "dmdnet").cure == "dmd models fetch dmdnet"
    replaced = list(networks.judge(INTACT | {"base": "missing"}, Path("/weights"), WELL))
    assert one(replaced, "base").status == "warning"
    lacking = list(networks.judge(BARE | {"dlib-landmarks": "missing"}, Path("/weights"), WELL))
    assert one(lacking, "embedded kit").status == "problem"
    assert one(lacking, "dlib-landmarks").cure == pip("install --force-reinstall --no-deps face_recognition_models")


def test_our_own_weights_come_back_from_where_dmd_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "__file__", str(tmp_path / "a b" / "dmdcli" / "doctor" / "networks.py"))
    (tmp_path / "a b" / ".git").mkdir(parents=True)
    assert networks.own_cure(weights.BASE) == f"git -C '{tmp_path / 'a b'}' checkout -- dmdcli/model/base.safetensors"
    (tmp_path / "a b" / ".git").rmdir()
    origin = SimpleNamespace(read_text=lambda name: json.dumps({"url": "https://example.org/dmd.whl"}))
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: origin)
    assert networks.own_cure(weights.BASE) == pip("install --force-reinstall --no-deps https://example.org/dmd.whl")


# Places


def at(folder: Path, variable: Any = "DMD_HOME") -> Place:
    return Place(variable, folder, folder.parent / "default", "enrolled people")


def judged_folder(folder: Path) -> list[Finding]:
    return list(places.judge_folder(at(folder)))


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that every user may look into."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights for a while."""
    if not hasattr(os, "setresuid") or os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(65534, 65534, 0)
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)


def test_a_private_folder_is_well_and_nothing_stays_in_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert [finding.status for finding in judged_folder(tmp_path)] == ["ok"]
    assert list(tmp_path.iterdir()) == []
    missing = judged_folder(tmp_path / "a" / "b")
    assert [finding.status for finding in missing] == ["ok"]
    assert "is made when it is needed" in missing[0].text
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_others_may_enter(tmp_path: Path) -> None:
    folder = tmp_path / "my people"
    folder.mkdir()
    folder.chmod(0o755)
    finding = one(judged_folder(folder), "DMD_HOME")
    assert (finding.status, finding.cure) == ("warning", f"chmod 700 '{folder}'")
    assert [other.status for other in places.judge_folder(at(folder, "DMD_CACHE"))] == ["ok"]


def test_a_file_or_a_dangling_link_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for path in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "link"):
        finding = one(judged_folder(path), "DMD_HOME")
        assert (finding.status, finding.cure) == ("problem", "unset DMD_HOME")


def test_a_folder_of_root(common: Path) -> None:
    folder = common / "library"
    for mode, status in ((0o700, "problem"), (0o755, "warning")):
        folder.mkdir(mode=mode)
        with nobody():
            finding = one(judged_folder(folder), "DMD_HOME")
        assert finding.status == status
        assert "it belongs to root, as after a run with sudo" in finding.text
        assert finding.cure == f'sudo chown -R "$(id -un)" {folder}'
        folder.rmdir()


def test_something_of_root_in_ones_own_folder(common: Path) -> None:
    folder = common / "library"
    (folder / "people" / "ab").mkdir(parents=True)
    os.chown(folder, 65534, 65534)
    folder.chmod(0o700)
    with nobody():
        finding = one(judged_folder(folder), "DMD_HOME")
    assert finding.status == "warning"
    assert str(folder / "people") in finding.text
    assert finding.cure == f'sudo chown -R "$(id -un)" {folder}'


def test_a_folder_of_ones_own_without_rights(common: Path) -> None:
    folder = common / "library"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    folder.chmod(0o500)
    with nobody():
        finding = one(judged_folder(folder), "DMD_HOME")
    assert (finding.status, finding.cure) == ("warning", f"chmod -R u+rwX {folder}")


def test_a_folder_that_cannot_be_made(common: Path) -> None:
    with nobody():
        finding = one(judged_folder(common / "library"), "DMD_HOME")
    assert (finding.status, finding.cure) == ("warning", "unset DMD_HOME")
    assert f"{common} cannot be written" in finding.text


@pytest.mark.parametrize(("free", "status"), [(50e6, "problem"), (500e6, "warning"), (5e9, "ok")])
def test_room(free: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free, total=100e9))
    found = list(places.judge((at(tmp_path / "a"), at(tmp_path / "b", "DMD_CACHE")), None))
    finding = one(found, "room")  # both are on one disk
    assert finding.status == status
    assert (finding.cure is None) == (status == "ok")


@pytest.mark.parametrize(
    ("free", "total", "status"), [(50e6, 90e6, "problem"), (500e6, 900e6, "warning"), (50e6, 900e6, "problem")]
)
def test_a_disk_that_is_too_small_is_not_called_full(
    free: float, total: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free, total=total))
    finding = one(places.judge((at(tmp_path / "a"), at(tmp_path / "b", "DMD_CACHE")), None), "room")
    assert finding.status == status
    assert finding.text.endswith("the disk is too small; take a folder on another")
    assert "full" not in finding.text
    assert finding.cure == "unset DMD_HOME && unset DMD_CACHE"


@pytest.mark.parametrize(
    ("number", "status", "said"), [(errno.ENOSPC, "problem", "full"), (errno.EROFS, "warning", "read-only")]
)
def test_a_disk_that_takes_nothing(
    number: int, status: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "try_to_write", lambda folder: OSError(number, os.strerror(number)))
    finding = one(judged_folder(tmp_path), "DMD_HOME")
    assert finding.status == status
    assert said in finding.text
    assert finding.cure


def test_a_relative_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finding = judged_folder(Path("people"))[0]
    assert (finding.status, finding.cure) == ("warning", f"export DMD_HOME={tmp_path / 'people'}")


def test_another_place_is_one_that_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Place("DMD_CACHE", Path("/a"), Path("/a"), "fetched networks")
    assert own.elsewhere() == 'export DMD_CACHE="$HOME/dmd-cache"'
    monkeypatch.setenv("HOME", "/proc")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert own.elsewhere() == f"export DMD_CACHE={tempfile.gettempdir()}/dmd-cache"


# Surroundings


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
