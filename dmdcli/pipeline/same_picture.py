"""Whether two crops come from one picture: copies recompressed, scaled, cropped or made grey."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from dmdcli.shapes import Pixels

SAME_PICTURE = 0.993
"""Correlation of two blurred crops from which they come from one picture. Measured: copies recompressed, scaled,
cropped, turned by 3 degrees or made grey have 0.995 to 1, photos of one person in one sitting up to 0.990."""
BLUR = 4.0
"""Sigma in crop pixels of that blur: it removes noise, grain and the marks of compression."""
FACE_ROWS, FACE_COLUMNS = slice(100, 440), slice(100, 412)
"""The part of a crop that is compared: the face without what is around it."""


def face_view(crop: Pixels, step: int = 1) -> npt.NDArray[np.float32]:
    """The face in a crop (512, 512, 3) uint8, grey and blurred, of mean 0 and length 1: flattened, float32.

    step: pixels from one that is taken to the next; 8 is little less exact and takes 6.7 kB, 1 takes 424 kB. The
    correlation of two crops is the scalar product of their views.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), BLUR)
    part = grey[FACE_ROWS, FACE_COLUMNS][::step, ::step].ravel()
    part = part - part.mean()
    view: npt.NDArray[np.float32] = (part / max(float(np.linalg.norm(part)), 1e-6)).astype(np.float32)
    return view
