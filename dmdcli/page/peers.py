"""Which user of this machine is at the other end of a connection, where the system says so: on Linux."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
"""One line for each connection of the machine; a program may come to an IPv4 address from an IPv6 socket."""
LOCAL, REMOTE, USER = 1, 2, 7
"""Columns of the tables."""
MAPPED = "0000000000000000FFFF0000"
"""What stands before an IPv4 address in the second table, on machines whose smallest byte comes first."""


def user_at(peer: tuple[str, int], own: tuple[str, int]) -> int | None:
    """The number of the user whose program is at `peer` and has connected to `own`; None where nothing says it.

    Both are an IPv4 address and a port.
    """
    wanted = [_as_in_table(peer), _as_in_table(own)]
    for table in TABLES:
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        prefix = MAPPED if table.endswith("6") else ""
        here, there = (prefix + one for one in wanted)
        for line in lines:
            if here in line:
                columns = line.split()
                if (columns[LOCAL], columns[REMOTE]) == (here, there):
                    return int(columns[USER])
    return None


def own_users(environment: Mapping[str, str]) -> frozenset[int]:
    """The users who are let in: the one this program runs as, root, and whoever became root by sudo for it."""
    if not hasattr(os, "geteuid"):
        return frozenset()
    sudo = environment.get("SUDO_UID", "")
    return frozenset({0, os.geteuid(), *([int(sudo)] if sudo.isdecimal() else [])})


def _as_in_table(end: tuple[str, int]) -> str:
    """An address and a port as the tables write them."""
    return f"{int.from_bytes(socket.inet_aton(end[0]), sys.byteorder):08X}:{end[1]:04X}"
