"""Rows of the log as the lines that they were: messages, and what else happened on a channel.

A channel is called what it is called now, whatever it was called then: a client knows no other name for it.

A row says what happened and to whom; who that was at the moment (user name, host, account, real name) its own rows
say, which are looked up for the users of a page.  Keys of channels (+k) are masked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from slircd.commands.delivery import Spoken, spoken_of
from slircd.events import types as ev
from slircd.events.codec import DecodeError, decode_event
from slircd.events.msgid import message_id
from slircd.events.pages import HAPPENINGS, MESSAGES, TEXTS, HistoryReader, Page, channel_page
from slircd.events.row import Row
from slircd.wire.capabilities import EVENT_PLAYBACK, EXTENDED_JOIN
from slircd.wire.line import Line
from slircd.wire.modes import Change, format_changes

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.rules.history import Scope, Stretch
    from slircd.state.model import ServerState

COMING_AND_GOING: Final = (ev.ChannelJoin, ev.ChannelPart, ev.ChannelKick, ev.UserDisconnect, ev.UserNickChange)


def types_for(caps: int) -> frozenset[str]:
    """Which rows a client may be shown."""
    return MESSAGES | HAPPENINGS if caps & EVENT_PLAYBACK else TEXTS


def read_page(reader: HistoryReader, scope: Scope, page: Page) -> tuple[list[Row], list[Row]]:
    """The rows of a page of what `scope` allows, and those that say who their users were."""
    stretches = scope.stretches()
    if scope.since:
        page = page._replace(after_id=max(page.after_id, _begin(reader, scope, stretches[0]) - 1))
    if page.limit < 1 or page.after_id >= page.before_id:
        return [], []
    has_happenings = scope.is_channel and not page.types <= MESSAGES
    rows: list[Row] = []
    for stretch in reversed(stretches) if page.newest else stretches:
        part = page._replace(
            target=stretch.target,
            limit=page.limit - len(rows),
            after_id=max(page.after_id, stretch.after_id),
            before_id=min(page.before_id, stretch.before_id),
        )
        if part.limit > 0 and part.after_id + 1 < part.before_id:
            found = channel_page(reader, part) if has_happenings else reader.page(part)
            rows = found + rows if page.newest else rows + found
    uids = {uid for row in rows if row.event_type not in MESSAGES for uid in _uids(row)}
    return rows, reader.lives(uids, rows[-1].id) if uids else []


def _begin(reader: HistoryReader, scope: Scope, oldest: Stretch) -> int:
    """The id of the first row of what `scope` allows.

    A moment can have many events, and all of them while a clock that was set back catches up: what was said on the
    channel before, in the very moment in which this one was created, is none of its history.
    """
    first = reader.first_id_at(scope.since)
    if scope.is_channel:
        first = max(first, reader.creation_at(oldest.target, scope.since, oldest.before_id))
    return first


def _uids(row: Row) -> Iterator[str]:
    if row.actor_uid is not None:
        yield row.actor_uid
    if row.event_type.startswith("user.") and row.target is not None:
        yield row.target
    if row.event_type in ("channel.join", "channel.part"):
        yield msgspec.json.decode(row.payload)["member_uid"]


class _Face(msgspec.Struct):
    """Who a user was at a moment."""

    nick: str
    username: str
    host: str
    realname: str
    account: str | None = None

    @property
    def source(self) -> str:
        return f"{self.nick}!{self.username}@{self.host}"


class _Faces:
    """Who the users of a page were, as its rows go by."""

    def __init__(self, state: ServerState, lives: Iterable[Row]) -> None:
        self._state = state
        self._lives = deque(sorted(lives))
        self._known: dict[str, _Face] = {}

    def before(self, row_id: int) -> None:
        """Take what happened before a row."""
        while self._lives and self._lives[0].id < row_id:
            row = self._lives.popleft()
            event = _decoded(row)
            face = self._known.get(row.target or "")
            if isinstance(event, ev.UserConnect):
                self._known[row.target or ""] = _Face(event.nick, event.username, event.host, event.realname)
            elif face is None:
                continue
            elif isinstance(event, ev.UserNickChange):
                face.nick = event.new_nick
            elif isinstance(event, ev.UserHostChange):
                face.username, face.host = event.username, event.host
            elif isinstance(event, ev.UserAccount):
                face.account = event.account or None
            elif isinstance(event, ev.UserRealnameChange):
                face.realname = event.realname

    def of(self, uid: str, nick: str) -> _Face:
        """Who had this UID; of somebody whose beginning the log has no longer only the nick is known."""
        face = self._known.get(uid)
        if face is not None:
            return face
        user = self._state.users.get(uid)
        if user is not None:
            return _Face(user.nick if user.is_service else nick, user.username, user.host, user.realname, user.account)
        return _Face(nick, "*", "*", "")


def _decoded(row: Row) -> ev.Event | None:
    try:
        return decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    except DecodeError:
        return None


class Played:
    """One row, ready to be sent: a message in all its forms, or a line."""

    __slots__ = ("line", "row", "spoken")

    def __init__(self, row: Row, *, spoken: Spoken | None = None, line: Line | None = None) -> None:
        self.row = row
        self.spoken = spoken
        self.line = line

    def lines_for(self, session: Any) -> Sequence[Line]:
        """The lines for one client."""
        if self.spoken is not None:
            return self.spoken.lines_for(session)
        return [self.line] if self.line is not None else []


def play(server: IRCServer, scope: Scope, rows: Sequence[Row], lives: Iterable[Row], caps: int) -> Iterator[Played]:
    """The rows as lines, for clients with `caps`; what was redacted is left out."""
    faces = _Faces(server.state, lives)
    for row in rows:
        event = _decoded(row)
        faces.before(row.id)
        if isinstance(event, ev.Message):
            if not event.redacted_by:
                to = scope.name if scope.is_channel else event.to
                yield Played(row, spoken=spoken_of(server.server_name, event, row, to))
        elif event is not None and not (scope.hides_members and isinstance(event, COMING_AND_GOING)):
            for body in _bodies(server, scope, event, faces, caps):
                msgid = message_id(row.id, row.session_id)
                yield Played(row, line=Line(body, timestamp=row.timestamp, msgid=msgid))


def _bodies(server: IRCServer, scope: Scope, event: ev.Event, faces: _Faces, caps: int) -> Iterator[str]:
    actor = event.actor_uid or ""
    if isinstance(event, ev.ChannelJoin):
        face = faces.of(event.member_uid, event.member)
        more = f" {face.account or '*'} :{face.realname}" if caps & EXTENDED_JOIN else ""
        yield f":{face.source} JOIN {scope.name}{more}"
    elif isinstance(event, ev.ChannelPart):
        reason = f" :{event.reason}" if event.reason else ""
        yield f":{faces.of(event.member_uid, event.member).source} PART {scope.name}{reason}"
    elif isinstance(event, ev.ChannelKick):
        yield f":{_source(server, faces, actor, event.nick)} KICK {scope.name} {event.member} :{event.reason}"
    elif isinstance(event, ev.ChannelTopicChange):
        yield f":{_source(server, faces, actor, event.nick)} TOPIC {scope.name} :{event.topic}"
    elif isinstance(event, ev.UserDisconnect):
        yield f":{event.nick}!{event.username}@{event.host} QUIT :{event.reason}"
    elif isinstance(event, ev.UserNickChange):
        face = faces.of(event.target or "", event.nick)
        yield f":{event.nick}!{face.username}@{face.host} NICK :{event.new_nick}"
    else:
        source = _source(server, faces, actor, getattr(event, "nick", ""))
        for words in format_changes(_changes(event), server.config.limits.modes, 300):
            yield f":{source} MODE {scope.name} {' '.join(words)}"


def _changes(event: ev.Event) -> list[Change]:
    if isinstance(event, ev.ChannelModeChange):
        return [
            Change(change.sign, change.mode, "*" if change.mode == "k" else change.param) for change in event.changes
        ]
    if isinstance(event, ev.ChannelBanAdd | ev.ChannelBanRemove):
        return [Change("+" if isinstance(event, ev.ChannelBanAdd) else "-", event.mode, event.mask)]
    return []


def _source(server: IRCServer, faces: _Faces, actor: str, nick: str) -> str:
    """Who a line is from: a user, a service, or the server for everybody else who can act."""
    if not actor or actor == ev.SERVER or ":" in actor:
        return server.server_name
    return faces.of(actor, nick).source
