"""Make bad copies of whole photos: something to try the restoration on whose truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from dmdcli.errors import PhotoError
from dmdcli.photos import PhotoFile, read_photo, write_photo
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.shapes import CROP
from dmdcli.training.degrade import Degradation, apply, draw, generator_for
from dmdcli.training.severity import Ranges, Severity


@dataclass(frozen=True)
class DegradedPhoto:
    """What became of one photo. degradation: as applied to the whole photo, in its pixels; None unless degraded."""

    path: Path
    output: Path | None
    status: Literal["degraded", "skipped", "failed"]
    degradation: Degradation | None = None
    error: str | None = None


def degrade_photos(
    pairs: Iterable[tuple[PhotoFile, Path]],
    severity: Severity | Ranges,
    seed: int,
    *,
    crop_side: float = CROP,
    ext: str = "auto",
    overwrite: bool = False,
) -> Iterator[DegradedPhoto]:
    """Degrade each photo and write it to the place beside it; yield what became of it. A bad photo does not stop it.

    The damage depends on `seed` and the photo's file name alone. The ranges of a severity are meant for a crop of
    512 pixels around a face; crop_side is the side of such a crop in the photos' own pixels, so that 1024 doubles blur
    and shrinking, and the marks of an old print. Grey photos get grey noise, and no cast. The size, mode and metadata
    of a photo stay; 16 bits are filled from 8.
    CannotGoOnError where nothing can be written.
    """
    for file, output in pairs:
        if output.exists() and not overwrite:
            yield DegradedPhoto(file.path, output, "skipped")
            continue
        try:
            with only_this_photo(file.path):
                photo = read_photo(file.path)
                degradation = draw(severity, generator_for(seed, file.path.name)).at_scale(crop_side / CROP)
                degradation = replace(degradation, grey_noise=photo.mode in ("L", "LA"))
                canvas = photo.canvas()
                canvas.put(0, 0, apply(photo.pixels, degradation) / np.float32(255))
                write_photo(photo, canvas.changed, output, ext=ext)
        except PhotoError as error:
            yield DegradedPhoto(file.path, None, "failed", error=error.reason)
            continue
        yield DegradedPhoto(file.path, output, "degraded", degradation)
