"""What a user may do to itself: connect, leave, change nick, modes, away message, real name.

Every function reads the state and yields events, or raises a numeric; it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from slircd.events import types as ev
from slircd.rules.bans import is_banned
from slircd.state.model import ServerState, User
from slircd.wire.names import valid_nick
from slircd.wire.numerics import ERR_BANNICKCHANGE, ERR_ERRONEUSNICKNAME, ERR_NICKNAMEINUSE, NumericError


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    """What a client brought to its registration, checked and completed by the server."""

    uid: str
    number: int
    node: str
    nick: str
    username: str
    host: str
    real_host: str
    ip: str
    realname: str
    modes: str
    secure: bool
    certfp: str | None


def check_nick(state: ServerState, nick: str, max_length: int, *, own_uid: str | None = None) -> None:
    """Raise ERR_ERRONEUSNICKNAME or ERR_NICKNAMEINUSE unless `own_uid` (None: nobody yet) may take `nick`."""
    if not valid_nick(nick, max_length, precis=state.casemap.is_precis):
        raise NumericError(ERR_ERRONEUSNICKNAME, nick)
    holder = state.user_by_nick(nick)
    if holder is not None and holder.uid != own_uid:
        raise NumericError(ERR_NICKNAMEINUSE, nick)


def decide_connect(state: ServerState, new: NewUser) -> Iterator[ev.Event]:
    """A client has registered."""
    if state.user_by_nick(new.nick) is not None:
        raise NumericError(ERR_NICKNAMEINUSE, new.nick)
    yield ev.UserConnect(
        actor_uid=new.uid,
        target=new.uid,
        nick=new.nick,
        username=new.username,
        host=new.host,
        real_host=new.real_host,
        ip=new.ip,
        realname=new.realname,
        modes=new.modes,
        node=new.node,
        number=new.number,
        secure=new.secure,
        certfp=new.certfp,
    )


def disconnect_event(user: User, actor: str, reason: str) -> ev.UserDisconnect:
    """The end of `user`; the channels that it leaves are filled in where the event gets its place in the order."""
    return ev.UserDisconnect(
        actor_uid=actor,
        target=user.uid,
        nick=user.nick,
        username=user.username,
        host=user.host,
        realname=user.realname,
        account=user.account,
        reason=reason,
        channels={},
    )


def decide_disconnect(state: ServerState, actor: str, uid: str, reason: str) -> Iterator[ev.Event]:
    """A user is gone; nothing if it was gone already."""
    user = state.users.get(uid)
    if user is not None:
        yield disconnect_event(user, actor, reason)


def decide_nick(state: ServerState, actor: str, uid: str, nick: str, max_length: int) -> Iterator[ev.Event]:
    """A user takes another nick (or an operator gives it one); nothing if it is the same to the letter.

    Raises ERR_ERRONEUSNICKNAME, ERR_NICKNAMEINUSE, and ERR_BANNICKCHANGE where a channel (+N, or a ban) forbids it.
    """
    user = state.users[uid]
    check_nick(state, nick, max_length, own_uid=uid)
    if nick == user.nick:
        return
    if actor == uid:
        for channel in state.channels_of(uid):
            if "N" in channel.flags and not channel.has_any(uid, "qaoh"):
                raise NumericError(ERR_BANNICKCHANGE, channel.name, text="Nick changes are not allowed here (+N)")
            if not channel.members[uid] and is_banned(state, channel, user, "n"):
                raise NumericError(ERR_BANNICKCHANGE, channel.name)
    yield ev.UserNickChange(actor_uid=actor, target=uid, nick=user.nick, new_nick=nick)


def decide_away(state: ServerState, uid: str, message: str) -> Iterator[ev.Event]:
    """A user is away, or back (empty message); nothing if nothing changes."""
    user = state.users[uid]
    if message != (user.away or ""):
        yield away_event(uid, user.nick, message)


def away_event(uid: str, nick: str, message: str) -> ev.UserAway:
    """The user is away, or back (empty message)."""
    return ev.UserAway(actor_uid=uid, target=uid, nick=nick, message=message)


def decide_setname(state: ServerState, uid: str, realname: str) -> Iterator[ev.Event]:
    """A user changes its real name."""
    user = state.users[uid]
    yield ev.UserRealnameChange(actor_uid=uid, target=uid, nick=user.nick, realname=realname, previous=user.realname)
