"""Reads the tensors of a published checkpoint as data: nothing that is in a file is ever executed."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from dmdcli.errors import WeightsCorruptError, WeightsMismatchError


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Return a .pth file's tensors by name, on the CPU, mapped rather than read where its format allows.

    Raises WeightsCorruptError where the file is damaged or holds a pickle with code in it, WeightsMismatchError where
    it is no bare state dict.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickle protocols: what cannot be used is refused below
            stored = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError, AssertionError) as error:
        if "GLOBAL" in str(error) or "Unsupported class" in str(error):  # in the words of torch
            reason = "holds more than tensors; it may run code, so it was not loaded"
        else:
            reason = "damaged, cut short, or not a weights file"
        raise WeightsCorruptError(f"{path}: {reason}. Fetch it again and compare its SHA-256.") from error
    if not isinstance(stored, dict) or not all(isinstance(tensor, Tensor) for tensor in stored.values()):
        raise WeightsMismatchError(f"{path}: not a bare state dict of tensors, as the published files are")
    return {str(name): tensor for name, tensor in stored.items()}
