"""Learn a person's face from photographs: choose the face in each, refuse what would not help, keep the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dmdcli.corrections import Corrections
from dmdcli.decisions import Decision, find
from dmdcli.errors import AmbiguousFaceError, NoFaceError, NothingToDoError, PhotoError, TooFewReferencesError
from dmdcli.faces.face import Face, sharpness, turn_of_head
from dmdcli.faces.finder import FaceFinder
from dmdcli.faces.identity import Gallery
from dmdcli.formats.face_tags import SAME_PLACE
from dmdcli.library import Library, Memorize, NewReference
from dmdcli.marks import mark_in
from dmdcli.person import Person, check_name, same_name
from dmdcli.photos import Photo, PhotoFile, read_photo
from dmdcli.pipeline.by_hand import corrections_of, find_faces
from dmdcli.pipeline.one_photo import only_this_photo
from dmdcli.pipeline.same_picture import SAME_PICTURE, face_view
from dmdcli.shapes import Box, Embedding, Pixels, overlap

RECOMMENDED = 3
"""References from which a dictionary has seen more than one expression and light."""
LEAST_SIDE = 80.0
"""Least side of a reference's face box, in photo pixels. A face of 80 is enlarged four times to fill the crop.
Measured: portraits have 124 to 710, the faces in a photo of a group of thirty 78 to 112; the better ones do."""
LEAST_SHARPNESS = 0.32
"""Least `faces.face.sharpness` of a reference. Measured: 69 portraits, many with a face of only 150 pixels, have 0.33
to 1.04. Blurred by a Gaussian of 4 photo pixels all of them fall below, of 3 pixels 9 in 10, of 2 pixels 6 in 10.
Noise hides blur: with noise of a deviation of 10 (of 255) on top, blurred portraits pass."""
SOFT = 0.4
"""Sharpness under which a reference is taken with a warning."""
FARTHEST_TURN = 0.65
"""Greatest `faces.face.turn_of_head` of a reference. Portraits in three-quarter view have 0.35 to 0.63; beyond,
one eye is hidden."""
CLEARLY_WRONG = 0.1
"""Confidence in the landmarks below which eyes and mouth would be learnt from where they are not. With more, doubts are
told and the reference is taken."""
SOMEBODY_ELSE = 0.1
"""Similarity below which a photo does not show the person the others show. Whoever enrols says that all show one
person, and refusing a true reference is worse than a warning, so this is far below the 0.5 of recognition. Measured
with the embedded kit (0.1 is the distance 0.542): the farthest of 198 pairs of photos of one person, decades apart,
was at 0.512 (similarity 0.16); of 46,813 pairs of two people in modern photos 0.16 % were above, of 1,326 in old
portraits 11 %."""
SAME_PERSON = 0.5
"""Similarity from which a face among several in one photo is taken to be the person; a reference below it is kept with
a warning."""
MARGIN = 0.3
"""How much more similar than the second such a face has to be."""
RESTORED = "faces in it were restored by dmd; enroll the original"
UNDECIDED = "the photos show different people, and nothing says which of them is meant"
ELSEWISE = "no usable face: as put right by hand, it is somebody else's; `dmd corrections remove` takes that back"
ADVICE = "A good one shows the face large, sharp, from the front and alone."


class DuplicateError(PhotoError):
    """The picture is a reference already."""


@dataclass(frozen=True)
class LookedAt:
    """A photo was read and its faces found: progress. count: photos looked at so far. total: photos there are."""

    photo: Path
    count: int
    total: int


@dataclass(frozen=True)
class EnrolledPhoto:
    """What became of one photo. used: it is a reference now (under a dry run: would be). reason: why not, or None.

    similarity: to the nearest other reference, or None. doubts: about who it shows, and about its landmarks. duplicate:
    refused because the picture is a reference already.
    """

    photo: Path
    person: str
    used: bool
    reason: str | None
    similarity: float | None = None
    doubts: tuple[str, ...] = ()
    duplicate: bool = False


@dataclass(frozen=True)
class Candidate:
    """A photo with the usable faces in it. digest: SHA-256 of the file. faces: the largest first."""

    photo: Path
    digest: str
    faces: tuple[Face, ...] = field(repr=False)


@dataclass(frozen=True)
class Known:
    """References the person has: N crops (512, 512, 3) uint8, N embeddings, and the digests of their photos' files."""

    crops: Sequence[Pixels] = field(default=(), repr=False)
    embeddings: Sequence[Embedding] = field(default=(), repr=False)
    digests: frozenset[str] = frozenset()


def enroll(
    name: str,
    files: Sequence[PhotoFile],
    library: Library,
    finder: FaceFinder,
    *,
    weights_id: str | None = None,
    memorize: Memorize | None = None,
    face_number: int | None = None,
    places: Mapping[Path, Box] | None = None,
    dry_run: bool = False,
) -> Iterator[LookedAt | EnrolledPhoto]:
    """Add what is usable among `files` to the references of the person called `name`, who may be new.

    Yields LookedAt for each photo, then, once all are seen and the references are on disk, EnrolledPhoto for each in
    the order given. weights_id, memorize: when both are given, the person's dictionary is made at once. face_number:
    which face of a photo with several, as `dmd check` numbers them: the largest is 1. places: photo -> box of the face
    that is meant, in upright photo pixels, where that is known. What was put right by hand in the photos, and is kept
    in the library, counts: landmarks, and whose a face is. dry_run: decide everything and write nothing.
    Raises NothingToDoError without files, UsageError for a bad name, and the errors of the library;
    TooFewReferencesError after the last photo when none is usable, unless all are references already. Then nothing has
    changed.
    """
    name = check_name(name)
    if not files:
        raise NothingToDoError(f"No photo to enrol {name!r} from was found; give photos or folders with photos.")
    person = next((one for one in library.people() if same_name(one.name, name)), None)
    name = person.name if person else name
    known = _recall(person, library, finder) if person else Known()
    strangers = [one for one in library.people() if not same_name(one.name, name)]
    recalled = library.known(strangers, finder.kit_name, finder.embed)
    others_enrolled = Gallery({one.name: recalled[one.id].embeddings for one in strangers}, finder.kit.similarity)

    corrections = Corrections(library.home)
    outcomes: dict[Path, EnrolledPhoto] = {}
    candidates: list[Candidate] = []
    digests = set(known.digests)
    for count, file in enumerate(files, start=1):
        try:
            with only_this_photo(file.path):
                photo, digest = _read_new(file.path, digests)
                said = corrections_of(file.path, digest, corrections)
                faces = _faces_of(photo, name, finder, said, face_number, (places or {}).get(file.path))
                candidates.append(Candidate(file.path, digest, faces))
            digests.add(candidates[-1].digest)
        except PhotoError as error:
            outcomes[file.path] = _refused(error, name)
        yield LookedAt(file.path, count, len(files))

    chosen: list[tuple[Candidate, Face]] = []
    for candidate, face in _choose_faces(candidates, known, finder):
        try:
            if face is None:
                raise AmbiguousFaceError(candidate.photo, _ambiguous(candidate))
            check_quality(candidate.photo, face)
            _check_new(candidate.photo, face, known, chosen)
            chosen.append((candidate, face))
        except PhotoError as error:
            outcomes[candidate.photo] = _refused(error, name)

    accepted: list[tuple[Candidate, Face]] = []
    agreeing = _agreeing([face.embedding for _, face in chosen], known, finder)
    for number, (candidate, face) in enumerate(chosen):
        others = [*known.embeddings, *(chosen[other][1].embedding for other in agreeing if other != number)]
        similarity = max(_similarities(face.embedding, others, finder), default=None)
        used = number in agreeing
        reason = None if used else _somebody_else(similarity) if agreeing or known.digests else UNDECIDED
        doubts = (*_unlike(similarity), *_like_another(face, others_enrolled), *_soft(face), *face.doubts)
        outcomes[candidate.photo] = EnrolledPhoto(candidate.photo, name, used, reason, similarity, doubts)
        if used:
            accepted.append((candidate, face))

    if accepted and not dry_run:
        person = library.add_references(name, [_reference(candidate, face) for candidate, face in accepted])
        library.embeddings(person, finder.kit_name, finder.embed)
        if weights_id and memorize:
            library.dictionary(person, weights_id, memorize)
    yield from (outcomes[file.path] for file in files)
    if not accepted and not all(outcome.duplicate for outcome in outcomes.values()):
        raise TooFewReferencesError(f"No reference for {name!r} was usable, so nothing was changed. {ADVICE}")


def _refused(error: PhotoError, name: str) -> EnrolledPhoto:
    duplicate = isinstance(error, DuplicateError)
    return EnrolledPhoto(error.path, name, used=False, reason=error.reason, duplicate=duplicate)


def _recall(person: Person, library: Library, finder: FaceFinder) -> Known:
    crops, _ = library.references(person)
    embeddings = library.embeddings(person, finder.kit_name, finder.embed)
    return Known(list(crops), list(embeddings), frozenset(reference.digest for reference in person.references))


def _read_new(path: Path, digests: set[str]) -> tuple[Photo, str]:
    """A photo that may be a reference, and the SHA-256 of its file. Raises a PhotoError that says why it cannot be."""
    photo = read_photo(path)
    digest = hashlib.sha256(photo.source).hexdigest()
    if digest in digests:
        raise DuplicateError(path, "duplicate: the same file is a reference already")
    if mark_in(photo.metadata.xmp) is not None:
        raise PhotoError(path, RESTORED)
    return photo, digest


def _faces_of(
    photo: Photo,
    name: str,
    finder: FaceFinder,
    said: Sequence[Decision],
    face_number: int | None,
    place: Box | None,
) -> tuple[Face, ...]:
    """The faces of a photo that may be those of the person called `name`, the largest first.

    said: what was put right by hand in it. Raises NoFaceError and AmbiguousFaceError.
    """
    path = photo.path
    found = find_faces(finder, photo.pixels, said)
    if face_number is not None and len(found) > 1:
        if face_number > len(found):
            raise AmbiguousFaceError(path, f"it has {len(found)} faces, so there is no face {face_number}")
        found = [found[face_number - 1]]
    faces = [face for face in found if face.rejected is None]
    if not faces:
        reasons = "; ".join(dict.fromkeys(face.rejected for face in found if face.rejected))
        raise NoFaceError(path, f"no usable face: {reasons}" if reasons else "no face found")
    if place is not None:
        faces = [max(faces, key=lambda face: overlap(face.box, place))]
        if overlap(faces[0].box, place) < SAME_PLACE:
            raise NoFaceError(path, "no usable face where one was said to be")
    decided = list(zip(faces, find(said, [face.box for face in faces]), strict=True))
    theirs = [face for face, one in decided if one and one.person and same_name(one.person, name)]
    left = [face for face, one in decided if one is None or not (one.person or one.stranger)]
    if not theirs and not left:
        raise NoFaceError(path, ELSEWISE)
    return tuple(theirs or left)


def _choose_faces(candidates: list[Candidate], known: Known, finder: FaceFinder) -> list[tuple[Candidate, Face | None]]:
    """Choose one face of each photo; None where nothing says which.

    The references known, and the photos with one face that agree with them or with each other, say who the person is.
    Where there are neither, the person is the one who is in most of the photos.
    """
    alone = [candidate.faces[0].embedding for candidate in candidates if len(candidate.faces) == 1]
    sure = [*known.embeddings, *(alone[number] for number in _agreeing(alone, known, finder))]
    return [
        (candidate, candidate.faces[0] if len(candidate.faces) == 1 else _nearest(candidate, candidates, sure, finder))
        for candidate in candidates
    ]


def _nearest(
    candidate: Candidate, candidates: list[Candidate], sure: list[Embedding], finder: FaceFinder
) -> Face | None:
    """The face most like the sure ones or, without any, seen in most other photos; None if none or two are alike."""
    others = [[face.embedding for face in other.faces] for other in candidates if other is not candidate]
    scores = []
    for face in candidate.faces:
        if sure:
            scores.append(max(_similarities(face.embedding, sure, finder)))
        else:
            best = [max(_similarities(face.embedding, faces, finder)) for faces in others]
            scores.append(sum(one for one in best if one >= SAME_PERSON))
    second, first = sorted(scores)[-2:]
    if first < SAME_PERSON or first - second < MARGIN:
        return None
    return candidate.faces[scores.index(first)]


def check_quality(path: Path, face: Face) -> None:
    """Raise PhotoError for a face too small, turned too far, too blurred to learn from, or with wrong landmarks."""
    side = max(face.box[2] - face.box[0], face.box[3] - face.box[1])
    if side < LEAST_SIDE:
        raise PhotoError(path, f"too small: the face is {side:.0f} pixels wide, a reference wants {LEAST_SIDE:.0f}")
    turn = abs(turn_of_head(face.landmarks.points))
    if turn > FARTHEST_TURN:
        raise PhotoError(path, "turned away: one side of the face is hidden")
    sure = face.confidence
    if sure is not None and sure.source == "measured" and sure.face < CLEARLY_WRONG:
        raise PhotoError(path, f"the landmarks are wrong, it seems ({sure.face:.0%} likely right)")
    measured = sharpness(face.pixels)
    if measured < LEAST_SHARPNESS:
        raise PhotoError(path, f"blurred: sharpness {measured:.2f}, a reference wants {LEAST_SHARPNESS:.2f}")


def _check_new(path: Path, face: Face, known: Known, chosen: list[tuple[Candidate, Face]]) -> None:
    """Raise DuplicateError for another copy of a picture that is there already."""
    view = face_view(face.pixels)
    for crop in known.crops:
        if view @ face_view(crop) >= SAME_PICTURE:
            raise DuplicateError(path, "duplicate: the same picture is a reference already")
    for candidate, other in chosen:
        if view @ face_view(other.pixels) >= SAME_PICTURE:
            raise DuplicateError(path, f"duplicate: the same picture as {candidate.photo.name}")


def _agreeing(embeddings: Sequence[Embedding], known: Known, finder: FaceFinder) -> set[int]:
    """Which of the new faces show the person: those like at least half of the known references.

    Where none are known: those like the face that is like the most others and like at least half of each other,
    provided that they are most of the faces; a mixed lot says nothing. Two faces are alike from SOMEBODY_ELSE on.
    """
    if not embeddings:
        return set()
    everyone = list(known.embeddings or embeddings)
    alike = np.stack([_similarities(embedding, everyone, finder) >= SOMEBODY_ELSE for embedding in embeddings])
    if known.embeddings:
        return set(np.flatnonzero(alike.mean(axis=1) >= 0.5).tolist())
    centre = alike[int(alike.sum(axis=1).argmax())]
    group = np.flatnonzero(centre & (alike[:, centre].mean(axis=1) >= 0.5))
    return set(group.tolist()) if 2 * len(group) > len(embeddings) else set()


def _similarities(embedding: Embedding, others: Sequence[Embedding], finder: FaceFinder) -> npt.NDArray[np.float64]:
    """Similarity in [0, 1] of one embedding to each of `others`, (N,) float64."""
    if not others:
        return np.zeros(0)
    return finder.kit.similarity(np.linalg.norm(np.stack(list(others)).astype(np.float64) - embedding, axis=1))


def _reference(candidate: Candidate, face: Face) -> NewReference:
    return NewReference(
        crop=face.pixels,
        points=face.landmarks.points,
        source=candidate.photo,
        sharpness=sharpness(face.pixels),
        digest=candidate.digest,
        landmark_source=face.landmarks.source,
    )


def _ambiguous(candidate: Candidate) -> str:
    return (
        f"it has {len(candidate.faces)} faces and nothing says which; choose with --face N, as dmd check numbers them"
    )


def _unlike(similarity: float | None) -> tuple[str, ...]:
    """A warning for a face that recognition would not take for the person of the other references, if there are any."""
    if similarity is None or similarity >= SAME_PERSON:
        return ()
    return (f"resembles the other references by {similarity:.2f} only; make sure that it is the same person",)


def _like_another(face: Face, others: Gallery) -> tuple[str, ...]:
    """A warning for a face that recognition would take for somebody enrolled under another name."""
    ranked = others.rank(face.embedding, most=1)
    if not ranked or ranked[0].similarity < SAME_PERSON:
        return ()
    return (f"looks like {ranked[0].person}, who is enrolled too (similarity {ranked[0].similarity:.2f})",)


def _soft(face: Face) -> tuple[str, ...]:
    """A warning for a face that is barely sharp enough: noise hides blur from the measure."""
    measured = sharpness(face.pixels)
    if measured >= SOFT:
        return ()
    return (f"somewhat soft (sharpness {measured:.2f}); a sharper photo of the person would help more",)


def _somebody_else(similarity: float | None) -> str:
    return f"seems to show somebody else: similarity {similarity or 0.0:.2f} to the other references"
