"""The commands with a page: what they say, what they refuse, and that Ctrl-C and Finish end them well."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dmdcli.cli import check as check_verb
from dmdcli.cli import pages, people_edit, review
from dmdcli.cli.main import app
from dmdcli.decisions import Decision
from dmdcli.faces.finder import FaceFinder
from dmdcli.journal import open_journal
from dmdcli.library import Library, NewReference
from dmdcli.page import server
from dmdcli.page.desk import Desk
from dmdcli.photos import read_photo
from dmdcli.pipeline.restore import restore
from tests.page.album import LEFT, AlbumKit, add_photo, people_of, shifted, told_confidence  # noqa: F401
from tests.page.test_result_desk import OPTIONS, Both

KIT = AlbumKit({100: [LEFT], 140: [LEFT]})


class Network:
    """Is not asked for anything here."""

    device = "cpu"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, grey in (("a.png", 100), ("b.png", 140)):
        add_photo(tmp_path / "in", name, grey)
    return tmp_path / "in"


@pytest.fixture(autouse=True)
def told_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    for verb in (check_verb, people_edit, review):
        monkeypatch.setattr(verb, "build_finder", lambda *_, **__: FaceFinder(KIT))
    monkeypatch.setattr(pages, "build_restorer", lambda *_: Network())


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command; `there` does what somebody would do on the page, and Finish is pressed, or Ctrl-C."""

    def run(*arguments: object, there: Callable[[Desk], None] = lambda _: None, interrupted: bool = False) -> Result:
        class Page:
            port, address = 40123, "http://127.0.0.1:40123/open/once"

            def __init__(self, desk: Desk) -> None:
                self.desk = desk

            def wait(self) -> None:
                there(self.desk)
                if interrupted:
                    raise KeyboardInterrupt

        @contextmanager
        def serving(desk: Desk) -> Iterator[Page]:
            yield Page(desk)

        monkeypatch.setattr(server, "serving", serving)
        return CliRunner().invoke(app, [*map(str, arguments), "--no-open"], prog_name="dmd")

    return run


@pytest.mark.parametrize("interrupted", [False, True])
def test_check_edit_ends_with_what_was_decided(
    photos: Path, own_home: Path, visit: Callable[..., Result], interrupted: bool
) -> None:
    def there(desk: Desk) -> None:
        desk.wait()  # type: ignore[attr-defined]
        one, other = (line.id for line in sorted(desk.summaries(0)[1], key=lambda line: line.photo))
        desk.save(one, Decision(landmarks=shifted(desk.detail(one).landmarks, 4)))
        desk.save(other, Decision(accepted=True))

    result = visit("check", "--edit", photos, there=there, interrupted=interrupted)
    assert result.exit_code == 0, result.output
    assert "The page: http://127.0.0.1:40123/open/once" in result.stderr
    kept = own_home / "library" / "corrections"
    assert result.stdout == (
        # the other face was doubtful: it was accepted as it was found, which is no correction
        f"1 face corrected, 1 accepted. They are kept in {kept}, and used by restore, enroll and check from now on.\n"
    )
    assert len(list(kept.iterdir())) == 2
    again = visit("check", "--edit", photos)
    assert again.stdout == "Nothing was decided, and nothing was changed.\n"


def test_a_photo_that_cannot_be_read_is_named_at_the_end(photos: Path, visit: Callable[..., Result]) -> None:
    (photos / "broken.jpg").write_bytes(b"")
    result = visit("check", "--edit", photos, there=lambda desk: desk.wait())  # type: ignore[attr-defined]
    assert (result.exit_code, "broken.jpg: is empty" in result.stderr) == (0, True)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--edit", "--json"], "--json does not go with --edit"),
        (["--edit", "--strict"], "--strict does not go with --edit"),
        (["--edit", "--out", "out"], "--out does not go with --edit"),
        (["--model", "base"], "--model is about the page of --edit"),
        (["--no-open"], "--no-open is about the page of --edit"),
    ],
)
def test_options_that_do_not_go_together_are_refused(photos: Path, options: list[str], named: str) -> None:
    result = CliRunner().invoke(app, ["check", *options, str(photos)], prog_name="dmd")
    assert result.exit_code == 2
    assert named in result.stderr


def test_people_edit_puts_references_right(photos: Path, own_home: Path, visit: Callable[..., Result]) -> None:
    library = Library(own_home / "library")
    (face,) = FaceFinder(KIT).find(read_photo(photos / "a.png").pixels)
    library.add_references("Alice", [NewReference(face.pixels, face.landmarks.points, photos / "a.png", 0.5, "0" * 64)])

    def there(desk: Desk) -> None:
        (line,) = desk.summaries(0)[1]
        desk.save(line.id, Decision(landmarks=shifted(desk.detail(line.id).landmarks, 4)))

    result = visit("people", "edit", "alice", there=there)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("1 reference corrected. ")
    moved = library.references(library.person("Alice"))[1][0] - face.landmarks.points
    np.testing.assert_allclose(moved, np.tile((4, 0), (68, 1)), atol=0.02)
    assert visit("people", "edit", "Bob").exit_code == 2


def test_a_reference_that_was_removed_is_not_said_to_be_kept(
    photos: Path, own_home: Path, visit: Callable[..., Result]
) -> None:
    (face,) = FaceFinder(KIT).find(read_photo(photos / "a.png").pixels)
    added = [
        NewReference(face.pixels, face.landmarks.points, photos / "a.png", 0.5, letter * 64) for letter in ("0", "1")
    ]
    Library(own_home / "library").add_references("Alice", added)

    def there(desk: Desk) -> None:
        desk.save(desk.summaries(0)[1][0].id, Decision(not_a_face=True))

    assert visit("people", "edit", "Alice", there=there).stdout == "1 reference removed.\n"


def test_review_says_how_many_photos_are_made_again_and_how(photos: Path, visit: Callable[..., Result]) -> None:
    out = photos.parent / "out"
    files = [add_photo(photos, name, grey) for name, grey in (("a.png", 100), ("b.png", 140))]
    with open_journal(out) as journal:
        outputs = [out / file.relative for file in files]
        list(restore(zip(files, outputs, strict=True), FaceFinder(KIT), Both(), people_of(), journal, OPTIONS))

    def there(desk: Desk) -> None:
        desk.save("p1f1", Decision(strength=0.5))
        desk.save("p2f1", Decision(accepted=True))

    result = visit("review", out, there=there, interrupted=True)
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first.startswith("1 face given a strength, 1 accepted.")
    assert re.fullmatch(rf"1 photo will be made again, and no other, when the .* that wrote {out} is .*", second)
    assert len(visit("review", out).stdout.splitlines()) == 1


def test_review_wants_a_folder_with_faces(photos: Path, visit: Callable[..., Result]) -> None:
    result = visit("review", photos)
    assert (result.exit_code, "no journal" in result.stderr) == (2, True)
    with open_journal(photos.parent / "out"):
        pass
    result = visit("review", photos.parent / "out")
    assert (result.exit_code, "nothing to review" in result.stderr) == (2, True)


def test_a_network_that_is_not_there_is_said_and_all_else_works(
    photos: Path, visit: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmdcli.errors import WeightsMissingError

    def missing(*_: object) -> None:
        raise WeightsMissingError("Bring it with: dmd models fetch dmdnet")

    monkeypatch.setattr(pages, "build_restorer", missing)

    def there(desk: Desk) -> None:
        desk.wait()  # type: ignore[attr-defined]
        face = desk.summaries(0)[1][0].id
        with pytest.raises(WeightsMissingError, match="models fetch"):
            desk.preview(face, Decision())
        desk.save(face, Decision(accepted=True))

    result = visit("check", "--edit", photos, there=there)
    assert result.exit_code == 0
    assert "There are no previews: Bring it with" in result.stderr
    assert "1 face accepted" in result.stdout
