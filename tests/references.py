"""References that were never photographed, and what may be made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dmdcli.faces.face import Landmarks
from dmdcli.library import Library, NewReference


def reference(seed: int) -> NewReference:
    random = np.random.default_rng(seed)
    columns, rows = np.meshgrid(np.linspace(100, 400, 17), np.linspace(150, 420, 4))
    points = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)
    return NewReference(
        crop=np.full((512, 512, 3), random.integers(0, 256, 3), np.uint8),
        points=points + np.float32(seed),
        source=Path(f"photo {seed}.jpg"),
        sharpness=float(seed),
        digest=f"{seed:064x}",
    )


def mean_colour(crops: np.ndarray, landmarks: Sequence[Landmarks]) -> np.ndarray:
    return crops.mean(axis=(1, 2)).astype(np.float32)


def files_of(library: Library) -> list[Path]:
    return sorted(path.relative_to(library.home) for path in library.home.rglob("*"))
