"""Loading: the published layout, our own, and every way a file can be wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from dmdcli.errors import WeightsCorruptError, WeightsError, WeightsMismatchError, WeightsMissingError
from dmdcli.model import checkpoint
from dmdcli.model.dictionary import PATCHES
from dmdcli.model.dmdnet import DMDConfig
from dmdcli.model.patches import patch_side
from tests.model.conftest import random_net

CONFIG = DMDConfig(width=8, entries=3)


def published(config: DMDConfig = CONFIG) -> dict[str, torch.Tensor]:
    """A small state dict with the published names; spectral norm's u and v are not of unit length."""
    ours = dict(random_net(config).named_parameters())
    stored: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(0)
    for theirs, name in checkpoint.published_names():
        if name.startswith("memory_"):
            component, scale = name.split(".")[1].rsplit("_", 1)
            side = patch_side(component, int(scale))
            stored[theirs] = ours[name].detach().reshape(*ours[name].shape[:2], side, side).clone()
            continue
        weight = ours[f"{name}.weight"].detach()
        u = torch.randn(len(weight), generator=generator)
        v = torch.randn(weight[0].numel(), generator=generator)
        sigma = torch.dot(u, weight.flatten(1) @ v)
        stored[f"{theirs}.bias"] = ours[f"{name}.bias"].detach().clone()
        stored[f"{theirs}.weight_orig"] = weight * 2
        stored[f"{theirs}.weight_u"], stored[f"{theirs}.weight_v"] = u / sigma / 2, v * 2
    for component, scale in PATCHES:
        letters = {"left_eye": "LE", "right_eye": "RE", "mouth": "MO"}[component]
        stored[f"E_hq.{letters}_{scale}_Q.Query.0.bias"] = torch.zeros(3)
    return stored


@pytest.mark.parametrize("zipped", [True, False])
def test_the_published_layout_is_folded_to_the_same_network(tmp_path: Path, zipped: bool) -> None:
    torch.save(published(), tmp_path / "DMDNet.pth", _use_new_zipfile_serialization=zipped)
    net = checkpoint.load(tmp_path / "DMDNet.pth")
    assert net.config == CONFIG
    assert not net.training
    for name, parameter in random_net(CONFIG).named_parameters():
        wanted = parameter * 2 / 2 if ".bias" in name or "memory" in name else parameter
        torch.testing.assert_close(net.get_parameter(name), wanted, atol=1e-5, rtol=1e-4)


def test_our_own_file_comes_back(tmp_path: Path) -> None:
    net = random_net(DMDConfig(8, 5, residual=True))
    checkpoint.save(net, tmp_path / "ours.safetensors", torch.float32, {"recipe": "none"})
    again = checkpoint.load(tmp_path / "ours.safetensors")
    assert again.config == net.config
    assert checkpoint.header(tmp_path / "ours.safetensors")["recipe"] == "none"
    assert [path.name for path in tmp_path.iterdir()] == ["ours.safetensors"]
    for name, parameter in net.named_parameters():
        assert torch.equal(again.get_parameter(name), parameter)
    assert len(checkpoint.digest(tmp_path / "ours.safetensors")) == 64


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    stored = published()
    del stored["up2.ScaleModel1.2.weight_v"]
    torch.save(stored, tmp_path / "a.pth")
    with pytest.raises(WeightsMismatchError, match=r"up2\.ScaleModel1\.2\.weight_v is missing"):
        checkpoint.load(tmp_path / "a.pth")


def test_an_extra_tensor_is_named(tmp_path: Path) -> None:
    torch.save(published() | {"up5.conv": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(WeightsMismatchError, match=r"up5\.conv is not part"):
        checkpoint.load(tmp_path / "a.pth")


def test_a_misshapen_tensor_is_named_with_both_shapes(tmp_path: Path) -> None:
    stored = published()
    stored["le_64_mem_value"] = torch.zeros(3, 32, 11, 10)
    torch.save(stored, tmp_path / "a.pth")
    with pytest.raises(WeightsMismatchError, match=r"memory_value\.left_eye_64 is \(3, 32, 110\).*\(3, 32, 100\)"):
        checkpoint.load(tmp_path / "a.pth")


def test_our_own_file_with_a_tensor_too_many_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint.save(random_net(CONFIG), tmp_path / "a.safetensors")
    tensors = load_file(tmp_path / "a.safetensors")
    save_file(tensors | {"stray": torch.zeros(1)}, tmp_path / "b.safetensors", metadata={"format": "1"})
    with pytest.raises(WeightsMismatchError, match="stray"):
        checkpoint.load(tmp_path / "b.safetensors")
    save_file(tensors, tmp_path / "c.safetensors", metadata={"format": "99"})
    with pytest.raises(WeightsError, match=r"format 99.*up to 1"):
        checkpoint.load(tmp_path / "c.safetensors")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("content", ["cut", "empty", "text", "noise"])
def test_a_damaged_file_is_called_damaged(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(published(), path)
    else:
        checkpoint.save(random_net(CONFIG), path)
    whole = path.read_bytes()
    noise = bytes((7 * i * i + 201) % 256 for i in range(999))
    contents = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"<html>not found</html>", "noise": noise}
    path.write_bytes(contents[content])
    with pytest.raises(WeightsCorruptError, match=r"damaged"):
        checkpoint.load(path)


class Payload:
    """Pickles into a call of os.mkdir."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, zipped: bool) -> None:
    stored = {**published(), "evil": Payload(tmp_path / "ran")}
    torch.save(stored, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsCorruptError, match="may run code"):
        checkpoint.load(tmp_path / "a.pth")
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError):
        checkpoint.load(tmp_path / "nothing.pth")
    with pytest.raises(WeightsMissingError):
        checkpoint.digest(tmp_path / "nothing.pth")


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "a.pth")
    with pytest.raises(WeightsMismatchError):
        checkpoint.load(tmp_path / "a.pth")


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    net = random_net(CONFIG)
    net.up1.conv[0].weight[0, 0, 0, 0] = float("nan")
    checkpoint.save(net, tmp_path / "a.safetensors")
    with pytest.raises(WeightsCorruptError, match=r"up1\.conv\.0\.weight holds values that are not numbers"):
        checkpoint.load(tmp_path / "a.safetensors")


def test_weights_can_be_read_by_whoever_may_read_what_one_writes(tmp_path: Path) -> None:
    checkpoint.save(random_net(CONFIG), tmp_path / "weights.safetensors")
    (tmp_path / "plain").touch()
    assert (tmp_path / "weights.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
