"""`dmd restore --ray` on a cluster of several nodes on this machine: the same results, whatever is lost meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dmdcli import __version__
from dmdcli.errors import (
    CannotGoOnError,
    DeviceError,
    PackageError,
)
from dmdcli.journal import open_journal
from dmdcli.model import checkpoint
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from dmdcli.pipeline import ray_worker
from dmdcli.pipeline.blend import RestoreOptions
from dmdcli.pipeline.outcome import RestoredPhoto
from dmdcli.pipeline.ray_run import MOST_LOST, RayCrew
from dmdcli.pipeline.restore import restore
from dmdcli.places import stream_outputs, survey_photos
from dmdcli.shapes import Pixels
from tests.pipeline.made_up import ALICE, STRANGER, Brightener, MadeUpFinder, people_of
from tests.test_kills import journal_of, results

ROOT = Path(__file__).parents[1]
STORE = 90_000_000
"""Bytes of a node's object store."""
LOST = "A worker was lost; what it had in hand is done by others."


@dataclass
class Cluster:
    """A head that only keeps the books, and machines with one core each."""

    ray: Any
    temporary: Path
    nodes: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return str(self.ray.address)

    def add(self) -> str:
        node = self.ray.add_node(num_cpus=1, object_store_memory=STORE)
        self.nodes[node.node_id] = node
        return str(node.node_id)

    def remove(self, identity: str) -> None:
        self.ray.remove_node(self.nodes.pop(identity), allow_graceful=False)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    ray_cluster = pytest.importorskip("ray.cluster_utils", reason="the package ray is not installed")
    temporary = tmp_path_factory.mktemp("workers")
    # The names of sockets have to be short.
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray-") as short:
        patch.setenv("RAY_TMPDIR", short)
        patch.setenv("RAY_health_check_period_ms", "1000")  # a lost machine is missed sooner
        patch.setenv("TMPDIR", str(temporary))  # of the workers, as all here
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")  # of the workers
        head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
        made = ray_cluster.Cluster(initialize_head=True, head_node_args=head)
        machines = Cluster(made, temporary)
        machines.add()
        machines.add()
        yield machines
        made.shutdown()


@dataclass(frozen=True)
class Busy:
    """What befalls workers that look at a photo of a certain width: they end, always or once, or take long once.

    signs: a folder; in it "ended" says that one ended, and "busy" on which machine one takes long. broken: nothing can
    be loaded.
    """

    deadly: int = 0
    deadly_once: int = 0
    slow: int = 0
    signs: Path = Path()
    broken: bool = False


NOTHING = Busy()


class BusyFinder(MadeUpFinder):
    def __init__(self, busy: Busy) -> None:
        super().__init__((10, 12, 80, ALICE, None), (90, 60, 50, STRANGER, None))
        self.busy = busy

    def find(self, pixels: Pixels) -> list[Any]:
        width, busy = pixels.shape[1], self.busy
        ended, slow = busy.signs / "ended", busy.signs / "busy"
        if width == busy.deadly or (width == busy.deadly_once and not ended.exists()):
            if width == busy.deadly_once:
                ended.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if width == busy.slow and not slow.exists():
            import ray

            slow.write_text(ray.get_runtime_context().get_node_id())
            time.sleep(10)
        return super().find(pixels)


def make_tools(busy: Busy, folder: Path) -> Any:
    assert (folder / "people" / "alice").read_bytes() == b"alice"
    if busy.broken:
        raise DeviceError("There is no such device.")
    return BusyFinder(busy), Brightener(), people_of(alice=ALICE)


def files() -> Mapping[str, np.ndarray]:
    return {"people/alice": np.frombuffer(b"alice", np.uint8)}


def album(folder: Path, photos: int = 12) -> Path:
    """Photos of noise, each one pixel wider than the one before; one of them is no picture at all."""
    folder.mkdir()
    for number in range(photos):
        noise = np.random.default_rng(number).integers(60, 160, (150, 150 + number, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png", compress_level=1)
    (folder / "4.png").write_bytes(b"nothing")
    (folder / "5.xmp").write_text("<x/>")
    return folder


def crew_of(address: str, busy: Busy, said: list[str]) -> RayCrew[float]:
    return RayCrew(address, files, partial(make_tools, busy), 8, tell=said.append)


def going(
    photos: Path, out: Path, address: str | None, busy: Busy = NOTHING, said: list[str] | None = None
) -> Iterator[RestoredPhoto]:
    pairs = stream_outputs(survey_photos([photos]), out, "auto", pytest.fail)
    options = RestoreOptions(engravings="restore", already_good="restore", evidence=True)
    tools = BusyFinder(NOTHING), Brightener(), people_of(alice=ALICE)
    with open_journal(out) as journal:
        if address is None:
            yield from restore(pairs, *tools, journal, options)
            return
        with crew_of(address, busy, [] if said is None else said) as crew:
            yield from restore(pairs, *tools, journal, options, crew=crew)


def run(*arguments: Any) -> list[RestoredPhoto]:
    return list(going(*arguments))


def told(results: Sequence[RestoredPhoto]) -> list[object]:
    return [(one.photo.name, one.status, len(one.faces), one.error) for one in results]


def assert_same(out: Path, alone: Path) -> None:
    """Files with their times, the journal, and the pictures for the report."""
    assert results(out) == results(alone)
    assert journal_of(out) == journal_of(alone)
    pictures = [{path.name: path.read_bytes() for path in one.glob("report_files/*/*")} for one in (out, alone)]
    assert pictures[0] == pictures[1]
    assert pictures[0]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return album(tmp_path_factory.mktemp("photos") / "in")


@pytest.fixture(scope="module")
def alone(photos: Path) -> tuple[Path, list[object]]:
    """The results of a run without a cluster, and what it told."""
    out = photos.parent / "alone"
    return out, told(run(photos, out, None))


@pytest.mark.slow
def test_the_same_as_alone_and_nothing_is_left(
    photos: Path, alone: tuple[Path, list[object]], cluster: Cluster, tmp_path: Path
) -> None:
    assert told(run(photos, tmp_path / "out", cluster.address)) == alone[1]
    assert_same(tmp_path / "out", alone[0])
    assert not list(cluster.temporary.glob(f"{ray_worker.FOLDER}*")), "workers put away what they unpacked"
    again = run(photos, tmp_path / "out", cluster.address)
    assert [one.status for one in again if one.photo.name != "4.png"] == ["skipped"] * (len(again) - 1)


@pytest.mark.slow
def test_workers_that_are_killed_are_replaced_and_a_photo_that_kills_them_fails(
    photos: Path, alone: tuple[Path, list[object]], cluster: Cluster, tmp_path: Path
) -> None:
    said: list[str] = []
    found = run(photos, tmp_path / "out", cluster.address, Busy(deadly=151, deadly_once=153, signs=tmp_path), said)
    assert (tmp_path / "ended").exists()
    assert said.count(LOST) == 1
    failed = {one.photo.name: one.error for one in found if one.status == "failed"}
    assert sorted(failed) == ["1.png", "4.png"]
    assert f"{MOST_LOST} workers ended over it" in str(failed["1.png"])
    assert [one for one in told(found) if one[0] != "1.png"] == [one for one in alone[1] if one[0] != "1.png"]
    expected = {name: what for name, what in results(alone[0]).items() if name != "1.png"}
    assert results(tmp_path / "out") == expected


def tell_json(photos: str, out: str, address: str, signs: str) -> None:
    """A run that prints a line of JSON for each photo, as `dmd restore --json` does: in a program of its own."""
    said: list[str] = []
    for one in going(Path(photos), Path(out), address, Busy(slow=152, signs=Path(signs)), said):
        print(json.dumps(told([one])[0]), flush=True)
    print(json.dumps(said), flush=True)


@pytest.mark.slow
def test_a_machine_that_is_lost_costs_only_what_it_had_in_hand_and_prints_nothing(
    photos: Path, alone: tuple[Path, list[object]], cluster: Cluster, tmp_path: Path
) -> None:
    cluster.add()
    program = "import sys; from tests.test_ray import tell_json; tell_json(*sys.argv[1:])"
    command = [sys.executable, "-c", program, str(photos), str(tmp_path / "out"), cluster.address, str(tmp_path)]
    wanted = {"RAY_DEDUP_LOGS": "0", "RAY_DEDUP_LOGS_ALLOW_REGEX": "."}  # whatever the user wants to see of Ray
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **wanted}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=surroundings, text=True) as going_on:
        assert going_on.stdout is not None
        lines = [next(going_on.stdout) for _ in range(2)]  # the third one is in somebody's hands
        busy = tmp_path / "busy"
        while not busy.exists() or not busy.read_text():
            assert going_on.poll() is None
            time.sleep(0.05)
        cluster.remove(busy.read_text())
        lines += going_on.stdout
    assert going_on.returncode == 0
    *found, said = map(json.loads, lines)
    assert said.count(LOST) == 1
    assert found == json.loads(json.dumps(alone[1]))
    assert_same(tmp_path / "out", alone[0])


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(
    photos: Path,
    alone: tuple[Path, list[object]],
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dmdcli.pipeline.ray_run.FAREWELL", 1.0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run where Ctrl-C is not heard
    done = 0
    try:
        for _ in going(photos, tmp_path / "out", cluster.address, Busy(slow=155, signs=tmp_path)):
            done += 1
            if done == 5:  # the next one takes long
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == 5
    assert {"0.png", "3.png"} <= results(tmp_path / "out").keys()
    assert "5.png" not in results(tmp_path / "out")
    assert told(run(photos, tmp_path / "out", None))[5:] == alone[1][5:]
    assert results(tmp_path / "out") == results(alone[0])


@pytest.mark.slow
def test_what_workers_cannot_load_and_other_versions_are_said(
    photos: Path, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CannotGoOnError, match="There is no such device"):
        run(photos, tmp_path / "out", cluster.address, Busy(broken=True))
    monkeypatch.setattr("dmdcli.pipeline.ray_run.__version__", "99.0")
    with pytest.raises(PackageError, match=f"needs dmd 99.0.*has {re.escape(__version__)}"):
        crew_of(cluster.address, NOTHING, []).__enter__()


@pytest.mark.slow
def test_the_real_program(test_data: Path, cluster: Cluster, own_home: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    checkpoint.save(DMDNet(DMDConfig(4, 2, residual=True)), tmp_path / "tiny.safetensors")
    (tmp_path / "in").mkdir()
    people = sorted((test_data / "faces" / "photos" / "old").glob("*.jpg"))[:3]
    for path in people:
        with Image.open(path) as picture:
            picture.thumbnail((300, 300))
            picture.save(tmp_path / "in" / path.name, quality=95)

    def program(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dmdcli", *arguments]
        surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=300)

    common = ("in", "--model", "tiny.safetensors", "--kit", "embedded", "--precision", "float32")
    assert program("enroll", "Somebody", str(people[0]), *common[1:5]).returncode == 0
    here = program("restore", *common, "--out", "here", "--workers", "1")
    there = program("restore", *common, "--out", "there", "--ray", cluster.address)
    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    assert "2 workers of the Ray cluster" in there.stderr
    assert "(raylet)" not in there.stderr
    lines = [re.sub(r"[\d.]+ s\b|t?here\b", "", one.stdout) for one in (here, there)]
    assert lines[0] == lines[1]
    assert journal_of(tmp_path / "there") == journal_of(tmp_path / "here")
    for path in people:
        pixels = [np.asarray(Image.open(tmp_path / out / path.name)).astype(int) for out in ("here", "there")]
        assert np.abs(pixels[0] - pixels[1]).max() <= 1
