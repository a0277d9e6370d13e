"""The enrolled people, and the network that restores them, as the pipelines need them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery
from dmdcli.library import Library, Memorize
from dmdcli.library_files import Arrays
from dmdcli.pipeline.standing import Enrolled
from dmdcli.shapes import ComponentBoxes, FloatPixels, Pixels

DictionaryT = TypeVar("DictionaryT")
MOST_RECALLED = 200
"""References of all people whose dictionaries are kept in memory, about 1.7 MB each in the published size; one person
may have more."""


class Restored(Protocol):
    """A restored crop: two answers, each (512, 512, 3) float32 RGB in [0, 1]; None where it was not computed."""

    @property
    def generic(self) -> FloatPixels | None:
        """From the generic dictionary."""

    @property
    def specific(self) -> FloatPixels | None:
        """From the person's own."""


class CropRestorer(Protocol[DictionaryT]):
    """The network, as `model.restorer.Restorer`; what a dictionary is, is its own affair."""

    @property
    def weights_id(self) -> str:
        """Names the weights in caches."""

    @property
    def gathers(self) -> int:
        """Faces of several photos that should go through it together."""

    def restore(
        self, crops: Pixels, boxes: ComponentBoxes, dictionaries: Sequence[DictionaryT | None], *, both: bool = True
    ) -> Sequence[Restored]:
        """Restore N crops (N, 512, 512, 3) with boxes (N, 3, 4)."""

    def recall(self, arrays: Arrays) -> DictionaryT:
        """Make a dictionary of the arrays the library keeps."""


@dataclass(frozen=True)
class People(Generic[DictionaryT]):
    """The enrolled people as restoring needs them: whom a face resembles, each one's dictionary, what they are by now.

    enrolled: by name. crops: the files of a person's reference crops, in the order of the gallery's rows; None where
    there are no files.
    """

    gallery: Gallery
    dictionary: Callable[[str], DictionaryT] = field(repr=False)
    enrolled: Mapping[str, Enrolled]
    crops: Callable[[str], Sequence[Path]] | None = field(default=None, repr=False)


def recall_people(
    library: Library,
    finder: FaceFinder,
    restorer: CropRestorer[DictionaryT],
    memorize: Memorize,
    only: Sequence[str] | None = None,
) -> People[DictionaryT]:
    """Bring the enrolled people to mind; their dictionaries are read, or made anew, when a photo first needs them.

    memorize: makes the arrays that the library keeps of a dictionary. only: names to consider, None for everybody;
    UnknownPersonError for a name nobody has.
    """
    chosen = library.people() if only is None else [library.person(name) for name in only]
    by_name = {person.name: person for person in chosen}
    known = library.known(chosen, finder.kit_name, finder.embed)
    enrolled = {
        name: Enrolled(one.id, known[one.id].version, len(one.references), one.formerly)
        for name, one in by_name.items()
    }  # as they were before anything was made of the references: if they change, the results are stale, not wrong
    embeddings = {name: known[one.id].embeddings for name, one in by_name.items()}
    recalled: dict[str, DictionaryT] = {}  # the one used last at the end

    def dictionary(name: str) -> DictionaryT:
        found = recalled.pop(name, None)
        if found is None:
            found = restorer.recall(library.dictionary(by_name[name], restorer.weights_id, memorize))
        recalled[name] = found
        while len(recalled) > 1 and sum(len(by_name[one].references) for one in recalled) > MOST_RECALLED:
            del recalled[next(iter(recalled))]
        return found

    def crops(name: str) -> list[Path]:
        return [library.crop_path(by_name[name], reference) for reference in by_name[name].references]

    return People(Gallery(embeddings, finder.kit.similarity), dictionary, enrolled, crops)
