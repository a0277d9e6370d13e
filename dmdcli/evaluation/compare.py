"""Other restorers on the same faces, through spandrel, which knows the architectures of published weights."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import torch

from dmdcli.errors import PackageError, WeightsError, WeightsMissingError
from dmdcli.evaluation.measures import to_uint8
from dmdcli.evaluation.pairs import Pair
from dmdcli.model.restorer import choose_device
from dmdcli.shapes import CROP, Pixels
from dmdcli.training.data import FaceData

ENDINGS = (".pth", ".ckpt", ".safetensors")
"""Files that are read as data; a .pt may hold a program and is not opened."""


class Other:
    """Somebody else's network from a file of weights (GFPGAN, RestoreFormer and whatever else spandrel knows): one row.

    Raises PackageError where spandrel is not installed, WeightsMissingError where the file is not there, WeightsError
    where it cannot be used.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        self.path = path
        self._device = choose_device(device)
        try:
            spandrel: Any = importlib.import_module("spandrel")
        except ImportError as error:
            raise PackageError("Comparing with other networks needs spandrel: `pip install spandrel`.") from error
        if not path.is_file():
            raise WeightsMissingError(f"There are no weights in {path}. Give the path of a file of weights.")
        if path.suffix.lower() not in ENDINGS:
            raise WeightsError(f"{path} is none of {', '.join(ENDINGS)}; no other file is opened.")
        try:
            self._model: Any = spandrel.ModelLoader(device=self._device).load_from_file(path)
        except Exception as error:  # spandrel, torch and pickle raise what they like for a strange file
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise WeightsError(f"{path} cannot be used: spandrel says {said}") from error
        if not isinstance(self._model, spandrel.ImageModelDescriptor) or self._model.input_channels != 3:
            raise WeightsError(f"{path} holds no network that turns one colour picture into another.")
        self._model.eval()

    @property
    def rows(self) -> tuple[str, ...]:
        """The file's name without its ending."""
        return (self.path.stem,)

    def make(self, faces: FaceData, pairs: Sequence[Pair]) -> list[dict[str, Pixels]]:  # noqa: ARG002
        """Each degraded crop restored; a larger answer is shrunken to 512 by averaging."""
        return [{self.path.stem: self._restore(pair)} for pair in pairs]

    def _restore(self, pair: Pair) -> Pixels:
        image = torch.from_numpy(pair.degraded).to(self._device).permute(2, 0, 1)[None].float() / 255
        # Some networks add noise of their own (GFPGAN); it is the same each time.
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(pair.seed)
            answer = self._model(image)
        if answer.shape[1] != 3 or not torch.isfinite(answer).all():
            raise WeightsError(f"{self.path}: its answer is no colour picture.")
        pixels = answer[0].float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
        if pixels.shape[:2] != (CROP, CROP):
            pixels = cv2.resize(pixels, (CROP, CROP), interpolation=cv2.INTER_AREA)
        return to_uint8(pixels)
