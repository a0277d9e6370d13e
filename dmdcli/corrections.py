"""What was put right by hand in photos, kept in the library for each photo's content: `docs/corrections.md`.

A correction is a decision. Each photo about which there are any has one small file of decisions in the library, named
by the SHA-256 of the photo's bytes, so that moving and renaming it change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dmdcli.decisions import (
    Decision,
    Decisions,
    PhotoDecisions,
    combined,
    format_decisions,
    parse_decisions,
    read_decisions,
    says_nothing,
)
from dmdcli.errors import CannotGoOnError, LibraryFormatError, UsageError
from dmdcli.library import Library
from dmdcli.library_files import make_private, whole, write
from dmdcli.person import same_name
from dmdcli.shapes import pair

FOLDER = "corrections"
"""Where they lie below the library's folder."""
DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Merged:
    """What became of the faces of a file that was read in.

    added: nothing was kept of them before. changed: more, or something else, is kept of them now. same: nothing new.
    differing: of those, changed or not, of which something else was kept, and still is.
    """

    added: int = 0
    changed: int = 0
    same: int = 0
    differing: int = 0


class Corrections:
    """The corrections in the library in the folder `home`; a folder that does not exist holds none.

    Files that are damaged raise LibraryFormatError, which names them, and are left as they are.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / FOLDER

    def about(self, digest: str) -> PhotoDecisions | None:
        """What is kept of a photo; digest: SHA-256 of its bytes, in hexadecimal. It is read from disk every time."""
        path = self._folder / f"{digest}.toml"
        try:
            with path.open("rb"):
                pass
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CannotGoOnError(
                f"{path} cannot be read ({error.strerror or error}). Mend its permissions."
            ) from error
        try:
            found = read_decisions(path).photos
        except UsageError as error:
            raise LibraryFormatError(f"{error} It holds corrections; mend it, or remove it to do without.") from error
        if [one.sha256 for one in found] != [digest] or any(face.box is None for face in found[0].faces):
            raise LibraryFormatError(
                f"{path} does not hold the corrections of one photo, each with its box. Mend it, or remove it to do "
                "without."
            )
        return found[0]

    def faces(self, digest: str) -> tuple[Decision, ...]:
        """The faces about which something is kept, none of a photo about which nothing is."""
        found = self.about(digest)
        return () if found is None else found.faces

    def keep(self, digest: str, faces: Sequence[Decision], place: str | None = None) -> None:
        """Keep decisions about a photo, each with its box, in place of all that was kept of it; none: nothing is kept.

        Those that say nothing are left out. place: the photo's path, for people to read; None leaves what was known.
        What is kept is what `about` returns then: landmarks to hundredths of a pixel. Raises UsageError for decisions
        that no file may hold, LibraryLockedError, CannotGoOnError where it cannot be written.
        """
        with self._writing():
            self._keep(digest, faces, place)

    def change(
        self, digest: str, place: str | None, changed: Callable[[tuple[Decision, ...]], Sequence[Decision]]
    ) -> None:
        """Keep what `changed` makes of the faces kept of a photo, while nobody else writes; the rest as of `keep`.

        What `changed` raises goes on to the caller, and nothing is changed.
        """
        with self._writing():
            self._keep(digest, changed(self.faces(digest)), place)

    def __iter__(self) -> Iterator[PhotoDecisions]:
        """All that is kept, a photo after the other in the order of their digests."""
        try:
            names = sorted(path.stem for path in self._folder.iterdir() if path.suffix == ".toml")
        except FileNotFoundError:
            return
        except OSError as error:
            raise CannotGoOnError(f"{self._folder} cannot be read ({error.strerror or error}).") from error
        for name in names:
            found = self.about(name) if DIGEST.fullmatch(name) else None
            if found is not None:
                yield found

    def export(self, path: Path, *, overwrite: bool = False) -> int:
        """Write everything into one file of decisions, readable by the user only; returns of how many photos it tells.

        Raises UsageError where `path` exists and is not to be overwritten, CannotGoOnError where it cannot be written.
        """
        photos = sorted(self, key=lambda photo: (photo.place or "", photo.sha256 or ""))
        if path.exists() and (path.is_dir() or not overwrite):
            raise UsageError(f"{path} exists; name another file{'' if path.is_dir() else ', or say --overwrite'}.")
        try:
            with whole(path) as file:
                file.write(format_decisions(photos).encode())
        except OSError as error:
            raise CannotGoOnError(f"{path} cannot be written ({error.strerror or error}).") from error
        return len(photos)

    def merge(self, decisions: Decisions, *, overwrite: bool = False, dry_run: bool = False) -> Merged:
        """Keep the decisions of a file, too, all of them or none; a face about which both say something has one entry.

        What only one of both says of a face is kept; where both say something, what is kept stays, unless `overwrite`.
        Raises UsageError, with the line, for a photo without its content or a face without its box.
        """
        _check(decisions)
        photos = _one_entry_each(decisions.photos)
        if dry_run:
            return self._merged(photos, overwrite)[0]
        with self._writing():
            count, merged = self._merged(photos, overwrite)  # before anything is written
            for photo in merged:
                self._keep(str(photo.sha256), photo.faces, photo.place)
        return count

    def rename(self, name: str, new_name: str) -> int:
        """Call the person of a name something else, wherever a face is said to be theirs; returns of how many faces."""
        with self._writing():
            count = 0
            for photo in list(self):
                theirs = [_is_called(face, name) for face in photo.faces]
                if any(theirs):
                    faces = zip(photo.faces, theirs, strict=True)
                    renamed = [replace(face, person=new_name) if one else face for face, one in faces]
                    self._keep(str(photo.sha256), renamed, None)
                    count += sum(theirs)
            return count

    def about_person(self, name: str, digests: Collection[str] = ()) -> int:
        """How many faces `forget` would forget."""
        return sum(_is_theirs(photo, face, name, digests) for photo in self for face in photo.faces)

    def forget(self, name: str, digests: Collection[str] = ()) -> list[Path]:
        """Remove what is kept of a person's faces, and return the files that are gone or changed.

        digests: of photos that show the person, whose faces are theirs where they are said to be nobody else's. All
        there is to remove is found before anything is.
        """
        with self._writing():
            changed = []
            for photo in list(self):
                left = [face for face in photo.faces if not _is_theirs(photo, face, name, digests)]
                if len(left) < len(photo.faces):
                    self._keep(str(photo.sha256), left, None)
                    changed.append(self._folder / f"{photo.sha256}.toml")
            return changed

    def _merged(self, photos: Iterable[PhotoDecisions], overwrite: bool) -> tuple[Merged, list[PhotoDecisions]]:
        """The photos with what was kept of them before, and the counts."""
        count, merged = Merged(), []
        for photo in photos:
            count, faces = self._with_kept(photo, count, overwrite)
            merged.append(replace(photo, faces=tuple(faces)))
        return count, merged

    def _with_kept(self, photo: PhotoDecisions, count: Merged, overwrite: bool) -> tuple[Merged, list[Decision]]:
        """The faces of a photo with those kept before, and the counts with them."""
        faces = list(self.faces(str(photo.sha256)))
        boxes = [face.box for face in faces if face.box is not None]
        places = pair([face.box for face in photo.faces if face.box is not None], boxes)
        for order, theirs in enumerate(photo.faces):
            place = places.get(order)
            if place is None:
                faces.append(theirs)
                count = replace(count, added=count.added + 1)
                continue
            ours = faces[place]
            faces[place] = combined(theirs, ours) if overwrite else combined(ours, theirs)
            is_other = combined(theirs, faces[place]) != faces[place]
            if faces[place] != ours:
                count = replace(count, changed=count.changed + 1)
            elif not is_other:
                count = replace(count, same=count.same + 1)
            count = replace(count, differing=count.differing + is_other)
        return count, faces

    def _keep(self, digest: str, faces: Sequence[Decision], place: str | None) -> None:
        """Within `_writing`."""
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is no SHA-256")
        path = self._folder / f"{digest}.toml"
        before = self.about(digest)  # what is damaged is not written over
        kept = tuple(face for face in faces if not says_nothing(face))
        if not kept:
            path.unlink(missing_ok=True)
            return
        if place is None and before is not None:
            place = before.place
        readable = None if place is None else place.encode(errors="replace").decode()
        text = format_decisions([PhotoDecisions(digest, readable, kept)])
        _check(parse_decisions(text, path))
        write(path, text.encode())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock of the library; what a killed writer left behind is removed."""
        with Library(self._home).writing():
            make_private(self._folder)
            for left in self._folder.glob(".*"):
                left.unlink()
            yield


def _check(decisions: Decisions) -> None:
    """Raise UsageError, with the line, for what can be no correction."""
    for photo in decisions.photos:
        if photo.sha256 is None:
            raise _mistake(decisions, photo.line, "a correction needs the sha256 of its photo")
        for face in photo.faces:
            if face.box is None:
                raise _mistake(decisions, face.line, "a correction needs the box of its face, not its number")


def _one_entry_each(photos: Iterable[PhotoDecisions]) -> list[PhotoDecisions]:
    """One entry for each content of photos, and in it one for each face; what stands later in the file has the say.

    Boxes that overlap are one face's, but not where both were drawn, or said to be none: those are faces in a crowd.
    """
    found: dict[str | None, PhotoDecisions] = {}
    for photo in photos:
        known = found.get(photo.sha256, replace(photo, faces=()))
        faces = list(known.faces)
        for face in photo.faces:
            same = [one for one in faces if one.box == face.box or not (_is_placed(one) and _is_placed(face))]
            found_place = pair([box for box in (face.box,) if box], [one.box for one in same if one.box]).get(0)
            if found_place is None:
                faces.append(face)
            else:
                place = faces.index(same[found_place])
                faces[place] = combined(face, faces[place])
        found[photo.sha256] = replace(known, faces=tuple(faces), place=photo.place or known.place)
    return list(found.values())


def _is_placed(face: Decision) -> bool:
    """Whether it says where a face is, or is not."""
    return face.landmarks is not None or face.not_a_face


def _is_called(face: Decision, name: str) -> bool:
    return face.person is not None and same_name(face.person, name)


def _is_theirs(photo: PhotoDecisions, face: Decision, name: str, digests: Collection[str]) -> bool:
    """Whether a correction is about the face of a person of that name, or may be."""
    is_nobody_said = face.person is None and not face.stranger and not face.not_a_face
    return _is_called(face, name) or (is_nobody_said and photo.sha256 in digests)


def _mistake(decisions: Decisions, line: int, sentence: str) -> UsageError:
    return UsageError(f"{decisions.path}, line {line}: {sentence}. docs/corrections.md says why; nothing was changed.")
