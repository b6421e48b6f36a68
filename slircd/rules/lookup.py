"""Words to what they name, or the numeric that says it is not there."""

from __future__ import annotations

from slircd.state.model import SERVICES, Channel, ServerState, User
from slircd.wire.numerics import ERR_CANTKILLSERVER, ERR_NOSUCHCHANNEL, ERR_NOSUCHNICK, ERR_NOTONCHANNEL, NumericError


def user_named(state: ServerState, nick: str) -> User:
    """The user with this nick; raises ERR_NOSUCHNICK."""
    user = state.user_by_nick(nick)
    if user is None:
        raise NumericError(ERR_NOSUCHNICK, nick)
    return user


def person_named(state: ServerState, nick: str) -> User:
    """The user with this nick, who is no service; raises ERR_NOSUCHNICK, or ERR_CANTKILLSERVER for a service."""
    user = user_named(state, nick)
    if user.is_service:
        raise NumericError(ERR_CANTKILLSERVER, text=f"{user.nick} is a service")
    return user


def actor_of(state: ServerState, uid: str) -> User:
    """The user who acts, or a stand-in for an actor that is no user, such as a plugin without a pseudo-client."""
    user = state.users.get(uid)
    return stand_in(uid) if user is None else user


def stand_in(uid: str) -> User:
    """A user as rules want one, for an actor that is none; one of the admin API (`admin:NAME`) is an operator."""
    kind, _, name = uid.rpartition(":")
    return User(
        uid=uid,
        nick=name,
        username=kind or name,
        host=SERVICES,
        real_host=SERVICES,
        ip="",
        realname=name,
        node=SERVICES,
        connected_at="",
        nick_at="",
        modes=set(),
        oper=name if kind == "admin" else None,
    )


def channel_named(state: ServerState, name: str) -> Channel:
    """The channel of this name, secret or not; raises ERR_NOSUCHCHANNEL."""
    channel = state.channel_by_name(name)
    if channel is None:
        raise NumericError(ERR_NOSUCHCHANNEL, name)
    return channel


def visible_channel(state: ServerState, name: str, to: str, *, sees_hidden: bool = False) -> Channel:
    """The channel of this name, if `to` may know of it; raises ERR_NOSUCHCHANNEL also where it may not."""
    channel = channel_named(state, name)
    if not may_see_channel(channel, to, sees_hidden=sees_hidden):
        raise NumericError(ERR_NOSUCHCHANNEL, name)
    return channel


def may_see_channel(channel: Channel, uid: str, *, sees_hidden: bool = False) -> bool:
    """Whether `uid` may know that the channel exists: secret (+s) and private (+p) ones show to members only."""
    return uid in channel.members or sees_hidden or not channel.flags & {"s", "p"}


def sees_member(channel: Channel, viewer: str, member: User, *, sees_hidden: bool = False) -> bool:
    """Whether `viewer` may see that `member` is on the channel.

    Invisible users (+i) show only to members; in an auditorium (+u) ordinary members show only to staff.
    """
    if viewer == member.uid or sees_hidden:
        return True
    if viewer not in channel.members and "i" in member.modes:
        return False
    return "u" not in channel.flags or bool(channel.members[member.uid]) or channel.has_any(viewer, "qaoh")


def require_member(channel: Channel, uid: str) -> None:
    """Raise ERR_NOTONCHANNEL unless `uid` is on the channel."""
    if uid not in channel.members:
        raise NumericError(ERR_NOTONCHANNEL, channel.name)
