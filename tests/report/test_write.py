"""The three files of a report, made of journals of photos that never were."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmdcli.errors import UsageError
from dmdcli.journal import Journal
from dmdcli.places import PICTURES, find_photos
from dmdcli.report.facts import COLUMNS, STOPPED, table_rows
from dmdcli.report.roll import Roll
from dmdcli.report.write import MOST_IN_ONE_FILE, Told, write_report
from dmdcli.report_files import REPORTS, pictures_of
from tests.report.made_up import EVIL, PEOPLE, made_up_journal, row_of

RECORDS = re.compile(r'<script type="application/json" id="records">(.*?)</script>', re.DOTALL)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with made_up_journal(tmp_path / "out", 30) as made_up:
        yield made_up


def shown(journal: Journal) -> dict[str, Any]:
    """What report.html holds, as a browser would take it."""
    found = RECORDS.findall((journal.out / "report.html").read_text(encoding="utf-8"))
    assert len(found) == 1
    records: dict[str, Any] = json.loads(found[0])
    return records


def lines(journal: Journal) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (journal.out / "report.jsonl").read_text(encoding="utf-8").splitlines()]


def table(journal: Journal) -> list[dict[str, str]]:
    with (journal.out / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_three_files_hold_the_same_facts(journal: Journal) -> None:
    assert write_report(journal) == journal.out / "report.html"
    photos, rows = lines(journal), table(journal)
    assert len(photos) == 30
    assert {one["schema"] for one in photos} == {1}
    assert [{**one, "schema": 1, "photo": f"/in/{one['place']}"} for one in shown(journal)["photos"]] == photos
    assert len(rows) == sum(max(1, len(one["faces"])) for one in photos)
    assert list(rows[0]) == list(COLUMNS)
    photo = next(one for one in photos if "album" in one["place"] and one["faces"] and one["faces"][0]["person"])
    face, row = photo["faces"][0], next(one for one in rows if one["place"] == photo["place"])
    assert (row["person"], row["used"], row["face"]) == (face["person"], face["used"], str(face["number"]))
    assert [one["number"] for one in photo["faces"]] == list(range(1, len(photo["faces"]) + 1))
    assert float(row["similarity_specific"]) == face["answers"]["specific"]["similarity"]
    assert {one["status"] for one in photos} == {"restored", "untouched", "failed"}
    assert shown(journal)["overview"]["settings"][0] == {"strength": 1.0}


def test_photos_come_in_the_order_of_people(journal: Journal) -> None:
    write_report(journal)
    album = [one["place"] for one in lines(journal) if one["place"].startswith("album 0/")]
    assert album == [f"album 0/photo {number}.jpg" for number in range(10, 30)]


def test_names_of_files_stay_text_whatever_is_in_them(journal: Journal) -> None:
    write_report(journal)
    page = (journal.out / "report.html").read_bytes()
    assert page.count(b"</script>") == 2
    assert b"<img src=x" not in page
    assert b"/in/" not in page, "folders of this computer are nobody else's business"
    assert {one["place"] for one in lines(journal)} >= set(EVIL)
    assert {one["place"] for one in shown(journal)["photos"]} >= set(EVIL)
    assert b"{RECORDS}" in page
    assert b"http:" not in page.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https:" not in page


def test_no_cell_of_the_table_is_a_formula(journal: Journal) -> None:
    for number, place in enumerate(("=1+1.jpg", "+1.jpg", "-1.jpg", "@SUM(1).jpg", "\tx.jpg")):
        journal.write(replace(row_of(number + 1), place=place, result="failed", reason="=2", faces=()))
    write_report(journal)
    cells = [cell for row in table(journal) for cell in row.values()]
    assert "'=1+1.jpg" in cells
    assert "'=2" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_people_are_numbered_unless_names_are_wanted(journal: Journal) -> None:
    write_report(journal)
    text = "".join((journal.out / name).read_text(encoding="utf-8") for name in REPORTS)
    assert {face["person"] for one in lines(journal) for face in one["faces"]} == {None} | {
        f"person {number}" for number in (1, 2, 3)
    }
    assert not [person for person in PEOPLE if person in text]
    write_report(journal, Told(names={PEOPLE[0]: "Alice <b>"}))
    people = {face["person"] for one in lines(journal) for face in one["faces"]}
    assert people == {None, "Alice <b>", "person 2", "person 3"}
    assert "Alice <b>" not in (journal.out / "report.html").read_text(encoding="utf-8")


def test_pictures_no_longer_in_use_are_removed_and_nothing_else(journal: Journal) -> None:
    folder = journal.out / PICTURES
    left, result = (folder / "ff" / f"{number:030x}.jpg" for number in (0, 1))
    foreign = [folder / "mine.jpg", folder / "ff" / "mine.jpg", result]
    journal.write(row_of(0, place=result.relative_to(journal.out).as_posix()))
    left.parent.mkdir()
    for path in (left, *foreign, left.with_name(".dmd-0123456789ab.part"), journal.out / ".dmd-ba9876543210.part"):
        path.write_bytes(b"x")
    row = journal.row("album 0/photo 13.jpg")
    assert row is not None
    gone = next(iter(pictures_of(row.faces[0].account)))
    (folder / gone).unlink()
    write_report(journal)
    assert all(path.exists() for path in foreign)
    assert not left.exists()
    assert not list(journal.out.rglob("*.part"))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("??/*.jpg")}
    there -= {path.relative_to(folder).as_posix() for path in foreign}
    spoken_of = {name for one in lines(journal) for face in one["faces"] for name in face["pictures"].values()}
    spoken_of |= {name for one in lines(journal) for name in one["pictures"].values()}
    assert spoken_of == there
    assert gone not in there, "what is not there is not spoken of"


def test_one_file_holds_everything(journal: Journal) -> None:
    write_report(journal, Told(single_file=True))
    records = shown(journal)
    used = {name for one in records["photos"] for face in one["faces"] for name in face["pictures"].values()}
    assert used <= set(records["pictures"])
    assert all(address.startswith("data:image/jpeg;base64,/9j/") for address in records["pictures"].values())


def test_too_many_photos_for_one_file_are_refused(tmp_path: Path) -> None:
    with (
        made_up_journal(tmp_path, MOST_IN_ONE_FILE + 1, pictures=False) as journal,
        pytest.raises(UsageError, match="for up to 200 photos, and there are 201"),
    ):
        write_report(journal, Told(single_file=True))
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("name", list(REPORTS))
def test_a_file_of_somebody_else_is_not_replaced(journal: Journal, name: str) -> None:
    write_report(journal)
    write_report(journal)
    (journal.out / name).write_text("Dear grandmother")
    with pytest.raises(UsageError, match="was not made by dmd"):
        write_report(journal)
    assert (journal.out / name).read_text() == "Dear grandmother"


def test_photos_that_were_skipped_or_being_written_are_told_of(journal: Journal) -> None:
    journal.write(replace(row_of(1), place="half.jpg", finished=None))
    skipped = {
        "theirs.jpg": (Path("/in/theirs.jpg"), "it was not made by dmd"),
        "album 0/photo 12.jpg": (Path("/in/12.jpg"), "it was changed since it was made"),
    }
    with closing(Roll()) as roll:
        for place, (photo, reason) in skipped.items():
            roll.leave_alone(place, photo, reason)
        write_report(journal, roll=roll)
    told = {one["place"]: (one["status"], one["reason"]) for one in lines(journal)}
    assert told["half.jpg"] == ("failed", STOPPED)
    assert {place: told[place] for place in skipped} == {
        place: ("skipped", reason) for place, (_, reason) in skipped.items()
    }


@pytest.mark.parametrize("result", ["album/a.png", "album/a.tif.png"])
def test_the_original_is_named_as_decisions_name_it(tmp_path: Path, result: str) -> None:
    with made_up_journal(tmp_path, 1) as journal:
        journal.write(replace(row_of(2), place=result, photo=Path("/in/album/a.tif")))
        write_report(journal)
        assert [one["original"] for one in lines(journal) if one["place"] == result] == ["album/a.tif"]
        assert {one["original"] == one["place"] for one in lines(journal) if one["place"] != result} == {True}


def test_a_journal_without_accounts_has_a_report_too(tmp_path: Path) -> None:
    with made_up_journal(tmp_path, 0) as journal:
        row = row_of(2)
        journal.write(replace(row, faces=tuple(replace(face, account={}) for face in row.faces)))
        write_report(journal)
        (photo,) = lines(journal)
    assert photo["size"] is None
    assert {len(row) for row in table_rows(photo)} == {len(COLUMNS)}


def test_the_pictures_of_a_report_are_not_taken_for_photos(journal: Journal, tmp_path: Path) -> None:
    write_report(journal)
    (journal.out / "a.jpg").touch()
    assert [file.path.name for file in find_photos([tmp_path])] == ["a.jpg"]
    (journal.out / "report.html").unlink()
    assert len(find_photos([tmp_path])) > 1, "a folder of that name is one like any other"
