"""What tests of the page share: pages that are open in a browser, servers that are asked without one, and photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dmdcli.page.server import PageServer, serving
from dmdcli.places import PhotoFile
from tests.browser import OpenPage
from tests.page.album import LEFT, RIGHT, SMALL, AlbumKit, add_photo
from tests.page.bench import Open, benches
from tests.page.browsing import STATIC, Browser, Connect
from tests.page.made_up_desk import MadeUpDesk


@pytest.fixture
def open_bench(open_page: OpenPage) -> Iterator[Open]:
    """Opens pages, each before a desk of its own."""
    with benches(open_page) as opened:
        yield opened


@pytest.fixture
def desk() -> MadeUpDesk:
    return MadeUpDesk(6)


@pytest.fixture
def server(desk: MadeUpDesk) -> Iterator[PageServer]:
    with serving(desk, STATIC) as running:
        yield running


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens connections, `like` one of a browser that knows the secret, and closes them in the end."""
    opened = []

    def connect(server: PageServer, like: Browser | None = None) -> Browser:
        opened.append(Browser(server))
        opened[-1].secret = like.secret if like else ""
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.fixture
def browser(server: PageServer, connect: Connect) -> Browser:
    """A browser that has followed the link."""
    one = connect(server)
    one.follow(server.address)
    return one


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def files(tmp_path: Path) -> list[PhotoFile]:
    return [
        add_photo(tmp_path / "in", name, grey) for name, grey in (("a.png", 100), ("b.png", 140), ("none.png", 180))
    ]


@pytest.fixture
def kit() -> AlbumKit:
    return AlbumKit({100: [LEFT, RIGHT], 140: [LEFT, SMALL]})
