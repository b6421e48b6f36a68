"""CHATHISTORY: what was said, from the log (IRCv3 draft/chathistory, draft/event-playback).

A question is put together here, asked in a thread, and answered in one batch.  It waits until all that is applied is
committed, so an answer has everything that its client could have seen before it asked.  Who may see something is
asked before and, because a client may have left meanwhile, once more after the look-up.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from slircd.commands.playback import Played, play, read_page, types_for
from slircd.commands.registry import Context, command
from slircd.events import types as ev
from slircd.events.clock import format_timestamp, to_timestamp
from slircd.events.codec import DecodeError, decode_event
from slircd.events.msgid import parse_message_id
from slircd.events.pages import TEXTS, HistoryReader, Page, sides_of
from slircd.events.row import Row
from slircd.rules.history import Scope, channel_scope, direct_scope, history_seconds, side_of
from slircd.wire.line import server_time
from slircd.wire.numerics import StandardReply

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.state.model import ServerState, User

COMMAND: Final = "CHATHISTORY"
CHANNEL_TARGETS: Final = 1000
"""Channels and conversations that TARGETS looks at, each."""

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


class Reference(NamedTuple):
    """A point in the log: a message, or a moment of server-time, which has milliseconds.

    `first` and `after` are the log's forms of the moment and of the next millisecond.
    """

    row_id: int = 0
    first: str = ""
    after: str = ""

    def lower(self, reader: HistoryReader) -> int:
        """The id behind which everything is later."""
        return self.row_id if not self.first else reader.first_id_at(self.after) - 1

    def upper(self, reader: HistoryReader) -> int:
        """The id before which everything is earlier."""
        return self.row_id if not self.first else reader.first_id_at(self.first)


def parse_moment(text: str) -> Reference | None:
    """The moment that a `time` tag names; None if it is none."""
    if not _MOMENT.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text[:-1]).replace(tzinfo=UTC)
        moment -= timedelta(microseconds=moment.microsecond % 1000)
        after = moment + timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None
    return Reference(first=to_timestamp(moment), after=to_timestamp(after))


def _fail(code: str, *context: str, text: str) -> StandardReply:
    return StandardReply("FAIL", code, *context, text=text, command=COMMAND, always=True)


def _no_target(subcommand: str, target: str) -> StandardReply:
    return _fail("INVALID_TARGET", subcommand, target, text="Messages could not be retrieved")


# --- scopes -------------------------------------------------------------------------------------------------------


def scope_of(server: IRCServer, user: User, name: str) -> Scope | None:
    """What the user may see of a channel or a conversation, as the configuration limits it; None for nothing."""
    history, state = server.config.history, server.state
    scope: Scope | None = None
    if name.startswith("#"):
        channel = state.channel_by_name(name)
        service = None if channel is None else server.channels.get(channel.key)
        if history.channels and channel is not None and service is not None:
            joined_at = service.joined_at.get(user.uid, "")
            scope = channel_scope(state, user, channel, cutoff=history.cutoff, joined_at=joined_at)
    elif history.direct:
        scope = direct_scope(state, user, name)
    if scope is None:
        return None
    ages = [86_400 * history.max_age_days] if history.max_age_days else []
    registration = state.channels[scope.target].registration if scope.is_channel else None
    own = None if registration is None else history_seconds(registration.settings.get("history", ""))
    ages += [] if own is None else [own]
    if ages:
        oldest = format_timestamp(server.epoch_s() - min(ages))
        scope = scope._replace(since=max(scope.since, oldest))
    return scope


# --- the command --------------------------------------------------------------------------------------------------


@command("CHATHISTORY")
async def chathistory(ctx: Context, subcommand: str = "", *words: str) -> None:
    """CHATHISTORY LATEST | BEFORE | AFTER | AROUND <target> <reference> <limit>  (IRCv3 draft/chathistory)

    Shows what was said.  A reference is timestamp=<server-time>, msgid=<id>, or * for LATEST; BETWEEN takes two of
    them, TARGETS two timestamps and no target.
    """
    verb = subcommand.upper()
    if not ctx.config.history.enabled:
        raise _fail("MESSAGE_ERROR", verb or "*", text="This server keeps no messages")
    if ctx.server.bus.degraded:
        raise _fail("MESSAGE_ERROR", verb or "*", text="The log cannot be read at the moment, try again later")
    expected = PARAMETERS.get(verb)
    if expected is None:
        raise _fail("INVALID_PARAMS", verb or "*", text="Unknown command")
    if len(words) != expected:
        text = "Insufficient parameters" if len(words) < expected else "Too many parameters"
        raise _fail("INVALID_PARAMS", verb, text=text)
    if verb == "TARGETS":
        await _targets(ctx, words)
        return
    target, limit = words[0], _limit(ctx, verb, words[-1])
    references = [_reference(verb, target, word) for word in words[1:-1]]
    scope = scope_of(ctx.server, ctx.user, target)
    if scope is None:
        raise _no_target(verb, target)
    played = await fetch(ctx.server, scope, ctx.caps, _question(verb, scope, references, limit, ctx.caps))
    if ctx.session.is_closed:
        return
    if scope_of(ctx.server, ctx.user, target) is None:
        raise _no_target(verb, target)
    with ctx.batch("chathistory", scope.name):
        send_played(ctx, within_bytes(ctx, played, newest=verb != "AFTER"))


PARAMETERS: Final = {"LATEST": 3, "BEFORE": 3, "AFTER": 3, "AROUND": 3, "BETWEEN": 4, "TARGETS": 3}
"""Subcommand to the number of its parameters."""

Question = Callable[[HistoryReader], "tuple[list[Row], list[Row]]"]


def _limit(ctx: Context, verb: str, word: str) -> int:
    if not (word.isascii() and word.isdigit()) or int(word[:9]) < 1:
        raise _fail("INVALID_PARAMS", verb, word or "*", text="The limit is a number above 0")
    return min(int(word[:9]), ctx.config.history.limit)


def _reference(verb: str, target: str, word: str) -> Reference | None:
    """The point that a word names, None for `*`."""
    kind, _, value = word.partition("=")
    if word == "*" and verb == "LATEST":
        return None
    if kind == "timestamp":
        moment = parse_moment(value)
        if moment is None:
            raise _fail("INVALID_PARAMS", verb, word, text="Invalid timestamp")
        return moment
    if kind == "msgid":
        place = parse_message_id(value)
        if place is None:
            raise _fail("MESSAGE_ERROR", verb, target, value or "*", text="There is no such message")
        return Reference(place.id)
    raise _fail("INVALID_PARAMS", verb, word or "*", text="A reference is timestamp=, msgid= or, for LATEST, *")


def _question(verb: str, scope: Scope, references: list[Reference | None], limit: int, caps: int) -> Question:
    """What to ask the log for a subcommand."""
    page = Page(scope.target, types_for(caps), limit)
    first = references[0] or Reference()
    second = references[-1] or first

    def ask(reader: HistoryReader) -> tuple[list[Row], list[Row]]:
        if verb == "LATEST":
            return read_page(reader, scope, page._replace(after_id=first.lower(reader)))
        if verb == "BEFORE":
            return read_page(reader, scope, page._replace(before_id=first.upper(reader)))
        if verb == "AFTER":
            return read_page(reader, scope, page._replace(after_id=first.lower(reader), newest=False))
        if verb == "AROUND":
            middle = first.upper(reader)
            before, lives = read_page(reader, scope, page._replace(before_id=middle, limit=limit // 2))
            rest = page._replace(after_id=middle - 1, limit=limit - len(before), newest=False)
            after, more = read_page(reader, scope, rest)
            return before + after, list(dict.fromkeys(lives + more))
        forwards = first.upper(reader) <= second.upper(reader)
        early, late = (first, second) if forwards else (second, first)
        after_id, before_id = early.lower(reader), late.upper(reader)
        return read_page(reader, scope, page._replace(after_id=after_id, before_id=before_id, newest=not forwards))

    return ask


async def fetch(server: IRCServer, scope: Scope, caps: int, question: Question) -> list[Played]:
    """The answer to a question, as lines: all that is applied now is in it."""
    await server.bus.settled()
    rows, lives = await server.store.ask_history(question)
    return list(play(server, scope, rows, lives, caps))


def within_bytes(ctx: Context, played: list[Played], *, newest: bool) -> list[Played]:
    """As much as a client can be sent without filling its queue: the end of the page that it asked from."""
    room = ctx.config.limits.sendq_bytes // 2
    kept: list[Played] = []
    for each in reversed(played) if newest else played:
        room -= sum(len(line.encoded(ctx.caps)) + 40 for line in each.lines_for(ctx.session))
        if room < 0:
            break
        kept.append(each)
    return kept[::-1] if newest else kept


def send_played(ctx: Context, played: list[Played]) -> None:
    """Answer with lines of the past."""
    for each in played:
        for line in each.lines_for(ctx.session):
            ctx.send(line)


# --- TARGETS ------------------------------------------------------------------------------------------------------


async def _targets(ctx: Context, words: tuple[str, ...]) -> None:
    limit = _limit(ctx, "TARGETS", words[2])
    moments: list[Reference] = []
    for word in words[:2]:
        kind, _, value = word.partition("=")
        moment = parse_moment(value) if kind == "timestamp" else None
        if moment is None:
            raise _fail("INVALID_PARAMS", "TARGETS", word or "*", text="TARGETS takes two timestamps")
        moments.append(moment)
    forwards = moments[0].first <= moments[1].first
    early, late = moments if forwards else moments[::-1]
    server, user = ctx.server, ctx.user
    channels = [
        scope
        for channel in server.state.channels_of(user.uid)
        if (scope := scope_of(server, user, channel.name)) is not None
    ]
    side = side_of(server.state, user)
    account = server.state.account_of(user)
    since = "" if account is None else account.registered_at

    def ask(reader: HistoryReader) -> list[tuple[str, Row]]:
        after, before = early.lower(reader), late.upper(reader)
        found: list[tuple[str, Row]] = []
        for scope in channels[:CHANNEL_TARGETS]:
            rows, _ = read_page(reader, scope, Page(scope.target, TEXTS, 1))
            found += [(scope.name, row) for row in rows if after < row.id < before]
        if ctx.config.history.direct:
            page = Page("", TEXTS, limit, max(after, reader.first_id_at(since) - 1), before, newest=not forwards)
            found += [("", row) for row in reader.conversations(side, page)]
        return found

    await server.bus.settled()
    found = sorted(await server.store.ask_history(ask), key=lambda each: each[1].id)
    if ctx.session.is_closed:
        return
    named = [(name or correspondent(server.state, side, row), row) for name, row in found]
    shown = [(name, row) for name, row in named if name]
    with ctx.batch("draft/chathistory-targets"):
        for name, row in shown[:limit] if forwards else shown[-limit:]:
            ctx.from_server(f"{COMMAND} TARGETS {name} {server_time(row.timestamp)}")


def correspondent(state: ServerState, side: str, row: Row) -> str:
    """What to call the other side of a conversation, so that the name leads back to it; empty if nothing does."""
    others = [other for own, other in sides_of(row.target or "") if own == side]
    try:
        event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    except DecodeError:
        return ""
    if not others or not isinstance(event, ev.Message):
        return ""
    other = others[0]
    if other.startswith(":"):
        user = state.users.get(other[1:])
        return "" if user is None else user.nick
    for nick in (event.to, event.nick):
        user = state.user_by_nick(nick)
        if user is not None and side_of(state, user) == other:
            return user.nick
    account = state.accounts.get(other)
    return "" if account is None else account.name
