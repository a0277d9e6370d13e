"""Whose program is at the other end of a connection."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dmdcli.page import peers
from dmdcli.page.peers import own_users, user_at
from dmdcli.page.server import ANOTHER_USER, serving
from tests.page.made_up_desk import MadeUpDesk

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
LINE = "   {}: {} {} 01 00000000:00000000 00:00000000 00000000  {}        0 1138 1 00000000795f014e 100 0 0 10 0"
PEER, OWN = ("127.0.0.1", 51966), ("127.0.0.1", 8080)
HERE, THERE = "0100007F:CAFE", "0100007F:1F90"
MAPPED = "0000000000000000FFFF0000"
NOBODY = 65534
on_linux = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the system does not say it")
smallest_first = pytest.mark.skipif(sys.byteorder == "big", reason="the lines are of other machines")


def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, four: str, six: str) -> None:
    (tmp_path / "tcp").write_text("\n".join([HEAD, four, ""]))
    (tmp_path / "tcp6").write_text("\n".join([HEAD, six, ""]))
    monkeypatch.setattr(peers, "TABLES", (str(tmp_path / "tcp"), str(tmp_path / "tcp6")))


@smallest_first
def test_the_line_with_both_ends_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_end = LINE.format(0, THERE, HERE, 1000)
    elsewhere = LINE.format(1, HERE, "0100007F:1F91", 1001)
    tables(tmp_path, monkeypatch, "\n".join([own_end, elsewhere]), "")
    assert user_at(PEER, OWN) is None
    tables(tmp_path, monkeypatch, "\n".join([own_end, elsewhere, LINE.format(2, HERE, THERE, 1002)]), "")
    assert user_at(PEER, OWN) == 1002
    tables(tmp_path, monkeypatch, own_end, LINE.format(0, MAPPED + HERE, MAPPED + THERE, 1003))
    assert user_at(PEER, OWN) == 1003, "an IPv6 socket that went to an IPv4 address"


def test_where_there_are_no_tables_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TABLES", (str(tmp_path / "none"),))
    assert user_at(PEER, OWN) is None


@smallest_first
def test_a_program_that_has_closed_its_end_is_not_taken_for_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables(tmp_path, monkeypatch, LINE.format(2, HERE, THERE, 0).replace(" 1138 ", " 0 "), "")
    assert user_at(PEER, OWN) == peers.NOBODY
    assert peers.NOBODY not in own_users({})


@on_linux
def test_the_system_says_when_a_program_has_closed_its_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_connection(listening.getsockname()) as one:
            accepted, peer = listening.accept()
            one.shutdown(socket.SHUT_WR)
            assert user_at(peer, listening.getsockname()) == os.geteuid(), "it may be waiting for the answer"
        with accepted:
            assert user_at(peer, listening.getsockname()) == peers.NOBODY


@on_linux
@pytest.mark.parametrize("host", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_the_system_knows_this_very_program(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket(family) as one:
        try:
            one.connect((host, listening.getsockname()[1]))
        except OSError:
            pytest.skip("there is no IPv6 here")
        accepted, peer = listening.accept()
        with accepted:
            assert user_at(peer, listening.getsockname()) == os.geteuid()


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="users have no numbers there")
def test_who_is_let_in() -> None:
    own = os.geteuid()
    assert own_users({}) == own_users({"SUDO_UID": "x"}) == {0, own}
    assert own_users({"SUDO_UID": "1234"}) == {0, own, 1234}


@on_linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("user", [0, NOBODY])
def test_somebody_else_who_has_the_link_gets_nothing(user: int) -> None:
    program = (
        "import encodings.idna, os, socket, sys; os.setgid(65534); os.setuid(int(sys.argv[1]))\n"
        "with socket.create_connection(('127.0.0.1', int(sys.argv[2]))) as one:\n"
        "    one.sendall(f'GET {sys.argv[3]} HTTP/1.1\\r\\nHost: 127.0.0.1:{sys.argv[2]}\\r\\n\\r\\n'.encode())\n"
        "    print(one.recv(4000).decode())"
    )
    with serving(MadeUpDesk(3), {"page.html": b""}) as server:
        target = server.address.partition(str(server.port))[2]
        words = [sys.executable, "-I", "-S", "-c", program, str(user), str(server.port), target]
        heard = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    if user == NOBODY:
        assert heard.startswith("HTTP/1.1 403 ")
        assert ANOTHER_USER in heard
        assert "Location" not in heard
    else:
        assert heard.startswith("HTTP/1.1 303 ")
