"""Finding people, channels, accounts and types of events by a part of a name, in the whole log.

What there is now comes from the live state.  What there was comes from the log: channels by the index over targets,
people by the events that named them, newest first and for a bounded time (`scan`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta
from sqlalchemy import bindparam, func, select

from slircd.admin.call import Call
from slircd.admin.families import family_of
from slircd.admin.query import Id, Query
from slircd.admin.routes import route
from slircd.admin.scan import newest_first
from slircd.admin.story import quoted
from slircd.admin.turns import select_in_turns
from slircd.events import types as ev
from slircd.events.codec import DecodeError, decode_event
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.schema import EVENTS
from slircd.events.types import EVENT_TYPES
from slircd.network.turns import Turns
from slircd.state.model import Account, Channel, ServerState, User

T = TypeVar("T")

MIN_LENGTH: Final = 2
"""Characters; one alone would find everybody."""

MAX_LENGTH: Final = 200
MAX_CHANNELS_SEEN: Final = 200_000
"""Names of past channels that one search looks at."""

NAMING: Final = (
    "user.connect",
    "user.nick_change",
    "user.account",
    "user.host_change",
    "services.nick_register",
    "services.nick_group",
)
"""Types that give somebody a name."""


class Hit(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that was found."""

    kind: str
    """channel, user, account or type."""
    key: str
    """What leads to its story: a casefolded name, a UID, a type."""
    name: str
    """How it is written."""
    matched: str
    """What the word was found in: name, nick, user name, host, address, account, real name."""
    value: str
    """And the whole of that."""
    now: bool = False
    """Whether it is there now."""
    timestamp: str | None = None
    """When it was so, for what is found in the log."""


class Hits(msgspec.Struct, kw_only=True):
    """What a search has found."""

    query: str
    hits: list[Hit]
    before: int | None
    """Go on below this id for what is older; None when the beginning of the log is reached."""
    until: str | None
    """How far back the log was looked through."""


def search_types(word: str) -> list[Hit]:
    """Types of events."""
    return [
        Hit(kind="type", key=name, name=name, matched="type", value=family_of(name))
        for name in EVENT_TYPES
        if word in name
    ]


async def search_now(turns: Turns, word: str, limit: int, state: ServerState) -> list[Hit]:
    """What there is now, at most `limit` of each kind, in turns of the reactor; `word` is lower case."""
    found: list[Hit] = []

    async def look(
        kind: str, things: list[T], texts: Callable[[T], dict[str, str]], hit: Callable[[T], list[str]]
    ) -> None:
        for thing in (await select_in_turns(turns, things, lambda thing: _first(word, texts(thing)) is not None))[
            :limit
        ]:
            matched = _first(word, texts(thing))
            if matched is not None:
                key, name = hit(thing)
                found.append(_hit(kind, key, name, matched, now=True))

    await look("channel", list(state.channels.values()), _names_of_channel, lambda each: [each.key, each.name])
    await look("user", list(state.users.values()), _names_of, lambda each: [each.uid, each.nick])
    await look("account", list(state.accounts.values()), _names_of_account, lambda each: [each.key, each.name])
    return found


def search_log(reader: LogReader, word: str, *, before: int | None, limit: int, known: frozenset[str]) -> Hits:
    """What there was, without those whose `kind:key` is `known` already; blocks for a bounded time."""
    hits: list[Hit] = []
    head = reader.head()
    if before is None:
        hits += [hit for hit in _past_channels(reader, word, limit) if f"channel:{hit.key}" not in known]
    below = before if before is not None else head.id + 1
    part = quoted(word)[1:-1]
    wanted = EVENTS.c.event_type.in_(NAMING) & func.lower(EVENTS.c.payload).contains(part, autoescape=True)
    rows, rest = newest_first(reader, wanted, before=below, limit=limit * 4)
    seen = set(known)
    for row in rows:
        hit = _named(row, word)
        if hit is not None and f"{hit.kind}:{hit.key}" not in seen:
            seen.add(f"{hit.kind}:{hit.key}")
            hits.append(hit)
    return Hits(query=word, hits=hits, before=rest, until=_timestamp(reader, rest))


def _timestamp(reader: LogReader, before: int | None) -> str | None:
    if before is None:
        return reader.first().timestamp or None
    found: Sequence[Any] = reader.select(
        select(EVENTS.c.timestamp).where(EVENTS.c.id >= before).order_by(EVENTS.c.id).limit(1)
    )
    return found[0][0] if found else None


def _past_channels(reader: LogReader, word: str, limit: int) -> list[Hit]:
    """Channels that anything ever happened to: the index is skipped through from name to name."""
    target = EVENTS.c.target
    step = select(func.min(target)).where(target > bindparam("name"), target < "$")
    found: list[Hit] = []
    name = "#"
    for _ in range(MAX_CHANNELS_SEEN):
        [(following,)] = reader.select(step, {"name": name})
        if following is None or len(found) >= limit:
            break
        name = following
        if word in name:
            found.append(Hit(kind="channel", key=name, name=name, matched="name", value=name))
    return found


def _names_of_channel(channel: Channel) -> dict[str, str]:
    return {"name": channel.name, "topic": channel.topic.text if channel.topic is not None else ""}


def _names_of_account(account: Account) -> dict[str, str]:
    return {"account": account.name, "nick": " ".join(account.nicks.values())}


def _names_of(user: User) -> dict[str, str]:
    return {
        "nick": user.nick,
        "account": user.account or "",
        "host": user.host,
        "real host": user.real_host,
        "address": user.ip,
        "user name": user.username,
        "real name": user.realname,
    }


def _first(word: str, texts: dict[str, str]) -> tuple[str, str] | None:
    for name, text in texts.items():
        if word in text.lower():
            return name, text
    return None


def _hit(kind: str, key: str, name: str, matched: tuple[str, str], *, now: bool = False, at: str | None = None) -> Hit:
    return Hit(kind=kind, key=key, name=name, matched=matched[0], value=matched[1], now=now, timestamp=at)


def _named(row: Row, word: str) -> Hit | None:
    try:
        event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    except DecodeError:
        return None
    target = event.target or ""
    if isinstance(event, ev.UserConnect):
        texts = {
            "nick": event.nick,
            "host": event.host,
            "real host": event.real_host,
            "address": event.ip,
            "user name": event.username,
            "real name": event.realname,
        }
        matched = _first(word, texts)
        return None if matched is None else _hit("user", target, event.nick, matched, at=row.timestamp)
    if isinstance(event, ev.UserNickChange):
        matched = _first(word, {"nick": event.new_nick, "nick before": event.nick})
        return None if matched is None else _hit("user", target, event.new_nick, matched, at=row.timestamp)
    if isinstance(event, ev.UserAccount):
        matched = _first(word, {"account": event.account})
        return None if matched is None else _hit("user", target, event.nick, matched, at=row.timestamp)
    if isinstance(event, ev.UserHostChange):
        matched = _first(word, {"host": event.host, "user name": event.username})
        return None if matched is None else _hit("user", target, event.nick, matched, at=row.timestamp)
    if isinstance(event, ev.NickRegister):
        matched = _first(word, {"account": event.account})
        return None if matched is None else _hit("account", target, event.account, matched, at=row.timestamp)
    if isinstance(event, ev.NickGroup):
        matched = _first(word, {"nick": event.grouped})
        return None if matched is None else _hit("account", target, event.grouped, matched, at=row.timestamp)
    return None


# --- route --------------------------------------------------------------------------------------------------------


class SearchQuery(Query, frozen=True, kw_only=True):
    """What to look for."""

    q: Annotated[
        str, Meta(min_length=MIN_LENGTH, max_length=MAX_LENGTH, description="Part of a name, host, address or type")
    ]
    limit: Annotated[int, Meta(ge=1, le=200, description="At most about so many of each kind")] = 50
    before: Annotated[Id | None, Meta(description="Only what the log says below this id, and nothing of now")] = None


@route("GET", "/admin/search", tag="time machine")
async def search(call: Call, query: SearchQuery) -> Hits:
    """People, channels, accounts and types of events, now and in the whole log.

    The log is looked through for a bounded time, newest first; `before` of the answer goes on.
    """
    word = query.q.lower()
    hits: list[Hit] = []
    if query.before is None:
        hits = search_types(word) + await search_now(call.server.turns, word, query.limit, call.state)
    known = [f"{hit.kind}:{hit.key}" for hit in hits]
    body = await call.past(find_in_log, word=word, before=query.before, limit=query.limit, known=known)
    past = msgspec.json.decode(body, type=Hits)
    return Hits(query=query.q, hits=hits + past.hits, before=past.before, until=past.until)


def find_in_log(reader: LogReader, *, word: str, before: int | None, limit: int, known: list[str]) -> bytes:
    """A question to the log: who and what there was."""
    return msgspec.json.encode(search_log(reader, word, before=before, limit=limit, known=frozenset(known)))
