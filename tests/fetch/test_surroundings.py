"""Fetching with proxies, own certificates, full disks, another program at work, and where connections are forbidden."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest

from dmdcli import fetch
from dmdcli.errors import CannotGoOnError, DMDError, UsageError, WeightsMissingError
from dmdcli.fetch import Patience, Progress
from tests.fetch import release_server
from tests.fetch.conftest import CONTENT, NAME, fetched, leave_part, table_entry
from tests.fetch.release_server import ReleaseServer, serving


def test_a_proxy_is_used(
    server: ReleaseServer, folder: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.address)
    fetched(table_entry(f"http://releases.invalid/{NAME}"), folder, patience)
    assert server.asked == [(f"http://releases.invalid/{NAME}", None)]


def test_no_proxy_is_honoured(
    server: ReleaseServer, folder: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(WeightsMissingError, match=r"the proxy cannot be reached or refuses \(Connection refused\)"):
        fetched(table_entry(server.url(NAME)), folder, patience)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fetched(table_entry(server.url(NAME)), folder, patience)


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl to make a certificate with")
def test_certificates_are_checked_against_those_named(
    tmp_path: Path, folder: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    make += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    subprocess.run(make.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(CONTENT, lambda plain: context.wrap_socket(plain, server_side=True)) as server:
        file = table_entry(server.url(NAME))
        with pytest.raises(WeightsMissingError, match=r"no safe connection.*SSL_CERT_FILE"):
            fetched(file, folder, patience)
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.delenv("SSL_CERT_FILE", raising=False)
            monkeypatch.setenv(name, str(certificate))
            fetched(file, folder, patience)
            (folder / NAME).unlink()


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_certificates_that_are_not_there_are_said_before_anything_is_asked(
    server: ReleaseServer, folder: Path, tmp_path: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "letter.txt").write_text("no certificate")
    for file, why in (("none.pem", r"cannot be read \(No such file or directory\)"), ("letter.txt", "holds no certif")):
        monkeypatch.setenv(name, str(tmp_path / file))
        with pytest.raises(UsageError, match=rf"^{name} names {tmp_path}/{file}, which {why}"):
            fetched(table_entry(server.url(NAME)), folder, patience)
    assert server.asked == []
    assert not folder.exists()
    monkeypatch.setenv(name, str(tmp_path))  # a folder of certificates
    fetched(table_entry(server.url(NAME)), folder, patience)


def test_too_little_room_is_said_before_anything_is_written(
    server: ReleaseServer, folder: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
    with pytest.raises(CannotGoOnError, match="150,000 are missing"):
        fetched(table_entry(server.url(NAME)), folder, patience)
    part = folder / f"{NAME}.part"
    assert not part.exists()
    part.write_bytes(CONTENT[:150_000])
    fetched(table_entry(server.url(NAME)), folder, patience)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full to write to")
def test_a_disk_that_fills_up_is_said(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part").symlink_to("/dev/full")
    with pytest.raises(CannotGoOnError, match=r"No space left on device\)\. 200,000 bytes more are needed"):
        fetched(table_entry(server.url(NAME)), folder, patience)
    assert not (folder / NAME).exists()


def test_a_folder_that_cannot_be_made_is_said(server: ReleaseServer, tmp_path: Path, patience: Patience) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotGoOnError, match="DMD_CACHE") as caught:
        fetched(table_entry(server.url(NAME)), tmp_path / "file" / "networks", patience)
    assert "kept" not in str(caught.value)


@pytest.mark.parametrize("there", [0, 70_000])
def test_only_what_has_arrived_is_said_to_be_kept(
    server: ReleaseServer, folder: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch, there: int
) -> None:
    leave_part(folder, CONTENT[:there])

    def refuse(lock: filelock.FileLock, **settings: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(CannotGoOnError, match=r"Read-only file system.*DMD_CACHE") as caught:
        fetched(table_entry(server.url(NAME)), folder, patience)
    assert ("What has arrived is kept; the same command goes on from there." in str(caught.value)) == (there > 0)


@pytest.mark.parametrize("name", [NAME, f"{NAME}.part"])
def test_a_folder_in_the_way_is_said(server: ReleaseServer, folder: Path, patience: Patience, name: str) -> None:
    (folder / name).mkdir(parents=True)
    with pytest.raises(CannotGoOnError, match="is a folder and in the way of ParseNet") as caught:
        list(fetch.fetch(table_entry(server.url(NAME)), folder, None, patience))
    assert str(caught.value).startswith(str(folder / name))
    assert server.asked == []


def test_two_programs_fetch_one_file_once(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def held(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        asked.set()
        go_on.wait(20)
        release_server.whole(handler, content)

    server.answers = [held]
    file = table_entry(server.url(NAME))
    program = (
        "import dataclasses, pathlib; from dmdcli import fetch, weights\n"
        f"file = dataclasses.replace(weights.PARSENET, sha256={file.sha256!r}, size={file.size}, "
        f"addresses={file.addresses!r})\n"
        f"for step in fetch.fetch(file, pathlib.Path({str(folder)!r})): pass"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as other:
        assert asked.wait(20)
        steps = fetch.fetch(file, folder, None, patience)
        assert "Somebody else is fetching" in next(steps).note
        go_on.set()
        assert list(steps) == [Progress(len(CONTENT), len(CONTENT))]
        assert other.wait(20) == 0
    assert (folder / NAME).read_bytes() == CONTENT
    assert len(server.asked) == 1
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_offline_nothing_is_asked_and_the_place_is_said(
    server: ReleaseServer, folder: Path, patience: Patience
) -> None:
    fetch.forbid_connections()
    with pytest.raises(WeightsMissingError) as caught:
        fetched(table_entry(server.url(NAME)), folder, patience)
    assert "Connections are forbidden (--offline or DMD_OFFLINE)" in str(caught.value)
    assert f"It can be had from {server.url(NAME)}. Fetched by hand it belongs at {folder / NAME};" in str(caught.value)
    assert server.asked == []
    assert not folder.exists()


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: socket.create_connection(("127.0.0.1", 9)),
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: socket.gethostbyname("localhost"),
        lambda: socket.gethostbyaddr("127.0.0.1"),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9)),
        lambda: __import__("requests").get("http://127.0.0.1:9"),
        lambda: __import__("urllib.request").request.urlopen("http://127.0.0.1:9"),
    ],
    ids=["connect", "getaddrinfo", "gethostbyname", "gethostbyaddr", "sendto", "requests", "urllib"],
)
@pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_forbidden_connections_are_refused_whoever_asks(attempt: object) -> None:
    assert callable(attempt)
    fetch.forbid_connections()
    with pytest.raises(DMDError, match="Connections are forbidden"):
        attempt()


@pytest.mark.skipif(os.name != "posix", reason="there are no sockets in the file system")
def test_sockets_of_the_file_system_pass_when_connections_are_forbidden(tmp_path: Path) -> None:
    fetch.forbid_connections()
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as connecting:
        listening.bind(str(tmp_path / "s"))
        listening.listen(1)
        connecting.connect(str(tmp_path / "s"))
