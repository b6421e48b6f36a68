"""Message ids (IRCv3 msgid) of events: made from their place in the log, so that an id leads to its row.

An id names the row and the run of the server that wrote it.  The run is in it because ids of rows that a crash took
with it are given again, and a message must never be taken for another one.
"""

from __future__ import annotations

from typing import NamedTuple

_RUN: int = 10
"""Characters of the run's id that stand in a message id."""


class Place(NamedTuple):
    """What a message id says: the id of a row, and the first characters of its session id."""

    id: int
    run: str


def message_id(row_id: int, session_id: str) -> str:
    """The message id of the event in this row."""
    return f"{row_id:x}-{session_id[:_RUN]}"


def parse_message_id(text: str) -> Place | None:
    """The place that a message id names; None for the id of a message that was not logged, or for no id at all."""
    number, dash, run = text.partition("-")
    if not dash or not run or len(number) > 15:
        return None
    try:
        return Place(int(number, 16), run)
    except ValueError:
        return None


def is_of(place: Place, session_id: str) -> bool:
    """Whether the row that was found in this place is the one that was meant."""
    return session_id[:_RUN] == place.run
