"""A run remembers nothing of each photo, and loads networks only when a photo needs them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dmdcli.cli.build import build_finder, build_late_restorer, build_restorer
from dmdcli.cli.console import Kit, Terminal
from dmdcli.cli.late import Late, LateKit, LateRestorer
from dmdcli.cli.restored import MOST_ROWS, Lines
from dmdcli.cli.tally import Tally
from dmdcli.errors import WeightsMissingError
from dmdcli.faces import embedded
from dmdcli.journal import open_journal
from dmdcli.pipeline.outcome import Cost, RestoredFace, RestoredPhoto
from dmdcli.report.roll import Roll

MATRIX = np.eye(2, 3, dtype=np.float32)
HEAVY = ("torch", "dlib", "scipy", "face_recognition_models")


def photo(number: int, **changes: object) -> RestoredPhoto:
    path = Path(f"/in/{number}.jpg")
    fields: dict[str, object] = {"photo": path, "output": path, "status": "untouched", "seconds": 1.0, **changes}
    return RestoredPhoto(**fields)  # type: ignore[arg-type]


def face(person: str | None = None) -> RestoredFace:
    similarity = None if person is None else 0.9
    return RestoredFace((0.0, 0.0, 9.0, 9.0), MATRIX, person, similarity, "specific", assigned_by="recognition")


def table_of(photos: list[RestoredPhoto], capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = Lines(None)
    for number, one in enumerate(photos):
        lines.see(one, f"{number}.jpg")
    lines.show(Terminal())
    return capsys.readouterr().out.splitlines()


def test_the_table_is_bounded_and_what_failed_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(table_of([photo(number) for number in range(MOST_ROWS)], capsys)) == MOST_ROWS + 1
    assert table_of([photo(number) for number in range(MOST_ROWS + 1)], capsys) == []
    known = [photo(number, faces=(face("Alice"),)) for number in range(400)]
    failed = [photo(number, status="failed", error="is empty") for number in range(3)]
    shown = table_of([*known, *failed], capsys)
    assert len(shown) == 1 + MOST_ROWS + 1
    assert [line.split()[0] for line in shown[-4:-1]] == ["400.jpg", "401.jpg", "402.jpg"]
    assert shown[-1] == f"{403 - MOST_ROWS} photos more of this kind; --json tells of every photo."


def test_the_tally_adds_up() -> None:
    tally = Tally()
    tally.see(photo(1, status="restored", faces=(face("Alice"), face()), cost=Cost(100, 300, 0.5)))
    tally.see(photo(2, status="restored", faces=(face("Alice"),), cost=Cost(200)))
    tally.see(photo(3, status="skipped", standing="taken"))
    tally.see(photo(4, status="failed", output=None, error="is empty"))
    assert (tally.photos, tally.faces, tally.skipped, tally.left_out) == (4, 3, 1, True)
    assert tally.people == {"Alice": 2}
    assert tally.statuses == {"restored": 2, "without a place": 1, "failed": 1}
    estimate = tally.estimator.estimate()
    assert (estimate.sampled, estimate.space) == (2, 300 + 200 * 3)
    assert estimate.seconds == pytest.approx(0.5 + 1.0 + 0.25 * 3)
    assert tally.estimator.estimate(loading=0.3).seconds == pytest.approx(0.5 + 1.0 + 0.3 + 0.1 * 3)


def test_places_are_called_once_and_in_order() -> None:
    roll = Roll()
    roll.leave_alone("b/2.jpg", Path("/in/b/2.jpg"), "it was not made by dmd")
    roll.leave_alone("a\udcff.jpg", Path("/in/a\udcff.jpg"), "it was not made by dmd")
    assert list(roll.call(["b/10.jpg", "b/2.jpg", "a.jpg"])) == ["a.jpg", "a\udcff.jpg", "b/2.jpg", "b/10.jpg"]
    assert roll.count() == 4
    assert roll.left_alone("a\udcff.jpg") == (Path("/in/a\udcff.jpg"), "it was not made by dmd")
    assert roll.left_alone("a.jpg") is None
    assert (roll.is_place("b/10.jpg"), roll.is_place("b/3.jpg")) == (True, False)
    roll.use(["one", "two", "one"])
    assert list(roll.pictures()) == ["one", "two"]
    assert (roll.uses("two"), roll.uses("three")) == (True, False)
    roll.close()


def test_what_is_late_is_made_once_and_again_after_an_error() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(1)
        time.sleep(0.02)
        if len(made) == 1:
            raise WeightsMissingError("not there")
        return len(made)

    late = Late(make)
    with pytest.raises(WeightsMissingError):
        late.get()
    assert not late.is_made
    assert [late.get(), late.get()] == [2, 2]
    assert late.is_made
    assert late.seconds > 0.01


def test_a_late_kit_is_what_it_becomes() -> None:
    late = build_finder(Kit.EMBEDDED, late=True).kit
    assert isinstance(late, LateKit)
    assert not late.late.is_made
    kit = embedded.EmbeddedKit()
    assert (late.name, late.settings, late.similarity, late.trust) == (
        kit.name, kit.settings, kit.similarity, kit.trust,
    )  # fmt: skip
    assert late.detect([np.zeros((90, 90, 3), np.uint8)]) == [[]]
    assert late.late.is_made


def test_a_late_network_has_the_id_of_the_one_that_is_loaded(tmp_path: Path) -> None:
    restorer = build_late_restorer("base", "cpu")
    assert not restorer.late.is_made
    assert restorer.late.get().weights_id == restorer.weights_id
    assert build_late_restorer(str(restorer_file()), "cpu").weights_id == restorer.weights_id
    with pytest.raises(WeightsMissingError):
        build_late_restorer(str(tmp_path / "none.safetensors"), "cpu")


def test_a_late_network_without_an_id_is_loaded_for_it_and_says_each_time_why_it_cannot_be() -> None:
    late = LateRestorer(lambda: build_restorer("base", "cpu"))
    assert not late.late.is_made
    assert late.weights_id == build_late_restorer("base", "cpu").weights_id
    assert late.late.is_made
    missing = LateRestorer(lambda: build_restorer("none.safetensors", "cpu"))
    for _ in range(2):
        with pytest.raises(WeightsMissingError):
            _ = missing.weights_id


def restorer_file() -> Path:
    from dmdcli.model.restorer import BASE_WEIGHTS

    return BASE_WEIGHTS


@pytest.mark.slow
def test_a_run_with_nothing_to_do_loads_no_network(tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    Image.new("L", (40, 30), 128).save(album / "blank.png")
    program = (
        "import sys; from dmdcli.cli.main import main\n"
        "try: main()\n"
        f"finally: print(*[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    command = [
        sys.executable,
        "-c",
        program,
        "restore",
        str(album),
        "--out",
        str(tmp_path / "out"),
        "--kit",
        "embedded",
    ]
    loaded = []
    for more in ([], [], ["--dry-run"]):
        done = subprocess.run([*command, *more], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        loaded.append(set(done.stderr.splitlines()[-1].split()) & set(HEAVY))
    assert "torch" in loaded[0]
    assert loaded[1:] == [set(), set()]
    with open_journal(tmp_path / "out") as journal:
        assert list(journal.places()) == ["blank.png"]
