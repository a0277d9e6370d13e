"""What runs on a Ray cluster, without one: sending, rooms, errors, and what is said."""

from __future__ import annotations

import os
import pickle
import re
import sys
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dmdcli.cli.cluster import check_size, files_of_people
from dmdcli.cli.main import app
from dmdcli.errors import (
    EXIT_USAGE,
    CannotGoOnError,
    PackageError,
    PhotoError,
    PhotoWriteError,
    UsageError,
)
from dmdcli.journal import open_journal
from dmdcli.library import Library, NewReference
from dmdcli.pipeline import ray_worker
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.ray_run import AHEAD, Job, RayCrew, connect, plan, quiet_libraries
from dmdcli.pipeline.ray_worker import Outfit, Worker
from dmdcli.pipeline.restore import restore
from dmdcli.pipeline.steps import Underway, fetch, step
from dmdcli.places import PhotoFile, stream_outputs, survey_photos
from tests.pipeline.made_up import ALICE, Brightener, people_of
from tests.test_ray import (
    NOTHING,
    BusyFinder,
    album,
    files,
    make_tools,
)


def test_workers_are_as_many_as_cores_or_gpus() -> None:
    plain, strong = {"CPU": 4.0}, {"CPU": 16.0, "GPU": 2.0}
    assert plan([plain, plain], 100, graphics=True) == (8, {"num_cpus": 1})
    assert plan([plain, plain], 3, graphics=True) == (3, {"num_cpus": 1})
    assert plan([plain, strong], 100, graphics=True) == (2, {"num_cpus": 8, "num_gpus": 1})
    assert plan([plain, strong], 100, graphics=False) == (20, {"num_cpus": 1})
    with pytest.raises(CannotGoOnError, match="no machine"):
        plan([], 1, graphics=True)


@pytest.mark.parametrize(("graphics", "told"), [(True, 1), (False, 0)])
def test_machines_that_are_left_out_for_lack_of_a_gpu_are_told(
    graphics: bool, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resources = [{"CPU": 16.0, "GPU": 1.0}, *[{"CPU": 16.0}] * 4]
    nodes = [{"Alive": True, "NodeID": str(number), "Resources": one} for number, one in enumerate(resources)]
    ray = SimpleNamespace(nodes=lambda: nodes, shutdown=lambda: None)
    monkeypatch.setattr("dmdcli.pipeline.ray_run.connect", lambda address: ray)
    monkeypatch.setattr("dmdcli.pipeline.ray_run.check_versions", lambda *_: None)
    said: list[str] = []
    with RayCrew[float]("auto", files, partial(make_tools, NOTHING), 99, graphics=graphics, tell=said.append) as crew:
        assert crew.workers == (1 if graphics else 80)
    assert len(said) == told
    assert all("4 of the 5 machines" in one and "--device cpu" in one for one in said)


def test_what_killed_workers_left_is_removed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    held, lock = ray_worker.own_folder()
    abandoned, released = ray_worker.own_folder()
    (abandoned / "people").mkdir()
    released.release()
    young, _ = ray_worker.own_folder()
    assert abandoned.exists()  # whoever made it may be about to take the lock
    for folder in (held, abandoned):
        os.utime(folder, (0, 0))
    new, _ = ray_worker.own_folder()
    assert sorted(tmp_path.iterdir()) == sorted([held, young, new])
    assert new.stat().st_mode & 0o077 == 0
    lock.release()


def test_a_failure_comes_back_as_it_is() -> None:
    error = pickle.loads(pickle.dumps(PhotoWriteError(Path("a.png"), "does not fit")))
    assert (type(error), error.path, error.reason) == (PhotoWriteError, Path("a.png"), "does not fit")


def test_what_is_done_and_waits_for_its_turn_takes_room() -> None:
    crew = RayCrew[float]("auto", files, partial(make_tools, NOTHING), 1, tell=pytest.fail)
    crew.workers = 1
    slow = Underway(PhotoFile(Path("a.png"), Path("a.png")), Path("out"), megapixels=10.0)
    turns = deque([Job(slow, given=object())])
    while crew._has_room(turns):
        turns.append(Job(replace(slow, megapixels=20.0)))  # done, with its result
    assert len(turns) == 3
    failed = replace(slow, megapixels=20.0, failure=PhotoError(Path("a.png"), "is odd"))
    assert crew._has_room(deque([turns[0], Job(failed), turns[1]]))
    assert not crew._has_room(deque([Job(failed)] * AHEAD))


class Here:
    """Stands for Ray where a worker is called here: what it would return is there already."""

    exceptions = SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=ZeroDivisionError)

    def get(self, result: Any, timeout: float) -> Any:
        return result


@pytest.mark.parametrize("full_from", [0, 5])
def test_a_picture_that_cannot_be_kept_is_noted_as_without_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_from: int
) -> None:
    """Keeping pictures fails twice, then there is room again; alice's reference is sent with the first photo only."""
    crop = tmp_path / "reference.png"
    Image.fromarray(np.full((512, 512, 3), 99, np.uint8)).save(crop)
    people = replace(people_of(alice=ALICE), crops=lambda _: [crop])
    tools = BusyFinder(NOTHING), Brightener(), people
    photos, options = album(tmp_path / "in", 2), RestoreOptions(already_good="restore", evidence=True, mark=False)
    kept: list[str] = []

    def keep(folder: Path, name: str, content: bytes) -> None:
        kept.append(name)
        if full_from < len(kept) <= full_from + 2:
            raise PhotoWriteError(folder.parent / "a.jpg", "cannot be written")

    class InProcess(RayCrew[float]):
        def work(self, run: Any, photos: Any) -> Any:
            self._ray = Here()
            worker: Worker[float] = Worker(Outfit({}, lambda _: tools, run.circumstances, run.options))
            worker.start()
            for underway in photos:
                fetched = step(partial(fetch, run), underway)
                job = Job(replace(fetched, given=None), fetched.given)
                assert self._is_done(run, pickle.loads(pickle.dumps(worker.work(job.underway, job.given))), job)
                yield job.underway
            worker.close()

    monkeypatch.setattr("dmdcli.pipeline.restore.write_picture", lambda folder, *one: keep(tmp_path / "out", *one))
    found = []
    for crew in (None, InProcess("auto", files, partial(make_tools, NOTHING), 1, tell=pytest.fail)):
        kept.clear()
        out = tmp_path / ("alone" if crew is None else "there")
        pairs = stream_outputs(survey_photos([photos]), out, "auto", pytest.fail)
        with open_journal(out) as journal:
            results = list(restore(pairs, *tools, journal, options, crew=crew))
            rows = [journal.row(f"{number}.png") for number in range(2)]
        accounts = [[face.account for face in row.faces] for row in rows if row is not None]
        found.append(([(one.status, one.notes) for one in results], accounts))
    assert found[0][0] == found[1][0]
    assert found[0][1][0] == found[1][1][0]
    assert any("no pictures" in note for _, notes in found[0][0] for note in notes)
    assert [status for status, _ in found[0][0]] == ["restored"] * 2 + ["failed"]  # which is no picture


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["auto", "--dry-run"], "leave out --ray, or --dry-run"),
        (["[::1]:6379", "--offline"], "leave out --ray, or --offline"),
        (["local"], "give auto, HOST:PORT or ray://HOST:PORT"),
        (["nonsense"], "names no cluster"),
        (["ray://head"], "names no cluster"),
        (["head:0"], "names no cluster"),
        (["head:65536"], "names no cluster"),
        ([""], "names no cluster"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, options: list[str], says: str) -> None:
    photos = album(tmp_path / "in", 1)
    arguments = ["restore", str(photos), "--out", str(tmp_path / "out"), "--ray", *options]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == EXIT_USAGE
    assert says in answer.stderr
    assert "Faces:" not in answer.stderr
    assert not (tmp_path / "out").exists()


def test_people_are_sent_with_what_these_networks_made_and_not_without_bounds(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Library(own_home)
    reference = NewReference(np.zeros((512, 512, 3), np.uint8), np.zeros((68, 2), np.float32), Path("a.jpg"), 1.0, "0")
    for name in ("Alice", "Bob"):
        folder = library.folder(library.add_references(name, [reference]))
        for made in ("embeddings-this", "embeddings-other", "dictionary-new", "dictionary-old"):
            (folder / f"{made}.safetensors").write_bytes(bytes(1_000_000))
    makers = "embeddings-this", "dictionary-new"
    files, fewer = (files_of_people(library, makers, only) for only in (None, ["Bob"]))
    assert {Path(name).suffix for name in files} == {".json", ".png", ".txt", ".safetensors"}
    assert {Path(name).stem for name in files if name.endswith(".safetensors")} == set(makers)
    assert all(own_home / name.removeprefix("people/") == path for name, path in files.items())
    assert len([name for name in files if name.endswith("person.json")]) == 2
    assert len([name for name in fewer if name.endswith("person.json")]) == 1
    monkeypatch.setattr("dmdcli.cli.cluster.MOST_SENT", 3_000_000)
    check_size(fewer.values())
    with pytest.raises(UsageError, match=r"take 0\.0 GB.*--person"):
        check_size(files.values())


def test_without_ray_the_cure_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PackageError, match=re.escape("pip install 'dmdcli[ray]'")):
        connect("auto")


def test_what_compiled_code_writes_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        os.write(2, b"[W 1 1] rpc_client.h:153: Failed to connect\n")
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"), quiet_libraries():
        fail()
    os.write(2, b"seen\n")
    assert capfd.readouterr().err == "seen\n"
