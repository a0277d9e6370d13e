"""The benchmarks of speed and memory run, and give figures, in small."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dmdcli.faces import pool
from dmdcli.model import checkpoint
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from tests.faces.pool_kits import ObedientKit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is read from Linux's /proc"),
]
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def photos(test_data: Path) -> Path:
    return test_data / "faces" / "photos"


def tables_of(tmp_path: Path, *arguments: str | Path) -> dict[str, Any]:
    """The tables of a benchmark, as its JSON has them; its name is the first argument."""
    found = tmp_path / "figures.json"
    name, *rest = map(str, arguments)
    extra = rest.index("--") if "--" in rest else len(rest)
    command = [sys.executable, str(BENCHMARKS / name), *rest[:extra], "--json", str(found), *rest[extra:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(found.read_text(encoding="utf-8"))
    assert told["machine"]["cores"] >= 1
    tables: dict[str, Any] = told["tables"]
    return tables


def test_the_network_is_held_against_float32_whatever_is_asked_for(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights, found = tmp_path / "tiny.safetensors", tmp_path / "figures.json"
    checkpoint.save(DMDNet(DMDConfig(4, 2, residual=True)), weights)
    options = ["--networks", weights, "--precisions", "bfloat16", "--batches", "1", "--repeats", "1", "--json", found]
    command = [sys.executable, str(BENCHMARKS / "network.py"), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(found.read_text(encoding="utf-8"))[str(weights)]
    psnr = [value for what, value in told["compared"].items() if "PSNR" in what]
    assert len(psnr) == 2
    assert all(20 < one < 100 for one in psnr), "120 is what the same pictures have"
    assert told["compared"]["largest difference of the unfolded path"] < 1e-4
    (row,) = (row for row in told["rows"] if row["what"] == "crops to crops, generic")
    assert row["of_ceiling"] == pytest.approx(row["gflop"] / row["seconds"] / row["ceiling"])
    assert f"{row['ceiling']:8.0f} {row['of_ceiling']:10.0%}" in done.stdout


@pytest.mark.skipif(find_spec("facexlib") is None, reason="facexlib is compared with, and not installed")
def test_faces(photos: Path, tmp_path: Path) -> None:
    photo = photos / "people" / "lisa"
    first = sorted(photo.iterdir())[0]
    tables = tables_of(tmp_path, "faces.py", first, "--megapixels", "0.3", "--counts", "2", "--repeats", "1")
    assert tables["stages"][0]["faces"] == 1
    (pasting,) = tables["pasting"]
    assert pasting["times as fast"] > 10
    assert pasting["ours at most, MB"] < 40
    assert pasting["helper, ms"] / pasting["ours, ms"] == pytest.approx(pasting["times as fast"])
    least, most = map(float, pasting["in single turns"].split(" to "))
    assert least - 1 <= pasting["slowest helper, ms"] / pasting["ours, ms"]
    assert pasting["helper, ms"] / pasting["slowest ours, ms"] <= most + 1


def test_pasting_is_measured_in_turns_and_promises_that_are_not_kept_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import faces
    import figures

    order: list[str] = []
    seconds = figures.seconds_in_turns([lambda: order.append("helper"), lambda: order.append("ours")], 3)
    assert order == ["helper", "ours"] * 4, "the first turn is to warm up"
    assert [len(one) for one in seconds] == [3, 3]
    rows = [{"faces": count, "side of a crop": 512.0, "times as fast": fast} for count, fast in ((1, 51.0), (12, 99.0))]
    assert faces.missed(rows) == ["12 faces: 99 times as fast, promised are 100"]
    assert faces.missed([{**rows[1], "times as fast": 100.0}]) == ["1 face: 0 times as fast, promised are 50"]


def test_a_whole_run(photos: Path, tmp_path: Path) -> None:
    tables = tables_of(tmp_path, "whole_run.py", photos / "old", "--photos", "2", "--", "--already-good", "restore")
    (run,) = tables["run"]
    assert run["photos"] == 2
    assert run["peak memory, MB"] > 100
    stages = {row["stage"]: row for row in tables["stages"]}
    assert {"network", "kit: detect", "kit: landmarks", "kit: embed", "codec: read"} <= set(stages)
    assert "waiting for a process of the kit" in stages
    assert sum(row["seconds"] for row in tables["processor"]) > 1
    assert tables["processor"][0]["seconds"] > 0.5, "most is computed by the kit, in processes of its own"


def test_waiting_for_a_process_of_the_kit_is_no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import whole_run

    take, asked = pool.KitPool._take, threading.Event()

    def taken(kit: pool.KitPool) -> Any:
        asked.set()
        return take(kit)

    monkeypatch.setattr(pool.KitPool, "_take", taken)
    monkeypatch.setattr(pool._Worker, "ask", pool._Worker.ask)  # as it was, after the test
    calls = whole_run.Calls()
    whole_run.watch_pool(calls)
    with pool.KitPool(partial(ObedientKit, tmp_path), 1) as kit, ThreadPoolExecutor(1) as thread:
        held = kit._take()
        calls.spans.clear()
        asked.clear()
        answer = thread.submit(kit.detect, [np.zeros((2, 2, 3), np.uint8)])
        assert asked.wait(60)
        free = time.perf_counter()
        kit._give_back(held)
        answer.result()
    waiting, looking = calls.spans
    assert (waiting.stage, looking.stage) == (whole_run.WAITING, "kit: detect")
    assert waiting.began < free < waiting.ended < looking.began
    assert calls.sums(0.0)["kit: detect"] == (1, looking.ended - looking.began)


def test_growth_with_photos(tmp_path: Path) -> None:
    rows = tables_of(tmp_path, "growth.py", "photos", "--count", "9", "--every", "4")["photos"]
    assert [row["photos"] for row in rows] == [4, 8, "9, report written", "the most at any time"]
    assert all(row["memory, MB"] > 20 for row in rows)


def test_growth_with_people(tmp_path: Path) -> None:
    rows = tables_of(tmp_path, "growth.py", "people", "--counts", "1,20")["people"]
    assert [row["people"] for row in rows] == [1, 20]
    assert [row["references"] for row in rows] == [5, 100]


def test_growth_with_references(tmp_path: Path) -> None:
    (row,) = tables_of(tmp_path, "growth.py", "references", "--counts", "1")["references"]
    assert row["dictionary, MB"] > 0.5


def test_large_photos(photos: Path, tmp_path: Path) -> None:
    person = photos / "people" / "lisa"
    (row,) = tables_of(tmp_path, "growth.py", "large", person, "--count", "2", "--", "--only-restored")["large"]
    assert row["photos"] == 2
    assert row["peak memory, MB"] > 100
