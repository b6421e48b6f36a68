"""Long work in pieces: nobody waits for a LIST of 20,000 channels that somebody else has asked for.

A turn of the reactor is as long as what is done in it, and everybody waits for its end.  So an answer that grows with
the network, and the writes of a message to thousands, are made a piece at a time, with a turn between two pieces.  All
that is under way shares one budget for each turn, so a hundred who ask for lists at one time make no turn longer: they
wait longer.

What was true in one turn may be false in the next.  Whoever works in pieces takes a list of what there is at the
beginning and looks again at each thing when its time comes: what has gone is left out, what has come since is not
shown, and each line says what holds when it is made.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from twisted.internet.defer import Deferred

BUDGET_S: Final = 0.0025
"""What all long work together may take of a turn; a piece that has begun is finished."""


class Turns:
    """Goes on with long work, one piece of each in turn."""

    __slots__ = ("_reactor", "_scheduled", "_waiting")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: deque[Deferred[None]] = deque()
        self._scheduled = False

    def next(self) -> Deferred[None]:
        """Fires in a later turn, when it is the turn of who asks for it."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        self._schedule()
        return waiting

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._reactor.callLater(0, self._run)

    def _run(self) -> None:
        self._scheduled = False
        seconds = self._reactor.seconds
        end = seconds() + BUDGET_S
        # Whoever waits again while this runs waits for the next turn.
        for _ in range(len(self._waiting)):
            self._waiting.popleft().callback(None)
            if seconds() >= end:
                break
        if self._waiting:
            self._schedule()
