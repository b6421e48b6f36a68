"""The state at any moment: the log's events up to there, applied by the same function that the live server runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, Protocol

from slircd.events.reader import LogReader
from slircd.events.types import Event
from slircd.replay.document import ServerSnapshot, to_document
from slircd.state.apply import Stamp, apply
from slircd.state.feed import Damaged, feed, without_gc
from slircd.state.model import ServerState


class ReplayableState(Protocol):
    """What can be replayed into."""

    def apply(self, event: Event, stamp: Stamp) -> None:
        """Change as the event says; one that was applied already changes nothing."""

    def feed(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Apply rows of the log in order; the last id, 0 if there was none.  Raises Damaged."""


class Replayed:
    """A ServerState that replays; the ReplayableState of this package."""

    def __init__(self) -> None:
        self.state = ServerState()

    def apply(self, event: Event, stamp: Stamp) -> None:
        """Change by the live server's own function."""
        apply(self.state, event, stamp)

    def feed(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Change by the live server's own loop."""
        return feed(self.state, rows)


class BeforeTheLog(Exception):
    """The moment lies before the first event; the text names that."""


PROGRESS: Final = 4096
"""Events after which `each` is told of the last one."""


def replay(
    rows: Iterable[tuple[Any, ...]],
    into: ReplayableState,
    *,
    skip_damaged: bool = False,
    each: Callable[[int], None] | None = None,
) -> tuple[int, list[int]]:
    """Apply rows, as tuples of the eight columns, in order; `each` is told of ids, every few thousand events.

    Returns the last id and the ids of damaged events that were skipped.  Raises Damaged unless `skip_damaged`.
    """
    last_id = 0
    skipped: list[int] = []
    rest = iter(rows)
    with without_gc():
        while True:
            try:
                fed = into.feed(rest if each is None else islice(rest, PROGRESS))
            except Damaged as damaged:
                if not skip_damaged:
                    raise
                fed = damaged.event_id
                skipped.append(fed)
                last_id = fed
                continue
            if not fed:
                return last_id, skipped
            last_id = fed
            if each is not None:
                each(last_id)


class StateReconstructor:
    """Answers what a server was like at a moment."""

    def __init__(
        self, reader: LogReader, *, skip_damaged: bool = False, each: Callable[[int], None] | None = None
    ) -> None:
        self._reader = reader
        self._skip_damaged = skip_damaged
        self._each = each
        self.skipped: list[int] = []
        self.last_id = 0

    def state_at(self, timestamp: str) -> ServerState:
        """The state at a moment, which includes it.  Raises BeforeTheLog or Damaged."""
        first = self._reader.first()
        if not first.id:
            raise BeforeTheLog("the log is empty")
        if timestamp < first.timestamp:
            raise BeforeTheLog(f"the log begins at {first.timestamp}, after {timestamp}")
        into = Replayed()
        self.last_id, self.skipped = replay(
            self._reader.raw_rows(until=timestamp), into, skip_damaged=self._skip_damaged, each=self._each
        )
        return into.state

    def reconstruct_at(self, timestamp: str, *, show_keys: bool = False) -> ServerSnapshot:
        """The server at a moment, as a document."""
        state = self.state_at(timestamp)
        return to_document(state, timestamp, self.last_id, show_keys=show_keys)


__all__ = ["BeforeTheLog", "Damaged", "ReplayableState", "Replayed", "StateReconstructor", "replay"]
