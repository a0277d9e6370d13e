"""The floor between NumPy and torch: aligned crops in, restored crops out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

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

Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]

Result = TypeVar("Result")
SUFFICES = 16
"""Batches after which memory that once ran out is asked for again."""

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
        self._size, self._sufficed = batch_size, 0
        keys = {name: key.detach().float() for name, key in net.memory_key.items()}
        self.net = net.to(device=self.device, dtype=dtype, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        for name, key in keys.items():  # what is read with is float32: brought to it once, not for every face
            self.net.memory_key[name].data = key.to(self.device)
        self.net.requires_grad_(False)

    @classmethod
    def from_file(
        cls,
        path: Path,
        device: str = "auto",
        batch_size: int | None = None,
        digest: str | None = None,
        precision: Precision = "auto",
        threads: int | None = None,
    ) -> Restorer:
        """Load weights onto a device, in the precision asked for or the one that `choose_dtype` finds.

        digest: the file's SHA-256 where it is known. threads: of the whole program's torch, None for one a core.

        Raises the WeightsErrors of `checkpoint.load`, and DeviceError when there is no such device.
        """
        chosen = choose_device(device)
        if threads is not None:
            torch.set_num_threads(threads)
        net = checkpoint.load(path)
        dtype = choose_dtype(chosen) if precision == "auto" else getattr(torch, precision)
        batch = batch_size or (16 if chosen.type == "cuda" else 2)
        return cls(net, chosen, dtype, batch, weights_id=(digest or checkpoint.digest(path))[:16])

    @property
    def gathers(self) -> int:
        """Faces that are worth waiting for, of several photos if need be; on a processor one is as fast as many."""
        return 1 if self.device.type == "cpu" else self.batch_size

    @cached_property
    def _exact(self) -> Restorer:
        """The same in float32."""
        return Restorer(copy.deepcopy(self.net), self.device, torch.float32, self.batch_size, self.weights_id)

    def restore(
        self,
        crops: npt.NDArray[np.uint8] | npt.NDArray[np.float32],
        boxes: npt.NDArray[np.int64],
        dictionaries: Sequence[Dictionary | None],
        *,
        both: bool = True,
    ) -> list[RestoredCrop]:
        """Restore N faces, strangers and known people mixed; in float32 where half precision gives no numbers.

        crops: (N, 512, 512, 3) RGB, uint8 or float32 in [0, 1]. boxes: (N, 3, 4) int64 crop pixels. dictionaries: one
        per face, None for strangers. With `both` a known person's generic result is computed too, at the price of a
        second decoding. Raises ShapeError, and DeviceError when even one face at a time does not fit into memory.
        """
        if len(crops) != len(boxes) or len(crops) != len(dictionaries):
            raise ShapeError(f"{len(crops)} crops, {len(boxes)} boxes, {len(dictionaries)} dictionaries")

        def restored(part: slice) -> list[RestoredCrop]:
            given = crops[part], boxes[part], dictionaries[part], both
            try:
                return self._restore_batch(*given)
            except WeightsError:
                if self.dtype == torch.float32:
                    raise
            return self._exact._restore_batch(*given)

        return [one for batch in self._in_batches(len(crops), restored) for one in batch]

    def memorize(
        self, crops: npt.NDArray[np.uint8] | npt.NDArray[np.float32], boxes: npt.NDArray[np.int64]
    ) -> Dictionary:
        """Make a dictionary of M reference crops, (M, 512, 512, 3) RGB, with their boxes (M, 3, 4); on this device."""

        def memorized(part: slice) -> Dictionary:
            with torch.inference_mode():
                made: Dictionary = self.net.memorize(self.images(crops[part]), boxes_tensor(boxes[part]))
                return made

        return Dictionary.concatenate(list(self._in_batches(len(crops), memorized)))

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
        asked = list(enumerate(people))  # specific for known people, generic for strangers
        if both:
            asked += [(face, None) for face, person in asked if person is not None]
        generic: dict[int, FloatPixels] = {}
        specific: dict[int, FloatPixels] = {}
        with torch.inference_mode():
            features = self.net.encode(self.images(crops), boxes_tensor(boxes))
            for start in range(0, len(asked), len(crops)):
                part = asked[start : start + len(crops)]
                for (face, person), answer in zip(part, pixels(self.net.answer(features, part)), strict=True):
                    (generic if person is None else specific)[face] = answer
        return [RestoredCrop(generic.get(face), specific.get(face)) for face in range(len(people))]

    def images(self, crops: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> Tensor:
        """What the network takes, (B, 3, 512, 512) in [-1, 1], of crops (B, 512, 512, 3) RGB."""
        check_shape("crops", crops, (None, CROP, CROP, 3), np.uint8 if crops.dtype == np.uint8 else np.float32)
        scale = 127.5 if crops.dtype == np.uint8 else 0.5
        tensor = torch.from_numpy(np.ascontiguousarray(crops)).to(self.device).permute(0, 3, 1, 2)
        return (tensor.float() / scale - 1).to(self.dtype)

    def _in_batches(self, count: int, work: Callable[[slice], Result]) -> Iterator[Result]:
        """Do work on `count` faces, a batch at a time: halved where memory runs out, doubled again when it has sufficed
        for a while, for what else was running may have ended.
        """
        done = 0
        while done < count:
            size = min(self._size, count - done)
            try:
                result = work(slice(done, done + size))
            except RuntimeError as error:
                self._size = smaller_batch(size, error, str(self.device), "the restoration network")
                self._sufficed = 0
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            done += size
            self._sufficed += 1
            if self._size < self.batch_size and self._sufficed >= SUFFICES:
                self._size, self._sufficed = min(2 * self._size, self.batch_size), 0
            yield result


def boxes_tensor(boxes: npt.NDArray[np.int64]) -> Tensor:
    """(N, 3, 4) int64 on the CPU, where they are checked."""
    check_shape("boxes", boxes, (None, 3, 4), np.int64)
    return torch.from_numpy(np.ascontiguousarray(boxes))


def pixels(images: Tensor) -> FloatPixels:
    """(B, 3, H, W) in [-1, 1] to (B, H, W, 3) float32 in [0, 1], clipped; WeightsError where it is not a number."""
    if not torch.isfinite(images).all():
        raise WeightsError(f"The network's answer is not a number in {images.dtype}. Other weights are needed.")
    scaled = (images.float() * 0.5 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)
    return np.ascontiguousarray(scaled.cpu().numpy())


def choose_dtype(device: torch.device) -> torch.dtype:
    """The precision in which the network is fast on a device and as good as in float32 (docs/performance.md).

    bfloat16 on CUDA, and on processors with instructions for it (AMX, AVX512-BF16); float16 on MPS; else float32. Not
    float16 elsewhere: what a network memorises can exceed its range, and only MPS has nothing better.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if multiplies_bfloat16() else torch.float32


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32, as PyTorch sees it."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"))
    return any(ask is not None and ask() for ask in asked)


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
