"""The log itself: events by time, type, target and actor."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from itertools import islice
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, field

from slircd.admin.answers import JSON, NDJSON, Encoded, Stream
from slircd.admin.call import Call
from slircd.admin.query import MAX_ID, EventTypes, Id, Moment, Query, Text
from slircd.admin.routes import route
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.replay.public import shown_event

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
STREAM_BATCH: Final = 2000


class EventView(msgspec.Struct, kw_only=True):
    """An event, as the table `events` has it; keys of channels (+k) are masked but for admins who ask,
    texts of messages are for admins."""

    id: int
    timestamp: str
    sequence: int
    event_type: str
    actor_uid: str | None
    target: str | None
    payload: dict[str, Any]
    session_id: str


class EventsQuery(Query, frozen=True, kw_only=True):
    """Which events."""

    since: Annotated[Moment | None, Meta(description="No earlier than this")] = field(name="from", default=None)
    until: Annotated[Moment | None, Meta(description="No later than this")] = field(name="to", default=None)
    type: Annotated[
        EventTypes | None, Meta(description="Types, or families such as `channel.*`, separated by commas")
    ] = None
    target: Annotated[
        Text | None, Meta(description="What it happened to: a channel, UID, account or mask, casefolded")
    ] = None
    actor: Annotated[Text | None, Meta(description="Who caused it: a UID, `server`, `admin:NAME` …")] = None
    after: Annotated[Id | None, Meta(description="Only events with a higher id")] = None
    before: Annotated[Id | None, Meta(description="Only events with a lower id")] = None
    limit: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_ID)] | None,
        Meta(description=f"At most so many: {DEFAULT_LIMIT} unless given, {MAX_LIMIT} at most, but for a stream"),
    ] = None
    order: Annotated[Literal["asc", "desc"], Meta(description="Oldest or newest first")] = "asc"
    keys: Annotated[
        Literal["mask", "show"], Meta(description="Whether keys of channels are shown; needs the role admin")
    ] = "mask"


@route("GET", "/admin/events", tag="log", returns=list[EventView], kinds=(JSON, NDJSON))
async def events(call: Call, query: EventsQuery) -> Encoded | Stream:
    """Events, as an array with a Link to the next page, or as a stream of lines without limit.

    The stream is for `Accept: application/x-ndjson`.
    """
    call.require_admin_for_keys(query.keys)
    selection: dict[str, Any] = {
        "since": query.since,
        "until": query.until,
        "types": list(query.type.names) if query.type is not None else None,
        "target": query.target,
        "actor": query.actor,
        "newest": query.order == "desc",
        "keys": query.keys == "show",
        "texts": call.is_admin,
    }
    if call.accepts(NDJSON):
        return Stream(_pages(call, query, selection))
    limit = query.limit or DEFAULT_LIMIT
    call.check("limit", limit, 1, MAX_LIMIT)
    body = await call.past(page, **selection, after=query.after, before=query.before, limit=limit)
    count, edge, array = msgspec.json.decode(body, type=tuple[int, int, msgspec.Raw])
    if count == limit:
        call.link_next(**{"before" if query.order == "desc" else "after": edge})
    return Encoded(bytes(array) + b"\n")


async def _pages(call: Call, query: EventsQuery, selection: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    left = query.limit or MAX_ID
    after, before = query.after, query.before
    while left > 0:
        size = min(left, STREAM_BATCH)
        body = await call.past(lines, **selection, after=after, before=before, limit=size)
        head, _, rest = body.partition(b"\n")
        count, edge = msgspec.json.decode(head, type=tuple[int, int])
        if rest:
            yield rest
        if count < size:
            return
        left -= count
        if query.order == "desc":
            before = edge
        else:
            after = edge


# --- questions to the log -------------------------------------------------------------------------------------------


def page(reader: LogReader, **selection: Any) -> bytes:
    """How many rows, the last one's id, and the rows, as JSON."""
    keys, texts = selection.pop("keys"), selection.pop("texts")
    rows = _select(reader, selection)
    return msgspec.json.encode(
        (len(rows), rows[-1].id if rows else 0, [shown_event(row, keys=keys, texts=texts) for row in rows])
    )


def lines(reader: LogReader, **selection: Any) -> bytes:
    """A line with how many rows and the last one's id, then a line for each row."""
    keys, texts = selection.pop("keys"), selection.pop("texts")
    rows = _select(reader, selection)
    encode = msgspec.json.encode
    head = encode((len(rows), rows[-1].id if rows else 0))
    return b"\n".join([head, *(encode(shown_event(row, keys=keys, texts=texts)) for row in rows), b""])


def _select(reader: LogReader, selection: dict[str, Any]) -> list[Row]:
    limit = selection["limit"]
    since, until = selection.pop("since"), selection.pop("until")
    after, before = selection.pop("after") or 0, selection.pop("before") or MAX_ID
    # Time never runs backwards in a log: as ids, the bounds cost one look-up each, and the rest follows the ids.
    if since is not None:
        after = max(after, reader.last_id(since, inclusive=False))
    if until is not None:
        before = min(before, reader.last_id(until) + 1)
    rows = reader.rows(**selection, after_id=after, before_id=before)
    return list(islice(rows, limit))
