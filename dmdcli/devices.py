"""What to do when torch gives up on a batch: halve it where memory ran out, end where the device is lost.

Errors are told apart by their words, because torch has a class of its own for CUDA's memory alone. Nothing here needs
torch.
"""

from __future__ import annotations

from dmdcli.errors import DeviceError

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "invalid buffer size", "alloc_failed")
"""How torch says that memory ran out: CUDA and MPS; the CPU on Linux and on Windows; MPS again; cuBLAS and cuDNN."""
LOST = ("cuda error", "cudnn error", "cublas_status", "cudnn_status", "mps device", "the mps backend")
"""How torch says that a device cannot go on or cannot do what is asked of it: every further photo would fail too."""


def smaller_batch(size: int, error: RuntimeError, device: str, what: str) -> int:
    """Half the batch size, where `error` says that `size` pictures at a time did not fit into memory.

    device: as torch names it. what: what was computed, in words. Raises DeviceError where even one picture does not fit
    or the device is lost, and `error` itself where it is about anything else.
    """
    words = str(error).lower()
    elsewhere = "Try --device cpu." if not device.startswith("cpu") else "Close other programs, or use a smaller copy."
    if type(error).__name__ == "OutOfMemoryError" or any(said in words for said in NO_MEMORY):
        if size > 1:
            return size // 2
        raise DeviceError(f"{device}: out of memory in {what}, with one picture at a time. {elsewhere}") from error
    if any(said in words for said in LOST):
        first = str(error).strip().splitlines()[0]
        raise DeviceError(f"{device}: it cannot go on with {what} ({first}). {elsewhere}") from error
    raise error
