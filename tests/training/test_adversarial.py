"""Component discriminators: what they see, what they learn, what they ask of the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dmdcli.shapes import COMPONENTS
from dmdcli.training.adversarial import PATCH_SIDES, AdversarialWeights, Adversary, cut_components, gram

BOXES = torch.tensor([[[150, 200, 230, 280], [280, 200, 380, 290], [190, 330, 318, 458]]])
ONE = torch.ones(1)
CPU = torch.device("cpu")


def noise(seed: int, count: int = 1, smoothness: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 512 // smoothness, 512 // smoothness, generator=generator) * 2 - 1
    return small.repeat_interleave(smoothness, 2).repeat_interleave(smoothness, 3)


def adversary(**weights: float) -> Adversary:
    torch.manual_seed(0)
    return Adversary(4, AdversarialWeights(**weights), CPU)


def test_boxes_of_the_patches_own_size_are_cut_as_they_are() -> None:
    picture = noise(0)
    patches = cut_components(picture, BOXES)
    torch.testing.assert_close(patches["left_eye"], picture[..., 200:280, 150:230])
    torch.testing.assert_close(patches["mouth"], picture[..., 330:458, 190:318])
    resized = torch.nn.functional.interpolate(
        picture[..., 200:290, 280:380], (80, 80), mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(patches["right_eye"], resized, atol=1e-5, rtol=0)
    assert [patches[name].shape[-1] for name in COMPONENTS] == [PATCH_SIDES[name] for name in COMPONENTS]


def test_gradients_reach_the_components_and_nothing_else() -> None:
    answer = noise(1).requires_grad_(True)
    loss = adversary(adversarial=1.0, feature_matching=1.0, style=1.0).judge([answer], noise(2), BOXES, ONE, [ONE])
    loss.backward()
    assert answer.grad is not None
    assert answer.grad[..., 200:280, 150:230].abs().sum() > 0
    answer.grad[..., 200:280, 150:230] = 0
    answer.grad[..., 200:290, 280:380] = 0
    answer.grad[..., 330:458, 190:318] = 0
    assert answer.grad.abs().sum() == 0


def test_discriminators_learn_to_tell_answers_from_truth() -> None:
    judge = adversary(adversarial=1.0)
    boxes, sharp = BOXES.expand(2, -1, -1), torch.ones(2)
    truth, answers = noise(3, 2), [noise(4, 2, smoothness=4), noise(5, 2, smoothness=8)]
    before = judge.judge(answers, truth, boxes, sharp, [sharp] * 2)
    losses = [judge.learn(answers, truth, boxes, sharp, 2e-3).item() for _ in range(12)]
    assert losses[0] == pytest.approx(2, abs=0.3), "they begin undecided: the hinge costs 1 on either side"
    assert losses[-1] < 0.7 * losses[0]
    after = judge.judge(answers, truth, boxes, sharp, [sharp] * 2)
    assert after > before, "what is seen through costs more"
    assert judge.judge([truth], truth, boxes, sharp, [sharp]) < after


def test_soft_truths_are_not_shown_as_real_nor_compared_with() -> None:
    judge = adversary(feature_matching=1.0, style=1.0)
    boxes = BOXES.expand(2, -1, -1)
    truth, answers = noise(6, 2), [noise(7, 2)]
    only_first = judge.judge([answers[0][:1]], truth[:1], BOXES, ONE, [ONE])
    first, both, none = torch.tensor([1.0, 0.0]), torch.ones(2), torch.zeros(2)
    for sharp, counts in ((first, both), (both, first)):
        found = judge.judge(answers, truth, boxes, sharp, [counts])
        torch.testing.assert_close(found, only_first, rtol=0.02, atol=0)
    assert judge.judge(answers, truth, boxes, none, [both]) == 0
    one, other = adversary(adversarial=1.0), adversary(adversarial=1.0)
    softened = torch.cat([truth[:1], noise(8)])
    for judge, shown in ((one, truth), (other, softened)):
        judge.learn(answers, shown, boxes, torch.tensor([1.0, 0.0]), 1e-2)
    for name, tensor in one.discriminators.state_dict().items():
        assert torch.equal(tensor, other.discriminators.state_dict()[name])


def test_features_and_style_are_those_of_the_truth_only_for_the_truth() -> None:
    judge = adversary(feature_matching=1.0, style=1.0)
    truth = noise(9)
    assert judge.judge([truth], truth, BOXES, ONE, [ONE]) == pytest.approx(0, abs=1e-6)
    assert judge.judge([noise(10)], truth, BOXES, ONE, [ONE]) > 0.01


def test_a_gram_matrix_says_what_goes_together_wherever_it_is() -> None:
    features = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    expected = torch.einsum("nihw,njhw->nij", features, features) / (5 * 7)
    torch.testing.assert_close(gram(features), expected)
    torch.testing.assert_close(gram(features.flip(2)), gram(features))


def test_the_network_learns_nothing_from_the_discriminators_step_nor_they_from_its() -> None:
    judge = adversary(adversarial=1.0)
    answer = noise(11).requires_grad_(True)
    judge.learn([answer], noise(12), BOXES, ONE, 1e-3)
    assert answer.grad is None
    judge.optimizer.zero_grad(set_to_none=True)
    judge.judge([answer], noise(12), BOXES, ONE, [ONE]).backward()
    assert all(parameter.grad is None for parameter in judge.discriminators.parameters())


def test_a_stored_adversary_goes_on_as_if_it_had_not_been() -> None:
    whole, first = adversary(adversarial=1.0), adversary(adversarial=1.0)
    step = ([noise(13)], noise(14), BOXES, ONE, 1e-3)
    for judge in (whole, first):
        judge.learn(*step)
    torch.manual_seed(5)
    second = Adversary(4, AdversarialWeights(adversarial=1.0), CPU)
    second.load_state_dict(first.state_dict())
    for judge in (whole, second):
        judge.learn(*step)
    for name, tensor in whole.discriminators.state_dict().items():
        assert torch.equal(tensor, second.discriminators.state_dict()[name]), name
