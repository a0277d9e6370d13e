"""`dmd enroll`: learn a person's face from photographs."""

from __future__ import annotations

from dmdcli.cli.console import NameArgument, PhotosArgument


def enroll(name: NameArgument, photos: PhotosArgument) -> None:
    """Learn a person's face from a few good photographs."""
    raise NotImplementedError
