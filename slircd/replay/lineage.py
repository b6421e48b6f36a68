"""The names that a channel had: where in the log its events stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from slircd.events import types as ev
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.selection import MAX_ID


class Stretch(NamedTuple):
    """A part of the log in which the channel had the name `key`: ids between `after_id` and `before_id`, both excluded.

    The rename that ends a stretch is in it, because its target is the name that it takes away.
    """

    key: str
    after_id: int
    before_id: int


def names_of(
    reader: LogReader,
    fold: Callable[[str], str],
    decode: Callable[[Row], ev.Event | None],
    key: str,
    before_id: int = MAX_ID,
) -> list[Stretch]:
    """The names of the channel that is called `key` before an event, the first one first.

    A channel that was created under its name had no other one before, whoever had that name earlier.  `decode` gives
    the event of a row, None for one that cannot be read.
    """
    found: list[Stretch] = []
    for row in reader.rows(event_type="channel.rename", before_id=before_id, newest=True):
        event = decode(row)
        if isinstance(event, ev.ChannelRename) and fold(event.new_name) == key != event.target:
            created = reader.rows(target=key, types=("channel.create",), after_id=row.id, before_id=before_id, limit=1)
            if next(iter(created), None) is not None:
                break
            found.append(Stretch(key, row.id, before_id))
            key, before_id = event.target or "", row.id + 1
    return [Stretch(key, 0, before_id), *reversed(found)]
