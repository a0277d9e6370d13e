"""The complete DMDNet ("Learning Dual Memory Dictionaries for Blind Face Restoration", arXiv 2210.08160).

A degraded face is encoded at three scales. At each scale the patches of both eyes and the mouth ask a dictionary for
what such a component should look like: the *generic* dictionary, learnt from many faces, and, where the person is
known, the *specific* one, made by `memorize` from their own photographs. The answers take on the statistics of the
degraded patch, are gated, and go back into the feature maps, which steer the decoder.

All convolutions are 3 x 3 with bias and zero padding that keeps the size; the activation is LeakyReLU(0.2)
(`model.convolution`). How patches are cut out and put back is in `model.patches`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmdcli.errors import ShapeError
from dmdcli.model.convolution import SLOPE, ConvPair, Residual, conv, convolve
from dmdcli.model.dictionary import PATCHES, SCALES, Dictionary, Memory, patch_name
from dmdcli.model.patches import cut_patches, paste_patches, patch_side
from dmdcli.shapes import COMPONENTS, CROP

ADAIN_EPSILON = 1e-5


@dataclass(frozen=True)
class DMDConfig:
    """Hyper-parameters. width: channels at scale 256, doubled at 128 and again at 64 (a multiple of 4).

    entries: entries of the generic dictionary. residual: the decoder's output is added to the input (off in the
    published weights).
    """

    width: int = 64
    entries: int = 128
    residual: bool = False

    def channels(self, scale: int) -> int:
        """Channels of the feature map at `scale` (256, 128 or 64)."""
        return self.width * (256 // scale)


@dataclass(frozen=True)
class Features:
    """What `encode` knows of B faces; `decode` may be called on it any number of times.

    images: (B, 3, 512, 512). maps: by scale, (B, C, scale, scale). context: (B, 4 * width, 64, 64), the decoder's
    start. patches, queries: by patch name, (B, C, s, s) and (B, C / 4, s, s). boxes: (B, 3, 4) as they were given.
    """

    images: Tensor
    maps: dict[int, Tensor]
    context: Tensor
    patches: dict[str, Tensor]
    queries: dict[str, Tensor]
    boxes: Tensor


class Encoder(nn.Module):
    """(B, 3, 512, 512) to feature maps at scales 256, 128 and 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvPair(3, width, stride=2)
        self.res1 = Residual(width, (5, 3))
        self.conv2 = ConvPair(width, width)
        self.res2 = Residual(width, (5, 3))
        self.conv3 = ConvPair(width, 2 * width, stride=2)
        self.res3 = Residual(2 * width, (3, 1))
        self.conv4 = ConvPair(2 * width, 2 * width)
        self.res4 = Residual(2 * width, (3, 1))
        self.conv5 = ConvPair(2 * width, 4 * width, stride=2)
        self.res5 = Residual(4 * width)
        self.conv6 = ConvPair(4 * width, 4 * width)
        self.res6 = Residual(4 * width)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        f256 = self.res2(self.conv2(self.res1(self.conv1(images))))
        f128 = self.res4(self.conv4(self.res3(self.conv3(f256))))
        f64 = self.res6(self.conv6(self.res5(self.conv5(f128))))
        return {256: f256, 128: f128, 64: f64}


class BlendMask(nn.Module):
    """How much of the specific read to take over the generic one, per channel and pixel; unbounded."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.degraded = ConvPair(channels, channels // 3)
        self.specific = ConvPair(channels, channels // 3)
        self.generic = ConvPair(channels, channels // 3)
        self.merge = ConvPair(3 * (channels // 3), channels)

    def forward(self, degraded: Tensor, specific: Tensor, generic: Tensor) -> Tensor:
        parts = [self.degraded(degraded), self.specific(specific), self.generic(generic)]
        mask: Tensor = self.merge(torch.cat(parts, dim=1))
        return mask


class MultiDilation(nn.Module):
    """Four branches that see further and further, merged and added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(ConvPair(channels, channels, dilations=(d, d)) for d in (4, 3, 2, 1))
        self.merge = conv(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + convolve(torch.cat([branch(x) for branch in self.branches], dim=1), self.merge)


class Up(nn.Module):
    """Twice the size, its features scaled and shifted by a style map of the input's size (SFT)."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.conv = ConvPair(source, target)
        self.scale = ConvPair(source, target)
        self.shift = ConvPair(source, target)
        self.refine = ConvPair(target, target)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        h = self.conv(x, activated=True)
        h = self.shift(style, plus=h * self.scale(style))
        refined: Tensor = self.refine(F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False))
        return refined


class Head(nn.Sequential):
    """The last map to an image (B, 3, H, W) in [-1, 1]."""

    def __init__(self, width: int) -> None:
        first, last = conv(width, width), conv(width, 3)
        super().__init__(first, nn.LeakyReLU(SLOPE), Residual(width), Residual(width), last, nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        x = self[3](self[2](convolve(x, self[0], activated=True)))
        return convolve(x, self[4]).tanh()


class DMDNet(nn.Module):
    """The network; see the module's docstring, and `checkpoint.load` for one with weights in it."""

    def __init__(self, config: DMDConfig) -> None:
        super().__init__()
        if config.width < 4 or config.width % 4:
            raise ShapeError(f"the width is a multiple of 4; got {config.width}")
        self.config = config
        width = config.width
        self.encoder = Encoder(width)
        self.reference_encoder = Encoder(width)
        self.query, self.key, self.value = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.mask, self.gate = nn.ModuleDict(), nn.ModuleDict()
        # Flat maps: a memory laid out as (M, C, s, s) would be copied by `.to(memory_format=torch.channels_last)`.
        self.memory_key, self.memory_value = nn.ParameterDict(), nn.ParameterDict()
        for component, scale in PATCHES:
            name, channels, side = patch_name(component, scale), config.channels(scale), patch_side(component, scale)
            self.query[name] = ConvPair(channels, channels // 4)
            self.key[name] = ConvPair(channels, channels // 4)
            self.value[name] = ConvPair(channels, channels)
            self.mask[name] = BlendMask(channels)
            self.gate[name] = ConvPair(channels, channels)
            self.memory_key[name] = nn.Parameter(torch.zeros(config.entries, channels // 4, side * side))
            self.memory_value[name] = nn.Parameter(torch.zeros(config.entries, channels, side * side))
        self.multi_dilation = MultiDilation(4 * width)
        self.up1 = Up(4 * width, 2 * width)
        self.up2 = Up(2 * width, width)
        self.up3 = Up(width, width)
        self.head = Head(width)

    def encode(self, images: Tensor, boxes: Tensor) -> Features:
        """Encode degraded faces once, for any number of `decode` calls.

        images: (B, 3, 512, 512) RGB in [-1, 1], in the network's dtype. boxes: (B, 3, 4) int64 crop pixels, on any
        device. Raises ShapeError for other shapes and, where the boxes are on the CPU, for boxes outside the crop or
        narrower than two cells of the coarsest map.
        """
        check_inputs(images, boxes)
        maps = self.encoder(images)
        patches = cut_patches(maps, boxes)
        queries = {name: self.query[name](patch) for name, patch in patches.items()}
        return Features(images, maps, self.multi_dilation(maps[64]), patches, queries, boxes)

    def memorize(self, images: Tensor, boxes: Tensor) -> Dictionary:
        """Make a specific dictionary of M good photographs of one person.

        images: (M, 3, 512, 512) RGB in [-1, 1]; boxes: (M, 3, 4) int64. Raises ShapeError as `encode` does.
        """
        check_inputs(images, boxes)
        patches = cut_patches(self.reference_encoder(images), boxes)
        return Dictionary({name: Memory(self.key[name](p), self.value[name](p)) for name, p in patches.items()})

    def decode(self, features: Features, dictionary: Dictionary | Sequence[Dictionary | None] | None = None) -> Tensor:
        """Return restored faces, (B, 3, 512, 512) RGB in [-1, 1] (with `residual` it may overshoot).

        dictionary: None for the generic dictionary alone; one Dictionary for all faces; or one per face, None for
        strangers. Raises ShapeError when a sequence has another length than the batch.
        """
        count = len(features.images)
        people = [dictionary] * count if dictionary is None or isinstance(dictionary, Dictionary) else list(dictionary)
        if len(people) != count:
            raise ShapeError(f"{count} faces but {len(people)} dictionaries")
        return self.answer(features, list(enumerate(people)))

    def answer(self, features: Features, asked: Sequence[tuple[int, Dictionary | None]]) -> Tensor:
        """Return one restored face for each (face, dictionary) asked for, as `decode`.

        A face may be asked for with several dictionaries, or not at all; the generic one is read once for all.
        """
        return self.draw(features, [face for face, _ in asked], self.styles(features, asked))

    def styles(self, features: Features, asked: Sequence[tuple[int, Dictionary | None]]) -> dict[int, Tensor]:
        """Return, by scale, the feature maps (N, C, scale, scale) with what the dictionaries remember in them."""
        faces = [face for face, _ in asked]
        enhanced = {name: self._enhance(name, features, asked) for name in features.patches}
        maps = {scale: pick(one, faces) for scale, one in features.maps.items()}
        return paste_patches(maps, enhanced, features.boxes[faces])

    def draw(self, features: Features, faces: Sequence[int], styles: dict[int, Tensor]) -> Tensor:
        """Return the faces (N, 3, 512, 512) of `features` that `styles` were made for."""
        x = self.up1(pick(features.context, faces), styles[64])
        x = self.up2(x, styles[128])
        x = self.up3(x, styles[256])
        output: Tensor = self.head(x)
        return pick(features.images, faces) + output if self.config.residual else output

    def forward(
        self, images: Tensor, boxes: Tensor, dictionary: Dictionary | Sequence[Dictionary | None] | None = None
    ) -> Tensor:
        """`decode(encode(images, boxes), dictionary)`."""
        return self.decode(self.encode(images, boxes), dictionary)

    def _enhance(self, name: str, features: Features, asked: Sequence[tuple[int, Dictionary | None]]) -> Tensor:
        """Return the patches (N, C, s, s) asked for with what the dictionaries remember added to them."""
        faces = [face for face, _ in asked]
        generic = read(features.queries[name], self.memory_key[name], self.memory_value[name], features.patches[name])
        patch, memory = pick(features.patches[name], faces), pick(generic, faces)
        known = {row: person for row, (_, person) in enumerate(asked) if person is not None}
        if known:
            rows = list(known)
            degraded, generic = pick(patch, rows), pick(memory, rows)
            query = pick(features.queries[name], [faces[row] for row in rows])
            specific = read_each(name, query, list(known.values()), degraded)
            mask = self.mask[name](degraded, specific, generic)
            blended = (mask * specific + (1 - mask) * generic).to(memory.dtype)
            order = {row: len(asked) + index for index, row in enumerate(rows)}
            memory = pick(torch.cat([memory, blended]), [order.get(row, row) for row in range(len(asked))])
        styled = match_statistics(memory, patch)
        gated: Tensor = self.gate[name](styled - patch) * styled + patch
        return gated


def pick(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    """The rows of a tensor, itself where these are all; how it lies in memory stays (indexing would change it)."""
    if list(rows) == list(range(len(tensor))):
        return tensor
    return torch.cat([tensor[row : row + 1] for row in rows])


def check_inputs(images: Tensor, boxes: Tensor) -> None:
    """Raise ShapeError unless images are (B, 3, 512, 512) and boxes (B, 3, 4) integers inside the crop."""
    if images.shape[1:] != (3, CROP, CROP) or not images.is_floating_point():
        raise ShapeError(f"images: wanted (B, 3, {CROP}, {CROP}) floats, got {tuple(images.shape)} {images.dtype}")
    if boxes.shape != (len(images), len(COMPONENTS), 4) or boxes.is_floating_point():
        raise ShapeError(f"boxes: wanted ({len(images)}, 3, 4) int64, got {tuple(boxes.shape)} {boxes.dtype}")
    if boxes.device.type == "cpu":
        inside = (boxes >= 0).all() and (boxes <= CROP).all()
        coarsest = CROP // min(SCALES)
        if not inside or (boxes[..., 2:] // coarsest - boxes[..., :2] // coarsest < 2).any():
            raise ShapeError(
                f"boxes lie in [0, {CROP}] and span at least two {coarsest}-pixel cells; got {boxes.tolist()}"
            )


def read_each(name: str, query: Tensor, people: Sequence[Dictionary], like: Tensor) -> Tensor:
    """Each face's read of its own person's dictionary, (B, C, s, s); nothing of a dictionary is copied."""
    faces: dict[int, list[int]] = {}
    for face, person in enumerate(people):
        faces.setdefault(id(person), []).append(face)
    reads = []
    for rows in faces.values():
        memory = people[rows[0]].memories[name]
        reads.append(read(pick(query, rows), memory.key, memory.value, pick(like, rows)))
    places = {face: place for place, face in enumerate(face for rows in faces.values() for face in rows)}
    return pick(torch.cat(reads) if len(reads) > 1 else reads[0], [places[face] for face in range(len(people))])


def read(query: Tensor, keys: Tensor, values: Tensor, like: Tensor) -> Tensor:
    """Average the values, weighted by a softmax over the entries of query times key: (B, C, s, s).

    query: (B, k, s, s). keys, values: M entries, shaped (M, k, ...) and (M, C, ...). like: (B, C, s, s), a tensor of
    the wanted shape. The softmax's temperature is the square root of the number of entries. Logits and weights are
    float32 whatever the network's dtype.
    """
    with torch.autocast(query.device.type, enabled=False):
        logits = query.flatten(1).float() @ keys.flatten(1).float().T
        weights = torch.softmax(logits / math.sqrt(len(keys)), dim=1)
        flat = values.flatten(1)
        return (weights.to(flat.dtype) @ flat).to(like.dtype).view_as(like)


def match_statistics(memory: Tensor, patch: Tensor) -> Tensor:
    """Give `memory` the mean and (unbiased) standard deviation of `patch`, per face and channel (AdaIN), in float32."""
    with torch.autocast(memory.device.type, enabled=False):
        source, target = memory.float(), patch.float()
        source_variance, source_mean = torch.var_mean(source, dim=(2, 3), keepdim=True)
        target_variance, target_mean = torch.var_mean(target, dim=(2, 3), keepdim=True)
        scale = ((target_variance + ADAIN_EPSILON) / (source_variance + ADAIN_EPSILON)).sqrt()
        return ((source - source_mean) * scale + target_mean).to(patch.dtype)
