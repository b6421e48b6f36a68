"""Rendering: an applied event becomes lines, and finds the sessions that may see them.

One function per event class, run after the whole decision was applied, so a renderer sees the state as it is then.
What a client may not see is decided here and nowhere else.  The live services (sessions of channels and users) are kept
in step here too, because nothing else announces a change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import txaio
from twisted.internet.defer import ensureDeferred

from slircd.commands.backlog import asks_itself, replay_on_join
from slircd.commands.delivery import deliver_to_channel, deliver_to_user, echo, spoken_of
from slircd.commands.markers import marker_line, rename_markers
from slircd.commands.metadata import metadata_line, sync_joined
from slircd.commands.names import NAMES_PIECE, send_channel_state, send_implicit_names
from slircd.commands.registry import ClientGone, Context
from slircd.events import types as ev
from slircd.events.bus import Record
from slircd.events.msgid import message_id
from slircd.network.channels import send_to_all
from slircd.network.users import Gone
from slircd.rules.history import VERBS
from slircd.state.access import CHANSERV
from slircd.state.apply import Stamp
from slircd.state.model import Channel, User
from slircd.wire.capabilities import (
    ACCOUNT_NOTIFY,
    AWAY_NOTIFY,
    CHANNEL_RENAME,
    CHGHOST,
    EXTENDED_JOIN,
    EXTENDED_MONITOR,
    INVITE_NOTIFY,
    MESSAGE_REDACTION,
    READ_MARKER,
    SETNAME,
)
from slircd.wire.line import Line
from slircd.wire.modes import Change, format_changes

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from slircd.network.server import IRCServer
    from slircd.network.session import Session

txaio.use_twisted()
log = txaio.make_logger()

E = TypeVar("E", bound=ev.Event)
Render = Callable[["Rendering", Any, Stamp], None]

RENDERERS: Final[dict[type[ev.Event], Render]] = {}

INVISIBLE: Final = frozenset(
    {
        ev.OperRehash,
        ev.PluginStore,
        ev.ServerStart,
        ev.ServerStop,
        ev.ServerPrune,
        ev.ServerRedact,
        ev.NickVerify,
        ev.NickIdentify,
        ev.NickSet,
        ev.NickCert,
        ev.UserDetach,
        ev.ChanRegister,
        ev.ChanDrop,
        ev.ChanFlags,
        ev.ChanSet,
        ev.ChanRestore,
    }
)
"""Event classes that no line shows: they stand beside one that does, or are for the log alone."""


MODE_EVENTS: Final = frozenset({ev.ChannelModeChange, ev.ChannelBanAdd, ev.ChannelBanRemove})
"""Event classes that become MODE lines; consecutive ones become one."""


def renders(cls: type[E]) -> Callable[[Callable[[Rendering, E, Stamp], None]], Render]:
    """Register the decorated function as the renderer of one event class."""

    def register(function: Callable[[Rendering, E, Stamp], None]) -> Render:
        RENDERERS[cls] = function
        return function

    return register


class Renderer:
    """What the bus calls with each applied decision."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server

    def __call__(self, records: Sequence[Record], origin: object | None) -> None:
        """Render a decision; `origin` is the command that it answers, if it is one of a client."""
        rendering = Rendering(self._server, origin if isinstance(origin, Context) else None)
        for event, stamp in records:
            render = RENDERERS.get(type(event))
            if render is not None:
                if type(event) not in MODE_EVENTS:
                    rendering.flush_modes()
                render(rendering, event, stamp)
        rendering.flush_modes()


class Rendering:
    """One decision on its way to the clients."""

    __slots__ = ("_modes", "origin", "server", "state")

    def __init__(self, server: IRCServer, origin: Context | None) -> None:
        self.server = server
        self.state = server.state
        self.origin = origin
        self._modes: tuple[str, str, Stamp, list[Change]] | None = None

    # --- who ------------------------------------------------------------------------------------------------------

    def source_of(self, actor: str | None) -> str:
        """The prefix for lines that `actor` caused: a user's nick!user@host, or the server's name."""
        user = self.state.users.get(actor or "")
        return self.server.server_name if user is None else user.source

    def line(self, actor: str | None, rest: str, stamp: Stamp) -> Line:
        """A line caused by `actor`."""
        user = self.state.users.get(actor or "")
        source = self.server.server_name if user is None else user.source
        return self.marked(_line(f":{source} {rest}", stamp, user), stamp)

    def marked(self, line: Line, stamp: Stamp) -> Line:
        """The line, with the id under which history plays it back, where there is history."""
        if self.server.config.history.enabled:
            line.msgid = message_id(stamp.id, stamp.session_id)
        return line

    # --- to whom --------------------------------------------------------------------------------------------------

    def to_session(self, session: Session, line: Line) -> None:
        """Send to one session; an answer to the command that caused it where that is the session's own."""
        if self.origin is not None and self.origin.session is session:
            self.origin.send(line)
        else:
            session.send(line)

    def to_sessions(self, sessions: Iterable[Session], line: Line) -> None:
        """Send to each of `sessions`."""
        own = None
        if self.origin is not None:
            own = self.origin.session
            sessions = list(sessions)
            self.origin.work += len(sessions)
            if own in sessions:
                self.to_session(own, line)
        send_to_all(sessions, line, but=own)

    def owe_names(self, session: Session, channel: Channel) -> None:
        """Have the names of a large channel sent, in pieces: by the client's own JOIN, if that is what this renders."""
        origin = self.origin
        if origin is not None and origin.session is session and origin.message.command == "JOIN":
            origin.owed.append(channel)
        else:
            names = send_implicit_names(self.server, session, channel, session.send, session.next_turn)
            ensureDeferred(names).addErrback(_names_failed, channel.name)

    def to_user(self, uid: str, line: Line, caps: int = 0) -> None:
        """Send to the sessions of a user that have all of `caps`."""
        for session in self.server.users.sessions_of(uid):
            if session.caps & caps == caps:
                self.to_session(session, line)

    def to_channel(self, key: str, line: Line) -> None:
        """Send to everybody on the channel."""
        service = self.server.channels.get(key)
        if service is not None:
            self.to_sessions(service.sessions, line)

    def watching(self, key: str, uid: str, prefixes: str | None = None) -> Iterable[Session]:
        """The sessions that see `uid` join, leave or change on a channel: in an auditorium (+u) only staff do.

        `prefixes` are those that the member had, if it is a member no longer.
        """
        service = self.server.channels.get(key)
        if service is None:
            return ()
        channel = self.state.channels.get(key)
        if channel is None or "u" not in channel.flags:
            return service.sessions
        if channel.members.get(uid, "") if prefixes is None else prefixes:
            return service.sessions
        return [session for session in service.sessions if session.uid == uid or channel.has_any(session.uid, "qaoh")]

    def peers(self, uid: str, *, itself: bool = True) -> dict[Session, None]:
        """The sessions that share a channel with `uid` and see it there, and its own."""
        seen: dict[Session, None] = {}
        for key in self.state.memberships.get(uid, ()):
            seen.update(dict.fromkeys(self.watching(key, uid)))
        for session in self.server.users.sessions_of(uid):
            if itself:
                seen[session] = None
            else:
                seen.pop(session, None)
        return seen

    def following(self, user: User, cap: int, *, itself: bool = True) -> Iterable[Session]:
        """The sessions with the capability `cap` that hear what `user` says of itself.

        They are its peers, and those that watch for its nick and have asked for more than coming and going
        (IRCv3 extended-monitor).
        """
        hearing = self.peers(user.uid, itself=itself)
        for session in self.server.monitor.watchers(user.nick):
            if session.caps & EXTENDED_MONITOR and (itself or session.uid != user.uid):
                hearing[session] = None
        return (session for session in hearing if session.caps & cap)

    # --- modes: consecutive changes of one actor and channel are one MODE line --------------------------------------

    def modes(self, actor: str | None, key: str, stamp: Stamp, changes: Iterable[Change]) -> None:
        """Collect changes of a channel's modes."""
        if self._modes is None or self._modes[:2] != (actor or "", key):
            self.flush_modes()
            self._modes = (actor or "", key, stamp, [])
        self._modes[3].extend(changes)

    def flush_modes(self) -> None:
        """Send the changes that were collected."""
        if self._modes is None:
            return
        actor, key, stamp, changes = self._modes
        self._modes = None
        channel = self.state.channels.get(key)
        if channel is None:
            return
        limits = self.server.config.limits
        for words in format_changes(changes, limits.modes, MODE_BYTES):
            self.to_channel(key, self.line(actor, f"MODE {channel.name} {' '.join(words)}", stamp))


MODE_BYTES: Final = 300
"""Bytes of mode letters and parameters in one MODE line; leaves room for source and channel name."""


def _line(body: str, stamp: Stamp, user: User | None) -> Line:
    if user is None:
        return Line(body, timestamp=stamp.timestamp)
    return Line(body, timestamp=stamp.timestamp, account=user.account, bot="B" in user.modes)


def _trailing(text: str) -> str:
    return f" :{text}" if text else ""


# --- user ---------------------------------------------------------------------------------------------------------


@renders(ev.UserConnect)
def user_connect(out: Rendering, event: ev.UserConnect, stamp: Stamp) -> None:
    user = out.state.users[event.target or ""]
    out.server.users.note(user)
    out.server.monitor.online(user)
    if out.server.lookalikes is not None:
        out.server.lookalikes.came(user.nick, user.uid)
    out.server.enforcement.watch(user)
    out.server.bans.notify("c", f"{user.source} has come from {user.real_host}")


@renders(ev.UserAttach)
def user_attach(out: Rendering, event: ev.UserAttach, stamp: Stamp) -> None:
    if out.origin is not None:
        out.server.users.attach(event.target or "", out.origin.session)
        out.server.channels.attached(event.target or "", out.origin.session)


@renders(ev.UserAlwaysOn)
def user_always_on(out: Rendering, event: ev.UserAlwaysOn, stamp: Stamp) -> None:
    if not event.on and not out.state.users[event.target or ""].clients:
        out.server.always_on.reconsider(event.target or "")


@renders(ev.UserDisconnect)
def user_disconnect(out: Rendering, event: ev.UserDisconnect, stamp: Stamp) -> None:
    uid = event.target or ""
    server = out.server
    own = list(server.users.sessions_of(uid))
    quit_line = f":{event.nick}!{event.username}@{event.host} QUIT :{event.reason}"
    line = out.marked(Line(quit_line, timestamp=stamp.timestamp), stamp)
    watchers: dict[Session, None] = {}
    for key, prefixes in event.channels.items():
        server.channels.left(key, uid, own)
        if not server.stopping:  # else everybody goes, and is told that: ten thousand need not be told of each other
            watchers.update(dict.fromkeys(out.watching(key, uid, prefixes)))
    out.to_sessions(watchers, line)
    for session in own:
        server.users.detach(uid, session)
        session.user_ended(event.reason)
    gone = Gone(event.nick, event.username, event.host, event.realname, event.account, stamp.timestamp)
    server.users.remember(gone)
    server.monitor.offline(event.nick)
    if server.lookalikes is not None:
        server.lookalikes.went(uid)
    server.enforcement.forget(uid)
    server.accepts.forget(uid)
    server.bans.forget(uid)
    server.users.forget(uid)
    server.bans.notify("c", f"{event.nick}!{event.username}@{event.host} has gone: {event.reason}")


@renders(ev.UserNickChange)
def user_nick_change(out: Rendering, event: ev.UserNickChange, stamp: Stamp) -> None:
    user = out.state.users[event.target or ""]
    line = out.marked(_line(f":{event.nick}!{user.username}@{user.host} NICK :{event.new_nick}", stamp, user), stamp)
    out.to_sessions(out.peers(user.uid), line)
    gone = Gone(event.nick, user.username, user.host, user.realname, user.account, stamp.timestamp)
    out.server.users.remember(gone)
    if out.state.fold(event.nick) != out.state.fold(event.new_nick):
        out.server.monitor.offline(event.nick)
        out.server.monitor.online(user)
    if out.server.lookalikes is not None:
        out.server.lookalikes.came(event.new_nick, user.uid)
    out.server.enforcement.watch(user)
    out.server.bans.forget(user.uid)
    out.server.bans.notify("n", f"{event.nick} is now {event.new_nick}")


@renders(ev.UserModeChange)
def user_mode_change(out: Rendering, event: ev.UserModeChange, stamp: Stamp) -> None:
    user = out.state.users[event.target or ""]
    changes = [Change(change.sign, change.mode, change.param) for change in event.changes]
    out.server.users.note(user)
    if any(change.mode == "D" for change in event.changes):
        out.server.channels.hears(user.uid)
    if not user.is_oper:
        for session in out.server.users.sessions_of(user.uid):
            session.oper = ""
    for words in format_changes(changes, len(changes) or 1, MODE_BYTES):
        out.to_user(user.uid, out.line(event.actor_uid, f"MODE {user.nick} {' '.join(words)}", stamp))


@renders(ev.UserAway)
def user_away(out: Rendering, event: ev.UserAway, stamp: Stamp) -> None:
    user = out.state.users[event.target or ""]
    line = out.line(user.uid, f"AWAY{_trailing(event.message)}", stamp)
    out.to_sessions(out.following(user, AWAY_NOTIFY, itself=False), line)


@renders(ev.UserAccount)
def user_account(out: Rendering, event: ev.UserAccount, stamp: Stamp) -> None:
    user = out.state.users[event.target or ""]
    out.server.enforcement.watch(user)
    if not user.clients and not user.always_on:
        out.server.always_on.reconsider(user.uid)
    line = out.line(user.uid, f"ACCOUNT {event.account or '*'}", stamp)
    asking = out.origin.session if out.origin is not None else None
    # Whoever logs in or out is told so by its answer.
    out.to_sessions([session for session in out.following(user, ACCOUNT_NOTIFY) if session is not asking], line)


@renders(ev.UserHostChange)
def user_host_change(out: Rendering, event: ev.UserHostChange, stamp: Stamp) -> None:
    user = out.state.users[event.target or ""]
    old = f"{user.nick}!{event.previous_username}@{event.previous_host}"
    change = _line(f":{old} CHGHOST {event.username} {event.host}", stamp, user)
    quit_line = _line(f":{old} QUIT :Changing host", stamp, user)
    out.to_sessions(out.following(user, CHGHOST), change)
    # Clients without the capability are shown a quit and a new join, as IRCv3 chghost recommends.
    for channel in out.state.channels_of(user.uid):
        modes = channel.members[user.uid]
        nicks = " ".join([user.nick] * len(modes))
        for session in out.watching(channel.key, user.uid):
            if session.uid != user.uid and not session.caps & CHGHOST:
                out.to_session(session, quit_line)
                out.to_session(session, _join_line(user, channel, stamp, session.caps))
                if modes:
                    text = f":{out.server.server_name} MODE {channel.name} +{modes} {nicks}"
                    out.to_session(session, Line(text, timestamp=stamp.timestamp))


@renders(ev.UserRealnameChange)
def user_realname_change(out: Rendering, event: ev.UserRealnameChange, stamp: Stamp) -> None:
    user = out.state.users[event.target or ""]
    line = out.line(user.uid, f"SETNAME :{event.realname}", stamp)
    out.to_sessions(out.following(user, SETNAME), line)


def registered_nicks_change(out: Rendering, event: ev.Event, stamp: Stamp) -> None:
    """Nothing to see; but which nicks look like registered ones has changed."""
    if out.server.lookalikes is not None:
        out.server.lookalikes.registrations_changed()


RENDERERS.update(dict.fromkeys((ev.NickRegister, ev.NickGroup, ev.NickUngroup, ev.NickDrop), registered_nicks_change))


# --- channel ------------------------------------------------------------------------------------------------------


@renders(ev.ChannelCreate)
def channel_create(out: Rendering, event: ev.ChannelCreate, stamp: Stamp) -> None:
    out.server.channels.created(event.target or "")


@renders(ev.ChannelDestroy)
def channel_destroy(out: Rendering, event: ev.ChannelDestroy, stamp: Stamp) -> None:
    out.server.channels.destroyed(event.target or "")


def _join_line(user: User, channel: Channel, stamp: Stamp, caps: int) -> Line:
    if caps & EXTENDED_JOIN:
        return _line(f":{user.source} JOIN {channel.name} {user.account or '*'} :{user.realname}", stamp, user)
    return _line(f":{user.source} JOIN {channel.name}", stamp, user)


@renders(ev.ChannelJoin)
def channel_join(out: Rendering, event: ev.ChannelJoin, stamp: Stamp) -> None:
    channel = out.state.channels[event.target or ""]
    user = out.state.users[event.member_uid]
    service = out.server.channels.joined(channel.key, user.uid, stamp.timestamp)
    if service is None:
        return
    away = out.line(user.uid, f"AWAY :{user.away}", stamp) if user.away is not None else None
    watching = out.watching(channel.key, user.uid)
    extended = [session for session in watching if session.caps & EXTENDED_JOIN]
    plain = [session for session in watching if not session.caps & EXTENDED_JOIN] if extended else watching
    for caps, sessions in ((0, plain), (EXTENDED_JOIN, extended)):
        if sessions:
            out.to_sessions(sessions, out.marked(_join_line(user, channel, stamp, caps), stamp))
    if away is not None:
        told = [session for session in watching if session.caps & AWAY_NOTIFY and session.uid != user.uid]
        out.to_sessions(told, away)
    for session in out.server.users.sessions_of(user.uid):
        send = partial(out.to_session, session)
        if send_channel_state(out.server, session, channel, send):
            out.owe_names(session, channel)
        sync_joined(out.server, session, channel, send)
        if out.server.config.history.channels and channel.created_at < stamp.timestamp and not asks_itself(session):
            done = ensureDeferred(replay_on_join(out.server, session, channel.name, stamp.id))
            done.addErrback(_replay_failed, channel.name)
    if channel.registration is not None and "entrymsg" in channel.registration.settings:
        text = channel.registration.settings["entrymsg"]
        out.to_user(user.uid, out.line(CHANSERV, f"NOTICE {user.nick} :[{channel.name}] {text}", stamp))


def _names_failed(failure: Failure, name: str) -> None:
    if failure.check(ClientGone) is None:
        log.failure("the names of {channel} could not be shown", failure=failure, channel=name)


def _replay_failed(failure: Failure, name: str) -> None:
    log.failure("the last lines of {channel} could not be shown", failure=failure, channel=name)


def _leave(out: Rendering, event: ev.ChannelPart | ev.ChannelKick, line: Line) -> None:
    key = event.target or ""
    own = list(out.server.users.sessions_of(event.member_uid))
    watchers = dict.fromkeys(out.watching(key, event.member_uid, event.prefixes))
    watchers.update(dict.fromkeys(own))
    out.to_sessions(watchers, line)
    out.server.channels.left(key, event.member_uid, own)


@renders(ev.ChannelPart)
def channel_part(out: Rendering, event: ev.ChannelPart, stamp: Stamp) -> None:
    _leave(out, event, out.line(event.member_uid, f"PART {event.name}{_trailing(event.reason)}", stamp))


@renders(ev.ChannelKick)
def channel_kick(out: Rendering, event: ev.ChannelKick, stamp: Stamp) -> None:
    line = out.line(event.actor_uid, f"KICK {event.name} {event.member} :{event.reason}", stamp)
    _leave(out, event, line)


@renders(ev.ChannelInvite)
def channel_invite(out: Rendering, event: ev.ChannelInvite, stamp: Stamp) -> None:
    channel = out.state.channels[event.target or ""]
    line = out.line(event.actor_uid, f"INVITE {event.member} {channel.name}", stamp)
    out.to_user(event.member_uid, line)
    service = out.server.channels.get(channel.key)
    for session in service.sessions if service is not None else ():
        if session.caps & INVITE_NOTIFY and session.uid != event.actor_uid and channel.has_any(session.uid, "qaoh"):
            out.to_session(session, line)


@renders(ev.ChannelRename)
def channel_rename(out: Rendering, event: ev.ChannelRename, stamp: Stamp) -> None:
    old_key = event.target or ""
    channel = out.state.channels[out.state.fold(event.new_name)]
    service = out.server.channels.renamed(old_key, channel.key)
    out.server.expiries.renamed(old_key, channel.key)
    line = out.line(event.actor_uid, f"RENAME {event.name} {event.new_name} :{event.reason}", stamp)
    sessions = list(service.sessions) if service is not None else []
    told_again = sum(not session.caps & CHANNEL_RENAME for session in sessions)
    for session in sessions:
        if channel.key != old_key:
            rename_markers(session, old_key, channel.key)
        if session.caps & CHANNEL_RENAME:
            out.to_session(session, line)
            if channel.key != old_key and session.caps & READ_MARKER:
                out.to_session(session, marker_line(out.server, session, channel.name))
        elif channel.key != old_key:
            # Others see that they leave the old name and join the new one.
            user = out.state.users[session.uid]
            out.to_session(session, out.line(user.uid, f"PART {event.name}{_trailing(event.reason)}", stamp))
            out.to_session(session, _join_line(user, channel, stamp, session.caps))
            send = partial(out.to_session, session)
            if send_channel_state(out.server, session, channel, send, NAMES_PIECE // told_again):
                out.owe_names(session, channel)


@renders(ev.MetadataSet)
def metadata_set(out: Rendering, event: ev.MetadataSet, stamp: Stamp) -> None:
    target = event.target or ""
    if target.startswith("#"):
        service = out.server.channels.get(target)
        hearing: Iterable[Session] = service.sessions if service is not None else ()
        name = out.state.channels[target].name
    else:
        user = out.state.users[target]
        hearing = {**out.peers(target), **dict.fromkeys(out.server.monitor.watchers(user.nick))}
        name = user.nick
    source = out.source_of(event.actor_uid)
    # Whoever set it has its answer, and is told nothing of its own change (IRCv3 draft/metadata-3).
    own = out.origin.session if out.origin is not None else None
    following = [session for session in hearing if event.key in session.followed and session is not own]

    def tell(session: Session) -> None:
        session.send(metadata_line(out.server, session, name, event.key, event.value, source))

    out.server.teller.tell(following, tell)


@renders(ev.ChannelTopicChange)
def channel_topic_change(out: Rendering, event: ev.ChannelTopicChange, stamp: Stamp) -> None:
    channel = out.state.channels[event.target or ""]
    out.to_channel(channel.key, out.line(event.actor_uid, f"TOPIC {channel.name} :{event.topic}", stamp))


@renders(ev.ChannelModeChange)
def channel_mode_change(out: Rendering, event: ev.ChannelModeChange, stamp: Stamp) -> None:
    changes = [Change(change.sign, change.mode, change.param) for change in event.changes]
    out.modes(event.actor_uid, event.target or "", stamp, changes)


@renders(ev.ChannelBanAdd)
def channel_ban_add(out: Rendering, event: ev.ChannelBanAdd, stamp: Stamp) -> None:
    if event.expires is not None:
        out.server.expiries.add(event.expires, event.target or "", event.mode, event.mask)
    out.modes(event.actor_uid, event.target or "", stamp, [Change("+", event.mode, event.mask)])


@renders(ev.ChannelBanRemove)
def channel_ban_remove(out: Rendering, event: ev.ChannelBanRemove, stamp: Stamp) -> None:
    out.modes(event.actor_uid, event.target or "", stamp, [Change("-", event.mode, event.mask)])


# --- messages -----------------------------------------------------------------------------------------------------


def message(out: Rendering, event: ev.Message, stamp: Stamp) -> None:
    sender = out.origin.session if out.origin is not None else None
    spoken = spoken_of(out.server.server_name, event, stamp, event.to)
    if event.recipient_uid is not None:
        user = out.state.users.get(event.actor_uid or "")
        deliver_to_user(out.server, spoken, user, event.recipient_uid, sender, free=False)
    else:
        service = out.server.channels.get(event.target or "")
        if service is not None:
            deliver_to_channel(service, spoken, sender)
    if out.origin is not None:
        echo(out.origin, spoken)


RENDERERS.update(dict.fromkeys(VERBS, message))


@renders(ev.MessageRedact)
def message_redact(out: Rendering, event: ev.MessageRedact, stamp: Stamp) -> None:
    user = out.state.users.get(event.actor_uid or "")
    line = _line(f":{event.source} REDACT {event.to} {event.msgid}{_trailing(event.reason)}", stamp, user)
    service = out.server.channels.get(event.target or "")
    if service is not None:
        hearing = dict(service.sessions)
    else:
        hearing = dict.fromkeys(out.server.users.sessions_of(event.recipient_uid or ""))
    hearing.update(dict.fromkeys(out.server.users.sessions_of(event.actor_uid or "")))
    out.to_sessions((session for session in hearing if session.caps & MESSAGE_REDACTION), line)


@renders(ev.AccountReadMarker)
def account_read_marker(out: Rendering, event: ev.AccountReadMarker, stamp: Stamp) -> None:
    for user in out.state.users_of_account(event.target or ""):
        for session in out.server.users.sessions_of(user.uid):
            if session.caps & READ_MARKER:
                out.to_session(session, marker_line(out.server, session, event.name))


# --- operators ----------------------------------------------------------------------------------------------------


@renders(ev.OperKill)
def oper_kill(out: Rendering, event: ev.OperKill, stamp: Stamp) -> None:
    out.to_user(event.target or "", out.line(event.actor_uid, f"KILL {event.member} :{event.reason}", stamp))
    out.server.bans.notify("k", f"{event.nick} killed {event.member}: {event.reason}")


def line_add(out: Rendering, event: ev.LineAdd, stamp: Stamp) -> None:
    kind = event.event_type.removeprefix("oper.")
    out.server.bans.added(kind, out.state.bans[kind][out.state.fold(event.mask)], event.actor_uid or ev.SERVER)
    if event.expires is not None:
        out.server.expiries.add(event.expires, "", kind, event.mask)
    private = f"|{event.private_reason}" if event.private_reason else ""
    out.server.bans.notify("b", f"{event.nick} set {kind.upper()} {event.mask}: {event.reason}{private}")


def line_remove(out: Rendering, event: ev.LineRemove, stamp: Stamp) -> None:
    kind = event.event_type.removeprefix("oper.un")
    out.server.bans.removed(kind, event.mask)
    out.server.bans.notify("b", f"{event.nick or 'the server'} removed {kind.upper()} {event.mask}")


RENDERERS.update(dict.fromkeys(ev.LineAdd.__subclasses__(), line_add))
RENDERERS.update(dict.fromkeys(ev.LineRemove.__subclasses__(), line_remove))


@renders(ev.FilterAdd)
def filter_add(out: Rendering, event: ev.FilterAdd, stamp: Stamp) -> None:
    out.server.bans.filters_changed()
    out.server.bans.notify("b", f"{event.nick} set the filter {event.pattern} ({event.action}): {event.reason}")


@renders(ev.FilterRemove)
def filter_remove(out: Rendering, event: ev.FilterRemove, stamp: Stamp) -> None:
    out.server.bans.filters_changed()
    out.server.bans.notify("b", f"{event.nick} removed the filter {event.pattern}")


@renders(ev.OperLogin)
def oper_login(out: Rendering, event: ev.OperLogin, stamp: Stamp) -> None:
    out.server.bans.notify("o", f"{event.nick} is now IRC operator {event.oper} ({event.oper_class})")


# --- plugins ------------------------------------------------------------------------------------------------------


@renders(ev.PluginLoad)
def plugin_load(out: Rendering, event: ev.PluginLoad, stamp: Stamp) -> None:
    out.server.bans.notify("p", f"{event.nick or 'The server'} loaded the plugin {event.target} {event.version}")


@renders(ev.PluginUnload)
def plugin_unload(out: Rendering, event: ev.PluginUnload, stamp: Stamp) -> None:
    out.server.bans.notify("p", f"The plugin {event.target} is unloaded: {event.reason}")


@renders(ev.PluginFault)
def plugin_fault(out: Rendering, event: ev.PluginFault, stamp: Stamp) -> None:
    again = f" ({event.repeated} times before)" if event.repeated else ""
    out.server.bans.notify("p", f"The plugin {event.target} failed ({event.kind}): {event.text}{again}")


@renders(ev.AdminAction)
def admin_action(out: Rendering, event: ev.AdminAction, stamp: Stamp) -> None:
    arguments = " ".join(event.arguments.values())
    out.server.bans.notify("o", f"{event.nick} (admin API): {event.action} {arguments}".rstrip())
