"""The training loop: resumes exactly, begins as it says, and refuses what it cannot go on with."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from dmdcli.cli.console import Terminal
from dmdcli.cli.main import app
from dmdcli.errors import CannotGoOnError, WeightsCorruptError, WeightsMismatchError
from dmdcli.faces.face import component_boxes
from dmdcli.model import checkpoint
from dmdcli.model.dictionary import Dictionary
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from dmdcli.training import run_folder
from dmdcli.training.data import FaceData, SampleOptions, TrainingSamples, batches, read_faces
from dmdcli.training.images import images
from dmdcli.training.initialise import start
from dmdcli.training.losses import memory_size, pixel_weights, reconstruction_loss
from dmdcli.training.recipe import TrainConfig
from dmdcli.training.train import answer, losses, split_dictionary, train

CONFIG = TrainConfig(
    width=4, entries=2, steps=4, batch_size=2, warmup=1, workers=0, save_every=2, validate_every=4, max_references=2
)


@pytest.fixture(scope="module")
def faces(faces_folder: Path) -> FaceData:
    return read_faces(faces_folder, "train")


def run(faces: FaceData, folder: Path, config: TrainConfig = CONFIG, steps: int | None = None) -> list[float]:
    """The losses of a run, stopped after `steps`."""
    losses = []
    for progress in train(faces, None, config, folder):
        losses.append(progress.loss)
        if len(losses) == steps:
            break
    return losses


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_not_been(faces: FaceData, tmp_path: Path) -> None:
    whole = run(faces, tmp_path / "whole")
    first = run(faces, tmp_path / "parts", steps=3)  # saved after step 2, so step 3 is done again
    second = run(faces, tmp_path / "parts")
    assert len(whole) == 4
    assert len(second) == 2
    np.testing.assert_allclose(first[:2] + second, whole, rtol=1e-5)
    one, other = (checkpoint.load(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    for name, parameter in one.named_parameters():
        torch.testing.assert_close(other.get_parameter(name), parameter, atol=1e-3, rtol=1e-2)
    assert run(faces, tmp_path / "whole") == [], "a finished run has nothing left to do"


@pytest.mark.slow
def test_training_makes_a_face_better(faces: FaceData, faces_folder: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, steps=60, learning_rate=5e-4, save_every=100)
    begun = start(faces, config)
    run(faces, tmp_path, config)
    ended = checkpoint.load(tmp_path / "weights.safetensors")
    seen = list(batches(TrainingSamples(faces, SampleOptions(max_references=2), 7, 16), 2, 0))

    def loss(net: DMDNet) -> float:
        with torch.no_grad():
            found = [losses(answer(net, batch, config, torch.device("cpu")), config) for batch in seen]
        return float(torch.stack([terms["generic_loss"] for terms in found]).mean())

    assert loss(ended) < 0.99 * loss(begun)


@pytest.mark.slow
def test_a_run_leaves_weights_a_recipe_and_a_curve(faces: FaceData, faces_folder: Path, tmp_path: Path) -> None:
    events = list(train(faces, read_faces(faces_folder, "validation"), CONFIG, tmp_path))
    assert [event.step for event in events] == [1, 2, 3, 4]
    assert events[-1].psnr is not None
    assert all(np.isfinite(events[-1].psnr))
    assert checkpoint.load(tmp_path / "weights.safetensors").config == DMDConfig(4, 2, residual=True)
    assert checkpoint.header(tmp_path / "weights.safetensors")["trained_steps"] == "4"
    lines = (tmp_path / "progress.csv").read_text().splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("step,steps,loss")
    again = CliRunner().invoke(
        app,
        [
            "train",
            str(faces_folder),
            "--out",
            str(tmp_path),
            "--recipe",
            str(tmp_path / "config.json"),
            "--device",
            "cpu",
        ],
    )
    assert again.exit_code == 0, again.output
    assert "nothing left to do" in again.stderr


@pytest.mark.slow
def test_the_bar_of_a_run_that_goes_on_starts_where_it_was(
    faces: FaceData, faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(faces, tmp_path, steps=3)  # saved after step 2
    moves: list[int] = []

    @contextmanager
    def progress(terminal: Terminal, what: str, total: int) -> Iterator[Callable[[int], None]]:
        assert total == CONFIG.steps
        yield moves.append

    monkeypatch.setattr(Terminal, "progress", progress)
    recipe = ["--recipe", str(tmp_path / "config.json"), "--device", "cpu"]
    answer = CliRunner().invoke(app, ["train", str(faces_folder), "--out", str(tmp_path), *recipe])
    assert answer.exit_code == 0, answer.output
    assert moves == [3, 1]


def test_a_run_that_has_no_place_ends_with_a_sentence(faces: FaceData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CannotGoOnError, match="no folder can be made"):
        run(faces, tmp_path / "file")


def test_a_fresh_network_begins_near_the_identity(faces: FaceData) -> None:
    net = start(faces, replace(CONFIG, width=8))
    picture, boxes = images(faces.pixels[:1]), torch.from_numpy(component_boxes(faces.samples[0].points))[None]
    with torch.no_grad():
        assert (net(picture, boxes) - picture).abs().mean() < 0.2
    assert min(memory.std() for memory in net.memory_value.values()) > 0, "the generic entries are encoded faces"


def test_no_entry_starts_from_people_who_agreed_to_studies_only(
    faces: FaceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved = tuple(
        replace(one, source=f"{('london', 'canada')[i % 2]}/{i}.jpg" if i < 5 else one.source)
        for i, one in enumerate(faces.samples)
    )
    seen: list[torch.Tensor] = []
    memorize = DMDNet.memorize

    def watched(net: DMDNet, pictures: torch.Tensor, boxes: torch.Tensor) -> object:
        seen.extend(pictures)
        return memorize(net, pictures, boxes)

    monkeypatch.setattr(DMDNet, "memorize", watched)
    start(replace(faces, samples=reserved), replace(CONFIG, entries=3))
    assert len(seen) == 3
    for picture in images(faces.pixels[:5]):
        assert not any(torch.equal(picture, one) for one in seen)


@pytest.mark.slow
def test_another_configuration_is_refused(faces: FaceData, tmp_path: Path) -> None:
    run(faces, tmp_path, steps=1)
    with pytest.raises(WeightsMismatchError, match="width 4, not 8"):
        run(faces, tmp_path, replace(CONFIG, width=8))


@pytest.mark.slow
def test_a_checkpoint_from_before_there_were_old_prints_goes_on(faces: FaceData, tmp_path: Path) -> None:
    run(faces, tmp_path, steps=3)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    recipe = json.loads(state["config"])
    assert recipe.pop("old") == 0
    torch.save({**state, "config": json.dumps(recipe)}, tmp_path / "checkpoint.pt")
    assert len(run(faces, tmp_path)) == 2
    with pytest.raises(WeightsMismatchError, match=r"old 0\.0, not 0\.5"):
        run(faces, tmp_path, replace(CONFIG, old=0.5))


@pytest.mark.slow
def test_old_prints_are_trained_on_where_the_recipe_says_so(faces: FaceData, tmp_path: Path) -> None:
    without, old = (run(faces, tmp_path / str(share), replace(CONFIG, old=share), steps=1) for share in (0.0, 1000.0))
    assert np.isfinite(old).all()
    assert old != without


def test_a_damaged_checkpoint_is_refused(faces: FaceData, tmp_path: Path) -> None:
    run(faces, tmp_path, steps=1)
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsCorruptError, match=r"checkpoint\.pt: damaged"):
        run(faces, tmp_path)


@pytest.mark.slow
def test_a_full_disk_while_saving_leaves_the_checkpoint_before(
    faces: FaceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(faces, tmp_path, steps=2)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def full(state: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_folder.torch, "save", full)
    with pytest.raises(CannotGoOnError, match="No space left"):
        run(faces, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
def test_an_interrupted_run_has_saved_its_last_step(faces: FaceData, tmp_path: Path) -> None:
    config = replace(CONFIG, save_every=100)
    steps = train(faces, None, config, tmp_path)
    done = [next(steps).loss for _ in range(3)]
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt())
    (last,) = run(faces, tmp_path, config)
    np.testing.assert_allclose([*done, last], run(faces, tmp_path / "whole", config), rtol=1e-5)


def test_weights_of_another_network_are_no_beginning(faces: FaceData, tmp_path: Path) -> None:
    checkpoint.save(DMDNet(DMDConfig(8, 2, residual=True)), tmp_path / "other.safetensors")
    with pytest.raises(WeightsMismatchError, match="width 8 where this run wants"):
        next(train(faces, None, CONFIG, tmp_path / "run", start_from=tmp_path / "other.safetensors"))


def test_a_dictionary_is_split_by_face(faces: FaceData) -> None:
    net = start(faces, CONFIG).eval()
    boxes = torch.from_numpy(np.stack([component_boxes(sample.points) for sample in faces.samples[:3]]))
    with torch.no_grad():
        whole = net.memorize(images(faces.pixels[:3]), boxes)
        first, second = split_dictionary(whole, [1, 2])
    assert (first.entries, second.entries) == (1, 2)
    assert torch.equal(second.memories["mouth_64"].value, whole.memories["mouth_64"].value[1:])


def test_the_loss_counts_components_more_and_is_zero_for_the_truth() -> None:
    boxes = torch.tensor([[[0, 0, 100, 100], [200, 0, 300, 100], [0, 300, 200, 500]]])
    weights = pixel_weights(boxes, torch.tensor([0.5]), 3.0)
    assert weights.shape == (1, 1, 512, 512)
    assert (weights[0, 0, 50, 50], weights[0, 0, 50, 150], weights[0, 0, 400, 199]) == (1.5, 0.5, 1.5)
    truth = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    assert reconstruction_loss(truth, truth, weights, 1.0) == 0
    at_eye, at_cheek = truth.clone(), truth.clone()
    at_eye[..., 10:90, 10:90] += 0.1
    at_cheek[..., 110:190, 310:390] += 0.1
    plain = [reconstruction_loss(one, truth, weights, 0.0) for one in (at_eye, at_cheek)]
    assert plain[0] == pytest.approx(3 * plain[1].item(), rel=1e-4)
    assert reconstruction_loss(at_cheek, truth, weights, 1.0) > plain[1]


@pytest.mark.slow
def test_only_the_specific_branch_learns_where_that_is_asked(faces: FaceData, tmp_path: Path) -> None:
    checkpoint.save(start(faces, CONFIG), tmp_path / "begun.safetensors")
    config = replace(CONFIG, specific_only=True, learning_rate=1e-2)
    for _ in train(faces, None, config, tmp_path / "run", start_from=tmp_path / "begun.safetensors"):
        pass
    before = checkpoint.load(tmp_path / "begun.safetensors")
    after = checkpoint.load(tmp_path / "run" / "weights.safetensors")
    changed = {
        name.split(".")[0] for name, parameter in before.named_parameters()
        if not torch.equal(after.get_parameter(name), parameter)
    }  # fmt: skip
    assert changed == {"reference_encoder", "key", "value", "mask"}
    picture, boxes = images(faces.pixels[:1]), torch.from_numpy(component_boxes(faces.samples[0].points))[None]
    with torch.inference_mode():
        assert torch.equal(before(picture, boxes), after(picture, boxes)), "the generic answer"


@pytest.mark.slow
def test_with_somebody_elses_references_the_generic_answer_is_wanted(faces: FaceData) -> None:
    config = replace(CONFIG, memory_weight=0.0)
    net = start(faces, config)
    batch = next(batches(TrainingSamples(faces, SampleOptions(wrong_person=1.0), 0, 2), 2, 0))
    assert batch.wrong_person.all()
    with torch.no_grad():
        for mask in net.mask.values():
            torch.nn.init.zeros_(mask.merge[2].weight)
            torch.nn.init.zeros_(mask.merge[2].bias)
    found = losses(answer(net, batch, config, torch.device("cpu")), config)
    generic, specific = found["generic_loss"], found["specific_loss"]
    assert generic > 0.01
    assert specific == 0, "a blend that takes nothing from the references has done all that is asked"
    specific.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in net.encoder.parameters())


def test_large_memories_cost_something(faces: FaceData) -> None:
    net = start(faces, CONFIG)
    picture, boxes = images(faces.pixels[:1]), torch.from_numpy(component_boxes(faces.samples[0].points))[None]
    small = net.memorize(picture, boxes)
    large = Dictionary({name: replace(memory, value=100 * memory.value) for name, memory in small.memories.items()})
    assert memory_size(large) > memory_size(small) > 0
