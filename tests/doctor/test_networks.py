"""Which files are there and intact, and which kit is taken."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from dmdcli import weights
from dmdcli.doctor import networks
from dmdcli.doctor.finding import pip
from tests.doctor.machines import BARE, INTACT, WELL, one


@pytest.mark.parametrize(
    ("changes", "kit", "auto"),
    [
        ({}, "ok", "takes the full kit"),
        ({"parsenet": "missing", "bisenet": "missing"}, "ok", "takes the full kit"),
        ({"retinaface-resnet50": "missing"}, "ok", "takes the full kit"),
        ({"retinaface-resnet50": "missing", "retinaface-mobilenet": "missing"}, "note", "takes the embedded kit"),
        ({"fan": "missing", "arcface": "damaged"}, "note", "takes the embedded kit"),
        ({"arcface": "damaged"}, "note", "fails"),
        ({"bisenet": "damaged"}, "note", "fails"),
        ({"parsenet": "damaged"}, "ok", "takes the full kit"),
    ],
)
def test_which_kit_is_taken(changes: dict[str, weights.State], kit: str, auto: str) -> None:
    found = list(networks.judge(INTACT | changes, Path("/weights"), WELL))
    assert one(found, "full kit").status == kit
    chosen = one(found, "--kit auto")
    assert chosen.text.startswith(auto)
    assert (chosen.status == "problem") == (auto == "fails")
    if auto == "fails":
        assert chosen.cure == f"dmd models fetch {next(iter(changes))}"


@pytest.mark.parametrize(
    ("names", "said", "cure"),
    [
        (["fan", "arcface"], "2DFAN-4 and ArcFace IR-SE50 are damaged", "full"),
        (["fan", "arcface", "bisenet"], "2DFAN-4, ArcFace IR-SE50 and BiSeNet are damaged", "full"),
        (["retinaface-mobilenet", "fan"], "RetinaFace MobileNet and 2DFAN-4 are damaged", "retinaface-mobilenet fan"),
    ],
)
def test_several_damaged_files_of_the_full_kit(names: list[str], said: str, cure: str) -> None:
    changes: dict[str, weights.State] = dict.fromkeys(names, "damaged")
    if "retinaface-mobilenet" in names:
        changes["retinaface-resnet50"] = "missing"
    chosen = one(networks.judge(INTACT | changes, Path("/weights"), WELL), "--kit auto")
    assert chosen.text.endswith(said)
    assert chosen.cure == f"dmd models fetch {cure}"


def test_a_folder_in_the_place_of_a_network(tmp_path: Path) -> None:
    place = tmp_path / weights.DMDNET.file
    place.mkdir()
    finding = one(networks.judge(BARE, tmp_path, WELL), "dmdnet")
    assert finding.status == "warning"
    assert finding.text.startswith(f"{place} is a folder and in the way")
    assert "not fetched" not in finding.text
    assert finding.cure == f"mv {place} {place}.folder"


def test_files_that_are_not_there_or_not_whole() -> None:
    found = list(networks.judge(BARE, Path("/weights"), WELL))
    assert one(found, "full kit").cure == "dmd models fetch full"
    assert one(found, "dmdnet").cure == "dmd models fetch dmdnet"
    assert {finding.status for finding in found} == {"ok", "note"}
    damaged = list(networks.judge(INTACT | {"base": "damaged", "dmdnet": "damaged"}, Path("/weights"), WELL))
    assert one(damaged, "base").status == "problem"
    assert one(damaged, "dmdnet").cure == "dmd models fetch dmdnet"
    replaced = list(networks.judge(INTACT | {"base": "missing"}, Path("/weights"), WELL))
    assert one(replaced, "base").status == "warning"
    lacking = list(networks.judge(BARE | {"dlib-landmarks": "missing"}, Path("/weights"), WELL))
    assert one(lacking, "embedded kit").status == "problem"
    assert one(lacking, "dlib-landmarks").cure == pip("install --force-reinstall --no-deps face_recognition_models")


def test_our_own_weights_come_back_from_where_dmd_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "__file__", str(tmp_path / "a b" / "dmdcli" / "doctor" / "networks.py"))
    (tmp_path / "a b" / ".git").mkdir(parents=True)
    assert networks.own_cure(weights.BASE) == f"git -C '{tmp_path / 'a b'}' checkout -- dmdcli/model/base.safetensors"
    (tmp_path / "a b" / ".git").rmdir()
    origin = SimpleNamespace(read_text=lambda name: json.dumps({"url": "https://example.org/dmd.whl"}))
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: origin)
    assert networks.own_cure(weights.BASE) == pip("install --force-reinstall --no-deps https://example.org/dmd.whl")
