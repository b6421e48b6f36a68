"""The state at any moment: the log's events up to there, applied by the same function that the live server runs."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from slircd.events.codec import DecodeError, decode_event
from slircd.events.reader import LogReader
from slircd.events.types import Event
from slircd.replay.document import ServerSnapshot, to_document
from slircd.state.apply import ApplyError, Stamp, apply
from slircd.state.model import ServerState


class ReplayableState(Protocol):
    """What can be replayed into."""

    def apply(self, event: Event, stamp: Stamp) -> None:
        """Change as the event says; one that was applied already changes nothing."""


class Replayed:
    """A ServerState that replays; the ReplayableState of this package."""

    def __init__(self) -> None:
        self.state = ServerState()

    @property
    def apply(self) -> Callable[[Event, Stamp], None]:
        """The live server's own function, for this state."""
        return partial(apply, self.state)


class Damaged(Exception):
    """An event cannot be read or applied; `event_id` is its id."""

    def __init__(self, event_id: int, reason: str) -> None:
        super().__init__(f"event {event_id} is damaged: {reason}")
        self.event_id = event_id


class BeforeTheLog(Exception):
    """The moment lies before the first event; the text names that."""


@contextmanager
def without_gc() -> Iterator[None]:
    """While millions of events become state, which stays, the cycle collector only walks over what it will not free."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def replay(
    rows: Iterable[tuple[Any, ...]],
    into: ReplayableState,
    *,
    skip_damaged: bool = False,
    each: Callable[[int], None] | None = None,
) -> tuple[int, list[int]]:
    """Apply rows, as tuples of the eight columns, in order; `each` is told of every id.

    Returns the last id and the ids of damaged events that were skipped.  Raises Damaged unless `skip_damaged`.
    """
    event_id = 0
    skipped: list[int] = []
    apply_one = into.apply
    decode = decode_event
    with without_gc():
        for event_id, timestamp, sequence, event_type, actor_uid, target, payload, session_id in rows:
            try:
                event = decode(event_type, actor_uid, target, payload)
                apply_one(event, Stamp(event_id, sequence, timestamp, session_id))
            except (DecodeError, ApplyError) as error:
                if not skip_damaged:
                    raise Damaged(event_id, str(error)) from None
                skipped.append(event_id)
            if each is not None:
                each(event_id)
    return event_id, skipped


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
