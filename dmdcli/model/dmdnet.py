"""The complete DMDNet ("Learning Dual Memory Dictionaries for Blind Face Restoration", arXiv 2210.08160).

A degraded face is encoded at three scales. At each scale the patches of both eyes and the mouth ask a dictionary for
what such a component should look like: the *generic* dictionary, learnt from many faces, and, where the person is
known, the *specific* one, made by `memorize` from their own photographs. The answers take on the statistics of the
degraded patch, are gated, and go back into the feature maps, which steer the decoder.

All convolutions are 3 x 3 with bias and zero padding that keeps the size; the activation is LeakyReLU(0.2). Cutting a
patch out and putting it back are written as products with interpolation matrices, so a batch needs no loop over faces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmdcli.errors import ShapeError
from dmdcli.model.dictionary import PATCHES, SCALES, Dictionary, Memory, patch_name
from dmdcli.shapes import COMPONENTS, CROP

COMPONENT_SIDES = {"left_eye": 80, "right_eye": 80, "mouth": 110}
"""Side of a component patch in crop pixels; divided by the stride, rounded down, it is the side in feature cells."""

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
    start. patches, queries: by patch name, (B, C, s, s) and (B, C / 4, s, s). boxes: (B, 3, 4) on the maps' device.
    """

    images: Tensor
    maps: dict[int, Tensor]
    context: Tensor
    patches: dict[str, Tensor]
    queries: dict[str, Tensor]
    boxes: Tensor


def conv(source: int, target: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(source, target, 3, stride, padding=dilation, dilation=dilation)


def conv_pair(source: int, target: int, stride: int = 1, dilations: tuple[int, int] = (1, 1)) -> nn.Sequential:
    """Two convolutions with an activation between them and none after: the network's building block."""
    first = conv(source, target, stride, dilations[0])
    return nn.Sequential(first, nn.LeakyReLU(0.2), conv(target, target, dilation=dilations[1]))


class Residual(nn.Sequential):
    """x + f(x)."""

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + branch


def residual_pair(channels: int, dilations: tuple[int, int] = (1, 1)) -> Residual:
    return Residual(*conv_pair(channels, channels, dilations=dilations))


class Encoder(nn.Module):
    """(B, 3, 512, 512) to feature maps at scales 256, 128 and 64."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = conv_pair(3, width, stride=2)
        self.res1 = residual_pair(width, (5, 3))
        self.conv2 = conv_pair(width, width)
        self.res2 = residual_pair(width, (5, 3))
        self.conv3 = conv_pair(width, 2 * width, stride=2)
        self.res3 = residual_pair(2 * width, (3, 1))
        self.conv4 = conv_pair(2 * width, 2 * width)
        self.res4 = residual_pair(2 * width, (3, 1))
        self.conv5 = conv_pair(2 * width, 4 * width, stride=2)
        self.res5 = residual_pair(4 * width)
        self.conv6 = conv_pair(4 * width, 4 * width)
        self.res6 = residual_pair(4 * width)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        f256 = self.res2(self.conv2(self.res1(self.conv1(images))))
        f128 = self.res4(self.conv4(self.res3(self.conv3(f256))))
        f64 = self.res6(self.conv6(self.res5(self.conv5(f128))))
        return {256: f256, 128: f128, 64: f64}


class BlendMask(nn.Module):
    """How much of the specific read to take over the generic one, per channel and pixel; unbounded."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.degraded = conv_pair(channels, channels // 3)
        self.specific = conv_pair(channels, channels // 3)
        self.generic = conv_pair(channels, channels // 3)
        self.merge = conv_pair(3 * (channels // 3), channels)

    def forward(self, degraded: Tensor, specific: Tensor, generic: Tensor) -> Tensor:
        parts = [self.degraded(degraded), self.specific(specific), self.generic(generic)]
        mask: Tensor = self.merge(torch.cat(parts, dim=1))
        return mask


class MultiDilation(nn.Module):
    """Four branches that see further and further, merged and added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_pair(channels, channels, dilations=(d, d)) for d in (4, 3, 2, 1))
        self.merge = conv(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat([branch(x) for branch in self.branches], dim=1))
        return merged + x


class Up(nn.Module):
    """Twice the size, its features scaled and shifted by a style map of the input's size (SFT)."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__()
        self.conv = conv_pair(source, target)
        self.scale = conv_pair(source, target)
        self.shift = conv_pair(source, target)
        self.refine = conv_pair(target, target)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        h = F.leaky_relu(self.conv(x), 0.2)
        h = h * self.scale(style) + self.shift(style)
        refined: Tensor = self.refine(F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=False))
        return refined


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
            self.query[name] = conv_pair(channels, channels // 4)
            self.key[name] = conv_pair(channels, channels // 4)
            self.value[name] = conv_pair(channels, channels)
            self.mask[name] = BlendMask(channels)
            self.gate[name] = conv_pair(channels, channels)
            self.memory_key[name] = nn.Parameter(torch.zeros(config.entries, channels // 4, side * side))
            self.memory_value[name] = nn.Parameter(torch.zeros(config.entries, channels, side * side))
        self.multi_dilation = MultiDilation(4 * width)
        self.up1 = Up(4 * width, 2 * width)
        self.up2 = Up(2 * width, width)
        self.up3 = Up(width, width)
        self.head = nn.Sequential(
            conv(width, width), nn.LeakyReLU(0.2), residual_pair(width), residual_pair(width), conv(width, 3), nn.Tanh()
        )

    def encode(self, images: Tensor, boxes: Tensor) -> Features:
        """Encode degraded faces once, for any number of `decode` calls.

        images: (B, 3, 512, 512) RGB in [-1, 1], in the network's dtype. boxes: (B, 3, 4) int64 crop pixels, on any
        device. Raises ShapeError for other shapes and, where the boxes are on the CPU, for boxes outside the crop or
        narrower than two cells of the coarsest map.
        """
        check_inputs(images, boxes)
        boxes = boxes.to(images.device)
        maps = self.encoder(images)
        patches = cut_patches(maps, boxes)
        queries = {name: self.query[name](patch) for name, patch in patches.items()}
        return Features(images, maps, self.multi_dilation(maps[64]), patches, queries, boxes)

    def memorize(self, images: Tensor, boxes: Tensor) -> Dictionary:
        """Make a specific dictionary of M good photographs of one person.

        images: (M, 3, 512, 512) RGB in [-1, 1]; boxes: (M, 3, 4) int64. Raises ShapeError as `encode` does.
        """
        check_inputs(images, boxes)
        patches = cut_patches(self.reference_encoder(images), boxes.to(images.device))
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
        enhanced = {name: self._enhance(name, features, people) for name in features.patches}
        styles = paste_patches(features.maps, enhanced, features.boxes)
        x = self.up1(features.context, styles[64])
        x = self.up2(x, styles[128])
        x = self.up3(x, styles[256])
        output: Tensor = self.head(x)
        return features.images + output if self.config.residual else output

    def forward(
        self, images: Tensor, boxes: Tensor, dictionary: Dictionary | Sequence[Dictionary | None] | None = None
    ) -> Tensor:
        """`decode(encode(images, boxes), dictionary)`."""
        return self.decode(self.encode(images, boxes), dictionary)

    def _enhance(self, name: str, features: Features, people: list[Dictionary | None]) -> Tensor:
        """Return the patch (B, C, s, s) with what the dictionaries remember added to it."""
        patch, query = features.patches[name], features.queries[name]
        memory = read(query, self.memory_key[name], self.memory_value[name], patch)
        known = [index for index, person in enumerate(people) if person is not None]
        if known:
            specific = self._read_specific(name, query[known], [p for p in people if p is not None], patch[known])
            generic = memory[known]
            mask = self.mask[name](patch[known], specific, generic)
            blended = mask * specific + (1 - mask) * generic
            memory = (
                blended
                if len(known) == len(people)
                else memory.index_put((torch.tensor(known, device=memory.device),), blended.to(memory.dtype))
            )
        styled = match_statistics(memory, patch)
        gated: Tensor = self.gate[name](styled - patch) * styled + patch
        return gated

    def _read_specific(self, name: str, query: Tensor, people: list[Dictionary], like: Tensor) -> Tensor:
        """One read for faces of several people: all entries side by side, each face masked to its own person's."""
        distinct = list({id(person): person for person in people}.values())
        keys = torch.cat([person.memories[name].key for person in distinct])
        values = torch.cat([person.memories[name].value for person in distinct])
        counts = torch.tensor([person.entries for person in distinct], device=query.device)
        owner = torch.repeat_interleave(torch.arange(len(distinct), device=query.device), counts)
        order = {id(person): index for index, person in enumerate(distinct)}
        mine = torch.tensor([order[id(person)] for person in people], device=query.device)
        return read(query, keys, values, like, owner[None, :] == mine[:, None])


def patch_side(component: str, scale: int) -> int:
    """Side of a component's patch in cells of the map at `scale`: 40, 20, 10 for eyes and 55, 27, 13 for the mouth."""
    return COMPONENT_SIDES[component] // (CROP // scale)


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


def interpolation(start: Tensor, length: Tensor, side: int, size: int, dtype: torch.dtype) -> Tensor:
    """Rows that resize cells [start, start + length) of a line of `size` cells to `side` cells: (B, side, size).

    Bilinear with half-pixel centres and clamped borders, as `interpolate(..., align_corners=False)` does.
    """
    position = (torch.arange(side, device=start.device) + 0.5) * (length[:, None] / side) - 0.5
    position = position.clamp(min=0)
    low = position.floor()
    high = torch.minimum(low + 1, length[:, None] - 1.0)
    weight = (position - low)[..., None]
    cells = torch.arange(size, device=start.device)
    offset = start[:, None].to(position.dtype)
    rows = ((low + offset)[..., None] == cells) * (1 - weight) + ((high + offset)[..., None] == cells) * weight
    return rows.to(dtype)


def cut_patches(maps: dict[int, Tensor], boxes: Tensor) -> dict[str, Tensor]:
    """Cut the nine component patches (B, C, s, s) out of the feature maps."""
    patches = {}
    for component, scale in PATCHES:
        cells = boxes[:, COMPONENTS.index(component)] // (CROP // scale)
        lengths, side, features = cells[:, 2:] - cells[:, :2], patch_side(component, scale), maps[scale]
        across = interpolation(cells[:, 0], lengths[:, 0], side, scale, features.dtype)
        down = interpolation(cells[:, 1], lengths[:, 1], side, scale, features.dtype)
        patches[patch_name(component, scale)] = down[:, None] @ features @ across[:, None].transpose(2, 3)
    return patches


def paste_patches(maps: dict[int, Tensor], patches: dict[str, Tensor], boxes: Tensor) -> dict[int, Tensor]:
    """Return copies of the maps with the patches resized back into their boxes, a later component over an earlier."""
    pasted = dict(maps)
    for component, scale in PATCHES:
        cells = boxes[:, COMPONENTS.index(component)] // (CROP // scale)
        patch = patches[patch_name(component, scale)]
        across = placement(cells[:, 0], cells[:, 2], patch.shape[-1], scale, patch.dtype)
        down = placement(cells[:, 1], cells[:, 3], patch.shape[-1], scale, patch.dtype)
        line = torch.arange(scale, device=boxes.device)
        inside_x = (line >= cells[:, :1]) & (line < cells[:, 2:3])
        inside_y = (line >= cells[:, 1:2]) & (line < cells[:, 3:])
        inside = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
        pasted[scale] = torch.where(inside, down[:, None] @ patch @ across[:, None].transpose(2, 3), pasted[scale])
    return pasted


def placement(start: Tensor, end: Tensor, side: int, size: int, dtype: torch.dtype) -> Tensor:
    """Rows that resize `side` cells into cells [start, end) of a line of `size`, zero elsewhere: (B, size, side)."""
    line = torch.arange(size, device=start.device)
    length = (end - start)[:, None]
    position = ((line - start[:, None] + 0.5) * (side / length) - 0.5).clamp(0, side - 1)
    low = position.floor()
    high = (low + 1).clamp(max=side - 1)
    weight = (position - low)[..., None]
    cells = torch.arange(side, device=start.device)
    rows = (low[..., None] == cells) * (1 - weight) + (high[..., None] == cells) * weight
    inside = (line >= start[:, None]) & (line < end[:, None])
    return (rows * inside[..., None]).to(dtype)


def read(query: Tensor, keys: Tensor, values: Tensor, like: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Average the values, weighted by a softmax over the entries of query times key: (B, C, s, s).

    query: (B, k, s, s). keys, values: M entries, shaped (M, k, ...) and (M, C, ...). like: (B, C, s, s), a tensor of
    the wanted shape. allowed: (B, M) bool, the entries each face may read. The softmax's temperature is the square
    root of the number of entries read from. Logits and weights are float32 whatever the network's dtype.
    """
    with torch.autocast(query.device.type, enabled=False):
        logits = query.flatten(1).float() @ keys.flatten(1).float().T
        if allowed is None:
            weights = torch.softmax(logits / math.sqrt(len(keys)), dim=1)
        else:
            temperature = allowed.sum(dim=1, keepdim=True).float().sqrt()
            weights = torch.softmax((logits / temperature).masked_fill(~allowed, -math.inf), dim=1)
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
