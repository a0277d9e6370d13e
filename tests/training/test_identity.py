"""The identity loss with a stand-in; ArcFace with generated weights, on a picture the full kit prepares too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmdcli.errors import WeightsMissingError
from dmdcli.faces.align import TEMPLATE, crop_face, crop_matrix
from dmdcli.faces.full import RECOGNITION_SIDE, RECOGNITION_TEMPLATE
from dmdcli.training.identity import ArcFace, identity_loss, load_arcface
from tests.faces.generated_weights import in_the_table, write_full_kit

BOTH = torch.ones(2)


class Halves(nn.Module):
    """A stand-in: people differ in the means of the four quarters of their faces' colours."""

    def forward(self, faces: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(faces, 2).flatten(1)


def faces(seed: int, count: int) -> Tensor:
    """(count, 3, 512, 512) in [-1, 1], smooth."""
    small = torch.rand(count, 3, 20, 20, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(small, (512, 512), mode="bicubic").clamp(-1, 1)


def test_the_same_person_costs_nothing_whatever_the_contrast_and_the_opposite_costs_two() -> None:
    truth = faces(0, 2)
    assert identity_loss(Halves(), [truth, 0.5 * truth], truth, [BOTH] * 2) == pytest.approx(0, abs=1e-5)
    assert identity_loss(Halves(), [-truth], truth, [BOTH]) == pytest.approx(2, abs=1e-5)
    assert identity_loss(Halves(), [truth, -truth], truth, [BOTH] * 2) == pytest.approx(1, abs=1e-5)
    assert identity_loss(Halves(), [truth, -truth], truth, [BOTH, 0 * BOTH]) == pytest.approx(0, abs=1e-5)


def test_gradients_flow_to_the_answers_alone_and_bring_them_nearer() -> None:
    truth, answer = faces(1, 2).requires_grad_(True), faces(2, 2).requires_grad_(True)
    before = identity_loss(Halves(), [answer], truth, [BOTH])
    before.backward()
    assert truth.grad is None
    assert answer.grad is not None
    nearer = answer.detach() - 1e4 * answer.grad
    assert identity_loss(Halves(), [nearer], truth.detach(), [BOTH]) < before


def test_arcface_sees_what_the_full_kit_shows_it() -> None:
    seen: list[Tensor] = []

    class Net(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            seen.append(pictures)
            return pictures.flatten(1)[:, :512]

    crop = ((faces(3, 1) + 1) * 127.5).round()
    pixels = crop[0].permute(1, 2, 0).byte().numpy()
    matrix = crop_matrix(TEMPLATE.astype(np.float32), RECOGNITION_TEMPLATE)
    theirs = crop_face(np.ascontiguousarray(pixels), matrix, RECOGNITION_SIDE)[:, :, ::-1].astype(np.float32)
    assert ArcFace(Net())(crop / 127.5 - 1).shape == (1, 512)
    ours = (seen[0][0].permute(1, 2, 0) + 1).mul(127.5).numpy()
    assert np.abs(ours - theirs).mean() < 1.5
    shifted = np.abs(ours[:, 1:] - theirs[:, :-1]).mean()
    assert shifted > 3 * np.abs(ours - theirs).mean(), "one pixel beside would be seen"


def test_without_the_file_a_sentence_says_what_brings_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"identity_weight wants a recogniser.*dmd models fetch"):
        load_arcface(tmp_path, torch.device("cpu"))


@pytest.mark.slow
def test_arcface_from_the_weights_folder_carries_gradients(tmp_path: Path) -> None:
    digests = write_full_kit(tmp_path, names=["arcface"])
    with in_the_table(digests, tmp_path):
        arcface = load_arcface(tmp_path, torch.device("cpu"))
    answer = faces(4, 1).requires_grad_(True)
    loss = identity_loss(arcface, [answer], faces(5, 1), [BOTH[:1]])
    loss.backward()
    assert 0 < loss < 2
    assert answer.grad is not None
    assert answer.grad.abs().max() > 0
    assert identity_loss(arcface, [answer.detach()], answer.detach(), [BOTH[:1]]) == pytest.approx(0, abs=1e-5)
    assert not any(parameter.requires_grad for parameter in arcface.parameters())
