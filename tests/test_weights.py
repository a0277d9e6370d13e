"""The table of network files: present, checked, and refused when damaged."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from dmdcli.errors import WeightsCorruptError, WeightsMissingError
from dmdcli.weights import DETECTOR_CNN, FILES, LANDMARKS_68, NetworkFile, locate, verify


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_installed_files_are_those_of_the_table(file: NetworkFile) -> None:
    path = locate(file)
    assert path.stat().st_size == file.size
    assert verify(path, file) == path
    assert file.licence


def test_the_landmark_file_says_where_its_training_data_comes_from() -> None:
    assert "commercial" in LANDMARKS_68.note


def test_a_damaged_file_is_refused_with_both_hashes(tmp_path: Path) -> None:
    content = bytearray(locate(DETECTOR_CNN).read_bytes())
    content[1000] ^= 1
    damaged = tmp_path / "damaged.dat"
    damaged.write_bytes(content)
    with pytest.raises(WeightsCorruptError) as caught:
        verify(damaged, DETECTOR_CNN)
    assert DETECTOR_CNN.sha256 in str(caught.value)
    assert hashlib.sha256(content).hexdigest() in str(caught.value)


@pytest.mark.parametrize("change", [{"package": "no_such_package"}, {"path": "models/none.dat"}])
def test_a_missing_file_names_the_command_that_brings_it(change: dict[str, str]) -> None:
    with pytest.raises(WeightsMissingError, match="pip install"):
        locate(dataclasses.replace(DETECTOR_CNN, **change))


def test_an_unreadable_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="cannot be read"):
        verify(tmp_path / "none.dat", DETECTOR_CNN)
