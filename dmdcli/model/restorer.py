"""The floor between NumPy and torch: aligned crops in, restored crops out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dmdcli.devices import smaller_batch
from dmdcli.errors import DeviceError, ShapeError, WeightsError
from dmdcli.model import checkpoint
from dmdcli.model.dictionary import Dictionary
from dmdcli.model.dmdnet import DMDNet
from dmdcli.shapes import CROP, FloatPixels, check_shape

BASE_WEIGHTS = Path(__file__).parent / "base.safetensors"
"""Our own weights, which come with the package."""


@dataclass(frozen=True)
class RestoredCrop:
    """Two answers for one face, each (512, 512, 3) float32 RGB in [0, 1]; None where it was not computed."""

    generic: FloatPixels | None
    specific: FloatPixels | None

    @property
    def best(self) -> FloatPixels:
        """The specific result where there is one, else the generic one."""
        result = self.generic if self.specific is None else self.specific
        if result is None:
            raise ShapeError("neither a generic nor a specific result was computed")
        return result


class Restorer:
    """A network on a device, used through NumPy arrays.

    weights_id: names the weights in caches, so that a dictionary made by others is rebuilt.
    """

    def __init__(
        self,
        net: DMDNet,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        batch_size: int = 4,
        weights_id: str = "",
    ) -> None:
        if batch_size < 1:
            raise ShapeError(f"the batch size is at least 1; got {batch_size}")
        self.device = torch.device(device)
        self.dtype = dtype
        self.batch_size = batch_size
        self.weights_id = weights_id
        self._net = net.to(device=self.device, dtype=dtype, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._net.requires_grad_(False)

    @classmethod
    def from_file(
        cls, path: Path, device: str = "auto", batch_size: int | None = None, digest: str | None = None
    ) -> Restorer:
        """Load weights onto a device: float32, on CUDA bfloat16 where it is supported.

        Not float16: what a network memorises can exceed its range. digest: the file's SHA-256 where it is known.

        Raises the WeightsErrors of `checkpoint.load`, and DeviceError when there is no such device.
        """
        chosen = choose_device(device)
        net = checkpoint.load(path)
        half = chosen.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = torch.bfloat16 if half else torch.float32
        batch = batch_size or (16 if chosen.type == "cuda" else 2)
        return cls(net, chosen, dtype, batch, weights_id=(digest or checkpoint.digest(path))[:16])

    def restore(
        self,
        crops: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
        boxes: npt.NDArray[np.int64],
        dictionaries: Sequence[Dictionary | None],
        *,
        both: bool = True,
    ) -> list[RestoredCrop]:
        """Restore N faces, strangers and known people mixed.

        crops: (N, 512, 512, 3) RGB, uint8 or float32 in [0, 1]. boxes: (N, 3, 4) int64 crop pixels. dictionaries: one
        per face, None for strangers. With `both` a known person's generic result is computed too, at the price of a
        second decoding. Raises ShapeError, and DeviceError when even one face at a time does not fit into memory.
        """
        if len(crops) != len(boxes) or len(crops) != len(dictionaries):
            raise ShapeError(f"{len(crops)} crops, {len(boxes)} boxes, {len(dictionaries)} dictionaries")
        results: list[RestoredCrop] = []
        size = self.batch_size
        while len(results) < len(crops):
            part = slice(len(results), len(results) + size)
            try:
                results += self._restore_batch(crops[part], boxes[part], dictionaries[part], both)
            except RuntimeError as error:
                size = self._smaller(size, error)
        return results

    def memorize(
        self, crops: npt.NDArray[np.uint8] | npt.NDArray[np.float32], boxes: npt.NDArray[np.int64]
    ) -> Dictionary:
        """Make a dictionary of M reference crops, (M, 512, 512, 3) RGB, with their boxes (M, 3, 4); on this device."""
        parts: list[Dictionary] = []
        done, size = 0, self.batch_size
        while done < len(crops):
            part = slice(done, done + size)
            try:
                with torch.inference_mode():
                    parts.append(self._net.memorize(self._images(crops[part]), boxes_tensor(boxes[part])))
                done += size
            except RuntimeError as error:
                size = self._smaller(size, error)
        return Dictionary.concatenate(parts)

    def recall(self, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Dictionary:
        """Return a dictionary from the arrays it was kept as (`Dictionary.to_arrays`), on this device."""
        return Dictionary.from_arrays(arrays).to(self.device, self.dtype)

    def _restore_batch(
        self,
        crops: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
        boxes: npt.NDArray[np.int64],
        dictionaries: Sequence[Dictionary | None],
        both: bool,
    ) -> list[RestoredCrop]:
        moved: dict[int, Dictionary] = {}
        for person in dictionaries:
            if person is not None and id(person) not in moved:
                moved[id(person)] = person.to(self.device, self.dtype)
        people = [None if person is None else moved[id(person)] for person in dictionaries]
        known = any(person is not None for person in people)
        with torch.inference_mode():
            features = self._net.encode(self._images(crops), boxes_tensor(boxes))
            answers = pixels(self._net.decode(features, people))  # specific for known people, generic for strangers
            generic = pixels(self._net.decode(features)) if both and known else None
        return [
            RestoredCrop(answer, None)
            if person is None
            else RestoredCrop(None if generic is None else generic[index], answer)
            for index, (person, answer) in enumerate(zip(people, answers, strict=True))
        ]

    def _images(self, crops: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> Tensor:
        check_shape("crops", crops, (None, CROP, CROP, 3), np.uint8 if crops.dtype == np.uint8 else np.float32)
        scale = 127.5 if crops.dtype == np.uint8 else 0.5
        tensor = torch.from_numpy(np.ascontiguousarray(crops)).to(self.device).permute(0, 3, 1, 2)
        return (tensor.float() / scale - 1).to(self.dtype)

    def _smaller(self, size: int, error: RuntimeError) -> int:
        smaller = smaller_batch(size, error, str(self.device), "the restoration network")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return smaller


def boxes_tensor(boxes: npt.NDArray[np.int64]) -> Tensor:
    """(N, 3, 4) int64 on the CPU, where they are checked."""
    check_shape("boxes", boxes, (None, 3, 4), np.int64)
    return torch.from_numpy(np.ascontiguousarray(boxes))


def pixels(images: Tensor) -> FloatPixels:
    """(B, 3, H, W) in [-1, 1] to (B, H, W, 3) float32 in [0, 1], clipped; WeightsError where it is not a number."""
    if not torch.isfinite(images).all():
        raise WeightsError(f"The network's answer is not a number in {images.dtype}: its weights cannot be used so.")
    scaled = (images.float() * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    return np.ascontiguousarray(scaled.cpu().numpy())


def choose_device(name: str) -> torch.device:
    """Return the torch device for auto, cpu, cuda, cuda:N or mps; DeviceError says which there are."""
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda"]
    if torch.backends.mps.is_available():
        there += ["mps"]
    if name == "auto":
        return torch.device(there[-1])
    kind, _, number = name.partition(":")
    if kind not in there or (number and (not number.isdigit() or int(number) >= torch.cuda.device_count())):
        raise DeviceError(f"There is no device {name!r} here; there is {' and '.join(there)}. Try --device auto.")
    return torch.device(name)
