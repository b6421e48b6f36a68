"""The state at any moment: the log's events up to there, applied by the same function that the live server runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import islice
from typing import Any, Final, Protocol

from slircd.events.checkpoints import BeforeHorizon
from slircd.events.codec import DecodeError, decode_event
from slircd.events.interface import Start
from slircd.events.reader import LogReader
from slircd.events.types import Event, ServerStart
from slircd.replay.document import SECTIONS, ServerSnapshot, encode_document, to_document
from slircd.state.apply import Stamp, apply
from slircd.state.feed import Damaged, feed, without_gc
from slircd.state.model import ServerState
from slircd.wire.casemap import CASEMAPS, CaseMap


class ReplayableState(Protocol):
    """What can be replayed into."""

    def apply(self, event: Event, stamp: Stamp) -> None:
        """Change as the event says; one that was applied already changes nothing."""

    def feed(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Apply rows of the log in order; the last id, 0 if there was none.  Raises Damaged."""


class Replayed:
    """A ServerState that replays; the ReplayableState of this package."""

    def __init__(self, state: ServerState | None = None) -> None:
        """`state` is where it begins; without it, where a log begins."""
        self.state = ServerState() if state is None else state

    def apply(self, event: Event, stamp: Stamp) -> None:
        """Change by the live server's own function."""
        apply(self.state, event, stamp)

    def feed(self, rows: Iterable[tuple[Any, ...]]) -> int:
        """Change by the live server's own loop."""
        return feed(self.state, rows)


class BeforeTheLog(Exception):
    """The moment lies before the first event, or before the retention horizon; the text names that."""


TRIES: Final = 5
PAUSE_S: Final = 0.2
"""How often, and with which pauses, a moment is read again because retention was at work."""

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


Phase = Callable[[str], AbstractContextManager[object]]
"""Gives a context in which the part of the work of that name is done."""


class StateReconstructor:
    """Answers what a server was like at a moment."""

    def __init__(
        self,
        reader: LogReader,
        *,
        skip_damaged: bool = False,
        each: Callable[[int], None] | None = None,
        phase: Phase | None = None,
        into: Callable[[ServerState], Replayed] | None = None,
    ) -> None:
        """`each` is told of ids, `phase` gives a context for each part of the work, `into` makes what is replayed into."""
        self._reader = reader
        self._phase: Phase = phase or nullcontext
        self._into = into or Replayed
        self._skip_damaged = skip_damaged
        self._each = each
        self.skipped: list[int] = []
        """Ids of events that could not be read."""
        self.ignored: list[str] = []
        """What was wrong with checkpoints that were not used."""
        self.last_id = 0
        """The last event of what was asked for last."""

    def state_at(self, timestamp: str) -> ServerState:
        """The state at a moment, which includes it, from the newest checkpoint before.

        Raises BeforeTheLog, Damaged, or DamagedBase.  While retention removes or rewrites events, what was read before
        and what behind such a step do not fit together; then it is read again.
        """
        with without_gc():
            return self._state_at(timestamp)

    def _state_at(self, timestamp: str) -> ServerState:
        for left in reversed(range(TRIES)):
            before = self._reader.generation()
            try:
                state = self._read(timestamp)
            except Damaged:
                if not left or (before.quiet and self._reader.generation() == before):
                    raise
            else:
                if not left or self._reader.generation() == before:
                    break
            time.sleep(PAUSE_S)
        return state

    def _read(self, timestamp: str) -> ServerState:
        with self._phase("find the moment"):
            head = self._reader.head_at(timestamp)
        with self._phase("load a checkpoint"):
            start = self._start(timestamp)
        if not head.id and not start.position.id:
            first = self._reader.first()
            raise BeforeTheLog(
                f"the log begins at {first.timestamp}, after {timestamp}" if first.id else "the log is empty"
            )
        into = self._into(start.state)
        rows = self._reader.raw_rows(after_id=start.position.id, before_id=head.id + 1, for_replay=True)
        with self._phase("replay"):
            _, self.skipped = replay(rows, into, skip_damaged=self._skip_damaged, each=self._each)
        # Whether it came from a checkpoint, whose own event may be pruned by now, is not to be seen.
        self.last_id, into.state.sequence, into.state.timestamp = head if head.id else start.position
        return into.state

    def _start(self, timestamp: str) -> Start:
        try:
            return self._reader.start(until=timestamp, ignored=self.ignored)
        except BeforeHorizon as error:
            raise BeforeTheLog(str(error)) from None

    def reconstruct_at(
        self, timestamp: str, *, show_keys: bool = False, sections: Collection[str] = SECTIONS
    ) -> ServerSnapshot:
        """The server at a moment, as a document; lists that are not among `sections` stay empty.  Raises as state_at."""
        with without_gc():
            state = self.state_at(timestamp)
            return to_document(state, timestamp, self.last_id, show_keys=show_keys, sections=sections)

    def encoded_at(self, timestamp: str, *, show_keys: bool = False) -> bytes:
        """The document of a moment as JSON.  Raises as state_at."""
        with without_gc():
            # A call of its own, so that the state is gone before the cycle collector may walk over it.
            return self._encoded_at(timestamp, show_keys)

    def _encoded_at(self, timestamp: str, show_keys: bool) -> bytes:
        state = self.state_at(timestamp)
        return encode_document(state, timestamp, self.last_id, show_keys=show_keys)


def casemap_at(reader: LogReader, until: str | None = None) -> CaseMap:
    """Which names count as the same in a log, at a moment or at its end: as the newest start of the server said."""
    for row in reader.rows(event_type="server.start", until=until, newest=True, limit=1):
        with suppress(DecodeError):
            event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
            if isinstance(event, ServerStart):
                return CASEMAPS[event.casemapping]
    base = reader.base()
    return CASEMAPS["ascii"] if base is None else reader.load(base).casemap


__all__ = ["BeforeTheLog", "Damaged", "casemap_at", "ReplayableState", "Replayed", "StateReconstructor", "replay"]
