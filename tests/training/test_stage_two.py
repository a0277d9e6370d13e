"""Stage two in the training loop: it resumes exactly, and says what it lacks."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from dmdcli.cli.main import app
from dmdcli.errors import UsageError, WeightsMismatchError
from dmdcli.model import checkpoint
from dmdcli.training.data import FaceData, SampleOptions, TrainingSamples, batches, read_faces
from dmdcli.training.initialise import start
from dmdcli.training.recipe import TrainConfig
from dmdcli.training.run_folder import Progress, record
from dmdcli.training.train import shares, train

FIRST = TrainConfig(width=4, entries=2, steps=2, batch_size=2, warmup=1, workers=0, save_every=1, max_references=2)
SECOND = replace(FIRST, adversarial_weight=0.1, feature_matching_weight=1.0, style_weight=0.5, identity_weight=0.1)


@pytest.fixture(scope="module")
def faces(faces_folder: Path) -> FaceData:
    return read_faces(faces_folder, "train")


def colours(pictures: Tensor) -> Tensor:
    """A stand-in for a recogniser."""
    return torch.nn.functional.adaptive_avg_pool2d(pictures, 4).flatten(1)


def run(faces: FaceData, folder: Path, config: TrainConfig = SECOND, steps: int = 2) -> list[Progress]:
    """The first `steps` of what is left of a run that begins with the weights of a first stage."""
    weights = folder.parent / "first.safetensors"
    if not weights.exists():
        checkpoint.save(start(faces, FIRST), weights)
    events = train(faces, None, config, folder, start_from=weights, recognise=colours)
    return [event for _, event in zip(range(steps), events, strict=False)]


@pytest.mark.slow
def test_a_stopped_second_stage_goes_on_as_if_it_had_not_been(faces: FaceData, tmp_path: Path) -> None:
    whole = run(faces, tmp_path / "whole")
    parts = [*run(faces, tmp_path / "parts", steps=1), *run(faces, tmp_path / "parts")]
    assert [event.step for event in parts] == [1, 2]
    for name in ("loss", "generic_loss", "specific_loss", "adversarial_loss", "discriminator_loss", "identity_loss"):
        values = [[getattr(event, name) for event in events] for events in (parts, whole)]
        assert np.isfinite(values).all()
        np.testing.assert_allclose(*values, rtol=1e-5, err_msg=name)
    for event in whole:
        assert event.loss == pytest.approx(
            event.generic_loss + event.specific_loss + event.adversarial_loss + 0.1 * event.identity_loss, rel=1e-4
        )
    one, other = (torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "parts"))
    for part in ("net", "average"):
        for name, tensor in one[part].items():
            torch.testing.assert_close(other[part][name], tensor)
    for name, tensor in one["adversary"]["discriminators"].items():
        torch.testing.assert_close(other["adversary"]["discriminators"][name], tensor)
    with pytest.raises(WeightsMismatchError, match=r"style_weight 0\.5, not 1\.0"):
        run(faces, tmp_path / "whole", replace(SECOND, style_weight=1.0))


def test_answers_to_somebody_elses_references_are_nobodys_likeness(faces: FaceData) -> None:
    samples = TrainingSamples(faces, SampleOptions(wrong_person=0.5), 0, 8)
    (batch,) = batches(samples, 8, workers=0)
    assert batch.wrong_person.any()
    assert batch.self_reference.any()
    generic, specific = shares(batch, SECOND)
    assert generic.tolist() == [1.0] * 8
    expected = {(True, False): 0.0, (False, True): SECOND.self_reference_weight, (False, False): 1.0}
    kinds = zip(batch.wrong_person.tolist(), batch.self_reference.tolist(), strict=True)
    assert specific.tolist() == [expected[kind] for kind in kinds]
    assert not shares(batch, replace(SECOND, specific_only=True))[0].any()


def test_an_identity_weight_wants_a_recogniser(faces: FaceData, faces_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="wants a recogniser"):
        next(train(faces, None, SECOND, tmp_path / "run"))
    (tmp_path / "recipe.json").write_text(json.dumps({"identity_weight": 0.1}))
    words = ["train", faces_folder, "--out", tmp_path / "run", "--recipe", tmp_path / "recipe.json", "--device", "cpu"]
    answer = CliRunner().invoke(app, [str(word) for word in words])
    assert answer.exit_code == 6
    assert "ArcFace IR-SE50 is not on this machine" in answer.stderr
    assert "dmd models fetch" in answer.stderr
    assert not (tmp_path / "run").exists()


def test_what_a_progress_file_lacks_is_left_out_and_its_columns_stay(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    old = "step,steps,loss,generic_loss,specific_loss,learning_rate,seconds,input_psnr,generic_psnr,specific_psnr"
    path.write_text(f"{old}\n1,2,0.5,0.2,0.3,0.001,9.5\n")
    progress = Progress(2, 2, 0.4, 0.1, 0.3, 0.001, 19.5, (26.12345, 28.0, 29.0), adversarial_loss=0.7)
    record(path, progress)
    assert path.read_text().splitlines()[2] == "2,2,0.4,0.1,0.3,0.001,19.5,26.123,28.000,29.000"
    record(tmp_path / "new.csv", progress)
    (row,) = csv.DictReader((tmp_path / "new.csv").read_text().splitlines())
    assert (row["adversarial_loss"], row["identity_loss"], row["generic_psnr"]) == ("0.7", "", "28.000")
