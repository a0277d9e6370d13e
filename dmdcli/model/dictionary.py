"""What the network remembers of reference faces: one key and one value per component, scale and reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dmdcli.errors import ShapeError
from dmdcli.shapes import COMPONENTS

SCALES = (256, 128, 64)
"""Side of the feature maps the components are read from; the stride in the crop is 512 // scale."""

PATCHES = tuple((component, scale) for scale in SCALES for component in COMPONENTS)
"""The nine (component, scale) pairs, in a fixed order."""


def patch_name(component: str, scale: int) -> str:
    """Name of one of the nine patches in modules, files and dictionaries: `left_eye_256`."""
    return f"{component}_{scale}"


PATCH_NAMES = tuple(patch_name(component, scale) for component, scale in PATCHES)


@dataclass(frozen=True)
class Memory:
    """Entries for one patch. key: (M, C / 4, s, s), value: (M, C, s, s), of one dtype and device."""

    key: Tensor
    value: Tensor


@dataclass(frozen=True)
class Dictionary:
    """A person's specific dictionary: nine memories, by patch name, all with the same number of entries M."""

    memories: Mapping[str, Memory]

    def __post_init__(self) -> None:
        """Raise ShapeError unless all nine memories are there with equally many entries."""
        if set(self.memories) != set(PATCH_NAMES):
            raise ShapeError(f"a dictionary has the memories {', '.join(PATCH_NAMES)}; got {', '.join(self.memories)}")
        counts = {len(tensor) for memory in self.memories.values() for tensor in (memory.key, memory.value)}
        if len(counts) != 1 or 0 in counts:
            raise ShapeError(f"all nine memories have the same number of entries, at least one; got {sorted(counts)}")

    @property
    def entries(self) -> int:
        """Number of entries M: one per reference."""
        return len(self.memories[PATCH_NAMES[0]].key)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Dictionary:
        """Return the same dictionary on another device or in another dtype."""
        return Dictionary(
            {
                name: Memory(memory.key.to(device=device, dtype=dtype), memory.value.to(device=device, dtype=dtype))
                for name, memory in self.memories.items()
            }
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Dictionary]) -> Dictionary:
        """Return one dictionary with the entries of all parts, in their order; ShapeError when there are none."""
        if not parts:
            raise ShapeError("a dictionary needs at least one reference")
        return cls(
            {
                name: Memory(
                    torch.cat([part.memories[name].key for part in parts]),
                    torch.cat([part.memories[name].value for part in parts]),
                )
                for name in PATCH_NAMES
            }
        )

    def to_arrays(self) -> dict[str, npt.NDArray[np.uint16]]:
        """Return 18 arrays named `left_eye_256.key`, `left_eye_256.value` and so on, for keeping in a file.

        Each uint16 holds the bits of a bfloat16. Not float16: nothing bounds what a network memorises, since AdaIN
        takes the scale out again. What bfloat16 leaves out is below a grey level in the restored face.
        """
        return {
            f"{name}.{part}": bits_of(getattr(memory, part))
            for name, memory in self.memories.items()
            for part in ("key", "value")
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Dictionary:
        """Inverse of `to_arrays`, as bfloat16 tensors on the arrays' own memory; arrays of float32, as they were kept
        once, give such. Raises ShapeError when an array is missing.
        """
        missing = [
            f"{name}.{part}" for name in PATCH_NAMES for part in ("key", "value") if f"{name}.{part}" not in arrays
        ]
        if missing:
            raise ShapeError(f"a dictionary's arrays lack {missing[0]}")

        def tensor(name: str) -> Tensor:
            array = np.ascontiguousarray(arrays[name])
            if array.dtype != np.uint16:
                return torch.from_numpy(array).float()
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)

        return cls({name: Memory(tensor(f"{name}.key"), tensor(f"{name}.value")) for name in PATCH_NAMES})


def bits_of(tensor: Tensor) -> npt.NDArray[np.uint16]:
    """The bits of a tensor's numbers as bfloat16."""
    bits: npt.NDArray[np.int16] = tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16).numpy()
    return bits.view(np.uint16)
