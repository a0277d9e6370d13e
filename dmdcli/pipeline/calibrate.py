"""Fit the curve from distances of embeddings to similarity on photographs whose people are known, and keep it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dmdcli.errors import LibraryFormatError, PhotoError, UsageError
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import THRESHOLD, Curve
from dmdcli.library_files import is_there, make_private, read_json, write_json
from dmdcli.photos import read_photo
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.places import PhotoFile
from dmdcli.shapes import Embedding

FORMAT = 1
"""Version of the file a curve is kept in."""
LEAST_PAIRS = 10
"""Pairs of one person, and of two, below which a curve says nothing."""
RIDGE = 1e-6
"""Regularisation of the logistic fit: keeps the slope finite where both kinds of pairs do not overlap."""
LEAST_SLOPE = 0.01
"""Slope below which a curve does not fall with the distance, and is none."""
STEPS = 100
"""Newton steps of the fit; it settles within ten."""


@dataclass(frozen=True)
class LabelledPhoto:
    """What one photo gave.

    person: its label. embedding: of its one face; None where `reason` says why there is none.
    """

    photo: Path
    person: str
    embedding: Embedding | None = field(default=None, repr=False)
    reason: str | None = None


@dataclass(frozen=True)
class Calibration:
    """A curve fitted for one kit, and the distances it was fitted to, each (N,) float64, ascending.

    same: between photographs of one person. different: of two people.
    """

    kit: str
    curve: Curve
    people: int
    same: npt.NDArray[np.float64] = field(repr=False)
    different: npt.NDArray[np.float64] = field(repr=False)

    def misnamed(self, curve: Curve) -> float:
        """The part of the pairs of two people that `curve` takes for one person."""
        return float((curve(self.different) >= THRESHOLD).mean())

    @property
    def gap(self) -> tuple[float, float] | None:
        """Where the pairs of one person end and those of two begin; None where they overlap."""
        ends = float(self.same[-1]), float(self.different[0])
        return ends if ends[0] < ends[1] else None

    def unrecognised(self, curve: Curve) -> float:
        """The part of the pairs of one person that `curve` takes for two."""
        return float((curve(self.same) < THRESHOLD).mean())


def look_at(people: Mapping[str, Sequence[PhotoFile]], finder: FaceFinder) -> Iterator[LabelledPhoto]:
    """Find the one face of every photo. people: label -> photos; a photo without one usable face says why."""
    for person, files in people.items():
        for file in files:
            try:
                with only_this_photo(file.path):
                    faces = [face for face in finder.find(read_photo(file.path).pixels) if face.rejected is None]
            except PhotoError as error:
                yield LabelledPhoto(file.path, person, reason=error.reason)
                continue
            if len(faces) == 1:
                yield LabelledPhoto(file.path, person, faces[0].embedding)
            else:
                yield LabelledPhoto(file.path, person, reason=f"{len(faces) or 'no'} faces; one is needed")


def calibrate(labelled: Sequence[LabelledPhoto], kit_name: str) -> Calibration:
    """Fit the curve of the kit `kit_name` to all pairs of the photos that gave a face.

    Raises UsageError with fewer than LEAST_PAIRS pairs of one person or of two, and where those of one person are not
    the nearer ones.
    """
    seen = [(one.person, one.embedding) for one in labelled if one.embedding is not None]
    names = np.array([person for person, _ in seen], dtype=object)
    first, second = np.triu_indices(len(seen), 1)
    same = (names[first] == names[second]).astype(bool)
    if min(int(same.sum()), int((~same).sum())) < LEAST_PAIRS:
        raise UsageError(
            f"{int(same.sum())} pairs of photos of one person and {int((~same).sum())} of two people are too few to "
            f"fit a curve; at least {LEAST_PAIRS} of each are needed. Give more photos per person."
        )
    rows = np.stack([embedding for _, embedding in seen]).astype(np.float64)
    distances = np.linalg.norm(rows[first] - rows[second], axis=1)
    middle, slope = fit_logistic(distances, same)
    if slope < LEAST_SLOPE:
        raise UsageError(
            "Photos of one person are no more alike here than photos of two, so there is no curve to fit. Is everybody "
            "in the folder of their own name?"
        )
    people = len(set(names))
    pairs = f"{int(same.sum())} pairs of one person and {int((~same).sum())} of two"
    curve = Curve(middle, slope, f"fitted {datetime.now(timezone.utc):%Y-%m-%d} to {pairs}", measured=True)
    return Calibration(kit_name, curve, people, np.sort(distances[same]), np.sort(distances[~same]))


def fit_logistic(distances: npt.NDArray[np.float64], same: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Middle and slope of 1 / (1 + exp(slope * (distance - middle))) by logistic regression with Newton's method.

    distances: (N,). same: (N,), whether the pair shows one person. Both kinds weigh the same in total: a priori a face
    is as likely the person as not.
    """
    features = np.stack([np.ones_like(distances), distances], axis=1)
    weights = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    solution = np.zeros(2)
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(np.clip(-features @ solution, -500, 500)))
        gradient = features.T @ (weights * (same - chance)) - RIDGE * solution
        curvature = (features * (weights * chance * (1 - chance))[:, None]).T @ features + RIDGE * np.eye(2)
        solution = solution + np.linalg.solve(curvature, gradient)
    return float(-solution[0] / solution[1]), float(-solution[1])


def read_curve(home: Path, kit_name: str) -> Curve | None:
    """The curve kept for a kit in the library's folder; None where none is. Raises LibraryFormatError."""
    path = curve_path(home, kit_name)
    if not is_there(path):
        return None
    cure = f"Remove {path} to go back to the kit's own curve, then calibrate again."
    try:
        fields = read_json(path)
        version, middle, slope = int(fields["format"]), float(fields["middle"]), float(fields["slope"])
        curve = Curve(middle, slope, str(fields["source"]), measured=True, fitted=True)
    except (KeyError, TypeError, ValueError, LibraryFormatError) as error:
        raise LibraryFormatError(f"The saved calibration is damaged. {cure}") from error
    if version > FORMAT:
        raise LibraryFormatError(
            f"{path} has format {version}; this version of dmd reads up to format {FORMAT}. Update it."
        )
    if not (np.isfinite([middle, slope]).all() and slope > 0):
        raise LibraryFormatError(f"The saved calibration is damaged (middle {middle}, slope {slope}). {cure}")
    return curve


def keep_curve(home: Path, calibration: Calibration) -> Path:
    """Keep the curve for its kit in the library's folder, in place of an earlier one; return its file."""
    make_private(home)
    path = curve_path(home, calibration.kit)
    curve = calibration.curve
    fields = {
        "format": FORMAT,
        "kit": calibration.kit,
        "middle": round(curve.middle, 5),
        "slope": round(curve.slope, 4),
        "source": curve.source,
        "people": calibration.people,
    }
    write_json(path, fields)
    return path


def curve_path(home: Path, kit_name: str) -> Path:
    """Where the curve of a kit is kept."""
    return home / f"similarity-{kit_name}.json"
