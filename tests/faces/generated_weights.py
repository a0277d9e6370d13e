"""Files of the full kit with random numbers in them, under the published names and with the published shapes.

Random networks see nothing, so faces can be planted: the real forward pass runs, and its answer is then changed at one
place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dmdcli import weights
from dmdcli.faces.full import HEATMAP_SIDE, RETINAFACE_BOX, VARIANCES, FullKit, anchor_boxes, landmark_picture
from dmdcli.shapes import Box, Points

FULL = ("retinaface-resnet50", "fan", "arcface", "bisenet")
"""What `dmd models fetch full` brings."""
EVERYTHING = (*FULL, "retinaface-mobilenet", "parsenet")


def write_full_kit(folder: Path, seed: int = 0, names: Iterable[str] = FULL) -> dict[str, str]:
    """Write the files of `names` into `folder`; name -> SHA-256. RetinaFace is in the format older than PyTorch 1.6."""
    digests = {}
    for name in names:
        (file,) = weights.named(name)
        assert file.package is None
        path = folder / file.file
        stored = generate(name, seed)
        if name.startswith("retinaface"):
            stored = {f"module.{key}": tensor for key, tensor in stored.items()}
        torch.save(stored, path, _use_new_zipfile_serialization=not name.startswith("retinaface"))
        with path.open("rb") as written:
            digest = hashlib.sha256()
            while chunk := written.read(1 << 20):
                digest.update(chunk)
        digests[name] = digest.hexdigest()
    return digests


def use_generated(monkeypatch: pytest.MonkeyPatch, digests: dict[str, str], folder: Path) -> None:
    """Put the SHA-256 and sizes of generated files into the table of weights, for as long as `monkeypatch` lasts."""
    replaced: dict[str, weights.NetworkFile] = {}
    for constant, file in list(vars(weights).items()):
        if isinstance(file, weights.NetworkFile) and file.name in digests:
            size = (folder / file.file).stat().st_size
            new = dataclasses.replace(file, sha256=digests[file.name], size=size, size_known=True)
            replaced[file.name] = new
            monkeypatch.setattr(weights, constant, new)
    monkeypatch.setattr(weights, "FILES", tuple(replaced.get(file.name, file) for file in weights.FILES))
    sets = {name: tuple(replaced.get(file.name, file) for file in files) for name, files in weights.SETS.items()}
    monkeypatch.setattr(weights, "SETS", sets)


@contextmanager
def in_the_table(digests: dict[str, str], folder: Path) -> Iterator[None]:
    """While this lasts, the table of weights lists the generated files, and whatever connects fails the test."""

    def refuse(*arguments: Any, **named: Any) -> None:
        pytest.fail(f"something connects: {arguments}")

    with pytest.MonkeyPatch.context() as patch:
        use_generated(patch, digests, folder)
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "create_connection", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield


def linked(folder: Path, other: Path, *names: str) -> Path:
    """`other`, with the files of `names` in it that are in `folder`."""
    for name in names:
        (file,) = weights.named(name)
        os.link(folder / file.file, other / file.file)
    return other


def generate(name: str, seed: int = 0) -> dict[str, Tensor]:
    """The state dict of one network: random, and such that signals neither die nor explode on the way through it."""
    generator = torch.Generator().manual_seed(seed)
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        net = _built(name)
    net = net.to_empty(device="cpu").eval().requires_grad_(False)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.normal_(0, 0.05, generator=generator)
        elif isinstance(module, _BatchNorm):
            module.reset_parameters()
            # The statistics of one picture, taken below.
            module.momentum = 1.0
            module.train()
        elif isinstance(module, nn.PReLU):
            module.weight.fill_(0.25)
    side, mean, deviation = {
        "retinaface": (96, 110.0, 1.0),
        "fan": (128, 0.0, 255.0),
        "arcface": (112, 127.5, 127.5),
    }.get(name.partition("-")[0], (64, 127.5, 127.5))
    images = (picture_like_noise(2, side, generator) - mean) / deviation
    net(images)
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            # One for all channels: a channel that hardly varies here would explode in another picture.
            module.running_var.fill_(float((module.running_var + module.running_mean**2).mean()))
            module.running_mean.zero_()
    net.eval()
    if name.startswith("retinaface"):
        net.phase = "train"  # its word for the answer before its softmax
        answer = net(images)
        for head, kind, spread in ((net.BboxHead, 0, 0.5), (net.ClassHead, 1, 1.0), (net.LandmarkHead, 2, 0.5)):
            for level in head:
                level.conv1x1.weight.mul_(spread / float(answer[kind].std()))
                level.conv1x1.bias.zero_()
        for level in net.ClassHead:  # all but sure that nothing is a face
            level.conv1x1.bias.copy_(torch.tensor([6.0, -6.0] * 2))
    if name == "fan":  # peaks within [0, 1]
        net.l3.weight.mul_(0.03 / float(net(images)[-1].std()))
        net.l3.bias.fill_(0.3)
    return dict(net.state_dict())


def picture_like_noise(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count, 3, side, side) in grey levels, with the spectrum of photographs: amplitudes fall with the frequency."""
    frequencies = torch.fft.fftfreq(side)
    fall = 1 / (frequencies[:, None] ** 2 + frequencies[None, : side // 2 + 1].abs() ** 2 + 1 / side**2).sqrt()
    grey = torch.fft.irfft2(torch.fft.rfft2(torch.randn(count, 1, side, side, generator=generator)) * fall)
    colour = torch.fft.irfft2(torch.fft.rfft2(torch.randn(count, 3, side, side, generator=generator)) * fall)
    mixed = grey / grey.std() + 0.3 * colour / colour.std()
    return (110 + 55 * mixed).clamp(0, 255)


def _built(name: str) -> Any:
    from face_alignment.models import FAN
    from facexlib.detection.retinaface import RetinaFace
    from facexlib.parsing.bisenet import BiSeNet
    from facexlib.parsing.parsenet import ParseNet
    from facexlib.recognition.arcface_arch import Backbone

    builders: dict[str, Callable[[], Any]] = {
        "retinaface-resnet50": lambda: RetinaFace("resnet50", device="meta"),
        "retinaface-mobilenet": lambda: RetinaFace("mobile0.25", device="meta"),
        "fan": lambda: FAN(4),
        "arcface": lambda: Backbone(50, 0.6, "ir_se"),
        "parsenet": lambda: ParseNet(512, 512, parsing_ch=19),
        "bisenet": lambda: BiSeNet(19),
    }
    return builders[name]()


@contextmanager
def planted_face(kit: FullKit, box: Box, points5: Points, size: tuple[int, int], score: float = 0.99) -> Iterator[None]:
    """While this lasts, the kit's detector sees a face in every picture it is shown.

    box: in pixel edges of a photo of `size` (width, height). points5: (5, 2) in its pixel centres. The answer of the
    anchor nearest to the box is changed to what stands for it.
    """

    def plant(net: nn.Module, inputs: tuple[Tensor, ...], answer: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        anchors = anchor_boxes(*inputs[0].shape[2:])
        extent = np.array(size)
        middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2 / extent
        sides = np.array([box[2] - box[0], box[3] - box[1]]) / extent
        away = np.abs(anchors[:, :2] - middle).sum(axis=1) + np.abs(np.log(anchors[:, 2:] / sides)).sum(axis=1)
        nearest = int(away.argmin())
        x, y, width, height = anchors[nearest]
        place = (middle - (x, y)) / (VARIANCES[0] * np.array([width, height]))
        growth = np.log(sides / (width, height)) / VARIANCES[1]
        spots = ((points5 + 0.5) / extent - (x, y)) / (VARIANCES[0] * np.array([width, height]))
        boxes, confidences, points = (tensor.clone() for tensor in answer)
        boxes[:, nearest] = torch.tensor([*place, *growth])
        confidences[:, nearest] = torch.tensor([1 - score, score])
        points[:, nearest] = torch.tensor(spots.reshape(-1))
        return boxes, confidences, points

    handle = kit._detector.net.register_forward_hook(plant)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def planted_landmarks(kit: FullKit, points68: Points, score: float = 0.9) -> Iterator[None]:
    """While this lasts, the kit sees these 68 points (68, 2), in crop pixels, in every crop, after FAN has looked."""
    centre, scale = landmark_picture(RETINAFACE_BOX)
    side = 200 * scale
    places = (points68.astype(np.float64) + 0.5 - centre + side / 2) * (HEATMAP_SIDE / side)
    real = kit._fan._answer

    def answer(net: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        seen, heights = real(net, images)
        planted = torch.tensor(places, dtype=torch.float32, device=seen.device)
        return planted.expand_as(seen), torch.full_like(heights, score)

    kit._fan._answer = answer
    try:
        yield
    finally:
        kit._fan._answer = real
