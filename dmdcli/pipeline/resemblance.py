"""How alike two enrolled people are, before they are taken for one."""

from __future__ import annotations

import numpy as np

from dmdcli.faces.finder import FaceFinder
from dmdcli.library import Library
from dmdcli.person import Person

ALIKE = 0.5
"""Resemblance from which two people may well be one: the similarity of recognition."""


def resemblance(library: Library, finder: FaceFinder, person: Person, other: Person) -> float:
    """How much the references of `other` resemble those of `person`, in [0, 1].

    The median, over the references of `other`, of the similarity to the nearest reference of `person`: one picture
    that is enrolled twice does not make two people one.
    """
    ours, theirs = (
        library.embeddings(one, finder.kit_name, finder.embed).astype(np.float64) for one in (person, other)
    )
    nearest = np.linalg.norm(theirs[:, None] - ours[None], axis=2).min(axis=1)
    return float(np.median(finder.kit.similarity(nearest)))
