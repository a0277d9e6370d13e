"""What every verb has in common: light help, errors as one line and an exit code, output that can be piped."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dmdcli import errors, fetch
from dmdcli.cli import console
from dmdcli.cli import main as command
from dmdcli.cli.console import Terminal, one_line
from dmdcli.doctor import surroundings
from dmdcli.faces import finder, identity

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command.app, list(arguments), prog_name="dmd")


def dmd(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run the real program; `code` runs before it."""
    program = f"import sys\nfrom dmdcli.cli import main as command\n{code}\ncommand.main()"
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.parametrize("arguments", [["--help"], ["enroll", "--help"], ["people", "list", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import atexit\n"
        "heavy = ('torch', 'numpy', 'cv2', 'dlib', 'PIL', 'safetensors', 'rich', 'filelock')\n"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules], file=sys.stderr))"
    )
    answer = dmd(*arguments, code=code)
    assert answer.returncode == 0
    assert answer.stderr.strip() == "[]"


def test_help_names_every_verb_variable_and_exit_code() -> None:
    text = run("--help").output
    for word in ("enroll", "people", "DMD_HOME", "DMD_CACHE", "DMD_DEVICE", "DMD_OFFLINE", "130"):
        assert word in text
    assert "Learn a person's face" in text


def test_a_value_of_dmd_offline_that_is_neither_yes_nor_no_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DMD_OFFLINE", "maybe")
    answer = run("people", "list")
    assert answer.exit_code == errors.EXIT_USAGE
    assert "'maybe' is neither 1, true, t, yes, y, on nor 0, false, f, no, n, off." in answer.stderr
    for value in (*surroundings.YES, *surroundings.NO):
        monkeypatch.setenv("DMD_OFFLINE", value)
        assert run("people", "list").exit_code == 0, value
        assert fetch.are_connections_forbidden() == (value in surroundings.YES)
        fetch._FORBIDDEN.clear()


@pytest.mark.parametrize("arguments", [["frobnicate"], ["enroll"], ["enroll", "Alice"], ["people", "show", "--frob"]])
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    answer = run(*arguments)
    assert answer.exit_code == errors.EXIT_USAGE
    assert "Usage" in answer.stderr


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Result:
    def fail() -> None:
        raise error

    monkeypatch.setattr("dmdcli.cli.people.build_library", fail)
    return run("people", "list")


@pytest.mark.parametrize(
    "error",
    [
        errors.UsageError("a"),
        errors.NothingToDoError("a"),
        errors.TooFewReferencesError("a"),
        errors.WeightsMissingError("a"),
        errors.LibraryFormatError("a"),
        errors.LibraryLockedError("a"),
        errors.DMDError("a"),
    ],
)
def test_errors_are_one_line_and_their_exit_code(monkeypatch: pytest.MonkeyPatch, error: errors.DMDError) -> None:
    answer = raising(monkeypatch, error)
    assert answer.exit_code == error.exit_code
    assert answer.stderr == "dmd: a\n"
    assert answer.stdout == ""


def test_a_long_error_with_odd_characters_is_one_unwrapped_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("/photos") / ("[bold]very long " * 20) / "new\nline\x1b[31m.jpg"
    answer = raising(monkeypatch, errors.PhotoReadError(path, "damaged"))
    assert answer.exit_code == errors.EXIT_SOME_FAILED
    assert answer.stderr.count("\n") == 1
    assert "[bold]very long [bold]very long" in answer.stderr
    assert r"new\nline\x1b[31m.jpg: damaged" in answer.stderr


def test_interrupting_ends_with_130_and_says_that_work_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = raising(monkeypatch, KeyboardInterrupt())
    assert answer.exit_code == errors.EXIT_INTERRUPTED
    assert "kept" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_bug_ends_with_1_a_sentence_and_a_traceback() -> None:
    code = "from dmdcli.cli import people\npeople.build_library = lambda: 1 / 0"
    answer = dmd("people", "list", code=code)
    assert answer.returncode == errors.EXIT_BUG
    assert answer.stderr.startswith("dmd: This should not have happened")
    assert "ZeroDivisionError" in answer.stderr


def test_a_reader_that_leaves_early_is_no_bug() -> None:
    code = "from dmdcli.cli.console import Terminal\nTerminal.say = lambda *_: [print('x' * 100) for _ in range(9999)]"
    program = f"import sys\nfrom dmdcli.cli import main as command\n{code}\ncommand.main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "people", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == errors.EXIT_CANNOT_GO_ON


def test_a_full_disk_ends_with_8(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = raising(monkeypatch, OSError(errno.ENOSPC, "No space left on device", "/photos/out.png"))
    assert answer.exit_code == errors.EXIT_CANNOT_GO_ON
    assert "The disk is full" in answer.stderr
    assert "/photos/out.png" in answer.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to write to")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["restore", "--help"]], ids=" ".join)
def test_help_that_finds_no_room_ends_with_8(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "dmdcli.cli.main", *words], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    assert answer.returncode == errors.EXIT_CANNOT_GO_ON
    assert answer.stderr.count("\n") == 1
    assert "The disk is full" in answer.stderr


def test_the_page_of_the_command_line_is_current() -> None:
    spec = importlib.util.spec_from_file_location("generate_cli", ROOT / "docs" / "generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page.split() == module.make_page().split(), "run `make docs`"


def test_json_is_all_that_reaches_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(json_lines=True)
    terminal.result("a result")
    terminal.table(["a"], [["b"]])
    terminal.say("a message")
    terminal.fail("a failure")
    with terminal.progress("photos", 2) as advance:
        advance()
    terminal.record({"photo": "Zoë\udcff.jpg", "seconds": 1.5})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"photo": "Zoë\udcff.jpg", "seconds": 1.5}
    assert captured.out.count("\n") == 1
    assert captured.err == "a message\ndmd: a failure\n"


def test_quiet_leaves_failures_and_results(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(quiet=True, verbose=True)
    terminal.say("a message")
    terminal.detail("a detail")
    terminal.fail("a failure")
    terminal.result("a result")
    captured = capsys.readouterr()
    assert captured.out == "a result\n"
    assert captured.err == "dmd: a failure\n"


def test_detail_comes_only_when_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().detail("hidden")
    Terminal(verbose=True).detail("shown")
    assert capsys.readouterr().err == "shown\n"


def test_a_piped_table_is_not_cut_or_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a very long [file] name " * 20
    Terminal().table(["photo", "faces"], [[long, 3], ["b\n", 12]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["photo", "faces"]
    assert lines[1] == f"{long}      3"
    assert lines[2].split() == [r"b\n", "12"]
    assert len(lines) == 3


def test_defaults_said_twice_are_the_same() -> None:
    assert (console.LEAST_FACE, console.THRESHOLD) == (finder.LEAST_FACE, identity.THRESHOLD)


def test_one_line() -> None:
    assert one_line("Zoë 李.jpg") == "Zoë 李.jpg"
    assert one_line("a\r\n\tb\x9b") == r"a\r\n\tb\x9b"


def test_names_of_files_that_are_no_text_do_not_break_messages() -> None:
    if os.name == "nt":
        pytest.skip("file names are text there")
    answer = dmd("enroll", "Alice", "\udcff.jpg")
    assert answer.returncode == errors.EXIT_USAGE
    assert r"\udcff.jpg" in answer.stderr
