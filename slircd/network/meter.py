"""How long the turns of the reactor are, and what bounds them from below.

A turn is what the reactor does between two looks at its sockets.  Twisted has no public place to measure it, so the
reactor's epoll object gets a stand-in that does, as other servers on Twisted do; on a reactor without one nothing is
measured.  The stand-in also asks for fewer events at a time: Twisted would take all that are ready, and ten thousand
clients who answer a PING at one moment would make one turn.  What is left comes with the next look, before anything
that became ready later.
"""

from __future__ import annotations

import select
from bisect import bisect_left
from time import perf_counter
from typing import Any, Final

from twisted.application.service import Service

MOST_EVENTS: Final = 128
"""Sockets that one turn reads from or writes to."""

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


class MeasuredPoll:
    """Stands in for a reactor's epoll object: measures turns, and takes at most MOST_EVENTS at a time."""

    def __init__(self, poller: Any, durations: Durations) -> None:
        self.poller = poller
        self._poll = poller.poll
        self._add = durations.add
        self._since = perf_counter()

    def poll(self, timeout: float, maxevents: int) -> Any:
        """What is ready."""
        self._add(perf_counter() - self._since)
        try:
            return self._poll(timeout, min(maxevents, MOST_EVENTS))
        finally:
            self._since = perf_counter()

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
