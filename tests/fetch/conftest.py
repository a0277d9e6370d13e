"""What all tests of fetching share: content, a server that has it, a table entry, and what always holds."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dmdcli import fetch
from dmdcli.fetch import Patience, Progress
from dmdcli.weights import PARSENET, NetworkFile
from tests.fetch.release_server import ReleaseServer, serving

CONTENT = random.Random(0).randbytes(200_000)
NAME = PARSENET.file
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def no_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the surroundings decides where connections go."""
    for name in (*PROXIES, *map(str.upper, PROXIES), *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[ReleaseServer]:
    with serving(CONTENT) as pages:
        yield pages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "networks"


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that were made."""
    return []


@pytest.fixture
def patience(pauses: list[float]) -> Patience:
    return Patience(connect=5.0, read=0.4, pauses=(1.0, 2.0), wait=pauses.append)


def table_entry(*addresses: str, content: bytes = CONTENT) -> NetworkFile:
    digest = hashlib.sha256(content).hexdigest()
    return dataclasses.replace(PARSENET, sha256=digest, size=len(content), addresses=addresses)


def fetched(file: NetworkFile, folder: Path, patience: Patience, mirror: str | None = None) -> list[Progress]:
    """Fetch, and check what must be so at every moment: no file under the final name before it is whole."""
    final = folder / file.file
    before = final.read_bytes() if final.exists() else None
    steps = []
    for step in fetch.fetch(file, folder, mirror, patience):
        steps.append(step)
        assert (final.read_bytes() if final.exists() else None) == before
    assert final.read_bytes() == CONTENT
    assert not (folder / f"{NAME}.part").exists()
    return steps


def leave_part(folder: Path, content: bytes) -> Path:
    folder.mkdir(parents=True)
    part = folder / f"{NAME}.part"
    part.write_bytes(content)
    return part
