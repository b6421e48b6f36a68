"""Python's cycle collector on a server with thousands of clients.

A search for cycles stops everything for as long as it takes to look at the objects that it covers: 150 ns each, so
60 ms for ten thousand clients.  Nearly nothing of a server needs it, because what a client leaves behind is freed by
reference counts (a test holds sessions to that).  So young objects are searched as ever, in small portions; what has
survived two searches is put where no search looks (`gc.freeze`), and is freed by its counts alone.  Cycles that die
later than that would stay, so memory is watched: when there are far more blocks than at the last full search, and not
because clients have come, everything is searched once.
"""

from __future__ import annotations

import gc
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import txaio
from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from slircd.network.meter import Durations

if TYPE_CHECKING:
    from collections.abc import Callable

txaio.use_twisted()
log = txaio.make_logger()

YOUNG: Final = 5_000
"""New objects, less those that are gone, that begin a search of the youngest: less than a millisecond."""
MIDDLE: Final = 3
"""Such searches that begin one of all objects that are not frozen, some 20,000: a few milliseconds."""
NEVER: Final = 1 << 30

LOOK_S: Final = 60.0
GROWTH: Final = 2.0
"""How many times the memory of the last full search there must be for another."""
BLOCKS_OF_CLIENT: Final = 400
"""Blocks of memory that a client accounts for, with what it is on; generously."""


def settle() -> None:
    """Have the collector leave alone what there is now, and search in small portions from now on."""
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, NEVER)


class Collector(Service):
    """Keeps the collector's pauses short, and watches whether cycles pile up; see the head of this module."""

    def __init__(self, reactor: Any, clients: Callable[[], int]) -> None:
        """`clients` says how many connections there are."""
        self.setName("collector")
        self.pauses = Durations()
        """How long each search took."""
        self.full = 0
        """Full searches since the start."""
        self._clients = clients
        self._began = 0.0
        self._blocks = 0
        self._clients_then = 0
        self._look = LoopingCall(self.look)
        self._look.clock = reactor

    def startService(self) -> None:  # Twisted's name
        """Begin, when everything else has started."""
        super().startService()
        self._before = gc.get_threshold()
        settle()
        self._remember()
        gc.callbacks.append(self._searched)
        self._look.start(LOOK_S, now=False).addErrback(lambda why: log.failure("memory is not watched", failure=why))

    def stopService(self) -> None:  # Twisted's name
        """Leave the collector as it was."""
        super().stopService()
        if self._look.running:
            self._look.stop()
            gc.callbacks.remove(self._searched)
            gc.set_threshold(*self._before)
            gc.unfreeze()

    def _searched(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = perf_counter()
            return
        self.pauses.add(perf_counter() - self._began)
        if info["generation"]:
            gc.freeze()

    def look(self) -> None:
        """Search everything, if memory has grown so much that cycles may have piled up."""
        more = max(self._clients() - self._clients_then, 0)
        if sys.getallocatedblocks() > self._blocks * GROWTH + more * BLOCKS_OF_CLIENT:
            self.search()

    def search(self) -> None:
        """Search everything for cycles, in one pause."""
        began = perf_counter()
        gc.unfreeze()
        found = gc.collect()
        self.full += 1
        self._remember()
        log.info(
            "memory had grown: a search for cycles freed {found} objects and took {ms:.0f} ms",
            found=found,
            ms=(perf_counter() - began) * 1000,
        )

    def _remember(self) -> None:
        self._blocks = sys.getallocatedblocks()
        self._clients_then = self._clients()
