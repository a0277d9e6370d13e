"""What is said to the allocator: in processes of their own, for it is said once for all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HUGE = """
import re
from pathlib import Path
from dmdcli.memory import use_huge_pages
use_huge_pages()
import torch
tensor = torch.ones(64 << 20)
print(re.search("AnonHugePages: *([0-9]+)", Path("/proc/self/smaps_rollup").read_text()).group(1))
"""
FREED = """
import ctypes
from dmdcli.memory import {called}, map_large_blocks
from pathlib import Path
def held():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages // 256
{called}()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = [ctypes.c_void_p]
blocks = [library.malloc({size} << 20) for _ in range({count})]
for block in blocks:
    ctypes.memset(block, 1, {size} << 20)
full = held()
for block in blocks[:-1]:
    library.free(block)
{after}
print(full - held())
"""

SEARCHED = """
from pathlib import Path
import numpy as np
from dmdcli.faces.embedded import EmbeddedKit
def held():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages // 256
kit = EmbeddedKit()
photo = np.zeros((3200, 4800, 3), np.uint8)
kit.detect([photo[:800, :1200]])
before = held()
kit.detect([photo])
print(held() - before)
"""


def megabytes_of(program: str, **environment: str) -> int:
    """The number that a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    return int(done.stdout)


def huge_pages_are_given() -> bool:
    switch = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return switch.is_file() and "[never]" not in switch.read_text(encoding="ascii")


@pytest.mark.skipif(not huge_pages_are_given(), reason="this kernel gives no huge pages to those who ask")
@pytest.mark.slow
def test_large_tensors_lie_in_huge_pages_unless_the_user_says_otherwise() -> None:
    assert megabytes_of(HUGE) > 200_000
    assert megabytes_of(HUGE, THP_MEM_ALLOC_ENABLE="0") < 100_000


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is spoken to")
def test_large_blocks_go_back_when_they_are_freed() -> None:
    assert megabytes_of(FREED.format(called="map_large_blocks", size=8, count=20, after="")) >= 19 * 8 - 4


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is spoken to")
def test_what_was_freed_is_given_back_when_asked() -> None:
    kept = FREED.format(called="map_large_blocks", size=1, count=100, after="")
    given = FREED.format(
        called="map_large_blocks", size=1, count=100, after="from dmdcli.memory import give_back; give_back()"
    )
    assert megabytes_of(kept) < 20, "the last block lies behind them all"
    assert megabytes_of(given) >= 99 - 8


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is spoken to")
def test_little_is_kept_of_a_large_photo_that_was_searched() -> None:
    assert megabytes_of(SEARCHED) < 45, "the detector kept what it made of its last picture"
