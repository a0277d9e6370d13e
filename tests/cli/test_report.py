"""`dmd report`, and the report that `dmd restore` leaves."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from dmdcli.cli.main import app
from dmdcli.cli.report import leaving_report
from dmdcli.errors import CannotGoOnError, UsageError
from dmdcli.journal import open_journal
from dmdcli.library import Library
from dmdcli.person import Person
from dmdcli.report_files import REPORTS
from tests.report.made_up import PEOPLE, row_of


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], prog_name="dmd")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder of four photos."""
    folder = tmp_path / "out"
    with open_journal(folder) as journal:
        journal.number_people(PEOPLE)
        for number in range(4):
            journal.write(row_of(number))
    return folder


def people_in(out: Path) -> set[str]:
    rows = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    return {face["person"] for row in rows for face in row["faces"] if face["person"]}


def test_the_report_is_written_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    answer = run("report", out, "--open")
    assert (answer.exit_code, answer.stdout.strip()) == (0, str(out / "report.html"))
    assert all((out / name).is_file() for name in REPORTS)
    assert opened == [(out / "report.html").absolute().as_uri()]
    assert people_in(out) == {"person 2"}


def test_people_have_names_only_where_they_are_asked_for(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enrolled = [Person(PEOPLE[1], "Alice", ())]
    monkeypatch.setattr(Library, "people", lambda self: enrolled)
    run("report", out)
    assert people_in(out) == {"person 2"}
    run("report", out, "--write-names")
    assert people_in(out) == {"Alice"}
    enrolled[:] = [Person("0123", "Alicia", (), formerly=(PEOPLE[1],))]
    run("report", out, "--write-names")
    assert people_in(out) == {"Alicia"}, "who was merged into her is her"


def test_a_folder_without_a_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    answer = run("report", tmp_path)
    assert answer.exit_code == 2
    assert "no journal" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_a_report_and_one_that_cannot_go_on_does_not(out: Path) -> None:
    with open_journal(out) as journal:
        for stop, leaves in ((CannotGoOnError("full"), False), (KeyboardInterrupt(), True)):
            with (
                pytest.raises(type(stop)),
                leaving_report(journal, [], single_file=False, write_names=False),
            ):
                raise stop
            assert (out / "report.html").exists() == leaves


def test_photos_left_alone_are_in_the_report(out: Path) -> None:
    with (
        open_journal(out) as journal,
        leaving_report(journal, [], single_file=False, write_names=False) as leave_alone,
    ):
        leave_alone(out / "theirs.png", Path("/in/theirs.png"), "it was not made by dmd")
    last = json.loads((out / "report.jsonl").read_text().splitlines()[-1])
    assert (last["place"], last["status"]) == ("theirs.png", "skipped")
    assert last["reason"] == "it was not made by dmd; it stays as it is"


def test_what_cannot_be_reported_is_said_before_the_work(out: Path) -> None:
    outputs = [out / f"{number}.png" for number in range(197)]
    with open_journal(out) as journal:
        with (
            pytest.raises(UsageError, match="there are 201"),
            leaving_report(journal, outputs, single_file=True, write_names=False),
        ):
            pytest.fail("the run began")
        (out / "report.csv").write_text("mine")
        with (
            pytest.raises(UsageError, match=r"report\.csv was not made by dmd"),
            leaving_report(journal, outputs, single_file=False, write_names=False),
        ):
            pytest.fail("the run began")


@pytest.mark.slow
def test_restore_leaves_a_report_unless_told_not_to(tmp_path: Path) -> None:
    Image.new("L", (40, 30), 128).save(tmp_path / "blank.png")
    quiet = ("restore", tmp_path / "blank.png", "--kit", "embedded", "-q")
    for name, arguments in (("no", ["--no-report"]), ("dry", ["--dry-run"]), ("yes", ["--single-file"])):
        answer = run(*quiet, "--out", tmp_path / name, *arguments)
        assert answer.exit_code == 0, answer.output
        assert [(tmp_path / name / file).exists() for file in REPORTS] == [name == "yes"] * 3
    assert str(tmp_path / "yes" / "report.html") in answer.stdout
