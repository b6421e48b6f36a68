"""What happened to one channel, one user or one account, newest first."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import ColumnElement, and_, func, or_, select

from slircd.admin.answers import Encoded
from slircd.admin.call import Call
from slircd.admin.events import EventView
from slircd.admin.query import MAX_ID, Id, Moment, Query, Text
from slircd.admin.routes import route
from slircd.admin.scan import Found, newest_first
from slircd.events.codec import DecodeError, decode_event
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.schema import EVENTS
from slircd.events.types import Event
from slircd.replay.lineage import names_of
from slircd.replay.public import told_event
from slircd.replay.reconstructor import casemap_at

MAX_LIMIT: Final = 500


def tell_story(reader: LogReader, kind: str, key: str, *, before: int, limit: int) -> Found:
    """A page of the story of a channel or account (casefolded) or a user (UID) below the id `before`; blocks."""
    if kind == "channel":
        # Somebody who disconnects leaves channels without an event of theirs.
        parts: list[ColumnElement[bool]] = []
        for name, after_id, before_id in names_of(reader, casemap_at(reader).fold, _decoded, key, before):
            quits = and_(EVENTS.c.event_type == "user.disconnect", _mentions(name))
            within = (EVENTS.c.id > after_id) & (EVENTS.c.id < before_id)
            parts.append(and_(or_(EVENTS.c.target == name, quits), within))
        return newest_first(reader, or_(*parts), before=before, limit=limit)
    if kind == "account":
        logins = and_(EVENTS.c.event_type == "user.account", _mentions(key))
        return newest_first(reader, or_(EVENTS.c.target == key, logins), before=before, limit=limit)
    first, last = _life(reader, key)
    wanted = or_(EVENTS.c.target == key, EVENTS.c.actor_uid == key, _mentions(key))
    return newest_first(reader, wanted, before=min(before, last + 1), after=first - 1, limit=limit)


def _decoded(row: Row) -> Event | None:
    try:
        return decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    except DecodeError:
        return None


def _life(reader: LogReader, uid: str) -> tuple[int, int]:
    """The ids between which a user can have done anything: no index leads to what somebody did, this does nearly."""
    ids, target, kind = EVENTS.c.id, EVENTS.c.target, EVENTS.c.event_type
    [(first, last)] = reader.select(select(func.min(ids), func.max(ids)).where(target == uid))
    if first is None:
        return 1, 0
    gone: list[Any] = list(
        reader.select(select(func.max(ids)).where(target == uid, kind == "user.disconnect", ids >= last - 8))
    )
    return first, last if gone[0][0] is not None else reader.head().id


def _mentions(word: str) -> ColumnElement[bool]:
    """The payload holds `word` as a whole JSON string."""
    return func.lower(EVENTS.c.payload).contains(quoted(word.lower()), autoescape=True)


def quoted(word: str) -> str:
    """A word as it stands in a payload, with its quotation marks."""
    return msgspec.json.encode(word).decode()


# --- route --------------------------------------------------------------------------------------------------------


class StoryQuery(Query, frozen=True, kw_only=True):
    """Whose story, and which part of it."""

    kind: Annotated[Literal["channel", "user", "account"], Meta(description="What `key` names")]
    key: Annotated[Text, Meta(description="The name of a channel or account, or a UID")]
    until: Annotated[Moment | None, Meta(description="Nothing later than this")] = None
    before: Annotated[Id | None, Meta(description="Only events with a lower id")] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT, description="At most so many")] = 100


class ToldEvent(EventView, kw_only=True):
    """An event, and what happened in words."""

    text: str | None


class Story(msgspec.Struct, kw_only=True):
    """A part of a story, newest first."""

    events: list[ToldEvent]
    before: int | None
    """Go on below this id: there may be more.  The log is looked through for a bounded time, so it may be that nothing
    was found and there is more all the same."""


@route("GET", "/admin/story", tag="time machine", returns=Story)
async def story(call: Call, query: StoryQuery) -> Encoded:
    """What happened to one channel, user or account, newest first; keys are masked, and texts of messages but for admins."""
    key = query.key if query.kind == "user" else call.state.fold(query.key)
    return Encoded(
        await call.past(
            part_of_story,
            kind=query.kind,
            key=key,
            until=query.until,
            before=query.before,
            limit=query.limit,
            texts=call.is_admin,
        )
    )


def part_of_story(
    reader: LogReader, *, kind: str, key: str, until: str | None, before: int | None, limit: int, texts: bool
) -> bytes:
    """A question to the log: a part of a story."""
    below = min(before or MAX_ID, (reader.last_id(until) if until is not None else reader.head().id) + 1)
    found = tell_story(reader, kind, key, before=below, limit=limit)
    events = [told_event(row, texts=texts) for row in found.rows]
    return msgspec.json.encode({"events": events, "before": found.before})
