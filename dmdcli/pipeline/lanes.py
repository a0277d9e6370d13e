"""Work on several photos at once: in threads, in their order, and never on more of them than there is room for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

From = TypeVar("From")
To = TypeVar("To")
END = object()


class Lanes(Generic[From]):
    """Threads that work ahead of whoever asks for the results.

    workers: 1 for no threads; everything is then done when it is asked for. weigh: what an item takes of `room` from
    when work on it begins until it is `let_go`. A single item may weigh more than there is room for. stop: called when
    all ends early, before threads are waited for that are in the middle of work nobody wants any more.

    What is done when depends on nothing but the items: results of one lane may be the items of another, and no order or
    grouping in them ever depends on which thread was faster.
    """

    def __init__(
        self, workers: int, room: float, weigh: Callable[[From], float], stop: Callable[[], None] = lambda: None
    ) -> None:
        self._executor = ThreadPoolExecutor(2 * workers, "lane") if workers > 1 else None
        self._ahead = workers + 1
        self._room = room
        self._weigh = weigh
        self._stop = stop
        self._held = 0.0
        self._entered = deque[Future[Any]]()  # new items whose results nobody took yet
        self._begin: Callable[[bool], None] | None = None

    def __enter__(self) -> Lanes[From]:
        return self

    def __exit__(self, failure: type[BaseException] | None, *more: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        if failure is not None:
            self._stop()
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    def enter(self, items: Iterable[From], work: Callable[[From], To]) -> Iterator[To]:
        """Yield the results of work on new items, which take their room from now on."""
        if self._executor is None:
            yield from map(work, items)
            return
        executor, entered, source = self._executor, self._entered, iter(items)
        item = next(source, END)

        def begin(one_at_least: bool) -> None:
            """Begin work on the items there is room for."""
            nonlocal item
            while item is not END and len(entered) < self._ahead:
                weight = self._weigh(item)  # type: ignore[arg-type]
                if self._held + weight > self._room and (entered or not one_at_least):
                    return
                self._held += weight
                entered.append(executor.submit(work, item))  # type: ignore[arg-type]
                item = next(source, END)

        self._begin = begin
        begin(True)
        while entered:
            yield entered.popleft().result()
            begin(True)

    def go_on(self, items: Iterable[From], work: Callable[[From], To]) -> Iterator[To]:
        """Yield the results of further work on items that have their room already.

        An error that ends the items early is raised when the work on those that came before is done; KeyboardInterrupt
        when those are out that are done already.
        """
        if self._executor is None:
            yield from map(work, items)
            return
        source, waiting, more = iter(items), deque[Future[Any]](), True
        while more or waiting:
            item, may_take = END, more and len(waiting) < self._ahead
            try:
                if self._begin is not None:
                    self._begin(False)
                    if waiting and may_take and self._entered:
                        # Whoever is done first goes on: a result gives its room away before others are waited for.
                        wait((waiting[0], self._entered[0]), return_when=FIRST_COMPLETED)
                    may_take = may_take and bool(self._entered) and not (waiting and waiting[0].done())
                if not waiting or may_take:
                    item = next(source, END)
                    more = item is not END
            except BaseException as end:
                while waiting and (isinstance(end, Exception) or waiting[0].done()):
                    yield waiting.popleft().result()
                raise
            if item is not END:
                waiting.append(self._executor.submit(work, item))  # type: ignore[arg-type]
            elif waiting:
                yield waiting.popleft().result()
            del item  # nobody but whoever works on it holds it

    def let_go(self, item: From) -> None:
        """Give an item's room to others: it is done with."""
        if self._executor is not None:
            self._held -= self._weigh(item)
