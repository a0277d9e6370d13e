"""The networks of the full kit: defined by the packages that publish them, filled from our folder, run in batches.

facexlib and face-alignment lend their architectures and nothing else: neither is ever asked to find, load or download a
file. They and torchvision are imported when a network is built, never when this module is.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dmdcli import weights
from dmdcli.devices import smaller_batch
from dmdcli.errors import PackageError, WeightsCorruptError, WeightsError, WeightsMismatchError
from dmdcli.shapes import check_shape
from dmdcli.tensors import read_state_dict

HALF_ON = {"cuda": torch.float16}
"""Kind of device -> the precision its networks run in; float32 elsewhere. Weights stay float32 (autocast), so that no
stored value overflows; a batch whose answer is not finite in half precision is answered again in float32."""

Channels: TypeAlias = tuple[float, float, float]
Answer: TypeAlias = Callable[[nn.Module, Tensor], tuple[Tensor, ...]]
"""What is asked of a network: it and its images (N, 3, H, W) -> tensors with one row per image, on the device."""


class Network:
    """A network on a device, fed with pictures as arrays.

    net: in eval mode. title: what messages call it. mean, deviation: per channel, in grey levels; the network reads
    (pixel - mean) / deviation. batch_size: pictures at a time; halved for good where they do not fit into memory.
    Threads take turns.
    """

    def __init__(
        self,
        net: nn.Module,
        title: str,
        answer: Answer,
        device: torch.device,
        batch_size: int,
        mean: Channels,
        deviation: Channels,
    ) -> None:
        self.net = net.to(device)
        self._title = title
        self._answer = answer
        self._device = device
        self._batch_size = batch_size
        self._turn = threading.Lock()
        self._mean = torch.tensor(mean, dtype=torch.float32, device=device).reshape(1, 3, 1, 1)
        self._deviation = torch.tensor(deviation, dtype=torch.float32, device=device).reshape(1, 3, 1, 1)

    def __call__(self, pictures: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], ...]:
        """The answers to N > 0 pictures (N, H, W, 3) uint8, in the order of channels the network wants.

        One array per tensor of the answer, float32, N rows each. Raises DeviceError where even one picture does not
        fit into memory, WeightsError where an answer is not a number.
        """
        check_shape("pictures", pictures, (None, None, None, 3), np.uint8)
        parts: list[tuple[npt.NDArray[np.float32], ...]] = []
        done = 0
        while done < len(pictures):
            try:
                with self._turn:  # the packages' networks keep notes of the picture they are at
                    parts.append(self._run(pictures[done : done + self._batch_size]))
                done += len(parts[-1][0])
            except RuntimeError as error:
                self._batch_size = smaller_batch(self._batch_size, error, str(self._device), self._title)
                if self._device.type == "cuda":
                    torch.cuda.empty_cache()
        return tuple(np.concatenate(rows) for rows in zip(*parts, strict=True))

    def _run(self, pictures: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], ...]:
        half = HALF_ON.get(self._device.type)
        with torch.inference_mode():
            stored = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device)
            images = (stored.permute(0, 3, 1, 2).float().contiguous() - self._mean) / self._deviation
            for precision in (torch.float32,) if half is None else (half, torch.float32):
                # Not a disabled autocast in float32: some releases of torch warn of that, on MPS above all.
                with nullcontext() if precision == torch.float32 else torch.autocast(self._device.type, precision):
                    answers = [tensor.float() for tensor in self._answer(self.net, images)]
                if all(bool(torch.isfinite(tensor).all()) for tensor in answers):
                    return tuple(tensor.cpu().numpy() for tensor in answers)
        raise WeightsError(f"The answer of {self._title} is not a number: its weights cannot be used.")


def import_packages() -> None:
    """Import the packages the networks come from. Raises PackageError, with the cure, where one cannot be."""
    with _needed(
        "torchvision",
        "it must be of the same build as torch: `pip install --force-reinstall torch torchvision` brings both from one "
        "index (`dmd doctor` gives the line that leaves torch as it is)",
    ):
        import torchvision.ops  # type: ignore[import-untyped]  # noqa: F401
    with _needed("facexlib", "install it anew with `pip install --force-reinstall facexlib`"):
        import facexlib.detection.retinaface
        import facexlib.parsing
        import facexlib.recognition.arcface_arch  # noqa: F401
    with _needed("face-alignment", "install it anew with `pip install --force-reinstall face-alignment`"):
        import face_alignment.models
        import face_alignment.utils  # noqa: F401


@contextmanager
def _needed(package: str, cure: str) -> Iterator[None]:
    """Say in one sentence what it means where `package` fails; its warnings about other packages are not ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ImportError, RuntimeError, AttributeError, OSError, TypeError) as error:
        words = str(error).strip() or type(error).__name__
        raise PackageError(
            f"The full kit cannot use {package} ({words.splitlines()[0]}): {cure}, or choose `--kit embedded`."
        ) from error


def load(file: weights.NetworkFile, folder: Path) -> nn.Module:
    """The network of `file`, read from the weights folder: on the CPU, float32, in eval mode, without gradients.

    The file is mapped rather than read where its format allows. Raises PackageError, WeightsMissingError,
    WeightsCorruptError (damaged, or a pickle with code in it) and WeightsMismatchError (a tensor missing, left over or
    of a wrong shape).
    """
    import_packages()
    path = weights.verify(weights.locate(file, folder), file)
    # The prefix is what training on several devices leaves behind.
    stored = {name.removeprefix("module."): tensor for name, tensor in read_state_dict(path).items()}
    package = "face-alignment" if file.name == weights.FAN.name else "facexlib"
    with _needed(package, f"install another version of {package}"), torch.device("meta"):
        net = BUILDERS[file.name]()
    tensors = {}
    for name, wanted in net.state_dict().items():
        # Counts training batches and is not used here; files older than PyTorch 0.4.1 do not have it.
        counter = name.endswith(".num_batches_tracked")
        tensor = stored.pop(name, torch.tensor(0) if counter else None)
        if tensor is None:
            raise WeightsMismatchError(f"{path}: the tensor {name} is missing")
        if tensor.shape != wanted.shape:
            shapes = f"{tuple(tensor.shape)}, the network of {package} wants {tuple(wanted.shape)}"
            raise WeightsMismatchError(f"{path}: {name} is {shapes}")
        if not torch.isfinite(tensor).all():
            raise WeightsCorruptError(f"{path}: {name} holds values that are not numbers; the file is damaged.")
        tensors[name] = tensor if counter else tensor.float()
    if stored:
        raise WeightsMismatchError(f"{path}: the tensor {min(stored)} is not part of the network of {package}")
    net.load_state_dict(tensors, assign=True)
    return net.requires_grad_(False).eval()


def _retinaface_resnet50() -> nn.Module:
    from facexlib.detection.retinaface import RetinaFace

    return RetinaFace(network_name="resnet50", device="meta")  # type: ignore[no-any-return]


def _retinaface_mobilenet() -> nn.Module:
    from facexlib.detection.retinaface import RetinaFace

    return RetinaFace(network_name="mobile0.25", device="meta")  # type: ignore[no-any-return]


def _fan() -> nn.Module:
    from face_alignment.models import FAN

    return FAN(4)  # type: ignore[no-any-return]


def _arcface() -> nn.Module:
    from facexlib.recognition.arcface_arch import Backbone

    return Backbone(num_layers=50, drop_ratio=0.6, mode="ir_se")  # type: ignore[no-any-return]


def _parsenet() -> nn.Module:
    from facexlib.parsing.parsenet import ParseNet

    return ParseNet(in_size=512, out_size=512, parsing_ch=19)  # type: ignore[no-any-return]


def _bisenet() -> nn.Module:
    from facexlib.parsing.bisenet import BiSeNet

    return BiSeNet(num_class=19)  # type: ignore[no-any-return]


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "retinaface-resnet50": _retinaface_resnet50,
    "retinaface-mobilenet": _retinaface_mobilenet,
    "fan": _fan,
    "arcface": _arcface,
    "parsenet": _parsenet,
    "bisenet": _bisenet,
}
"""Name of a network file -> the network without its weights."""
