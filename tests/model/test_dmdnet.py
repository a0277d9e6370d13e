"""The network's own promises: shapes, batches, people mixed, order of references, residual output."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dmdcli.errors import ShapeError
from dmdcli.model.dictionary import PATCH_NAMES, Dictionary
from dmdcli.model.dmdnet import DMDConfig, DMDNet, match_statistics, read
from dmdcli.model.patches import cut_patches, paste_patches
from tests.model.conftest import random_net

Faces = tuple[torch.Tensor, torch.Tensor]


def memorised(net: DMDNet, faces: Faces, *indices: int) -> Dictionary:
    return net.memorize(faces[0][list(indices)], faces[1][list(indices)])


def test_the_published_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        net = DMDNet(DMDConfig())
    counts = {name: parameter.numel() for name, parameter in net.named_parameters()}
    memories = sum(count for name, count in counts.items() if name.startswith("memory"))
    unused_queries_of_the_reference_encoder = 726_432
    assert memories == 110_172_160
    assert sum(counts.values()) - memories + unused_queries_of_the_reference_encoder == 40_356_737


def test_a_batch_equals_its_faces_one_by_one(net: DMDNet, faces: Faces) -> None:
    together = net(*faces)
    alone = torch.cat([net(faces[0][i : i + 1], faces[1][i : i + 1]) for i in range(3)])
    assert together.shape == (3, 3, 512, 512)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_people_and_strangers_share_a_batch(net: DMDNet, faces: Faces) -> None:
    first, second = memorised(net, faces, 0), memorised(net, faces, 1, 2)
    features = net.encode(*faces)
    mixed = net.decode(features, [first, None, second])
    torch.testing.assert_close(mixed[0], net.decode(features, first)[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(mixed[1], net.decode(features)[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(mixed[2], net.decode(features, second)[2], atol=1e-4, rtol=0)
    assert (mixed[0] - net.decode(features)[0]).abs().max() > 1e-4, "the specific dictionary changes nothing"


def test_the_order_of_references_does_not_matter(net: DMDNet, faces: Faces) -> None:
    features = net.encode(*faces)
    torch.testing.assert_close(
        net.decode(features, memorised(net, faces, 0, 1, 2)),
        net.decode(features, memorised(net, faces, 2, 0, 1)),
        atol=1e-5,
        rtol=0,
    )


def test_one_reference_is_read_as_it_is(net: DMDNet, faces: Faces) -> None:
    features = net.encode(faces[0][:1], faces[1][:1])
    memory = memorised(net, faces, 1).memories["mouth_128"]
    answer = read(features.queries["mouth_128"], memory.key, memory.value, features.patches["mouth_128"])
    torch.testing.assert_close(answer, memory.value)


def test_a_read_divides_by_the_square_root_of_the_number_of_entries() -> None:
    generator = torch.Generator().manual_seed(3)
    query, keys = torch.randn(2, 2, 3, 3, generator=generator), torch.randn(5, 2, 3, 3, generator=generator)
    values = torch.randn(5, 4, 3, 3, generator=generator)
    similarity = torch.stack([torch.stack([(q * k).sum() for k in keys]) for q in query])
    expected = torch.einsum("bn,nchw->bchw", torch.softmax(similarity / math.sqrt(5), dim=1), values)
    torch.testing.assert_close(read(query, keys, values, torch.empty(2, 4, 3, 3)), expected)


@pytest.mark.parametrize("learns", [True, False])
def test_patches_are_cut_and_pasted_as_interpolate_does(learns: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    maps = {scale: torch.randn(2, 3, scale, scale, generator=generator) for scale in (256, 128, 64)}
    boxes = torch.tensor([[[149, 185, 235, 271], [275, 184, 361, 270], [195, 318, 316, 437]]] * 2)
    boxes[1] += torch.tensor([-9, 7, 8, 3])
    before = {scale: features.clone() for scale, features in maps.items()}
    with torch.set_grad_enabled(learns):
        patches = cut_patches(maps, boxes)
        pasted = paste_patches(maps, patches, boxes)
    assert all(torch.equal(maps[scale], features) for scale, features in before.items())
    for scale, stride in ((256, 2), (128, 4), (64, 8)):
        expected = maps[scale].clone()
        for face in range(2):
            for index, name in enumerate(("left_eye", "right_eye", "mouth")):
                x1, y1, x2, y2 = (boxes[face, index] // stride).tolist()
                side = (110 if name == "mouth" else 80) // stride
                cut = maps[scale][face : face + 1, :, y1:y2, x1:x2]
                patch = F.interpolate(cut, (side, side), mode="bilinear", align_corners=False)
                torch.testing.assert_close(patches[f"{name}_{scale}"][face : face + 1], patch, atol=1e-4, rtol=0)
                back = F.interpolate(patch, (y2 - y1, x2 - x1), mode="bilinear", align_corners=False)
                expected[face, :, y1:y2, x1:x2] = back[0]
        torch.testing.assert_close(pasted[scale], expected, atol=1e-4, rtol=0)


def test_statistics_are_those_of_the_patch() -> None:
    generator = torch.Generator().manual_seed(5)
    memory, patch = torch.randn(2, 3, 9, 9, generator=generator), 4 * torch.randn(2, 3, 9, 9, generator=generator) + 1
    styled = match_statistics(memory, patch)
    torch.testing.assert_close(styled.mean((2, 3)), patch.mean((2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(styled.std((2, 3)), patch.std((2, 3)), atol=1e-3, rtol=0)


def test_a_residual_network_adds_to_its_input(faces: Faces) -> None:
    plain, residual = random_net(DMDConfig(8, 4)), random_net(DMDConfig(8, 4, residual=True))
    torch.testing.assert_close(residual(*faces), plain(*faces) + faces[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(faces: Faces, dtype: torch.dtype) -> None:
    """Tolerances: a step of half precision (2^-10 and 2^-8) some thirty layers deep."""
    exact, half = random_net(DMDConfig(8, 4)), random_net(DMDConfig(8, 4)).to(dtype)
    images, boxes = faces[0][:1], faces[1][:1]
    wanted = exact(images, boxes, exact.memorize(images, boxes))
    got = half(images.to(dtype), boxes, half.memorize(images.to(dtype), boxes))
    assert got.dtype == dtype
    tolerance = {torch.bfloat16: 0.03, torch.float16: 0.005}[dtype]
    torch.testing.assert_close(got.float(), wanted, atol=tolerance, rtol=0)


def test_channels_last_is_supported(faces: Faces) -> None:
    net = random_net(DMDConfig(8, 4))
    before = net(*faces)
    torch.testing.assert_close(net.to(memory_format=torch.channels_last)(*faces), before, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("images", "boxes", "words"),
    [
        ((1, 3, 256, 256), [[0, 0, 64, 64]] * 3, "images"),
        ((1, 3, 512, 512), [[0, 0, 64, 64]] * 4, "boxes"),
        ((1, 3, 512, 512), [[-2, 0, 64, 64]] * 3, "boxes lie in"),
        ((1, 3, 512, 512), [[0, 0, 64, 513]] * 3, "boxes lie in"),
        ((1, 3, 512, 512), [[104, 0, 111, 64]] * 3, "two 8-pixel cells"),
    ],
)
def test_wrong_shapes_are_refused(net: DMDNet, images: tuple[int, ...], boxes: list[list[int]], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        net(torch.zeros(images), torch.tensor([boxes]))


def test_a_sequence_of_another_length_is_refused(net: DMDNet, faces: Faces) -> None:
    with pytest.raises(ShapeError, match="3 faces but 2 dictionaries"):
        net(*faces, [None, None])


def as_floats(dictionary: Dictionary) -> dict[str, np.ndarray]:
    """The arrays that earlier versions kept."""
    return {
        f"{name}.{part}": getattr(memory, part).numpy()
        for name, memory in dictionary.memories.items()
        for part in ("key", "value")
    }


def test_a_dictionary_survives_being_kept(net: DMDNet, faces: Faces) -> None:
    dictionary = memorised(net, faces, 0, 1)
    again = Dictionary.from_arrays(dictionary.to_arrays())
    assert again.entries == 2
    for name in PATCH_NAMES:
        assert torch.equal(again.memories[name].value, dictionary.memories[name].value.bfloat16())
        assert torch.equal(again.memories[name].key, dictionary.memories[name].key.bfloat16())
    images, boxes = faces
    torch.testing.assert_close(net(images, boxes, again), net(images, boxes, dictionary), rtol=0, atol=0.01)
    before = Dictionary.from_arrays(as_floats(dictionary))
    assert torch.equal(before.memories["mouth_64"].value, dictionary.memories["mouth_64"].value)
    with pytest.raises(ShapeError, match="a dictionary has the memories"):
        Dictionary({"mouth_64": dictionary.memories["mouth_64"]})
