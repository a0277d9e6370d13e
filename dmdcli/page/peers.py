"""Which user of this machine is at the other end of a connection, where the system says so: on Linux."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
"""One line for each connection of the machine; a program may come to an IPv4 address from an IPv6 socket."""
TRIES = 3
"""A line may be missed while others come and go."""
LOCAL, REMOTE, USER, FILE = 1, 2, 7, 9
"""Columns of the tables; FILE is 0, and the user root, once the program has closed its end."""
NOBODY = -1


def user_at(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """The number of the user whose program is at `peer` and has connected to `own`; None where nothing says it.

    Both are an IPv4 address and a port. NOBODY where no program is there any more.
    """
    for _ in range(TRIES):
        for table in TABLES:
            try:
                lines = Path(table).read_text(encoding="ascii").splitlines()
            except OSError:
                return None
            here, there = (_as_in_table(end, six=table.endswith("6")) for end in (peer, own))
            for columns in (line.split() for line in lines if here in line):
                if (columns[LOCAL], columns[REMOTE]) == (here, there):
                    return int(columns[USER]) if int(columns[FILE]) else NOBODY
    return None


def own_users(environment: Mapping[str, str]) -> frozenset[int]:
    """The users who are let in: the one this program runs as, root, and whoever became root by sudo for it."""
    if not hasattr(os, "geteuid"):
        return frozenset()
    sudo = environment.get("SUDO_UID", "")
    return frozenset({0, os.geteuid(), *([int(sudo)] if sudo.isdecimal() else [])})


def _as_in_table(end: tuple[str, int], six: bool) -> str:
    """An address and a port as the tables write them: in the byte order of the machine."""
    address = socket.inet_aton(end[0])
    words = [b"\0\0\0\0", b"\0\0\0\0", b"\0\0\xff\xff", address] if six else [address]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words) + f":{end[1]:04X}"
