"""How long the turns of the reactor are, and what bounds them from below.

A turn is what the reactor does between two looks at its sockets.  Twisted has no public place to measure it, so the
reactor's epoll object gets a stand-in that does, as other servers on Twisted do; on a reactor without one nothing is
measured.  The stand-in also ends the reading when a turn has had enough: Twisted would serve every socket that is
ready, and two hundred clients who join a channel of ten thousand at one moment would make one turn of a second.  epoll
says again what was not served, and those come first then, so nobody waits behind who is served all the time.
"""

from __future__ import annotations

import select
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any, Final

from twisted.application.service import Service

MOST_EVENTS: Final = 1_024
"""Sockets that one look takes."""

READING_S: Final = 0.004
"""How long one turn serves sockets; what has begun is finished."""

MOST_ACCEPTS: Final = 20
"""Connections that one turn takes from a listener; Twisted begins with a hundred, which are twenty milliseconds."""

EPOLL: Final = getattr(select, "epoll", None)
"""The class of what is measured; other systems than Linux have none."""

BOUNDS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds of the histograms of durations."""


class Durations:
    """Durations in a histogram: plain numbers, because they are counted in every turn."""

    __slots__ = ("counts", "longest_s", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        """How many were at most as long as each of the bounds and longer than the one before; the last has no bound."""
        self.total_s = 0.0
        self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds
        if seconds > self.longest_s:
            self.longest_s = seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Bounds and how many were at most that long, as Prometheus wants them."""
        found: list[tuple[str, float]] = []
        count = 0
        for bound, more in zip([*map(str, BOUNDS_S), "+Inf"], self.counts, strict=True):
            count += more
            found.append((bound, count))
        return found


Events = list[tuple[int, int]]
"""Descriptors and what they are ready for."""


class MeasuredPoll:
    """Stands in for a reactor's epoll object: measures turns, and gives out what fits into one."""

    def __init__(self, poller: Any, durations: Durations, seconds: Callable[[], float] = perf_counter) -> None:
        """`seconds` is the clock."""
        self.poller = poller
        self._poll = poller.poll
        self._add = durations.add
        self._seconds = seconds
        self._since = seconds()
        self._left: dict[int, int] = {}
        """Descriptors that were ready and have not had their turn, and their places."""

    def poll(self, timeout: float, maxevents: int) -> Iterable[tuple[int, int]]:
        """What is ready, as long as there is time for it in this turn."""
        self._add(self._seconds() - self._since)
        try:
            events: Events = self._poll(timeout, min(maxevents, MOST_EVENTS))
        finally:
            self._since = self._seconds()
        if len(events) < 2:
            return events
        left = self._left
        if left:
            last = len(left)
            events.sort(key=lambda event: left.get(event[0], last))
        return self._in_time(events)

    def _in_time(self, events: Events) -> Iterator[tuple[int, int]]:
        end = self._since + READING_S
        self._left = {}
        yield events[0]
        for index in range(1, len(events)):
            if self._seconds() >= end:
                self._left = {fd: place for place, (fd, _) in enumerate(events[index:])}
                return
            yield events[index]

    def __getattr__(self, name: str) -> Any:
        # register, modify, unregister, close: all else is the true object's.
        return getattr(self.poller, name)


class TurnMeter(Service):
    """Measures the turns of a reactor while it runs."""

    def __init__(self, reactor: Any) -> None:
        self.setName("meter")
        self.turns = Durations()
        self._reactor = reactor

    def startService(self) -> None:  # Twisted's name
        """Put the stand-in in its place, where there is one."""
        super().startService()
        poller = getattr(self._reactor, "_poller", None)
        if EPOLL is not None and isinstance(poller, EPOLL):
            self._reactor._poller = MeasuredPoll(poller, self.turns)

    def stopService(self) -> None:  # Twisted's name
        """Take it out again."""
        super().stopService()
        poller = getattr(self._reactor, "_poller", None)
        if isinstance(poller, MeasuredPoll):
            self._reactor._poller = poller.poller


def bound_accepts(port: Any) -> None:
    """Have a TCP or Unix port take at most MOST_ACCEPTS connections a turn; what waits comes in the next."""
    if hasattr(port, "numberAccepts"):
        read = port.doRead

        def read_some() -> None:
            # Twisted changes the number after each turn, up and down, and has no bound for it.
            port.numberAccepts = MOST_ACCEPTS
            read()

        port.doRead = read_some
