"""The patches of eyes and mouth, cut out of the feature maps and pasted back into them.

Where nothing is learnt each patch is resized in its own place. Gradients go through products with interpolation
matrices instead: a batch then needs no loop over faces, which automatic differentiation would pay for with a copy of
the maps per patch. Both resize as `interpolate(..., mode="bilinear", align_corners=False)` does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dmdcli.model.dictionary import PATCHES, patch_name
from dmdcli.shapes import COMPONENTS, CROP

COMPONENT_SIDES = {"left_eye": 80, "right_eye": 80, "mouth": 110}
"""Side of a component patch in crop pixels; divided by the stride, rounded down, it is the side in feature cells."""


def patch_side(component: str, scale: int) -> int:
    """Side of a component's patch in cells of the map at `scale`: 40, 20, 10 for eyes and 55, 27, 13 for the mouth."""
    return COMPONENT_SIDES[component] // (CROP // scale)


def cut_patches(maps: dict[int, Tensor], boxes: Tensor) -> dict[str, Tensor]:
    """Cut the nine component patches (B, C, s, s) out of the feature maps (B, C, scale, scale).

    boxes: (B, 3, 4) int64 crop pixels.
    """
    cut = _cut_learning if torch.is_grad_enabled() else _cut
    return {
        patch_name(component, scale): cut(maps[scale], _cells(boxes, component, scale), patch_side(component, scale))
        for component, scale in PATCHES
    }


def paste_patches(maps: dict[int, Tensor], patches: dict[str, Tensor], boxes: Tensor) -> dict[int, Tensor]:
    """Return copies of the maps with the patches resized back into their boxes, a later component over an earlier."""
    learns = torch.is_grad_enabled()
    pasted = dict(maps) if learns else {scale: features.clone() for scale, features in maps.items()}
    for component, scale in PATCHES:
        cells, patch = _cells(boxes, component, scale), patches[patch_name(component, scale)]
        if learns:
            pasted[scale] = _paste_learning(pasted[scale], patch, cells)
        else:
            _paste(pasted[scale], patch, cells)
    return pasted


def _cells(boxes: Tensor, component: str, scale: int) -> Tensor:
    """(B, 4) boxes of a component in cells of the map at `scale`."""
    return boxes[:, COMPONENTS.index(component)] // (CROP // scale)


def _cut(features: Tensor, cells: Tensor, side: int) -> Tensor:
    return torch.cat(
        [
            _resized(features[face : face + 1, :, y0:y1, x0:x1], (side, side))
            for face, (x0, y0, x1, y1) in enumerate(cells.tolist())
        ]
    )


def _paste(features: Tensor, patch: Tensor, cells: Tensor) -> None:
    for face, (x0, y0, x1, y1) in enumerate(cells.tolist()):
        features[face : face + 1, :, y0:y1, x0:x1] = _resized(patch[face : face + 1], (y1 - y0, x1 - x0))


def _resized(patch: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(patch, size, mode="bilinear", align_corners=False)


def _cut_learning(features: Tensor, cells: Tensor, side: int) -> Tensor:
    cells = cells.to(features.device)
    lengths, scale = cells[:, 2:] - cells[:, :2], features.shape[-1]
    across = interpolation(cells[:, 0], lengths[:, 0], side, scale, features.dtype)
    down = interpolation(cells[:, 1], lengths[:, 1], side, scale, features.dtype)
    return down[:, None] @ features @ across[:, None].transpose(2, 3)


def _paste_learning(features: Tensor, patch: Tensor, cells: Tensor) -> Tensor:
    cells, scale = cells.to(features.device), features.shape[-1]
    across = placement(cells[:, 0], cells[:, 2], patch.shape[-1], scale, patch.dtype)
    down = placement(cells[:, 1], cells[:, 3], patch.shape[-1], scale, patch.dtype)
    line = torch.arange(scale, device=features.device)
    inside_x = (line >= cells[:, :1]) & (line < cells[:, 2:3])
    inside_y = (line >= cells[:, 1:2]) & (line < cells[:, 3:])
    inside = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
    return torch.where(inside, down[:, None] @ patch @ across[:, None].transpose(2, 3), features)


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
