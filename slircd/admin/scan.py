"""Looking through a log of any size from its newest end, for a bounded time.

What no index leads to is looked for in spans of ids, newest first, until enough is found or the time is up.  The
answer then says below which id to go on, so that a question about ten million events costs no more at a time than one
about ten thousand, and nobody waits without seeing what there is so far.
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, select

from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.schema import EVENTS

BUDGET_S: Final = 0.7
"""How long one question may look."""

FIRST_SPAN: Final = 20_000
LAST_SPAN: Final = 2_000_000
"""Ids of a span; it grows while spans are quick, and shrinks while they are slow."""

QUICK_S: Final = 0.05
SLOW_S: Final = 0.25


class Found(NamedTuple):
    """Rows, newest first, and the id below which more may stand; None at the beginning of the log."""

    rows: list[Row]
    before: int | None


def newest_first(
    reader: LogReader,
    wanted: ColumnElement[bool],
    *,
    before: int,
    after: int = 0,
    limit: int,
    budget_s: float = BUDGET_S,
) -> Found:
    """At most `limit` rows that are `wanted` with ids above `after` and below `before`; blocks."""
    rows: list[Row] = []
    deadline = time.monotonic() + budget_s
    span = FIRST_SPAN
    top = before
    while top > after + 1 and len(rows) < limit:
        started = time.monotonic()
        if started >= deadline:
            return Found(rows, top)
        bottom = max(top - 1 - span, after)
        ids = EVENTS.c.id
        query = select(EVENTS).where(ids > bottom, ids < top, wanted).order_by(ids.desc()).limit(limit - len(rows))
        some: list[Any] = list(reader.select(query))
        rows += [Row(*row) for row in some]
        top = bottom + 1
        took = time.monotonic() - started
        if took < QUICK_S:
            span = min(span * 3, LAST_SPAN)
        elif took > SLOW_S:
            span = max(span // 3, FIRST_SPAN // 10)
    if len(rows) < limit:
        return Found(rows, None)
    last = rows[-1].id
    return Found(rows, last if last > after + 1 else None)
