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

    def restore(
        self, crops: Pixels, boxes: ComponentBoxes, dictionaries: Sequence[DictionaryT | None], *, both: bool = True
    ) -> Sequence[Restored]:
        """Restore N crops (N, 512, 512, 3) with boxes (N, 3, 4)."""

    def recall(self, arrays: Arrays) -> DictionaryT:
        """Make a dictionary of the arrays the library keeps."""


@dataclass(frozen=True)
class People(Generic[DictionaryT]):
    """The enrolled people as restoring needs them: whom a face resembles, each one's dictionary, what they are by now.

    enrolled: by name. references: the files of each one's reference crops, in the order of the gallery's rows.
    """

    gallery: Gallery
    dictionary: Callable[[str], DictionaryT] = field(repr=False)
    enrolled: Mapping[str, Enrolled]
    references: Mapping[str, Sequence[Path]] = field(default_factory=dict, repr=False)


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
    enrolled = {
        name: Enrolled(one.id, library.version(one), len(one.references), one.formerly) for name, one in by_name.items()
    }  # before anything is made of the references: if they change meanwhile, the results are stale, not wrong
    references = {name: library.embeddings(one, finder.kit_name, finder.embed) for name, one in by_name.items()}
    recalled: dict[str, DictionaryT] = {}

    def dictionary(name: str) -> DictionaryT:
        if name not in recalled:
            recalled[name] = restorer.recall(library.dictionary(by_name[name], restorer.weights_id, memorize))
        return recalled[name]

    crops = {name: [library.crop_path(one, reference) for reference in one.references] for name, one in by_name.items()}
    return People(Gallery(references, finder.kit.similarity), dictionary, enrolled, crops)
