"""Fetching from a local server that plays the release pages, well and badly."""

from __future__ import annotations

import base64
import dataclasses
import re
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests

from dmdcli import fetch
from dmdcli.errors import UsageError, WeightsCorruptError, WeightsMissingError
from dmdcli.fetch import Patience, Progress
from tests.fetch import release_server
from tests.fetch.conftest import CONTENT, NAME, fetched, leave_part, table_entry
from tests.fetch.release_server import ReleaseServer


def test_a_complete_download(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    steps = fetched(table_entry(server.url(NAME)), folder, patience)
    assert steps[0] == Progress(0, len(CONTENT))
    assert steps[-1] == Progress(len(CONTENT), len(CONTENT))
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert not any(step.note for step in steps)
    assert server.asked == [(f"/{NAME}", None)]


def test_an_intact_file_is_not_fetched_again(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT)
    assert fetched(table_entry(server.url(NAME)), folder, patience) == [Progress(len(CONTENT), len(CONTENT))]
    assert server.asked == []


def test_a_damaged_file_is_replaced(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(CONTENT[:-1] + b"x")
    steps = fetched(table_entry(server.url(NAME)), folder, patience)
    assert "damaged and will be replaced" in steps[0].note


def test_a_part_is_gone_on_from(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    leave_part(folder, CONTENT[:70_000])
    steps = fetched(table_entry(server.url(NAME)), folder, patience)
    assert steps[0] == Progress(70_000, len(CONTENT))
    assert server.ranges() == ["bytes=70000-"]


def test_a_stopped_fetch_keeps_its_part(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    steps = fetch.fetch(table_entry(server.url(NAME)), folder, None, patience)
    while next(steps).done < 50_000:
        pass
    steps.close()  # as when the user interrupts
    part = folder / f"{NAME}.part"
    assert CONTENT.startswith(part.read_bytes())
    assert part.stat().st_size >= 50_000
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert server.ranges()[1] is not None


def test_a_connection_that_breaks_off_is_gone_on_from(
    server: ReleaseServer, folder: Path, patience: Patience, pauses: list[float]
) -> None:
    server.answers = [release_server.broken_off(100_000), release_server.broken_off(50_000)]
    steps = fetched(table_entry(server.url(NAME)), folder, patience)
    first, second, third = server.ranges()
    assert first is None
    assert 0 < int(str(second)[6:-1]) <= 100_000  # bytes=N-
    assert int(str(second)[6:-1]) < int(str(third)[6:-1]) <= 150_000
    assert pauses == [1.0, 2.0]
    assert ["Going on in 1 s" in step.detail for step in steps if step.detail] == [True, False]
    assert not any(step.note for step in steps)


def test_breaking_off_too_often_ends_with_the_part_kept(
    server: ReleaseServer, folder: Path, patience: Patience, pauses: list[float]
) -> None:
    server.answers = [release_server.broken_off(40_000)] * 3
    with pytest.raises(WeightsMissingError) as caught:
        fetched(table_entry(server.url(NAME)), folder, patience)
    part = folder / f"{NAME}.part"
    assert CONTENT.startswith(part.read_bytes())
    assert f"{part.stat().st_size:,} bytes) is kept" in str(caught.value)
    assert part.stat().st_size > 40_000
    assert pauses == [1.0, 2.0]
    fetched(table_entry(server.url(NAME)), folder, patience)


def test_pauses_begin_anew_after_a_good_run(
    server: ReleaseServer, folder: Path, patience: Patience, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "GOOD_RUN", 20_000)
    server.answers = [release_server.broken_off(40_000)] * 4
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert pauses == [1.0] * 4


def test_without_a_length_what_is_missing_is_noticed(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    def broken_off_without_length(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.wfile.write(release_server.send_head(handler, content, length=False)[:90_000])

    server.answers = [broken_off_without_length, release_server.without_length]
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert server.ranges() == [None, "bytes=90000-"]


def test_a_busy_server_is_asked_again(
    server: ReleaseServer, folder: Path, patience: Patience, pauses: list[float]
) -> None:
    server.answers = [release_server.status(503), release_server.status(429)]
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert pauses == [1.0, 2.0]


def test_a_network_that_goes_away_in_between_is_waited_for(
    server: ReleaseServer, folder: Path, patience: Patience, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    get, calls = requests.Session.get, iter(("asked", "gone", "asked"))

    def sometimes(*arguments: Any, **settings: Any) -> requests.Response:
        if next(calls) == "gone":
            raise requests.ConnectionError(OSError(101, "Network is unreachable"))
        return get(*arguments, **settings)

    monkeypatch.setattr(requests.Session, "get", sometimes)
    server.answers = [release_server.broken_off(100_000)]
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert pauses == [1.0, 2.0]


def test_a_slow_server_is_waited_for(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    server.answers = [release_server.slow(12, 0.1, server)]  # 1.2 s in all, never 0.4 s without a byte
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert len(server.asked) == 1


def test_a_stalled_server_is_given_up_with_the_part_kept(
    server: ReleaseServer, folder: Path, patience: Patience
) -> None:
    server.answers = [release_server.stalled(60_000, server)] * 3
    quick = dataclasses.replace(patience, read=0.1)
    with pytest.raises(WeightsMissingError, match="nothing came for too long after"):
        fetched(table_entry(server.url(NAME)), folder, quick)
    assert (folder / f"{NAME}.part").stat().st_size > 100_000
    assert not (folder / NAME).exists()


def test_a_redirection_is_followed(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    server.answers = [release_server.redirected("/elsewhere/file")]
    leave_part(folder, CONTENT[:10_000])
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert server.asked == [(f"/{NAME}", "bytes=10000-"), ("/elsewhere/file", "bytes=10000-")]


def test_endless_redirections_are_refused(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    server.answers = [release_server.redirected(f"/{NAME}")] * 40
    with pytest.raises(WeightsMissingError, match="redirects"):
        fetched(table_entry(server.url(NAME)), folder, patience)


@pytest.mark.parametrize("answer", [release_server.ignoring_ranges, release_server.other_stretch])
def test_a_server_that_ignores_ranges_begins_anew(
    server: ReleaseServer, folder: Path, patience: Patience, answer: release_server.Answer
) -> None:
    leave_part(folder, CONTENT[:50_000])
    server.answers = [answer]
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert server.ranges()[0] == "bytes=50000-"


def test_a_whole_part_only_needs_its_name(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    leave_part(folder, CONTENT)
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert server.asked == []


def test_a_whole_part_of_unknown_size_is_found_by_416(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    leave_part(folder, CONTENT)
    file = dataclasses.replace(table_entry(server.url(NAME)), size=len(CONTENT) + 1000, size_known=False)
    fetched(file, folder, patience)
    assert server.ranges() == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize(
    "left",
    [CONTENT + b"too long", b"x" * 1000, b"x" * len(CONTENT)],
    ids=["longer", "other beginning", "other content"],
)
def test_a_part_that_does_not_fit_is_given_up(
    server: ReleaseServer, folder: Path, patience: Patience, left: bytes
) -> None:
    leave_part(folder, left)
    fetched(table_entry(server.url(NAME)), folder, patience)
    assert server.ranges()[-1] is None


def test_a_part_longer_than_a_file_of_unknown_size_is_given_up(
    server: ReleaseServer, folder: Path, patience: Patience
) -> None:
    leave_part(folder, CONTENT + b"x")
    fetched(dataclasses.replace(table_entry(server.url(NAME)), size_known=False), folder, patience)
    assert server.ranges() == [f"bytes={len(CONTENT) + 1}-", None]


def test_a_damaged_download_is_removed_and_said(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    server.answers = [release_server.damaged]
    file = table_entry(server.url(NAME))
    with pytest.raises(WeightsCorruptError) as caught:
        fetched(file, folder, patience)
    assert file.sha256 in str(caught.value)
    assert server.url(NAME) in str(caught.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"<html>log in</html>", CONTENT * 2], ids=["shorter", "longer"])
@pytest.mark.parametrize("size_known", [True, False])
def test_another_file_is_not_even_read(
    server: ReleaseServer, folder: Path, patience: Patience, content: bytes, size_known: bool
) -> None:
    part = leave_part(folder, CONTENT[:30_000])
    file = dataclasses.replace(table_entry(server.url(NAME)), size_known=size_known)
    for answer in (release_server.other(content), lambda handler, _: release_server.ignoring_ranges(handler, content)):
        server.answers = [answer]
        with pytest.raises(WeightsCorruptError, match="bytes where 200,000 are expected"):
            fetched(file, folder, patience)
        assert part.read_bytes() == CONTENT[:30_000]


def test_a_server_that_never_stops_is_stopped(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    def endless(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        rest = release_server.send_head(handler, content, length=False)
        while True:
            handler.wfile.write(rest)

    server.answers = [endless]
    with pytest.raises(WeightsCorruptError, match="more than the 200,000 bytes"):
        fetched(table_entry(server.url(NAME)), folder, patience)
    assert not (folder / f"{NAME}.part").exists()


def test_a_packed_answer_is_refused(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    server.answers = [release_server.packed]
    with pytest.raises(WeightsMissingError, match="packed"):
        fetched(table_entry(server.url(NAME)), folder, patience)


@pytest.mark.parametrize("answer", [release_server.status(404), release_server.damaged, release_server.other(b"x")])
def test_a_mirror_takes_over(
    server: ReleaseServer, folder: Path, patience: Patience, answer: release_server.Answer
) -> None:
    server.answers = [answer]
    steps = fetched(table_entry(server.url("publisher"), server.url("mirror")), folder, patience)
    assert [path for path, _ in server.asked] == ["/publisher", "/mirror"]
    assert next(step.detail for step in steps if step.detail).endswith("Trying the next address.")


def test_a_mirror_goes_on_from_what_the_publisher_sent(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    server.answers = [release_server.broken_off(40_000)] * 3
    fetched(table_entry(server.url("publisher"), server.url("mirror")), folder, patience)
    path, asked = server.asked[-1]
    assert path == "/mirror"
    assert asked is not None


def test_an_own_mirror_is_tried_first(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    fetched(table_entry("http://127.0.0.1:9/never"), folder, patience, mirror=f"{server.address}/our/networks/")
    assert server.asked == [(f"/our/networks/{NAME}", None)]


@pytest.mark.parametrize(
    "mirror",
    [
        "/media/stick",
        "file:///media/stick",
        "ftp://me:hidden@host/x",
        "https:///x",
        "https://me:hid/den@host/x",
        "me:hidden@host",
        "https://host:port/x",
    ],
)
def test_a_mirror_that_is_no_web_address_is_refused(folder: Path, patience: Patience, mirror: str) -> None:
    with pytest.raises(UsageError, match="dmd models import") as caught:
        fetched(table_entry(), folder, patience, mirror)
    assert not re.search("hid|den|me:", str(caught.value))
    assert not folder.exists()


@pytest.mark.parametrize("mirror", ["https://host/x?token=hidden", "https://host#hidden", "https://me:hid#den@host/x"])
def test_a_mirror_with_a_query_or_a_fragment_is_refused(folder: Path, patience: Patience, mirror: str) -> None:
    with pytest.raises(UsageError) as caught:
        fetched(table_entry(), folder, patience, mirror)
    assert not re.search("hid|den", str(caught.value))


def test_the_password_of_a_mirror_is_used_and_not_said(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    known = []

    def look(handler: BaseHTTPRequestHandler, content: bytes) -> None:
        known.append(handler.headers.get("Authorization"))
        release_server.broken_off(10)(handler, content)

    server.answers = [look, release_server.damaged, release_server.status(404)]
    mirror = server.address.replace("//", "//me:hid@den@")
    steps = fetch.fetch(table_entry(server.url(NAME)), folder, mirror, patience)
    said: list[str] = []
    with pytest.raises(WeightsCorruptError) as caught:
        said.extend(step.note + step.detail for step in steps)
    said.append(str(caught.value))
    assert known == ["Basic " + base64.b64encode(b"me:hid@den").decode()]
    assert f"{server.address.replace('//', '//***@')}/{NAME}: what came is damaged" in said[-1]
    assert any("Going on in" in line for line in said)
    assert not re.search("hid|den|me:", "".join(said))


def test_a_reason_with_a_full_stop_gets_no_second_one(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    server.answers = [release_server.redirected(f"/{NAME}")] * 40
    with pytest.raises(WeightsMissingError) as caught:
        fetched(table_entry(server.url(NAME)), folder, patience)
    assert "Exceeded 30 redirects. Fetched by hand" in str(caught.value)


def test_every_refusal_is_named_with_its_reason(server: ReleaseServer, folder: Path, patience: Patience) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/file"
    server.answers = [release_server.status(404), release_server.status(403)]
    file = table_entry(server.url("a"), server.url("b"), closed)
    with pytest.raises(WeightsMissingError) as caught:
        fetched(file, folder, patience)
    message = str(caught.value)
    assert (
        f"{server.url('a')}: 404 Not Found; {server.url('b')}: 403 Forbidden; {closed}: Connection refused" in message
    )
    assert f"Fetched by hand it belongs at {folder / NAME}; dmd models import FILE puts it there." in message
    assert "\n" not in message


def test_a_name_that_is_not_known_is_said(folder: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **settings: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(WeightsMissingError, match=r"https://nowhere.invalid/x: Name or service not known\. Fetched"):
        fetched(table_entry("https://nowhere.invalid/x"), folder, patience)
