"""Somebody forgotten in output folders: what is gone to the last byte, what stays, what the next run makes of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from dmdcli import errors
from dmdcli.decisions import read_decisions
from dmdcli.journal import Likeness, PhotoRow, digest_of, open_journal
from dmdcli.journal_file import journal_path
from dmdcli.journal_forgetting import NOBODY
from dmdcli.library import Library
from dmdcli.library_exchange import export_people, import_people, merge_people
from dmdcli.pipeline.forget import without_person
from dmdcli.pipeline.standing import Circumstances, Enrolled, Standing, judge
from dmdcli.report_files import REPORTS
from tests.pipeline.made_up_output import PICTURES, forget, make_output, with_bytes
from tests.references import reference


@pytest.fixture
def library() -> Library:
    library = Library(Path(os.environ["DMD_HOME"]))
    library.add_references("Alice", [reference(1)])
    library.add_references("Bob", [reference(2)])
    return library


@pytest.fixture
def out(library: Library, tmp_path: Path) -> Path:
    return make_output(tmp_path / "out", library.person("Alice").id, library.person("Bob").id)


def test_not_a_byte_of_the_id_is_left_and_of_others_everything(library: Library, out: Path) -> None:
    alice, bob = library.person("Alice").id, library.person("Bob").id
    assert with_bytes(out, alice)
    with open_journal(out) as journal:
        before = journal.row("bob.jpg")
    answer = forget("alice", "--outputs", out)
    assert answer.exit_code == 0, answer.output
    assert with_bytes(out, alice) == []
    assert with_bytes(library.home, alice) == []
    with open_journal(out) as journal:
        row, after, stranger = (journal.row(name) for name in ("both.jpg", "bob.jpg", "stranger.jpg"))
        settings = journal.settings(row.settings if row else None)
    assert row is not None
    assert stranger is not None
    assert before is not None
    of_bob, of_alice = row.faces
    assert of_alice.match == Likeness(NOBODY, NOBODY, 0.0)
    assert (of_alice.account, of_alice.reason, of_alice.after) == ({}, (), None)
    assert of_bob.match == Likeness(bob, f"version of {bob}", 0.9)
    assert of_bob.account == {"pictures": {"a": PICTURES["bob"]}, "photo": {"size": [9, 8]}}
    assert after == replace(before, faces=(replace(before.faces[0], reason=()),))
    assert stranger.faces[0].near == ()
    assert (set(settings["person"]), settings["strength"]) == ({NOBODY, bob}, 1.0)  # type: ignore[call-overload]


def test_pictures_and_reports_go_and_what_stays_is_said(library: Library, out: Path) -> None:
    answer = forget("Alice", "--outputs", out, "-v")
    left = {path.relative_to(out / "report_files").as_posix() for path in (out / "report_files").rglob("*.jpg")}
    assert left == {PICTURES["bob"], PICTURES["bob's photo"]}
    listed = set(answer.stdout.splitlines())
    assert str(out / "report.html") in listed
    said = " ".join(answer.stderr.split())
    assert "results that show the restored face and stay: 1." in said
    assert f"{out / 'both.jpg'}: Alice is in it." in answer.stdout
    assert "Not reached: backups, exports, decisions in other files" in said
    assert (out / "both.jpg").is_file()


def test_the_report_is_written_again_at_once(library: Library, out: Path) -> None:
    assert with_bytes(out, '"Alice"')
    answer = forget("Alice", "--outputs", out)
    assert "are written again; people are numbered" in " ".join(answer.stderr.split())
    told = {one["place"]: one for one in map(json.loads, (out / "report.jsonl").read_text().splitlines())}
    bob, alice = (one["person"] for one in told["both.jpg"]["faces"])
    assert bob in ("person 1", "person 2"), "numbers are given in the order of ids"
    assert alice == "somebody forgotten"
    assert told["both.jpg"]["faces"][0]["pictures"] == {"a": PICTURES["bob"]}
    assert told["both.jpg"]["faces"][1]["pictures"] == {}
    assert not [name for name in REPORTS if b"Alice" in (out / name).read_bytes()]


def test_without_a_report_none_is_written(library: Library, out: Path) -> None:
    for name in REPORTS:
        (out / name).unlink()
    forget("Alice", "--outputs", out)
    assert not list(out.glob("report.*"))


THEIRS = {
    "report.html": "<html>how we restored the album",
    "report.jsonl": '{"schema":"mine"}',
    "report.csv": "id,photo,title\n1,a.jpg,grandmother\n",
}


def test_files_of_somebody_else_stay_whatever_they_are_called(library: Library, out: Path) -> None:
    (out / "report_files" / "aa").mkdir()
    (out / "report_files" / "aa" / "aunt.jpg").write_bytes(b"aunt")
    (out / "report_files" / "ff").mkdir()
    result = out / "report_files" / "ff" / f"{0:030x}.jpg"
    result.write_bytes(b"restored")
    with open_journal(out) as journal:
        journal.write(PhotoRow(result.relative_to(out).as_posix(), out / "a.jpg", "restored", finished="2024-01-01"))
    (out / "report.jsonl").write_text(THEIRS["report.jsonl"])
    answer = forget("Alice", "--outputs", out)
    assert answer.exit_code == 0, answer.output
    assert not (out / "report.csv").exists()
    assert f"`dmd report {out}` writes the report again" in " ".join(answer.stderr.split())
    for name, text in THEIRS.items():
        (out / name).write_text(text)
    forget("Bob", "--outputs", out)
    assert {name: (out / name).read_text() for name in THEIRS} == THEIRS
    assert (out / "report_files" / "aa" / "aunt.jpg").is_file()
    assert result.is_file()


def test_what_was_left_half_written_goes(library: Library, out: Path) -> None:
    """Of a report, of its pictures, and of the result of a photo that shows the person."""
    with open_journal(out) as journal:
        row = journal.row("both.jpg")
        assert row is not None
        journal.write(replace(row, place="below/both.jpg", finished=None))
    (out / "below").mkdir()
    for folder in (out, out / "report_files" / "00", out / "below"):
        (folder / ".dmd-0123456789ab.part").write_bytes(b"Alice")
    forget("Alice", "--outputs", out)
    assert not list(out.rglob("*.part"))


def test_the_next_run_takes_the_photo_for_one_of_somebody_forgotten(library: Library, out: Path) -> None:
    forget("Alice", "--outputs", out)
    bob = library.person("Bob").id
    standing = standing_of(out, {"Bob": Enrolled(bob, f"version of {bob}", 1)})
    assert (standing.verdict, standing.reason) == ("stale", "somebody it shows was forgotten")
    assert standing.ours == digest_of(out / "both.jpg"), "it may be replaced"


def standing_of(out: Path, enrolled: Mapping[str, Enrolled]) -> Standing:
    """What the next run would say of the photo of both."""
    photo, result = out / "in" / "both.jpg", out / "both.jpg"
    photo.parent.mkdir()
    photo.write_bytes(b"photo")
    with open_journal(out) as journal:
        row = journal.row("both.jpg")
        assert row is not None
        digests = {"input_digest": digest_of(photo), "output_digest": digest_of(result)}
        journal.write(replace(row, **digests, weights="", kit=""))
        known = journal.number_people([one.id for one in enrolled.values()])
        today = Circumstances({}, str(row.settings), "", "", enrolled, known)
        return judge(journal, photo, result, today, overwrite=False, only_restored=False)


def test_somebody_merged_is_forgotten_under_all_ids(library: Library, out: Path, tmp_path: Path) -> None:
    """Bob turns out to be Alice; a photo restored before knows him by the id that is gone."""
    alice, bob = library.person("Alice").id, library.person("Bob").id
    carol = library.add_references("Carol", [reference(3)]).id
    other = make_output(tmp_path / "other", carol, bob)
    merge_people(library, "Alice", "Bob")
    assert forget("Carol", "--gone", "--outputs", other).exit_code == 0
    assert with_bytes(other, bob), "nobody is gone who was merged"
    answer = forget("Alice", "--outputs", out)
    assert answer.exit_code == 0, answer.output
    assert (with_bytes(out, alice), with_bytes(out, bob)) == ([], [])
    assert not list((out / "report_files").rglob("*.jpg"))


def test_whoever_is_enrolled_under_a_former_id_is_not_forgotten(library: Library, out: Path, tmp_path: Path) -> None:
    """After a merge an export of before may be imported again."""
    bob = library.person("Bob").id
    export_people(library, [library.person("Bob")], tmp_path / "bob.zip")
    merge_people(library, "Alice", "Bob")
    import_people(library, tmp_path / "bob.zip")
    assert forget("Alice", "--outputs", out).exit_code == 0
    assert with_bytes(out, bob)


def test_after_a_merge_photos_are_stale_for_other_references(library: Library, out: Path) -> None:
    alice = library.person("Alice").id
    merged, _ = merge_people(library, "Alice", "Bob")
    enrolled = {"Alice": Enrolled(alice, library.version(merged), 2, merged.formerly)}
    standing = standing_of(out, enrolled)
    assert (standing.verdict, standing.reason) == ("stale", "other references of Alice")


def test_a_long_journal_keeps_no_copy_either(library: Library, tmp_path: Path) -> None:
    """Rows that SQLite moves between pages leave copies; 80 photos fill many."""
    alice, bob = library.person("Alice").id, library.person("Bob").id
    out = make_output(tmp_path / "long", alice, bob, photos=80)
    assert forget("Alice", "--outputs", out).exit_code == 0
    assert with_bytes(out, alice) == []


def test_all_folders_are_looked_at_before_anything_is_removed(library: Library, out: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    damaged = tmp_path / "damaged"
    journal_path(damaged).parent.mkdir(parents=True)
    journal_path(damaged).write_bytes(b"no journal")
    refused = {
        tmp_path / "other": (errors.EXIT_USAGE, "no folder that `dmd restore` wrote to"),
        tmp_path / "missing": (errors.EXIT_USAGE, "There is no folder"),
        damaged: (errors.EXIT_INTEGRITY, "is damaged"),
    }
    for folder, (code, said) in refused.items():
        answer = forget("Alice", "--outputs", out, "--outputs", folder)
        assert (answer.exit_code, said in answer.stderr) == (code, True), answer.output
    assert forget("Alice", "--outputs", out, yes=False).exit_code == errors.EXIT_USAGE
    assert {path: path.read_bytes() for path in before} == before
    assert not (tmp_path / "missing").exists()
    assert len(library.people()) == 2
    assert forget("Alice", "--outputs", out, "--outputs", out / ".." / "out").exit_code == 0


def test_a_folder_in_which_a_run_is_going_on_is_left(library: Library, out: Path) -> None:
    with open_journal(out):
        answer = forget("Alice", "--outputs", out)
    assert answer.exit_code == errors.EXIT_CANNOT_GO_ON
    assert "Another dmd is at work in" in answer.stderr
    assert len(library.people()) == 2


def test_damaged_journals_that_were_put_aside_are_searched(library: Library, out: Path) -> None:
    alice = library.person("Alice").id
    copy, other = (journal_path(out).with_name(f"journal-damaged-{number}.sqlite") for number in (1, 2))
    copy.write_bytes(b"half of a journal " + alice.encode())
    other.write_bytes(b"half of another")
    answer = forget("Alice", "--outputs", out)
    assert answer.exit_code == 0
    assert f"{copy} still holds the id" in answer.stderr
    assert str(other) not in answer.stderr


def test_who_was_forgotten_before_is_found_as_no_longer_enrolled(library: Library, out: Path) -> None:
    alice, bob = library.person("Alice").id, library.person("Bob").id
    assert forget("Alice").exit_code == 0
    answer = forget("Alice", "--outputs", out)
    assert answer.exit_code == errors.EXIT_USAGE
    assert "--gone forgets everybody" in answer.stderr
    assert with_bytes(out, alice)
    assert forget("Alice", "--gone").exit_code == errors.EXIT_USAGE
    answer = forget("Alice", "--outputs", out, "--gone", yes=False)
    assert "1 person no longer enrolled, all that is known in 1 output folder" in answer.stderr
    assert forget("Alice", "--outputs", out, "--gone").exit_code == 0
    assert with_bytes(out, alice) == []
    assert with_bytes(out, bob)
    assert [one.name for one in library.people()] == ["Bob"]


DECISIONS = """# The wedding, decided with grandmother
format = 1

[[photo]]
place = "wedding.jpg"
# Alice is the bride
[[photo.face]]
box = [1.0, 2.0, 30.0, 40.0]
person = "ALICE"
strength = 0.5

# the groom
[[photo.face]]
number = 2
person = 'Bob'

[[photo]]
sha256 = "aa"
[[photo.face]]
number = 1
person = "Al\\u0069ce"

[[ photo ]]
place = "Alice/portrait.jpg"  # kept
  [[ photo.face ]]
  number = 1
  leave_alone = true
"""


def test_decisions_about_the_person_go_and_all_else_stays(library: Library, out: Path) -> None:
    (out / "decisions.toml").write_text(DECISIONS, encoding="utf-8")
    answer = forget("alice", "--outputs", out)
    assert answer.exit_code == 0
    lines = DECISIONS.splitlines(keepends=True)
    first, second, third, last = (lines.index(one) for one in (
        "# Alice is the bride\n", "# the groom\n", 'sha256 = "aa"\n', "[[ photo ]]\n"
    ))  # fmt: skip
    kept = [*lines[:first], "\n", *lines[second : third - 1], "\n", *lines[last:]]
    assert (out / "decisions.toml").read_text(encoding="utf-8") == "".join(kept)
    assert str(out / "decisions.toml") in answer.stdout
    assert f"{out / 'decisions.toml'} still holds the name" in answer.stderr


@pytest.mark.parametrize(
    "said", ['"person" = "Alice"', 'person = "Ali\\U00000063e"', 'person = """Alice"""', "person = ' alice  '"]
)
def test_decisions_go_however_the_name_is_written(library: Library, out: Path, said: str) -> None:
    head = 'format = 1\n[[photo]]\nplace = "a"\n[[photo.face]]\nnumber = 1\nstranger = true\n'
    text = f"{head}[[photo.face]]\nnumber = 1\n{said}\n"
    (out / "decisions.toml").write_text(text)
    assert [one.person for one in read_decisions(out / "decisions.toml")][1].casefold() == "alice"  # type: ignore[union-attr]
    answer = forget("Alice", "--outputs", out)
    assert (out / "decisions.toml").read_text() == head
    assert "still holds" not in answer.stderr


@pytest.mark.parametrize("name", ["Alice", "ALI\\u0043E"])
def test_decisions_that_cannot_be_cut_out_are_told_of(library: Library, out: Path, name: str) -> None:
    faces = f'{{number = 1, person = "Bob"}}, {{number = 2, person = "{name}"}}'
    text = f'format = 1\n[[photo]]\nplace = "a"\nface = [{faces}]\n'
    (out / "decisions.toml").write_text(text)
    answer = forget("Alice", "--outputs", out)
    assert answer.exit_code == 0
    assert (out / "decisions.toml").read_text() == text
    assert f"{out / 'decisions.toml'} still holds decisions about them" in " ".join(answer.stderr.split())


def test_decisions_without_the_person_are_not_touched(library: Library, out: Path) -> None:
    for text in (
        "",
        "format = 1\n",
        "no TOML [[",
        'format = 1\n[[photo]]\nplace = "a"\n',
        "[[photo.face]]\nperson = 3",
    ):
        (out / "decisions.toml").write_text(text)
        assert without_person(text, "Alice") == text
    assert str(out / "decisions.toml") not in forget("Alice", "--outputs", out).stdout


def test_without_output_folders_it_says_that_there_may_be_some(library: Library) -> None:
    assert "--outputs DIR clears them" in forget("Alice").stderr
