"""What tests of commands share: Ctrl-C that is heard, a table of small generated networks, a server that has them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dmdcli import fetch, weights
from dmdcli.cli.main import app
from dmdcli.fetch import Patience
from dmdcli.weights import NetworkFile
from tests.fetch.release_server import ReleaseServer, serving

CONTENTS = {file.name: f"numbers of {file.name}".encode() * 1000 for file in weights.FILES}
FULL = [file.name for file in weights.SETS["full"]]


def hear_ctrl_c() -> None:
    """Undo what the tests may have been started with: a program in the background ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def server() -> Iterator[ReleaseServer]:
    """A server whose content is that of parsenet, and of others where a test says so."""
    with serving(CONTENTS["parsenet"]) as pages:
        yield pages


@pytest.fixture
def cache() -> Path:
    return Path(os.environ["DMD_CACHE"])


@pytest.fixture
def table(server: ReleaseServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, NetworkFile]:
    """The table with small generated files in place of the real ones; those of packages are installed."""
    package = tmp_path / "site" / "generated_networks"
    generated = {}
    for file in weights.FILES:
        content = CONTENTS[file.name]
        changed = dataclasses.replace(file, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        if file.package:
            (package / file.file).parent.mkdir(parents=True, exist_ok=True)
            (package / file.file).write_bytes(content)
            changed = dataclasses.replace(changed, package=package.name)
        else:
            changed = dataclasses.replace(changed, size_known=True, addresses=(server.url(file.file),))
        generated[file.name] = changed
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(weights, "FILES", tuple(generated.values()))
    monkeypatch.setattr(weights, "SETS", {"full": tuple(generated[name] for name in FULL)})
    monkeypatch.setattr(fetch, "Patience", lambda: Patience(connect=5.0, read=1.0, pauses=(0.0,)))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return generated


@pytest.fixture
def somebody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is handed in as input counts as typed."""
    monkeypatch.setattr("dmdcli.cli.models.is_terminal", lambda stream: True)


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test when anything wants to connect or look up a name."""

    def refuse(*arguments: object, **settings: object) -> None:
        pytest.fail(f"a connection was opened: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def run_models(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["models", *arguments], prog_name="dmd", input=answer)


def put(cache: Path, file: NetworkFile) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / file.file
    path.write_bytes(CONTENTS[file.name])
    return path


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def objects(answer: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in answer.stdout.splitlines()]
