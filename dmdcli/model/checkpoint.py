"""A weights file becomes a network: the published DMDNet.pth and our own .safetensors.

Nothing in a file is ever executed. Width and number of entries come from the tensors' shapes, every name and shape is
checked, and the published file's spectral norm is folded into plain kernels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialize
from torch import Tensor

from dmdcli.errors import WeightsCorruptError, WeightsError, WeightsMismatchError, WeightsMissingError
from dmdcli.model.dictionary import PATCHES, patch_name
from dmdcli.model.dmdnet import DMDConfig, DMDNet
from dmdcli.tensors import read_state_dict

FORMAT = 1
"""Version of our own file's header."""

PUBLISHED_COMPONENTS = {"left_eye": "LE", "right_eye": "RE", "mouth": "MO"}


def load(path: Path, device: torch.device | str = "cpu") -> DMDNet:
    """Load a published .pth or one of our .safetensors: a network in eval mode, float32, spectral norm folded.

    The file is mapped rather than read where its format allows. Raises WeightsMissingError, WeightsCorruptError
    (damaged, or a pickle with code in it) and WeightsMismatchError (a tensor missing, left over or of a wrong shape).
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsMissingError(f"{path}: there is no such weights file")
    tensors, residual = read_own(path) if is_safetensors(path) else (read_published(path), False)
    config = config_of(path, tensors, residual)
    with torch.device("meta"):
        net = DMDNet(config)
    wanted = {name: tuple(parameter.shape) for name, parameter in net.named_parameters()}
    for name, shape in wanted.items():
        if name not in tensors:
            raise WeightsMismatchError(f"{path}: the tensor {name} is missing")
        if tuple(tensors[name].shape) != shape:
            raise WeightsMismatchError(f"{path}: {name} is {tuple(tensors[name].shape)}, this network wants {shape}")
        if not torch.isfinite(torch.stack(tensors[name].aminmax())).all():  # no mask as large as the tensor
            raise WeightsCorruptError(f"{path}: {name} holds values that are not numbers; the file is damaged.")
    left_over = sorted(set(tensors) - set(wanted))
    if left_over:
        raise WeightsMismatchError(f"{path}: the tensor {left_over[0]} is not part of this network")
    net.load_state_dict({name: tensor.to(device, torch.float32) for name, tensor in tensors.items()}, assign=True)
    return net.requires_grad_(False).eval()


def save(net: DMDNet, path: Path, dtype: torch.dtype = torch.float16, notes: dict[str, str] | None = None) -> None:
    """Write our own format: folded tensors under our names, the configuration in the header, whole or not at all."""
    header = {"format": str(FORMAT), "config": json.dumps(asdict(net.config)), **(notes or {})}
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in net.named_parameters()}
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_bytes(serialize(tensors, header))  # save_file makes files that nobody else may read
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """SHA-256 of a weights file, in hexadecimal; its first 16 digits are the weights id in caches."""
    if not path.is_file():
        raise WeightsMissingError(f"{path}: there is no such weights file")
    with path.open("rb") as file:
        sha256 = hashlib.sha256()
        while chunk := file.read(1 << 22):
            sha256.update(chunk)
    return sha256.hexdigest()


def is_safetensors(path: Path) -> bool:
    """Tell by content, not by name: the header is an 8-byte length followed by JSON."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def read_own(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Return our file's tensors by name, and whether the network is residual."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        version = int(header.get("format", 0))
        config = json.loads(header.get("config", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsCorruptError(f"{path}: damaged, or not a weights file ({error})") from error
    if version > FORMAT:
        raise WeightsError(f"{path}: format {version}; this version of dmd reads up to {FORMAT}. Update dmd.")
    return tensors, bool(config.get("residual", False))


def read_published(path: Path) -> dict[str, Tensor]:
    """Return the published checkpoint's tensors under our names, spectral norm folded."""
    return fold_published(path, read_state_dict(path))


def fold_published(path: Path, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Empty `stored` into a new dict under our names; each kernel is weight_orig / (u . W v), u and v as stored."""
    tensors = {}
    for theirs, ours in published_names():
        if ours.startswith("memory_"):
            memory = take(path, stored, theirs)
            tensors[ours] = memory.reshape(*memory.shape[:2], -1) if memory.dim() == 4 else memory
            continue
        kernel = take(path, stored, f"{theirs}.weight_orig")
        u, v = take(path, stored, f"{theirs}.weight_u"), take(path, stored, f"{theirs}.weight_v")
        if kernel.dim() != 4 or u.shape != kernel.shape[:1] or v.shape != (kernel[0].numel(),):
            shapes = f"{tuple(kernel.shape)}, {tuple(u.shape)}, {tuple(v.shape)}"
            raise WeightsMismatchError(f"{path}: {theirs}: weight_orig, weight_u and weight_v are {shapes}")
        tensors[f"{ours}.weight"] = kernel / torch.dot(u, kernel.flatten(1) @ v)
        tensors[f"{ours}.bias"] = take(path, stored, f"{theirs}.bias")
    unused = [name for name in stored if not (name.startswith("E_hq.") and "_Q.Query." in name)]
    if unused:
        raise WeightsMismatchError(f"{path}: the tensor {unused[0]} is not part of the published network")
    return tensors


def take(path: Path, stored: dict[str, Tensor], name: str) -> Tensor:
    """Remove and return a tensor, so that its memory can go once it is folded."""
    try:
        return stored.pop(name)
    except KeyError:
        raise WeightsMismatchError(f"{path}: the tensor {name} is missing") from None


def config_of(path: Path, tensors: dict[str, Tensor], residual: bool) -> DMDConfig:
    """Read width and entries off two tensors; the rest must then agree with them."""
    first, memory = tensors.get("encoder.conv1.0.weight"), tensors.get(f"memory_key.{patch_name(*PATCHES[0])}")
    if first is None or memory is None or first.dim() != 4 or memory.dim() != 3:
        raise WeightsMismatchError(f"{path}: not the weights of a DMDNet (encoder.conv1.0.weight, memory_key)")
    if len(first) < 4 or len(first) % 4 or not len(memory):
        raise WeightsMismatchError(f"{path}: a DMDNet of width {len(first)} with {len(memory)} entries cannot be")
    return DMDConfig(width=len(first), entries=len(memory), residual=residual)


def published_names() -> Iterator[tuple[str, str]]:
    """Yield (published stem, our stem) of every convolution and (published, our) name of every generic memory."""

    def pair(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
        for index in (0, 2):
            yield f"{theirs}.{index}", f"{ours}.{index}"

    for theirs, ours in (("E_lq", "encoder"), ("E_hq", "reference_encoder")):
        for number in range(1, 7):
            yield from pair(f"{theirs}.conv{number}", f"{ours}.conv{number}")
            yield from pair(f"{theirs}.res{number}.Res", f"{ours}.res{number}")
    for component, scale in PATCHES:
        letters, name = PUBLISHED_COMPONENTS[component], patch_name(component, scale)
        stem = f"{letters}_{scale}"
        yield from pair(f"E_lq.{stem}_Q.Query", f"query.{name}")
        yield from pair(f"{stem}_KV.Key", f"key.{name}")
        yield from pair(f"{stem}_KV.Value", f"value.{name}")
        yield from pair(f"{stem}_Attention", f"gate.{name}")
        parts = {"conv1": "degraded", "conv2": "specific", "conv3": "generic", "convCat": "merge"}
        for their_part, our_part in parts.items():
            yield from pair(f"{stem}_Mask.{their_part}", f"mask.{name}.{our_part}")
        for kind in ("key", "value"):
            yield f"{letters.lower()}_{scale}_mem_{kind}", f"memory_{kind}.{name}"
    for number in range(1, 5):
        yield from pair(f"MSDilate.conv{number}", f"multi_dilation.branches.{number - 1}")
    yield "MSDilate.convi", "multi_dilation.merge"
    for number in range(1, 4):
        up = f"up{number}"
        for their_part, our_part in (("conv1", "conv"), ("ScaleModel1", "scale"), ("ShiftModel1", "shift")):
            yield from pair(f"{up}.{their_part}", f"{up}.{our_part}")
        yield f"{up}.convup.1", f"{up}.refine.0"
        yield f"{up}.convup.3", f"{up}.refine.2"
    yield "up4.0", "head.0"
    for number in (2, 3):
        yield from pair(f"up4.{number}.Model", f"head.{number}")
    yield "up4.4", "head.4"


def header(path: Path) -> dict[str, Any]:
    """Return the notes in our own file's header: format, config and what was said when saving."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsCorruptError(f"{path}: damaged, or not a weights file ({error})") from error
