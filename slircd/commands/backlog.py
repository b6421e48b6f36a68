"""What was said before, for clients that cannot ask for it: on joining, on coming back, and as ZNC's playback module.

Clients with draft/chathistory, and those with znc.in/playback, ask themselves and are shown nothing unasked.  Lines
have their time as a tag where the client knows server-time, else as a prefix of the text, between two lines that say
what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from slircd.commands.history import Question, correspondent, fetch, scope_of
from slircd.commands.playback import Played, read_page
from slircd.commands.registry import Context
from slircd.events.clock import format_timestamp, parse_timestamp
from slircd.events.pages import NO_END, TEXTS, HistoryReader, Page
from slircd.events.row import Row
from slircd.rules.history import Scope, side_of
from slircd.wire.capabilities import (
    BATCH,
    CHATHISTORY,
    ECHO_MESSAGE,
    SERVER_TIME,
    ZNC_PLAYBACK,
    ZNC_SELF_MESSAGE,
)
from slircd.wire.line import Line

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.network.session import Session
    from slircd.state.model import User

CORRESPONDENTS: Final = 128
"""Conversations that are played back at once."""

PLAYBACK: Final = "*playback"
_TEXT: Final = re.compile(r"(:\S+ (?:PRIVMSG|NOTICE) \S+ :)(\x01ACTION )?(.*)", re.DOTALL)
_SECONDS: Final = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)


def lines_on_join(server: IRCServer, user: User) -> int:
    """How many lines the user wants to see on joining."""
    account = server.state.account_of(user)
    wanted = "" if account is None else account.settings.get("autoreplay", "")
    return int(wanted) if wanted else server.config.history.replay_lines


def asks_itself(session: Session) -> bool:
    """Whether the client asks for history itself, so that it is shown nothing unasked."""
    return bool(session.caps & (CHATHISTORY | ZNC_PLAYBACK))


async def replay_on_join(server: IRCServer, session: Session, name: str, before_id: int = NO_END) -> None:
    """Show a client that has joined a channel the last lines of before."""
    history, user = server.config.history, server.state.users.get(session.uid)
    if user is None or not history.channels or asks_itself(session) or server.bus.degraded:
        return
    limit = lines_on_join(server, user)
    scope = scope_of(server, user, name)
    if scope is None or limit < 1:
        return
    if history.replay_hours:
        oldest = format_timestamp(server.epoch_s() - 3600 * history.replay_hours)
        scope = scope._replace(since=max(scope.since, oldest))
    page = Page(scope.target, TEXTS, limit, before_id=before_id)
    await _show(server, session, scope, page)


async def replay_missed(server: IRCServer, session: Session, since: str) -> None:
    """Show a client of somebody who had none since `since` what was said meanwhile."""
    user = server.state.users.get(session.uid)
    history = server.config.history
    if user is None or not history.enabled or asks_itself(session) or server.bus.degraded:
        return
    for channel in list(server.state.channels_of(user.uid)):
        scope = scope_of(server, user, channel.name)
        if scope is not None:
            later = scope._replace(since=max(scope.since, since))
            await _show(server, session, later, Page(scope.target, TEXTS, history.playback_lines))
    await _show_conversations(server, session, since, NO_END_TIME)


NO_END_TIME: Final = "9999-12-31T23:59:59.999999Z"


def _within(scope: Scope, start: str, end: str, limit: int) -> Question:
    """The newest messages of a scope from `start` to `end`, that excluded."""
    scope = scope._replace(since=max(scope.since, start))

    def ask(reader: HistoryReader) -> tuple[list[Row], list[Row]]:
        return read_page(reader, scope, Page(scope.target, TEXTS, limit, before_id=reader.first_id_at(end)))

    return ask


async def _show_conversations(
    server: IRCServer, session: Session, start: str, end: str, kind: str = "chathistory"
) -> None:
    user = server.state.users.get(session.uid)
    if user is None or not server.config.history.direct:
        return
    side = side_of(server.state, user)

    def ask(reader: HistoryReader) -> list[Row]:
        page = Page("", TEXTS, CORRESPONDENTS, after_id=reader.first_id_at(start) - 1)
        return reader.conversations(side, page)

    await server.bus.settled()
    for row in await server.store.ask_history(ask):
        name = correspondent(server.state, side, row)
        user = server.state.users.get(session.uid)
        scope = scope_of(server, user, name) if name and user is not None else None
        if scope is not None:
            limit = server.config.history.playback_lines
            played = await fetch(server, scope, session.caps, _within(scope, start, end, limit))
            send_backlog(server, session, scope.name, _not_own(session, played), kind)


async def _show(server: IRCServer, session: Session, scope: Scope, page: Page) -> None:
    played = await fetch(server, scope, session.caps, lambda reader: read_page(reader, scope, page))
    user = server.state.users.get(session.uid)
    if user is not None and scope_of(server, user, scope.name) is not None:
        send_backlog(server, session, scope.name, played, "chathistory")


def _not_own(session: Session, played: list[Played]) -> list[Played]:
    """Without what the user said itself, for clients that would show it as if the other had said it."""
    if session.caps & (ZNC_SELF_MESSAGE | ECHO_MESSAGE):
        return played
    return [each for each in played if each.row.actor_uid != session.uid]


# --- lines --------------------------------------------------------------------------------------------------------


def send_backlog(server: IRCServer, session: Session, name: str, played: list[Played], kind: str) -> None:
    """Send lines of the past to a client, marked as such."""
    if session.is_closed or not played:
        return
    room = server.config.limits.sendq_bytes // 2
    lines: list[Line] = []
    for each in reversed(played):
        for line in reversed(each.lines_for(session)):
            room -= len(line.body) * 2
            lines.append(line)
        if room < 0:
            break
    lines.reverse()
    if not session.caps & SERVER_TIME:
        target = name if name.startswith("#") else session.display_nick
        count = f"{len(lines)} line{'s' if len(lines) > 1 else ''}"
        session.send(_notice(server, target, f"--- what was said before, {count}, times are UTC ---"))
        for line in lines:
            session.send(_dated(line, server.timestamp()[:10]))
        session.send(_notice(server, target, "--- end of what was said before ---"))
        return
    reference = session.next_batch() if session.caps & BATCH else ""
    if reference:
        session.send(Line(f":{server.server_name} BATCH +{reference} {kind} {name}"))
    for line in lines:
        inside = line.server_tags is not None and "batch" in line.server_tags
        session.send(line, {"batch": reference} if reference and not inside else None)
    if reference:
        session.send(Line(f":{server.server_name} BATCH -{reference}"))


def _notice(server: IRCServer, target: str, text: str) -> Line:
    return Line(f":{server.server_name} NOTICE {target} :{text}")


def _dated(line: Line, today: str) -> Line:
    """The line with its time before its text, as clients without server-time are shown it."""
    match = _TEXT.fullmatch(line.body)
    if match is None:
        return line
    date = "" if line.timestamp.startswith(today) else f"{line.timestamp[:10]} "
    return Line(f"{match[1]}{match[2] or ''}[{date}{line.timestamp[11:19]}] {match[3]}", account=line.account)


# --- ZNC's playback module (wiki.znc.in/Playback) ------------------------------------------------------------------


async def playback(ctx: Context, text: str) -> None:
    """PLAY <targets> [<from> [<to>]] | LIST [<targets>] | CLEAR <targets>: what is said to *playback."""
    words = text.split()
    verb = words[0].upper() if words else ""
    if not ctx.config.history.enabled:
        _tell(ctx, "This server keeps no messages")
    elif ctx.server.bus.degraded:
        _tell(ctx, "The log cannot be read at the moment, try again later")
    elif verb == "PLAY" and 2 <= len(words) <= 4:
        await _play(ctx, words[1], words[2:])
    elif verb == "LIST":
        await _list(ctx)
    elif verb == "CLEAR":
        _tell(ctx, "The history is everybody's and stays; NickServ SET AUTOREPLAY 0 stops its replay")
    else:
        _tell(ctx, "PLAY <targets> [<from> [<to>]], LIST, or CLEAR <targets>; times are seconds since 1970")


def _tell(ctx: Context, text: str) -> None:
    ctx.send_text(f":{PLAYBACK}!znc@znc.in PRIVMSG {ctx.nick} :{text}")


async def _play(ctx: Context, targets: str, times: list[str]) -> None:
    if any(not _SECONDS.fullmatch(word) for word in times):
        _tell(ctx, "A time is a number of seconds since 1970")
        return
    start = _moment(times[0]) if times else ""
    end = _moment(times[1]) if len(times) > 1 else NO_END_TIME
    server, session = ctx.server, ctx.session
    names: Iterable[str] = targets.split(",")
    if targets == "*":
        names = [channel.name for channel in ctx.state.channels_of(ctx.uid)]
    for name in names:
        scope = scope_of(server, ctx.user, name) if session.uid else None
        if scope is not None:
            limit = ctx.config.history.playback_lines
            played = await fetch(server, scope, ctx.caps, _within(scope, start, end, limit))
            if not scope.is_channel:
                played = _not_own(session, played)
            send_backlog(server, session, scope.name, played, "znc.in/playback")
    if targets == "*":
        await _show_conversations(server, session, start, end, "znc.in/playback")


def _moment(text: str) -> str:
    """Seconds since 1970 as a timestamp of the log."""
    try:
        return format_timestamp(float(text))
    except (ValueError, OverflowError, OSError):
        return NO_END_TIME


async def _list(ctx: Context) -> None:
    """Each buffer, with the times of its oldest and its newest line."""
    server, user = ctx.server, ctx.user
    scopes = [scope for channel in ctx.state.channels_of(ctx.uid) if (scope := scope_of(server, user, channel.name))]

    def ask(reader: HistoryReader) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = []
        for scope in scopes:
            first, _ = read_page(reader, scope, Page(scope.target, TEXTS, 1, newest=False))
            last, _ = read_page(reader, scope, Page(scope.target, TEXTS, 1))
            found += [(scope.name, first[0].timestamp, last[0].timestamp)] if first and last else []
        return found

    await server.bus.settled()
    for name, first, last in await server.store.ask_history(ask):
        _tell(ctx, f"{name} {_seconds(first)} {_seconds(last)}")


def _seconds(timestamp: str) -> str:
    return f"{parse_timestamp(timestamp):.3f}"
