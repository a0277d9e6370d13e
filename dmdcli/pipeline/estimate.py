"""What restoring would take, from what a dry run measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dmdcli.pipeline.outcome import RestoredPhoto


@dataclass(frozen=True)
class Estimate:
    """seconds: of the whole run. space: bytes of all results. sampled: faces that were restored to find out."""

    seconds: float
    space: int
    sampled: int


def estimate(results: Sequence[RestoredPhoto]) -> Estimate:
    """Say what the photos of a dry run would take.

    Looking for faces took, in the dry run, the time it will take; the faces restored as a sample say what the others
    will take, and by how much files grow. Photos that are skipped, or failed, count nothing.
    """
    looked_at = [(one, one.cost) for one in results if one.cost is not None]
    sampled = [(one, cost) for one, cost in looked_at if cost.restoring is not None]
    sampled_faces = sum(_faces(one) for one, _ in sampled)
    restoring = sum(cost.restoring or 0.0 for _, cost in sampled)
    growth = sum(cost.written or 0 for _, cost in sampled) / max(1, sum(cost.given for _, cost in sampled))
    looking = sum(one.seconds for one, _ in looked_at) - restoring
    seconds = looking + restoring / max(1, sampled_faces) * sum(_faces(one) for one, _ in looked_at)
    space = 0.0
    for one, cost in looked_at:
        if one.output is not None:
            made = cost.given * growth if one.status == "restored" else cost.given
            space += made if cost.written is None else cost.written
    return Estimate(seconds, round(space), sampled_faces)


def _faces(result: RestoredPhoto) -> int:
    return sum(face.used != "none" for face in result.faces)
