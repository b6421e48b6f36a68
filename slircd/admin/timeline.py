"""How much happened when, by family, over any span of a log of any size.

Counting ten million rows for each look would take seconds.  So the log is counted once, in blocks of a thousand ids,
and what a look needs is a difference of two running totals; only the few hundred rows at the edges of its buckets are
counted anew.  A block that is full stays right, until retention takes rows away; the log says so in an event, and then
counting begins again.

The counts are in memory: 80 bytes for each thousand events.  Counting is done by those who ask, a fraction of a second
each; until it has reached the end of the log the answer says how far it is.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, field
from sqlalchemy import Integer, bindparam, func, literal_column, select

from slircd.admin.answers import Encoded
from slircd.admin.call import Call
from slircd.admin.errors import BadRequest
from slircd.admin.families import FAMILIES, family_of, types_by_family
from slircd.admin.query import Moment, Query
from slircd.admin.routes import ROUTES, route
from slircd.events.clock import format_timestamp, parse_timestamp
from slircd.events.reader import LogReader
from slircd.events.row import Head
from slircd.events.schema import EVENTS

BLOCK: Final = 1024
"""Ids of a block."""

CHUNK: Final = 256
"""Blocks that are counted at a time."""

BUDGET_S: Final = 0.4
"""How long one question may count."""

MAX_BUCKETS: Final = 500

MICRO: Final = 1_000_000

WIDTHS_US: Final = (
    *(1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000),
    *(seconds * MICRO for seconds in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800)),
    *(seconds * MICRO for seconds in (3600, 7200, 10_800, 21_600, 43_200)),
    *(days * 86_400 * MICRO for days in (1, 2, 7, 14, 30, 90, 365)),
)
"""Widths of buckets, in microseconds, that people can read."""


class Edge(msgspec.Struct, kw_only=True):
    """An end of the log."""

    id: int
    timestamp: str


class Timeline(msgspec.Struct, kw_only=True):
    """Events by time and family."""

    start: str
    """Where the first bucket begins."""
    end: str
    """Where the last bucket ends."""
    width_s: float
    """Seconds of one bucket."""
    counts: dict[str, list[int]]
    """Family to the events of each bucket; families without any are left out."""
    total: int
    first: Edge
    """The oldest event of the log."""
    last: Edge
    """The newest event of the log."""
    counted: float
    """How much of the log is counted, 0 to 1; below 1 the newest buckets are still too low."""


class Activity:
    """The running totals of one log; may be asked from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rewritten = 0
        self._totals: dict[str, array[int]] = {}
        self._empty()

    def _empty(self) -> None:
        # totals[family][n] is the number of events in the first n blocks.
        self._totals = {family: array("q", [0]) for family in FAMILIES}

    def look(self, reader: LogReader, since: str | None, until: str | None, buckets: int) -> Timeline:
        """The events from `since` to `until` (the whole log, without) in at most about `buckets` buckets; blocks."""
        first, last = reader.first(), reader.head()
        begin = _microseconds(since or first.timestamp or format_timestamp(0))
        end = max(_microseconds(until or last.timestamp or format_timestamp(1)), begin)
        width = _width(end - begin, buckets)
        edges = _edges(begin, end, width)
        with self._lock:
            counted = self._count(reader, first, last)
            cuts = [reader.last_id(edge, inclusive=False) for edge in edges]
            totals = self._totals_at(reader, cuts, counted)
        counts: dict[str, list[int]] = {}
        for position, family in enumerate(FAMILIES):
            column = [after[position] - before[position] for before, after in pairwise(totals)]
            if any(column):
                counts[family] = column
        span = last.id - first.id + 1 if last.id else 0
        return Timeline(
            start=edges[0],
            end=edges[-1],
            width_s=width / MICRO,
            counts=counts,
            total=sum(map(sum, counts.values())),
            first=Edge(id=first.id, timestamp=first.timestamp),
            last=Edge(id=last.id, timestamp=last.timestamp),
            counted=1.0 if counted >= last.id // BLOCK * BLOCK else round(max(counted - first.id, 0) / span, 3),
        )

    def _count(self, reader: LogReader, first: Head, last: Head) -> int:
        """Count full blocks for a while; the id up to which all are counted."""
        rewritten = reader.rewritten()
        if rewritten != self._rewritten:
            self._rewritten = rewritten
            self._empty()
        totals = self._totals[FAMILIES[0]]
        full = last.id // BLOCK
        deadline = time.monotonic() + BUDGET_S
        while (done := len(totals) - 1) < full and time.monotonic() < deadline:
            # Nothing stands below the first row: a log that was pruned begins with empty blocks.
            if done == 0 and first.id > BLOCK:
                for column in self._totals.values():
                    column.extend([0] * ((first.id - 1) // BLOCK))
                continue
            until = min(done + CHUNK, full)
            for family, rows in self._blocks(reader, done, until).items():
                column = self._totals[family]
                running = column[-1]
                for count in rows:
                    running += count
                    column.append(running)
        return (len(totals) - 1) * BLOCK

    @staticmethod
    def _blocks(reader: LogReader, start: int, end: int) -> dict[str, list[int]]:
        block = (EVENTS.c.id - 1) // literal_column(str(BLOCK), Integer)
        query = (
            select(block, EVENTS.c.event_type, func.count())
            .where(EVENTS.c.id > bindparam("start"), EVENTS.c.id <= bindparam("end"))
            .group_by(block, EVENTS.c.event_type)
        )
        found = {family: [0] * (end - start) for family in FAMILIES}
        for number, event_type, count in reader.select(query, {"start": start * BLOCK, "end": end * BLOCK}):
            found[family_of(event_type)][number - start] += count
        return found

    def _totals_at(self, reader: LogReader, cuts: Sequence[int], counted: int) -> list[list[int]]:
        """For each id of `cuts`, which rise, how many events of each family there are up to it."""
        answers: list[list[int]] = []
        for cut in cuts:
            block = min(cut, counted) // BLOCK
            base = block * BLOCK
            before = answers[-1] if answers else None
            if before is not None and cut == cuts[len(answers) - 1]:
                answers.append(before)
                continue
            totals = [self._totals[family][block] for family in FAMILIES]
            # Until all is counted, what lies behind is left out rather than counted over and over.
            if cut - base <= BLOCK:
                for position, count in self._partial(reader, base, cut):
                    totals[position] += count
            answers.append(totals)
        return answers

    @staticmethod
    def _partial(reader: LogReader, start: int, end: int) -> list[tuple[int, int]]:
        query = (
            select(EVENTS.c.event_type, func.count())
            .where(EVENTS.c.id > bindparam("start"), EVENTS.c.id <= bindparam("end"))
            .group_by(EVENTS.c.event_type)
        )
        found: list[Any] = list(reader.select(query, {"start": start, "end": end})) if end > start else []
        return [(FAMILIES.index(family_of(event_type)), count) for event_type, count in found]


def _width(span_us: int, buckets: int) -> int:
    """The width of a bucket, one that people can read, with which `buckets` cover the span; microseconds."""
    for width in WIDTHS_US:
        if span_us <= width * buckets:
            return width
    return WIDTHS_US[-1] * -(-span_us // (WIDTHS_US[-1] * buckets))


def _edges(begin_us: int, end_us: int, width_us: int) -> list[str]:
    """The edges of the buckets, at whole multiples of their width; the last one lies behind `end`."""
    first = begin_us // width_us
    return [format_timestamp(number * width_us / MICRO) for number in range(first, end_us // width_us + 2)]


def _microseconds(timestamp: str) -> int:
    """Since the epoch; whole numbers, because a bucket's edge must not lie a rounding beside an event."""
    return round(parse_timestamp(timestamp) * MICRO)


# --- routes -------------------------------------------------------------------------------------------------------


class TimelineQuery(Query, frozen=True, kw_only=True):
    """Which span, and how finely."""

    since: Annotated[Moment | None, Meta(description="Where it begins; with the log if it is not given")] = field(
        name="from", default=None
    )
    until: Annotated[Moment | None, Meta(description="Where it ends; with the log if it is not given")] = field(
        name="to", default=None
    )
    buckets: Annotated[int, Meta(ge=1, le=MAX_BUCKETS, description="At most about so many buckets")] = 200


@route("GET", "/admin/timeline", tag="time machine", returns=Timeline)
async def timeline(call: Call, query: TimelineQuery) -> Encoded:
    """How many events of each family there were, by time.

    The whole log is counted once after a start; while that goes on, `counted` is below 1 and asking again goes on with
    it.
    """
    if query.since is not None and query.until is not None and query.until <= query.since:
        raise BadRequest("to", query.until, f"a time after {query.since}")
    return Encoded(await call.past(activity, since=query.since, until=query.until, buckets=query.buckets))


class Catalogue(msgspec.Struct, kw_only=True):
    """What a page needs to know of this server before it shows anything."""

    server: str
    network: str
    families: dict[str, list[str]]
    """The types of events by family."""
    actions: list[str]
    """What admins can do: the names below `/admin/actions/`."""


@route("GET", "/admin/catalogue", tag="time machine")
async def catalogue(call: Call) -> Catalogue:
    """The server's name, and the types of events by family."""
    server = call.server.config.server
    prefix = "/admin/actions/"
    actions = sorted(
        path.removeprefix(prefix) for method, path in ROUTES if method == "POST" and path.startswith(prefix)
    )
    return Catalogue(server=server.name, network=server.network, families=types_by_family(), actions=actions)


@cache
def _activity_of(location: str) -> Activity:
    return Activity()


def activity(reader: LogReader, *, since: str | None, until: str | None, buckets: int) -> bytes:
    """A question to the log: its timeline."""
    return msgspec.json.encode(_activity_of(reader.location).look(reader, since, until, buckets))
