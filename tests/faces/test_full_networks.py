"""Loading and running the full kit's networks: what is refused, what it means where a package fails, memory, half."""

from __future__ import annotations

import builtins
import dataclasses
import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dmdcli import weights
from dmdcli.errors import (
    DeviceError,
    PackageError,
    WeightsCorruptError,
    WeightsError,
    WeightsMismatchError,
    WeightsMissingError,
)
from dmdcli.faces import full_networks
from dmdcli.faces.full import FullKit
from dmdcli.faces.full_networks import Network, import_packages, load
from tests.faces.generated_weights import generate

BLACK, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    """Of the smallest network, RetinaFace with MobileNet."""
    return generate("retinaface-mobilenet")


@pytest.fixture
def save(tmp_path: Path) -> Callable[[Any], weights.NetworkFile]:
    """Writes anything as that network's file and returns the table's line for it."""

    def write(stored: Any) -> weights.NetworkFile:
        path = tmp_path / weights.RETINAFACE_MOBILENET.file
        if isinstance(stored, bytes):
            path.write_bytes(stored)
        else:
            torch.save(stored, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return dataclasses.replace(weights.RETINAFACE_MOBILENET, sha256=digest)

    return write


# Loading


def test_a_network_is_loaded_as_it_was_saved(
    save: Callable[[Any], weights.NetworkFile], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    net = load(save({f"module.{name}": tensor for name, tensor in tensors.items()}), tmp_path)
    assert not net.training
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name
        assert tensor.device.type == "cpu"
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_files_without_batch_counters_and_in_half_precision_are_read(
    save: Callable[[Any], weights.NetworkFile], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    stored = {name: tensor.half() for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    assert len(stored) < len(tensors)
    net = load(save(stored), tmp_path)
    assert all(parameter.dtype == torch.float32 for parameter in net.parameters())


FIRST = "body.stage1.0.0.weight"
"""The first tensor of the network."""


def without(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name != FIRST}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (without, WeightsMismatchError, f"{FIRST} is missing"),
        (lambda all_: all_ | {FIRST: torch.zeros(8, 3, 5, 5)}, WeightsMismatchError, r"\(8, 3, 5, 5\).*\(8, 3, 3, 3\)"),
        (lambda all_: all_ | {"fc.weight": torch.zeros(3)}, WeightsMismatchError, "fc.weight is not part"),
        (
            lambda all_: all_ | {FIRST: torch.full((8, 3, 3, 3), torch.nan)},
            WeightsCorruptError,
            f"{FIRST} holds values",
        ),
        (lambda all_: {"state_dict": all_}, WeightsMismatchError, "not a bare state dict"),
        (lambda all_: list(all_.values()), WeightsMismatchError, "not a bare state dict"),
        (lambda all_: {"net": Path("x")}, WeightsCorruptError, "may run code"),
        (lambda all_: b"not found", WeightsCorruptError, "not a weights file"),
        (lambda all_: b"", WeightsCorruptError, "not a weights file"),
        (lambda all_: b"PK\3\4" + bytes(100), WeightsCorruptError, "not a weights file"),
    ],
    ids=["missing", "shape", "left over", "not a number", "nested", "list", "code", "text", "empty", "cut zip"],
)
def test_what_is_not_the_network_is_refused(
    change: Callable[[dict[str, Tensor]], Any],
    error: type[WeightsError],
    message: str,
    save: Callable[[Any], weights.NetworkFile],
    tensors: dict[str, Tensor],
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message) as raised:
        load(save(change(tensors)), tmp_path)
    assert weights.RETINAFACE_MOBILENET.file in str(raised.value)


def test_a_file_of_another_hash_and_no_file_are_refused(
    save: Callable[[Any], weights.NetworkFile], tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(WeightsMissingError, match="dmd models fetch retinaface-mobilenet"):
        load(weights.RETINAFACE_MOBILENET, tmp_path)
    save(tensors)
    with pytest.raises(WeightsCorruptError, match="SHA-256 wanted 2979b33"):
        load(weights.RETINAFACE_MOBILENET, tmp_path)


# Packages


@pytest.mark.parametrize(
    ("package", "module", "error"),
    [
        ("torchvision", "torchvision", ModuleNotFoundError("No module named 'torchvision'")),
        ("torchvision", "torchvision", RuntimeError("operator torchvision::nms does not exist")),
        ("torchvision", "torchvision", AttributeError("partially initialized module 'torchvision'")),
        ("torchvision", "torchvision", OSError("libcudart.so.12: cannot open shared object file\nfurther lines")),
        ("facexlib", "facexlib.detection.retinaface", ImportError("cannot import name 'RetinaFace'")),
        ("face-alignment", "face_alignment.models", ImportError("Numba needs NumPy 2.2 or less")),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_package_that_fails_is_one_sentence_with_the_cure(
    package: str, module: str, error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **named: Any) -> Any:
        if name.startswith(module):
            raise error
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(PackageError) as raised:
        FullKit(tmp_path)
    sentence = str(raised.value)
    assert package in sentence
    assert str(error).splitlines()[0] in sentence
    assert "\n" not in sentence
    wanted = "torch torchvision" if package == "torchvision" else package
    assert f"`pip install --force-reinstall {wanted}`" in sentence
    assert sentence.endswith("or choose `--kit embedded`.")
    assert raised.value.__cause__ is error


def test_an_architecture_that_cannot_be_built_is_said_in_a_sentence(
    save: Callable[[Any], weights.NetworkFile],
    tensors: dict[str, Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when a newer torchvision drops what facexlib asks of it: it warns that it will."""

    def build() -> nn.Module:
        raise TypeError("ResNet.__init__() got an unexpected keyword argument 'pretrained'")

    monkeypatch.setitem(full_networks.BUILDERS, "retinaface-mobilenet", build)
    with pytest.raises(PackageError, match=r"cannot use facexlib .*'pretrained'.*--kit embedded"):
        load(save(tensors), tmp_path)


def test_packages_that_work_are_silent() -> None:
    import_packages()
    assert importlib.import_module("facexlib.detection.retinaface")


# Running


class Doubled(nn.Module):
    """Twice the mean of each picture; fails as it is told when shown more than `most` pictures."""

    def __init__(self, most: int = 100, error: Exception | None = None) -> None:
        super().__init__()
        self.most = most
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.shown: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.shown.append(len(images))
        if len(images) > self.most:
            raise self.error
        return 2 * images.mean(dim=(1, 2, 3))


def network(
    net: nn.Module, batch_size: int = 4, answer: Any = lambda net, images: (net(images), images[:, 0])
) -> Network:
    return Network(net, "Doubled", answer, torch.device("cpu"), batch_size, BLACK, ONE)


def test_pictures_go_in_batches_and_answers_come_in_their_order() -> None:
    net = Doubled()
    means, first = network(net)(PICTURES)
    assert net.shown == [4, 1]
    np.testing.assert_allclose(means, 2 * PICTURES.mean(axis=(1, 2, 3)), rtol=1e-6)
    np.testing.assert_array_equal(first, PICTURES[:, :, :, 0])
    assert means.dtype == first.dtype == np.float32


def test_mean_and_deviation_are_per_channel() -> None:
    seen = Network(
        nn.Identity(), "", lambda net, images: (images,), torch.device("cpu"), 2, (1.0, 2.0, 3.0), (2.0, 4.0, 8.0)
    )(PICTURES)
    want = (PICTURES.astype(np.float32) - [1, 2, 3]) / [2, 4, 8]
    np.testing.assert_allclose(seen[0], want.transpose(0, 3, 1, 2), rtol=1e-6)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("Invalid buffer size: 14.50 GiB"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory: you tried to"),
    ],
    ids=["cuda", "mps", "mps, one tensor", "cublas", "linux", "windows"],
)
def test_batches_are_halved_where_memory_is_short(error: Exception) -> None:
    net = Doubled(most=1, error=error)
    halved = network(net)
    means, _ = halved(PICTURES)
    assert net.shown == [4, 2, 1, 1, 1, 1, 1]
    halved(PICTURES[:2])
    assert net.shown[7:] == [1, 1], "what did not fit once is not tried again"
    np.testing.assert_allclose(means, 2 * PICTURES.mean(axis=(1, 2, 3)), rtol=1e-6)
    with pytest.raises(DeviceError, match="cpu: out of memory in Doubled, with one picture at a time"):
        network(Doubled(most=0, error=error))(PICTURES)


def test_a_device_that_is_lost_ends_the_run_instead_of_failing_every_photo() -> None:
    for words in (
        "CUDA error: no kernel image is available",
        "The operator 'aten::x' is not implemented for the MPS device",
    ):
        kind = NotImplementedError if "implemented" in words else RuntimeError
        with pytest.raises(DeviceError, match="cpu: it cannot go on with Doubled"):
            network(Doubled(most=0, error=kind(words)))(PICTURES)


def test_other_failures_of_a_network_are_bugs() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        network(Doubled(most=0, error=RuntimeError("shapes cannot be multiplied")))(PICTURES)


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks on the CPU run in half precision too."""
    monkeypatch.setattr(full_networks, "HALF_ON", {"cpu": torch.float16})


class Summed(nn.Module):
    """A convolution whose sums are too large for half precision in bright pictures; says what it computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = nn.Conv2d(3, 1, 8, bias=False)
        nn.init.constant_(self.sum.weight, 4.0)
        self.computed_in: list[torch.dtype] = []

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.sum(images)
        self.computed_in.append(answer.dtype)
        return answer


@pytest.mark.usefixtures("half")
def test_what_overflows_in_half_precision_is_computed_again_in_full() -> None:
    net = Summed().requires_grad_(False)
    (dark,) = network(net, answer=lambda net, images: (net(images),))(PICTURES[:1] // 32)
    assert net.computed_in == [torch.float16]
    assert dark.dtype == np.float32
    (bright,) = network(net, answer=lambda net, images: (net(images),))(PICTURES[:1])
    assert net.computed_in == [torch.float16, torch.float16, torch.float32]
    assert bright.item() == pytest.approx(4 * PICTURES[0].sum(dtype=float), rel=1e-6)
    assert bright.item() > 65504


def test_an_answer_that_is_no_number_is_refused() -> None:
    with pytest.raises(WeightsError, match="The answer of Doubled is not a number"):
        network(nn.Identity(), answer=lambda net, images: (images / 0,))(PICTURES)


def test_half_precision_is_for_cuda_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(full_networks.HALF_ON) == {"cuda"}
    # Where there is none, nobody asks for autocast: some releases of torch warn of it on MPS, even when disabled.
    monkeypatch.delattr(torch, "autocast")
    means, _ = network(Doubled())(PICTURES)
    np.testing.assert_allclose(means, 2 * PICTURES.mean(axis=(1, 2, 3)), rtol=1e-6)
