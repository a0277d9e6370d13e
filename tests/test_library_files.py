"""Files of the library by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dmdcli.library_files import cache_header, read_cache, write_cache


def test_caches_are_mapped_and_what_is_written_into_them_is_lost(tmp_path: Path) -> None:
    header = cache_header("dictionary", "fake", "version")
    arrays = {"one": np.arange(12, dtype=np.uint16).reshape(3, 4), "two": np.ones((2, 2), np.float32)}
    path = tmp_path / "cache.safetensors"
    write_cache(path, arrays, header)
    for _ in range(2):
        found = read_cache(path, header)
        assert found is not None
        for name, array in arrays.items():
            assert np.array_equal(found[name], array)
            assert found[name].dtype == array.dtype
        found["one"][:] = 7  # type: ignore[call-overload]
    write_cache(path, {}, header)
    assert read_cache(path, header) == {}
    path.write_bytes(path.read_bytes()[:-1])
    assert read_cache(path, header) is None
