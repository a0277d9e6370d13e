"""What is known of a restored face, in headings and texts; and how much it wants to be looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dmdcli.faces.face import VerdictName
from dmdcli.journal import FaceRow
from dmdcli.page.seen import GOOD
from dmdcli.pipeline.judge import ALREADY_GOOD, RESTORED_ALREADY
from dmdcli.pipeline.whose import AS_DECIDED

AS_IT_SHOULD = frozenset({ALREADY_GOOD, RESTORED_ALREADY, *AS_DECIDED})
"""Reasons for leaving a face alone that are no doubts."""
WEAKER, REFUSED, DOUBTED, LEFT = range(4)
"""The list's order, before all that is good: published weaker than asked for, refused, published with doubts, and faces
that could not be restored."""
LESS_STRENGTH = "with less strength"
"""How the reason begins why a face was published weaker."""
USED = {
    "specific": "their own dictionary",
    "generic": "the generic dictionary",
    "none": "nothing: it was left as it was",
}
ASSIGNED = {
    "decision": "as decided",
    "tag": "by a tag in the photo or beside it",
    "recognition": "recognised",
    "forced": "by --person",
}


def verdict_of(face: FaceRow) -> tuple[VerdictName, float]:
    """How far what was published can be relied on, and the place in the list: the least similar first."""
    similarity = face.after if face.after is not None else None if face.match is None else face.match.similarity
    within = 0.99 * (0.5 if similarity is None else similarity)
    if face.result == "none":
        if not AS_IT_SHOULD.isdisjoint(face.reason):
            return "good", GOOD + within
        return "unusable", (REFUSED if face.usable else LEFT) + within
    if any(one.startswith(LESS_STRENGTH) for one in face.reason):
        return "doubtful", WEAKER + within
    return ("doubtful", DOUBTED + within) if face.reason else ("good", GOOD + within)


def sentences(photo: Mapping[str, Any], face: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Headings and texts about a face, from the objects of the report (`report.facts.facts_of`)."""
    yield "Restored from", USED[face["used"]]
    if face["used"] != "none":
        yield "Strength", f"{face['strength']:.2f}"
    who = face["person"] or "a stranger"
    how = ASSIGNED.get(face["assigned_by"] or "")
    yield "Person", f"{who} ({how})" if how else who
    before, after, published = face["similarity_before"], face["similarity_after"], face["published"]
    if before is not None:
        yield "Similarity to the person before", f"{before:.2f}"
    if after is not None:
        yield "Similarity after" if before is not None else "Similarity to the face as it was", f"{after:.2f}"
    if "detail" in published:
        yield "Detail of eyes and mouth", f"{published['detail']:.0%} of what there was"
    if "moved" in published:
        yield "Eyes, nose and mouth moved by", f"{published['moved']:.1%} of the distance of the eyes"
    for used, answer in face["answers"].items():
        if answer.get("refused"):
            yield f"The {used} answer was refused", answer["refused"]
    if face["problems"]:
        yield "Remarks", "; ".join(face["problems"])
    if photo["notes"]:
        yield "The photo", "; ".join(photo["notes"])
    if photo["finished"]:
        yield "Made", photo["finished"][:16].replace("T", " ") + " UTC"
