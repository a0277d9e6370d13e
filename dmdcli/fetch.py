"""Brings network files from their publishers. The only file that connects to anything.

A file takes its own name only when it is whole and its SHA-256 is that of the table. What has arrived is kept when a
connection breaks off, and gone on from.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmdcli import __version__, weights
from dmdcli.errors import CannotGoOnError, UsageError, WeightsCorruptError, WeightsError, WeightsMissingError
from dmdcli.weights import NetworkFile
from dmdcli.weights_folder import check_room, lock, make_folder, part_of, put_in_place, size_of, writing

if TYPE_CHECKING:
    from requests import Response, Session

CHUNK = 1 << 14
"""Bytes asked of a connection at a time: at most so many are lost when it breaks off."""
GOOD_RUN = 1 << 20
"""Bytes after which a connection that breaks off has been worth it: the pauses begin anew."""
FORBIDDEN_EVENTS = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyaddr",
    "socket.gethostbyname",
    "socket.sendmsg",
    "socket.sendto",
)
"""What Python announces before anything leaves the machine through a socket."""
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables that name certificates to trust; the first that is set counts."""
_FORBIDDEN = threading.Event()
"""Set when connections are forbidden in this process."""


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    connect: seconds until it must have answered. read: seconds it may send nothing at all. pauses: seconds before each
    further try at the same address. wait: what waits.
    """

    connect: float = 20.0
    read: float = 60.0
    pauses: tuple[float, ...] = (2.0, 10.0, 30.0)
    wait: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Progress:
    """How far a fetch has come: bytes that have arrived, bytes in all, and now and then a sentence for the user.

    note: everybody should read it. detail: why a try failed; the error says it again where all tries did.
    """

    done: int
    total: int
    note: str = ""
    detail: str = ""


class _Refused(Exception):
    """An address does not give the file."""


class _WrongContent(_Refused):
    """An address gives another file, or a damaged one."""


class _BrokenOff(Exception):
    """The connection ended early; it may be gone on from."""


class _Unreachable(_BrokenOff):
    """There was no connection."""


def forbid_connections() -> None:
    """Refuse, from now on and in the whole process, every connection and look-up that Python makes.

    Sockets of the machine's own file system (AF_UNIX) pass, and whoever connects to a page that is served here is
    answered: that reaches out to nobody. Whoever tries to gets CannotGoOnError.
    """
    if not _FORBIDDEN.is_set():
        _FORBIDDEN.set()
        sys.addaudithook(_refuse_connection)


def are_connections_forbidden() -> bool:
    """Whether `forbid_connections` has been called in this process."""
    return _FORBIDDEN.is_set()


def _refuse_connection(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in FORBIDDEN_EVENTS or not are_connections_forbidden():
        return
    if isinstance(arguments[0], socket.socket):
        if arguments[0].family == getattr(socket, "AF_UNIX", None):
            return
        target = arguments[-1]
    else:
        target = arguments[0]
    raise CannotGoOnError(f"Connections are forbidden (--offline or DMD_OFFLINE), and {target!r} was to be reached.")


def fetch(
    file: NetworkFile, folder: Path, mirror: str | None = None, patience: Patience | None = None
) -> Generator[Progress, None, None]:
    """Bring `file` into the weights folder, yielding how far it has come; at the end it is there and intact.

    mirror: base address tried first, the file's name is added. A file that is there and intact is not fetched; a
    damaged one is replaced. Raises WeightsMissingError when no address gives it or connections are forbidden,
    WeightsCorruptError when one gave something else, CannotGoOnError when it cannot be written.
    """
    final = weights.place(file, folder)
    addresses = (*([mirror_address(file, mirror)] if mirror else []), *file.addresses)
    if are_connections_forbidden():
        raise WeightsMissingError(
            f"Connections are forbidden (--offline or DMD_OFFLINE), so {file.title} is not fetched. "
            f"{by_hand(file, folder)}"
        )
    check_certificates()
    make_folder(final, file)
    part = part_of(final)
    with contextlib.ExitStack() as stack:
        yield from (Progress(0, 0, said) for said in lock(stack, final))
        found = weights.state(file, folder)
        if found == "intact":
            yield Progress(final.stat().st_size, final.stat().st_size)
            return
        if found == "damaged":
            yield Progress(0, file.size, f"{final} is damaged and will be replaced.")
        yield from _fetch_from_any(addresses, file, part, patience or Patience())
        with writing(final):
            put_in_place(part, final)


def mirror_address(file: NetworkFile, mirror: str) -> str:
    """The address of `file` at a mirror. Raises UsageError for anything but http and https, queries and fragments."""
    if not re.match(r"https?://([^/?#]*@)?(\[[^]/]*\]|[^/?#@:]+)(:\d+)?([/?#]|$)", mirror, re.IGNORECASE):
        said = re.sub(r"^.*@", "***@", mirror, flags=re.DOTALL)  # what may be a password, in whatever this is
        raise UsageError(f"{said} is no address that begins with https:// or http://. Files: dmd models import FILE")
    if "?" in mirror or "#" in mirror:
        raise UsageError(
            "The address after --from has a query (?) or a fragment (#). The name of each file is put behind it, so "
            "give the address of a folder."
        )
    return f"{mirror.rstrip('/')}/{file.file}"


def without_secrets(text: str) -> str:
    """`text` with the user and password of each address in it made unreadable."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "***@", text)


def check_certificates() -> None:
    """Raise UsageError where a variable of the surroundings names certificates that are not there or are none."""
    for name in CERTIFICATES:
        path = os.environ.get(name)
        if not path:
            continue
        try:
            if Path(path).is_dir():
                return
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
        except OSError as error:
            why = "holds no certificates" if isinstance(error, ssl.SSLError) else f"cannot be read ({error.strerror})"
            raise UsageError(
                f"{name} names {path}, which {why}. Let it name a file of certificates to trust, or unset it."
            ) from error
        return


def _fetch_from_any(
    addresses: tuple[str, ...], file: NetworkFile, part: Path, patience: Patience
) -> Iterator[Progress]:
    """Fill `part` from the first address that gives the whole, right file."""
    failures: list[str] = []
    kind: type[WeightsError] = WeightsMissingError
    with _session() as session:
        for address in addresses:
            try:
                yield from _fetch_from(session, address, file, part, patience)
            except _Refused as failure:
                if isinstance(failure, _WrongContent):
                    kind = WeightsCorruptError
                failures.append(f"{without_secrets(address)}: {failure}")
                if address != addresses[-1]:
                    yield Progress(size_of(part), file.size, detail=f"{failures[-1]}. Trying the next address.")
            else:
                return
    arrived = size_of(part)
    kept = f" What has arrived ({arrived:,} bytes) is kept for the next try." if arrived else ""
    raise kind(f"{file.title} could not be fetched. {'; '.join(failures)}.{kept} {by_hand(file, part.parent, False)}")


def _fetch_from(
    session: Session, address: str, file: NetworkFile, part: Path, patience: Patience
) -> Iterator[Progress]:
    """Fill `part` from one address, which may break off a few times."""
    pauses = iter(patience.pauses)
    inherited = size_of(part) > 0
    arrived = False
    while True:
        begun = size_of(part)
        try:
            yield from _download(session, address, file, part, patience)
        except _BrokenOff as failure:
            gained = size_of(part) - begun
            arrived = arrived or gained > 0
            if gained >= GOOD_RUN:
                pauses = iter(patience.pauses)
            pause = next(pauses, None)
            if pause is None or (isinstance(failure, _Unreachable) and not arrived):
                raise _Refused(str(failure)) from failure
            said = f"{without_secrets(address)}: {failure}. Going on in {pause:g} s."
            yield Progress(size_of(part), file.size, detail=said)
            patience.wait(pause)
            continue
        got = weights.sha256_of(part, file)
        if got == file.sha256:
            return
        part.unlink()
        if not inherited:
            raise _WrongContent(f"what came is damaged or another file (SHA-256 wanted {file.sha256}, got {got})")
        inherited = False  # perhaps only what an earlier try had left is wrong
        said = f"{without_secrets(address)}: what an earlier try left does not fit. Beginning anew."
        yield Progress(0, file.size, said)


def _download(session: Session, address: str, file: NetworkFile, part: Path, patience: Patience) -> Iterator[Progress]:
    """Ask once for what `part` lacks, and append what comes. Returns when nothing more is to come."""
    begun = size_of(part)
    if begun > file.longest:
        part.unlink()
        begun = 0
    if file.size_known and begun == file.size:
        return
    with _ask(session, address, begun, patience) as response:
        if response.status_code == 416 and begun:  # there is nothing after what has arrived
            if not file.may_have(begun):
                raise _WrongContent(f"it has no more than {begun:,} bytes where {file.size:,} are expected")
            return  # whether that is the file, its SHA-256 says
        if response.status_code == 206 and begun:
            start, total = _content_range(response)
            if start != begun:
                part.unlink()
                raise _BrokenOff("it sends another stretch than it was asked for")
        elif response.status_code == 200:
            length = response.headers.get("Content-Length", "")
            begun, total = 0, int(length) if length.isdecimal() else None
        else:
            raise _failure(response)
        packed = response.headers.get("Content-Encoding", "identity")
        if packed != "identity":
            raise _Refused(f"it sends the file packed ({packed}), unasked")
        if total is not None and not file.may_have(total):
            raise _WrongContent(f"it offers {total:,} bytes where {file.size:,} are expected")
        if total is None and file.size_known:
            total = file.size
        check_room(part.parent, (total or file.size) - begun)
        yield from _append(response, part, begun, total, file)


def _append(response: Response, part: Path, begun: int, total: int | None, file: NetworkFile) -> Iterator[Progress]:
    """Write what comes after the first `begun` bytes of `part`. total: None where nobody knows it."""
    from requests import RequestException

    done, expected = begun, total or file.size
    with writing(part.with_name(file.file)):
        stream = part.open("ab" if begun else "wb", buffering=0)
    with stream:
        yield Progress(done, expected)
        chunks = response.iter_content(CHUNK)
        while True:
            try:
                chunk = next(chunks, b"")
            except RequestException as error:
                raise _BrokenOff(f"{_plain(error)} after {done:,} of {expected:,} bytes") from error
            if not chunk:
                break
            with writing(part.with_name(file.file), expected - done):
                _write(stream, chunk)
            done += len(chunk)
            if done > file.longest:
                break
            yield Progress(done, expected)
    if done > file.longest:
        part.unlink()
        raise _WrongContent(f"it sends more than the {file.size:,} bytes expected")
    if total is not None and done < total:
        raise _BrokenOff(f"the connection ended after {done:,} of {total:,} bytes")


def _ask(session: Session, address: str, begun: int, patience: Patience) -> Response:
    """Ask for everything from byte `begun` on. Raises _Unreachable or _Refused where no answer comes."""
    import requests

    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={begun}-"} if begun else {})
    try:
        return session.get(address, headers=headers, stream=True, timeout=(patience.connect, patience.read))
    except (requests.exceptions.SSLError, requests.TooManyRedirects) as error:
        raise _Refused(_plain(error)) from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Unreachable(_plain(error)) from error
    except (requests.RequestException, OSError) as error:
        raise _Refused(_plain(error)) from error


def _session() -> Session:
    """A session that honours the variables of proxies and certificates; SSL_CERT_FILE is the one requests ignores."""
    import requests

    session = requests.Session()
    session.headers["User-Agent"] = f"dmd/{__version__}"
    session.verify = os.environ.get("SSL_CERT_FILE") or True
    return session


def _failure(response: Response) -> Exception:
    """What an answer that is no file means: servers that are busy may be asked again."""
    said = f"{response.status_code} {response.reason or ''}".strip(" .")
    if response.status_code == 429 or response.status_code >= 500:
        return _BrokenOff(said)
    return _Refused(said)


def _content_range(response: Response) -> tuple[int | None, int | None]:
    """The first byte that comes and the length of the whole, as far as the Content-Range header names them."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if match is None:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _plain(error: Exception) -> str:
    """What went wrong, without the layers that requests and urllib3 put around it, and without a full stop."""
    import requests

    if isinstance(error, requests.ConnectTimeout):
        return "no answer in time"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return "nothing came for too long"
    ended = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    reason = "the connection ended" if isinstance(error, ended) else str(error)
    cause: BaseException | None = error
    while cause is not None:
        reason = getattr(cause, "strerror", None) or reason
        cause = cause.__cause__ or cause.__context__
    reason = without_secrets(reason).rstrip(".")
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy cannot be reached or refuses ({reason})"
    if isinstance(error, requests.exceptions.SSLError):
        return f"no safe connection ({reason}); REQUESTS_CA_BUNDLE or SSL_CERT_FILE name certificates to trust"
    return reason


def _write(stream: Any, chunk: bytes) -> None:
    """Write all of `chunk` to an unbuffered file."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[stream.write(rest) :]


def by_hand(file: NetworkFile, folder: Path, sources: bool = True) -> str:
    """Where a file can be had, with `sources`, and where it goes."""
    where = f"It can be had from {' or '.join(file.addresses)}. " if sources else ""
    return f"{where}Fetched by hand it belongs at {weights.place(file, folder)}; dmd models import FILE puts it there."
