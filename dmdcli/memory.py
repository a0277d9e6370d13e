"""What the allocator keeps of memory that was freed, where that can be said to it (glibc)."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

M_MMAP_THRESHOLD = -3
"""The number of the setting, in malloc.h."""
MAPPED = 1 << 22
"""Bytes from which a block is mapped by itself, and so goes back to the system when it is freed."""
HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"
"""PyTorch's own switch, an environment variable: tensors of 2 MB and more ask for pages of 2 MB."""


def use_huge_pages() -> None:
    """Let PyTorch ask for huge pages, unless the environment says otherwise; to be called before it is imported.

    A network makes a new tensor with every layer. In pages of 4 kB each of them is interrupted thousands of times.
    """
    os.environ.setdefault(HUGE_PAGES, "1")


def map_large_blocks() -> None:
    """Keep large blocks out of the heap, for the rest of the program.

    By itself glibc puts blocks of up to 32 MB there once such a one was freed, and what lies behind them keeps them
    from going back: with large photos that comes to hundreds of MB.
    """
    set_option = _function("mallopt")
    if set_option is not None:
        set_option(M_MMAP_THRESHOLD, MAPPED)


def give_back() -> None:
    """Return freed memory, in all threads' heaps, to the system."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def _function(name: str) -> Any:
    """A function of the C library, None where it has no such."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
