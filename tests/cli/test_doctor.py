"""`dmd doctor` as it is called, on machines made of packages that are well or broken; and verbs on broken ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dmdcli import errors
from dmdcli.cli.console import UNWRAPPED
from dmdcli.cli.main import app
from dmdcli.doctor.finding import Finding, pip
from tests.cli.conftest import hear_ctrl_c

ROOT = Path(__file__).parents[2]
TORCH = """
__version__ = "2.14.1+cpu"
class version: cuda = hip = None
class cuda:
    is_available = staticmethod(lambda: False)
    device_count = staticmethod(lambda: 0)
class backends:
    class mps: is_available = staticmethod(lambda: False)
get_num_threads = lambda: 2
tensor = lambda numbers: numbers
"""
WELL = {
    "torch/__init__.py": TORCH,
    "torchvision/__init__.py": "class ops: nms = staticmethod(lambda boxes, scores, overlap: [0])",
    "facexlib/__init__.py": "import torchvision",
    "facexlib/detection/retinaface.py": "",
    "facexlib/recognition/arcface_arch.py": "",
    "facexlib/parsing/__init__.py": "",
    "face_alignment/__init__.py": "",
    "face_alignment/models.py": "FAN = None",
    "face_alignment/utils.py": "crop = None",
    "cv2/__init__.py": "",
    "dlib/__init__.py": "get_frontal_face_detector = lambda: None",
}
"""Packages that are quickly imported and do what the doctor asks of them."""
BROKEN = WELL | {
    "torchvision/__init__.py": "raise RuntimeError('operator torchvision::nms does not exist')",
    "cv2/__init__.py": "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')",
    "dlib/__init__.py": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
    "face_recognition_models/__init__.py": "",
    "face_recognition_models/models/shape_predictor_68_face_landmarks.dat": "damaged",
    "opencv_python_headless-4.10.0.84.dist-info/METADATA": "Name: opencv-python-headless\nVersion: 4.10.0.84\n",
    "face_alignment-1.3.5.dist-info/METADATA": "Name: face-alignment\nVersion: 1.3.5\n",
}
"""Most of what is known to go wrong, at once."""
FINDINGS = [
    Finding("versions", "dmd", "ok", "0.1"),
    Finding("versions", "OpenCV", "warning", "word " * 60 + "\x1b[31m", "pip install " + "opencv-python " * 20),
    Finding("places", "DMD_HOME", "note", "a note"),
]


def make_machine(folder: Path, files: dict[str, str]) -> dict[str, str]:
    """The environment of a process that finds these files before the installed packages, and nobody enrolled."""
    for name, text in files.items():
        path = folder / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("proxy")}
    places = {"DMD_HOME": str(folder / "home"), "DMD_CACHE": str(folder / "cache")}
    return kept | places | {"PYTHONPATH": str(folder / "packages")}


def dmd(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dmdcli.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_machine(tmp_path_factory.mktemp("broken"), BROKEN)


@pytest.fixture(scope="module")
def broken_answer(broken: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return dmd(broken, "doctor", "--json")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What an examination that takes no time finds; a test may change it."""
    findings = list(FINDINGS)
    monkeypatch.setattr("dmdcli.doctor.examine.examine", lambda *places, **settings: iter(findings))
    return findings


def records(answer: subprocess.CompletedProcess[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The findings by subject, and the summary."""
    *findings, summary = (json.loads(line) for line in answer.stdout.splitlines())
    assert all(set(one) == {"schema", "group", "subject", "status", "text", "cure"} for one in findings)
    counted = Counter(one["status"] for one in findings)
    assert {status: summary[status] for status in counted} == dict(counted)
    assert summary["schema"] == 1
    return {one["subject"]: one for one in findings}, summary


def test_a_machine_that_is_well(tmp_path: Path) -> None:
    answer = dmd(make_machine(tmp_path, WELL), "doctor", "--json")
    findings, summary = records(answer)
    assert answer.returncode == errors.EXIT_DONE
    assert answer.stderr == ""
    assert (summary["works"], summary["problem"], summary["warning"]) == (True, 0, 0)
    assert findings["OpenCV"]["text"].startswith("opencv-python ")
    assert findings["torch"]["text"].endswith("built for the processor only")
    assert findings["--kit auto"]["text"].startswith("takes the embedded kit")
    assert findings["full kit"]["cure"] == "dmd models fetch full"
    assert findings["DMD_HOME"]["status"] == "ok"
    assert {one["group"] for one in findings.values()} == {
        "versions",
        "devices",
        "networks",
        "places",
        "surroundings",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"packages"}


def test_each_trap_is_recognised_and_has_its_cure(broken_answer: subprocess.CompletedProcess[str]) -> None:
    findings, summary = records(broken_answer)
    assert broken_answer.returncode == errors.EXIT_CANNOT_GO_ON
    assert broken_answer.stderr == ""
    assert summary["works"] is False
    wanted = {
        "OpenCV": (
            "problem",
            f"{pip('uninstall -y opencv-python opencv-python-headless')} && {pip('install opencv-python-headless')}",
        ),
        "dlib": ("warning", f"{pip('uninstall -y dlib-bin')} && {pip('install dlib')}"),
        "facexlib": ("warning", None),
        "face-alignment": ("warning", pip("install 'face-alignment>=1.4'")),
        "embedded kit": ("problem", None),
        "full kit": ("note", "dmd models fetch full"),
        "--kit auto": ("problem", None),
        "dlib-landmarks": ("warning", pip("install --force-reinstall --no-deps face_recognition_models")),
        "dlib-recognition": ("warning", pip("install --force-reinstall --no-deps face_recognition_models")),
        "PYTHONPATH": ("note", "unset PYTHONPATH"),
    }
    assert {subject: (findings[subject]["status"], findings[subject]["cure"]) for subject in wanted} == wanted
    assert "libGL.so.1" in findings["OpenCV"]["text"]
    assert "AVX" in findings["dlib"]["text"]
    assert "nms does not exist" in findings["torchvision"]["text"]
    assert "torchvision==0." in findings["torchvision"]["cure"]
    assert findings["dlib-landmarks"]["text"].startswith("damaged")
    assert findings["dlib-recognition"]["text"].startswith("missing")
    assert findings["face-alignment"]["text"].startswith("1.3.5")


def test_a_verb_on_a_broken_machine_is_one_sentence(broken: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    answer = dmd(broken, "restore", str(tmp_path / "photos"), "--out", str(tmp_path / "out"))
    assert answer.returncode == errors.EXIT_CANNOT_GO_ON
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert answer.stderr.startswith("dmd: The package cv2 does not work here (libGL.so.1")
    assert answer.stderr.endswith("`dmd doctor` says what is wrong.\n")


@pytest.mark.parametrize(
    ("code", "package"),
    [
        ("import dmd_lacking", "dmd_lacking"),
        ("from json import dmd_lacking", "json"),
        ("import dmd_raises", "dmd_raises"),
        ("import dmd_full", None),
        ("import dmdcli.lacking", None),
        ("from dmdcli.errors import lacking", None),
        ("raise ImportError('by hand')", None),
        ("raise OSError('elsewhere')", None),
        ("1 / 0", None),
    ],
)
def test_only_packages_that_cannot_be_imported_are_for_the_doctor(
    code: str, package: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dmd_raises.py").write_text("raise AttributeError('module has no attribute')")
    (tmp_path / "dmd_full.py").write_text("import errno\nraise OSError(errno.ENOSPC, 'No space left')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("dmdcli.cli.people.build_library", lambda: exec(code, {"__name__": "dmdcli.cli.people"}))
    answer = CliRunner().invoke(app, ["people", "list"], prog_name="dmd")
    assert ("`dmd doctor` says what is wrong" in answer.stderr) == (package is not None)
    if package is not None:
        assert f"The package {package} does not work here" in answer.stderr
        assert answer.exit_code == errors.EXIT_CANNOT_GO_ON
    elif code != "import dmd_full":
        assert answer.exit_code == errors.EXIT_BUG


def test_a_pipe_gets_unwrapped_lines_and_a_cure_that_can_be_pasted(found: list[Finding]) -> None:
    answer = CliRunner().invoke(app, ["doctor"], prog_name="dmd")
    assert answer.exit_code == errors.EXIT_DONE
    lines = answer.stdout.splitlines()
    assert lines[:2] == ["Versions", "  ok       dmd      0.1"]
    assert lines[2].startswith(f"  warning  OpenCV   {'word ' * 60}")
    assert lines[2].endswith(r"\x1b[31m")
    assert found[1].cure is not None
    assert lines[3].strip() == found[1].cure.strip()
    assert lines[4:] == ["", "Places", "  note     DMD_HOME a note", "", "dmd can work: 1 warning, 1 note."]


def test_quiet_shows_only_what_is_wrong(found: list[Finding]) -> None:
    answer = CliRunner().invoke(app, ["doctor", "-q"], prog_name="dmd")
    lines = answer.stdout.splitlines()
    assert lines[0] == "Versions"
    assert lines[1].startswith("  warning  OpenCV")
    assert lines[3:] == ["", "dmd can work: 1 warning, 1 note."]
    found[:] = FINDINGS[:1]
    answer = CliRunner().invoke(app, ["doctor", "-q"], prog_name="dmd")
    assert answer.stdout == "dmd can work; nothing to mend.\n"
    assert len(CliRunner().invoke(app, ["doctor", "-q", "--json"], prog_name="dmd").stdout.splitlines()) == 2


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_a_window_gets_wrapped_lines_but_no_wrapped_cure(
    columns: int, found: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dmdcli.cli.doctor.is_terminal", lambda stream: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = CliRunner().invoke(app, ["doctor"], prog_name="dmd").stdout.splitlines()
    cures = [line for line in lines if line.strip() == (found[1].cure or "").strip()]
    assert len(cures) == 1
    assert all(len(line) <= columns for line in lines if line not in cures)
    assert columns < len(cures[0]) < UNWRAPPED


def test_exit_codes(found: list[Finding]) -> None:
    def code(*arguments: str) -> int:
        return CliRunner().invoke(app, ["doctor", *arguments], prog_name="dmd").exit_code

    assert (code(), code("--strict")) == (errors.EXIT_DONE, errors.EXIT_SOME_FAILED)
    found.append(Finding("places", "library", "problem", "damaged"))
    assert (code(), code("--strict")) == (errors.EXIT_CANNOT_GO_ON, errors.EXIT_CANNOT_GO_ON)
    found[:] = FINDINGS[:1]
    assert code("--strict") == errors.EXIT_DONE


def test_the_doctor_imports_nothing_that_may_be_broken(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom dmdcli.cli import main as command\n"
        "try:\n    command.app(['doctor', '--json'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = ('torch', 'numpy', 'cv2', 'dlib', 'PIL', 'safetensors', 'requests')\n"
        "print([name for name in heavy if name in sys.modules], file=sys.stderr)"
    )
    environment = make_machine(tmp_path, WELL)
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    assert answer.stderr.strip() == "[]"
    assert json.loads(answer.stdout.splitlines()[-1])["works"] is True


@pytest.mark.skipif(os.name == "nt", reason="signals differ there")
def test_stopping_it_leaves_nothing_running(tmp_path: Path) -> None:
    mark = tmp_path / "child"
    code = f"import os, pathlib, time; pathlib.Path({str(mark)!r}).write_text(str(os.getpid())); time.sleep(600)"
    environment = make_machine(tmp_path, WELL | {"torch/__init__.py": code})
    with subprocess.Popen(
        [sys.executable, "-m", "dmdcli.cli.main", "doctor"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        preexec_fn=hear_ctrl_c,
    ) as process:
        while not (mark.exists() and mark.read_text()):
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        _, said = process.communicate(timeout=30)
    assert process.returncode == errors.EXIT_INTERRUPTED
    assert said.count("\n") == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


@pytest.mark.slow
def test_this_machine(tmp_path: Path) -> None:
    answer = dmd(make_machine(tmp_path, {}), "doctor")
    assert "dmd can work" in answer.stdout, answer.stdout
    assert answer.returncode == errors.EXIT_DONE
