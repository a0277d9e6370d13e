"""The table of network files: present, checked, and refused when damaged."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from dmdcli import weights
from dmdcli.errors import UsageError, WeightsCorruptError, WeightsMissingError
from dmdcli.weights import (
    BASE,
    DETECTOR_CNN,
    DMDNET,
    FAN,
    FILES,
    LANDMARKS_68,
    PARSENET,
    SETS,
    NetworkFile,
    has_its_size,
    locate,
    named,
    state,
    verify,
)

PACKAGED = [file for file in FILES if file.package]
FETCHED = [file for file in FILES if not file.package]


def generated(content: bytes = b"numbers", **fields: object) -> NetworkFile:
    """A fetched file of the table with other content."""
    digest = hashlib.sha256(content).hexdigest()
    return dataclasses.replace(PARSENET, sha256=digest, size=len(content), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("file", PACKAGED, ids=lambda file: file.name)
def test_installed_files_are_those_of_the_table(file: NetworkFile) -> None:
    path = locate(file)
    assert path.stat().st_size == file.size
    assert verify(path, file) == path
    assert file.licence


@pytest.mark.parametrize("file", FETCHED, ids=lambda file: file.name)
def test_fetched_files_are_fully_described(file: NetworkFile) -> None:
    assert len(bytes.fromhex(file.sha256)) == 32
    assert file.size > 1_000_000
    assert file.addresses
    assert Path(file.file).name == file.file
    for address in file.addresses:
        assert address.startswith("https://")
    assert file.addresses[0].endswith(f"/{file.file}")


def test_what_may_not_be_looked_at_is_not_there(tmp_path: Path) -> None:
    """As in a folder of root's; here the system refuses a name that is too long, which root may not look at either."""
    folder = tmp_path / ("x" * 300)
    with pytest.raises(OSError, match="name too long"):
        (folder / FAN.file).stat()
    assert state(FAN, folder) == "missing"
    with pytest.raises(WeightsMissingError):
        locate(FAN, folder)


def test_names_are_short_and_belong_to_one_file_or_set() -> None:
    names = [file.name for file in FILES] + list(SETS)
    assert len(set(names)) == len(names)
    assert len({file.sha256 for file in FILES}) == len(FILES)
    assert len({file.file for file in FILES}) == len(FILES)
    assert all(name == name.casefold() and " " not in name for name in names)


@pytest.mark.parametrize("file", [LANDMARKS_68, FAN, PARSENET, weights.ARCFACE, DMDNET], ids=lambda file: file.name)
def test_what_stands_against_commercial_use_is_said(file: NetworkFile) -> None:
    assert "commercial" in file.note


def test_a_name_or_a_set_leads_to_its_files() -> None:
    assert named("dmdnet") == (DMDNET,)
    assert named("DMDNet") == (DMDNET,)
    assert named("full") == SETS["full"]
    assert all(file.package is None for file in SETS["full"])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("retina", "mean retinaface-resnet50, retinaface-mobilenet?"),
        ("mobilenet", "mean retinaface-mobilenet?"),
        ("dlib", "mean dlib-landmarks, dlib-recognition, dlib-detector?"),
        ("parsnet", "mean parsenet"),
        ("frobnicate", "dmd models list"),
        ("e", "dmd models list"),
    ],
)
def test_an_unknown_name_suggests_near_ones(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        named(name)
    assert hint in str(caught.value)


def test_a_damaged_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    content = bytearray(locate(DETECTOR_CNN).read_bytes())
    content[1000] ^= 1
    damaged = tmp_path / "damaged.dat"
    damaged.write_bytes(content)
    with pytest.raises(WeightsCorruptError) as caught:
        verify(damaged, DETECTOR_CNN)
    assert DETECTOR_CNN.sha256 in str(caught.value)
    assert hashlib.sha256(content).hexdigest() in str(caught.value)
    assert "pip install --force-reinstall face_recognition_models" in str(caught.value)


@pytest.mark.parametrize("change", [{"package": "no_such_package"}, {"file": "models/none.dat"}])
def test_a_missing_installed_file_names_the_command_that_brings_it(change: dict[str, str]) -> None:
    with pytest.raises(WeightsMissingError, match="pip install"):
        locate(dataclasses.replace(DETECTOR_CNN, **change))


def test_a_missing_fetched_file_names_its_place_and_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError) as caught:
        locate(DMDNET, tmp_path)
    assert str(tmp_path / "DMDNet.pth") in str(caught.value)
    assert "dmd models fetch dmdnet" in str(caught.value)


def test_the_state_of_a_fetched_file(tmp_path: Path) -> None:
    file = generated()
    assert state(file, tmp_path) == "missing"
    (tmp_path / file.file).write_bytes(b"numbers")
    assert state(file, tmp_path) == "intact"
    assert locate(file, tmp_path) == tmp_path / file.file
    (tmp_path / file.file).write_bytes(b"numbert")
    assert state(file, tmp_path) == "damaged"
    with pytest.raises(WeightsCorruptError, match="dmd models fetch parsenet"):
        verify(locate(file, tmp_path), file)


def test_the_size_is_a_quick_look(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    assert has_its_size(path, dataclasses.replace(PARSENET, size=1000))
    assert not has_its_size(path, dataclasses.replace(PARSENET, size=1001))
    assert has_its_size(path, dataclasses.replace(PARSENET, size=1001, size_known=False))
    assert not has_its_size(path, dataclasses.replace(PARSENET, size=1200, size_known=False))


def test_an_unreadable_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="cannot be read"):
        verify(tmp_path / "none.dat", DETECTOR_CNN)


def test_a_fetched_file_needs_a_folder() -> None:
    with pytest.raises(ValueError, match="weights folder"):
        locate(PARSENET)


def test_our_own_weights_are_those_the_restorer_loads() -> None:
    from dmdcli.model.restorer import BASE_WEIGHTS

    assert locate(BASE).samefile(BASE_WEIGHTS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_page_about_networks_agrees_with_the_table(file: NetworkFile) -> None:
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{file.name}` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:4] == [f"{file.size / 1e6:.3g} MB", file.licence]
    assert bool(cells[4]) == bool(file.note)
