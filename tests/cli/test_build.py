"""Which kit and which weights a verb gets, what it says about them, and what happens when they are not there."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dmdcli import fetch, weights
from dmdcli.cli import build
from dmdcli.cli.build import build_finder, build_restorer, licence_of, stay_offline
from dmdcli.cli.console import Kit
from dmdcli.errors import DeviceError, PackageError, WeightsCorruptError, WeightsMissingError
from dmdcli.faces import embedded, full
from dmdcli.faces.identity import Curve
from dmdcli.faces.pool import KitPool
from dmdcli.model.restorer import BASE_WEIGHTS

NEEDED = (weights.FAN, weights.ARCFACE, weights.RETINAFACE_MOBILENET)


class NoKit:
    """Stands for the full kit where its networks do not matter."""

    title = "RetinaFace-MobileNet, FAN, ArcFace"

    def __init__(self, folder: Path, device: str, thorough: bool, similarity: Curve) -> None:
        self.name = full.kit_name()
        self.similarity = similarity
        self.given = (folder, device, thorough)


@pytest.fixture
def folder(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder that is still empty; the full kit is none."""
    monkeypatch.setattr(full, "FullKit", NoKit)
    path = own_home / "cache"
    path.mkdir()
    return path


def fill(folder: Path, *files: weights.NetworkFile) -> None:
    for file in files:
        (folder / file.file).write_bytes(b"stands for weights")


def built(kit: Kit, **options: Any) -> tuple[str, list[str]]:
    said: list[str] = []
    return build_finder(kit, say=said.append, **options).kit_name, said


def test_auto_takes_the_embedded_kit_and_says_how_to_get_more(folder: Path) -> None:
    fill(folder, weights.FAN, weights.ARCFACE)
    name, said = built(Kit.AUTO)
    assert name == embedded.NAME
    assert said == ["Faces: the embedded kit (dlib). `dmd models fetch full` brings networks that see more."]


def test_auto_does_without_a_folder_that_may_not_be_looked_into(
    folder: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DMD_CACHE", str(own_home / ("x" * 300)))
    assert built(Kit.AUTO)[0] == embedded.NAME


def test_the_embedded_kit_asked_for_is_not_advertised_against(folder: Path) -> None:
    fill(folder, *NEEDED)
    assert built(Kit.EMBEDDED) == (embedded.NAME, ["Faces: the embedded kit (dlib)."])


@pytest.mark.parametrize("kit", [Kit.AUTO, Kit.EMBEDDED])
def test_a_device_that_is_not_there_is_refused_though_the_embedded_kit_needs_none(folder: Path, kit: Kit) -> None:
    for device in ("frob", "cpu:7", "cuda:99"):
        with pytest.raises(DeviceError, match="Try --device auto"):
            built(kit, device=device)
    assert built(kit, device="cpu")[0] == embedded.NAME


@pytest.mark.parametrize("kit", [Kit.AUTO, Kit.FULL])
def test_the_full_kit_is_taken_where_its_files_are_and_its_curve_is_owned_up_to(folder: Path, kit: Kit) -> None:
    fill(folder, *NEEDED)
    name, said = built(kit, device="cpu", thorough=True)
    assert name == full.kit_name()
    assert said[0] == "Faces: the full kit (RetinaFace-MobileNet, FAN, ArcFace) on cpu."
    assert "not yet measured with these very files" in said[1]
    assert "dmd models calibrate" in said[1]
    assert build_finder(kit, True, device="cpu").kit.given == (folder, "cpu", True)  # type: ignore[attr-defined]


def test_a_curve_that_was_kept_is_used_and_no_more_owned_up_to(folder: Path, own_home: Path) -> None:
    fill(folder, *NEEDED)
    home = own_home / "library"
    home.mkdir()
    for name in (full.kit_name(), embedded.NAME):
        (home / f"similarity-{name}.json").write_text(
            '{"format": 1, "kit": "x", "middle": 0.9, "slope": 11.0, "source": "fitted today", "people": 9}'
        )
    _, said = built(Kit.FULL, device="cpu")
    assert said[1:] == ["Similarity: by your own calibration, fitted today."]
    for kit in (Kit.FULL, Kit.EMBEDDED):
        curve = build_finder(kit, device="cpu").kit.similarity
        assert (curve.middle, curve.slope, curve.source, curve.measured) == (0.9, 11.0, "fitted today", True)


def test_all_that_is_missing_of_the_full_kit_is_named_at_once(folder: Path) -> None:
    fill(folder, weights.ARCFACE)
    with pytest.raises(WeightsMissingError) as caught:
        built(Kit.FULL)
    assert "missing in" in str(caught.value)
    assert "RetinaFace ResNet-50, 2DFAN-4. Bring it with: dmd models fetch full" in str(caught.value)


def test_a_damaged_network_names_the_way_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*given: object, **options: object) -> None:
        raise WeightsCorruptError("it is damaged.")

    monkeypatch.setattr(full, "FullKit", damaged)
    fill(folder, *NEEDED)
    with pytest.raises(WeightsCorruptError, match=r"it is damaged\. Until then --kit embedded does without"):
        built(Kit.AUTO)


@pytest.mark.slow
def test_packages_that_do_not_work_leave_auto_the_embedded_kit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object, **options: object) -> None:
        raise PackageError("torchvision does not fit torch; do this.")

    monkeypatch.setattr(full, "FullKit", broken)
    fill(folder, *NEEDED)
    name, said = built(Kit.AUTO)
    assert name == embedded.NAME
    assert said == [
        "Faces: the embedded kit (dlib). The full kit cannot be used: torchvision does not fit torch; do this."
    ]
    with pytest.raises(PackageError):
        built(Kit.FULL)


def test_the_published_weights_are_missing_damaged_or_restricted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsMissingError, match="dmd models fetch dmdnet"):
        build_restorer("dmdnet", "cpu")
    fill(folder, weights.DMDNET)
    with pytest.raises(WeightsCorruptError, match=weights.DMDNET.sha256):
        build_restorer("dmdnet", "cpu")
    shutil.copy(BASE_WEIGHTS, folder / weights.DMDNET.file)
    digest = hashlib.sha256(BASE_WEIGHTS.read_bytes()).hexdigest()
    monkeypatch.setattr(weights, "DMDNET", dataclasses.replace(weights.DMDNET, sha256=digest))
    assert build_restorer("dmdnet", "cpu").weights_id == digest[:16]
    assert licence_of("dmdnet") == " (CC BY-NC-SA 4.0: not for commercial use)"
    assert licence_of("base") == licence_of("/some/file.safetensors") == ""


def test_weights_of_a_file_that_is_not_there() -> None:
    with pytest.raises(WeightsMissingError, match=r"no weights in no/such\.pth"):
        build_restorer("no/such.pth", "cpu")


def test_offline_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(fetch, "forbid_connections", lambda: asked.append(True))
    stay_offline(False)
    assert not asked
    stay_offline(True)
    assert asked == [True]


def test_the_folder_of_weights_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DMD_CACHE", str(tmp_path / "weights"))
    assert build.cache_folder() == tmp_path / "weights"
    monkeypatch.delenv("DMD_CACHE")
    assert build.cache_folder().name == "dmd"


@pytest.mark.slow
def test_more_workers_are_processes_of_the_embedded_kit_that_end_with_the_stack(folder: Path, own_home: Path) -> None:
    (own_home / "library").mkdir()
    (own_home / "library" / f"similarity-{embedded.NAME}.json").write_text(
        '{"format": 1, "kit": "x", "middle": 0.9, "slope": 11.0, "source": "fitted today", "people": 9}'
    )
    said: list[str] = []
    with ExitStack() as stack:
        finder = build_finder(Kit.EMBEDDED, say=said.append, workers=2, stack=stack)
        assert isinstance(finder.kit, KitPool)
        assert said[1:] == ["Similarity: by your own calibration, fitted today."]
        assert (finder.kit_name, finder.kit.similarity.source) == (embedded.NAME, "fitted today")
    with pytest.raises(ValueError, match="closed"):
        finder.kit.detect([])


def test_the_full_kit_and_a_single_worker_need_no_processes(folder: Path) -> None:
    fill(folder, *NEEDED)
    with ExitStack() as stack:
        assert isinstance(build_finder(Kit.FULL, device="cpu", workers=2, stack=stack).kit, NoKit)
        assert isinstance(build_finder(Kit.EMBEDDED, workers=1, stack=stack).kit, embedded.EmbeddedKit)
