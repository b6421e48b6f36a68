"""Rows of the log into a state: the one loop that start-up, rebuild and replay run.

It does for each row what `decode_event` and `apply` do, with one look-up for both and no call that a good row can do
without: a server starts, and a question about the past is answered, by running it millions of times.  An event that
changes no state is not even decoded, so a log of messages costs what its other events cost.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import msgspec

from slircd.events.codec import DECODERS, DecodeError, decode_event
from slircd.events.row import REPLAYED, Row
from slircd.events.types import EVENT_TYPES, Event
from slircd.state.apply import APPLIERS, Applier, ApplyError, Stamp, apply
from slircd.state.model import ServerState

_set = msgspec.structs.force_setattr

_HANDLERS: Final[dict[str, tuple[Callable[[str], Event], Applier | None]]] = {
    name: (DECODERS[name], APPLIERS.get(cls)) for name, cls in EVENT_TYPES.items()
}
"""Event type to its decoder and its applier; None if it changes no state."""


class Damaged(Exception):
    """An event of the log cannot be read or applied; `event_id` is its id.  The state has all before it."""

    def __init__(self, event_id: int, reason: str) -> None:
        super().__init__(f"event {event_id} is damaged: {reason}")
        self.event_id = event_id


_narrow: Final = itemgetter(*map(Row._fields.index, REPLAYED))


def narrowed(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Rows of all columns, or of REPLAYED already, as those of REPLAYED; which they are the first one says."""
    rest = iter(rows)
    first = next(rest, None)
    if first is None:
        return rest
    rest = chain((first,), rest)
    return rest if len(first) == len(REPLAYED) else map(_narrow, rest)


def feed(state: ServerState, rows: Iterable[tuple[Any, ...]]) -> int:
    """Apply rows, as tuples of all columns or of REPLAYED, in order; the id of the last one, 0 if there was none.

    Rows that were applied already change nothing.  Raises Damaged; where `rows` is an iterator, a caller that wants to
    go on behind the damage calls again with the rest of it.
    """
    handlers = _HANDLERS
    applied, moment = state.sequence, state.timestamp
    event_id = 0
    # Appliers go by the stamp, and none asks who acted, or in which run; where the state is in the log is written once,
    # at the end.
    try:
        for event_id, timestamp, sequence, event_type, target, payload in narrowed(rows):
            try:
                if sequence <= applied:
                    continue
                decode, applier = handlers[event_type]
                if applier is not None:
                    event = decode(payload)
                    _set(event, "target", target)
                    applier(state, event, Stamp(event_id, sequence, timestamp, ""))
                applied, moment = sequence, timestamp
            except (ApplyError, LookupError, AttributeError, msgspec.MsgspecError):
                # Once more, the long way: an older version is upcast there, and damage gets its words.
                try:
                    event = decode_event(event_type, None, target, payload)
                    apply(state, event, Stamp(event_id, sequence, timestamp, ""))
                except (DecodeError, ApplyError) as error:
                    raise Damaged(event_id, str(error)) from None
                applied, moment = sequence, timestamp
            except TypeError:
                if isinstance(sequence, int):
                    raise  # not the log's fault
                # SQLite keeps whatever it is given, in any column.
                raise Damaged(event_id, f"its sequence is {sequence!r}") from None
    finally:
        state.sequence, state.timestamp = applied, moment
    return event_id


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
