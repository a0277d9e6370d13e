"""What restoring would take, from what a dry run measured."""

from __future__ import annotations

from dataclasses import dataclass

from dmdcli.pipeline.outcome import RestoredPhoto


@dataclass(frozen=True)
class Estimate:
    """seconds: of the whole run. space: bytes of all results. sampled: faces that were restored to find out."""

    seconds: float
    space: int
    sampled: int


@dataclass
class Estimator:
    """Sums up the photos of a dry run, one after the other.

    looking: seconds spent on photos that were looked at, their faces restored or not. faces: to be restored in them.
    space: bytes of results whose size is known, or will be the photo's own. growing: bytes of photos whose results,
    with restored faces, were not made. sampled, sampled_given, sampled_written, restoring: faces restored as a sample;
    bytes of their photos and of the results; seconds.
    """

    looking: float = 0.0
    faces: int = 0
    space: int = 0
    growing: int = 0
    sampled: int = 0
    sampled_given: int = 0
    sampled_written: int = 0
    restoring: float = 0.0

    def see(self, photo: RestoredPhoto) -> None:
        """Count one photo; those that are skipped, or failed, count nothing."""
        cost = photo.cost
        if cost is None:
            return
        faces = sum(face.used != "none" for face in photo.faces)
        self.looking += photo.seconds - (cost.restoring or 0.0)
        self.faces += faces
        if cost.restoring is not None:
            self.sampled += faces
            self.sampled_given += cost.given
            self.sampled_written += cost.written or 0
            self.restoring += cost.restoring
        if photo.output is not None and photo.status == "restored" and cost.written is None:
            self.growing += cost.given
        elif photo.output is not None:
            self.space += cost.given if cost.written is None else cost.written

    def estimate(self, loading: float = 0.0, pace: float = 1.0) -> Estimate:
        """Say what the photos seen would take. loading: seconds of `restoring` that were spent on loading the network.
        pace: seconds by the clock for a second of work.

        Looking for faces took, in the dry run, the time it will take; the faces restored as a sample say what the
        others will take, and by how much files grow.
        """
        growth = self.sampled_written / max(1, self.sampled_given)
        loaded = min(loading, self.restoring)
        seconds = self.looking + loaded + (self.restoring - loaded) / max(1, self.sampled) * self.faces
        return Estimate(seconds * pace, round(self.space + self.growing * growth), self.sampled)
