"""What the journal tells of photos that were renamed or moved: from digests alone, and from what is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import dmdcli.journal
from dmdcli.journal import Journal, PhotoRow, now, open_journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    (tmp_path / "in").mkdir()
    with open_journal(tmp_path / "out") as opened:
        yield opened


def write(journal: Journal, place: str, digest: str | None, *, photo: bool = True, result: bool = True) -> None:
    """A photo that was restored. photo, result: whether it, and its result, is there still."""
    root = journal.out.parent / "in"
    journal.write(PhotoRow(place, root / place, "untouched", digest, output_digest="0" * 64, finished=now()))
    for folder, is_there in ((root, photo), (journal.out, result)):
        if is_there:
            (folder / place).parent.mkdir(exist_ok=True)
            (folder / place).write_bytes(b"")


def found(journal: Journal) -> set[tuple[str, str]]:
    return {(one.place, one.now) for one in journal.renames.results()}


def test_a_result_under_an_earlier_name_is_found_without_reading_a_file(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(journal, "old name.jpg", "a", photo=False)
    write(journal, "1950s/new name.jpg", "a")
    write(journal, "removed.jpg", "b", photo=False)
    write(journal, "another.jpg", "c")
    write(journal, "failed.jpg", None, photo=False)
    write(journal, "names \udcff.jpg", "d", photo=False)
    write(journal, "names.jpg", "d")
    monkeypatch.setattr(dmdcli.journal, "digest_of", lambda path: pytest.fail(f"{path} was read"))
    assert found(journal) == {("old name.jpg", "1950s/new name.jpg"), ("names \udcff.jpg", "names.jpg")}


def test_copies_that_are_there_were_not_renamed(journal: Journal) -> None:
    for number in range(3):
        write(journal, f"copy {number}.jpg", "a")
    assert found(journal) == set()


def test_a_photo_that_is_nowhere_any_more_was_not_renamed(journal: Journal) -> None:
    for number in range(2):
        write(journal, f"gone {number}.jpg", "a", photo=False)
    assert found(journal) == set()


def test_a_result_that_is_not_finished_takes_no_name_over(journal: Journal) -> None:
    write(journal, "old.jpg", "a", photo=False)
    write(journal, "new.jpg", "a")
    journal.fail("new.jpg", journal.out.parent / "in" / "new.jpg", "it cannot be read")
    assert found(journal) == set()


def test_where_the_folder_of_a_photo_is_away_nothing_is_known_of_it(journal: Journal, tmp_path: Path) -> None:
    write(journal, "album/new.jpg", "a")
    away = tmp_path / "disk" / "album" / "old.jpg"
    journal.write(PhotoRow("album/old.jpg", away, "untouched", "a", output_digest="0" * 64, finished=now()))
    (journal.out / "album" / "old.jpg").write_bytes(b"")
    assert found(journal) == set()
    away.parents[1].mkdir()
    assert found(journal) == {("album/old.jpg", "album/new.jpg")}, "the album went, the disk is there"


def test_only_names_without_photo_and_result_are_forgotten(journal: Journal) -> None:
    write(journal, "neither.jpg", "a", photo=False, result=False)
    write(journal, "result.jpg", "a", photo=False)
    write(journal, "photo.jpg", "a", result=False)
    write(journal, "both.jpg", "a")
    write(journal, "alone.jpg", "b", photo=False, result=False)
    journal.renames.forget_removed()
    assert set(journal.places()) == {"result.jpg", "photo.jpg", "both.jpg", "alone.jpg"}
