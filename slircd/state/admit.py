"""What the order of events may still refuse, and what follows from an event at its place in the order.

A rule decides against the state of its moment.  Between that and the event's turn in the log other events may stand:
none on a single node, some where nodes share an ordered log.  `admit` checks again exactly what such an event could
have made impossible; `consequences` says what an event entails there (the channel that a first join creates, the end of
one that a last part empties).  Both are pure, so that every node comes to the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from slircd.events import types as ev
from slircd.state.model import Channel, ServerState
from slircd.wire.numerics import (
    ERR_INVALIDMODEPARAM,
    ERR_NICKNAMEINUSE,
    ERR_NOSUCHCHANNEL,
    ERR_NOSUCHNICK,
    ERR_USERNOTINCHANNEL,
    ERR_USERONCHANNEL,
    NumericError,
)

E = TypeVar("E", bound=ev.Event)

ADMITTERS: Final[dict[type[ev.Event], Callable[[ServerState, Any], None]]] = {}
"""Event classes that the order may refuse, and the check; every other class is always admitted."""


def _admits(
    *classes: type[ev.Event],
) -> Callable[[Callable[[ServerState, E], None]], Callable[[ServerState, E], None]]:
    def register(function: Callable[[ServerState, E], None]) -> Callable[[ServerState, E], None]:
        for cls in classes:
            ADMITTERS[cls] = function
        return function

    return register


def admit(state: ServerState, event: ev.Event) -> None:
    """Raise NumericError, as the client will see it, if `event` has become impossible."""
    check = ADMITTERS.get(type(event))
    if check is not None:
        check(state, event)


@_admits(ev.UserConnect)
def _connect(state: ServerState, event: ev.UserConnect) -> None:
    if state.user_by_nick(event.nick) is not None:
        raise NumericError(ERR_NICKNAMEINUSE, event.nick)


@_admits(ev.UserNickChange)
def _nick_change(state: ServerState, event: ev.UserNickChange) -> None:
    _user_is_here(state, event)
    holder = state.user_by_nick(event.new_nick)
    if holder is not None and holder.uid != event.target:
        raise NumericError(ERR_NICKNAMEINUSE, event.new_nick)


@_admits(
    ev.UserDisconnect,
    ev.UserModeChange,
    ev.UserAway,
    ev.UserAccount,
    ev.UserHostChange,
    ev.UserRealnameChange,
    ev.OperKill,
)
def _user_is_here(state: ServerState, event: ev.Event) -> None:
    if event.target not in state.users:
        raise NumericError(ERR_NOSUCHNICK, str(getattr(event, "member", "") or getattr(event, "nick", "*")))


@_admits(ev.ChannelJoin)
def _join(state: ServerState, event: ev.ChannelJoin) -> None:
    if event.member_uid not in state.users:
        raise NumericError(ERR_NOSUCHNICK, event.member)
    channel = state.channels.get(event.target or "")
    if channel is not None and event.member_uid in channel.members:
        raise NumericError(ERR_USERONCHANNEL, event.member, channel.name)


@_admits(ev.ChannelPart, ev.ChannelKick)
def _leave(state: ServerState, event: ev.ChannelPart | ev.ChannelKick) -> None:
    channel = _channel(state, event)
    if event.member_uid not in channel.members:
        raise NumericError(ERR_USERNOTINCHANNEL, event.member, channel.name)


@_admits(ev.ChannelInvite)
def _invite(state: ServerState, event: ev.ChannelInvite) -> None:
    channel = _channel(state, event)
    if event.member_uid not in state.users:
        raise NumericError(ERR_NOSUCHNICK, event.member)
    if event.member_uid in channel.members:
        raise NumericError(ERR_USERONCHANNEL, event.member, channel.name)


@_admits(ev.ChannelTopicChange, ev.ChannelBanAdd)
def _channel_is_here(state: ServerState, event: ev.Event) -> None:
    _channel(state, event)


def _channel(state: ServerState, event: ev.Event) -> Channel:
    channel = state.channels.get(event.target or "")
    if channel is None:
        raise NumericError(ERR_NOSUCHCHANNEL, event.target or "*")
    return channel


@_admits(ev.ChannelModeChange)
def _modes(state: ServerState, event: ev.ChannelModeChange) -> None:
    channel = _channel(state, event)
    for change in event.changes:
        if change.uid is not None and change.uid not in channel.members:
            raise NumericError(ERR_USERNOTINCHANNEL, change.param or change.uid, channel.name)


@_admits(ev.ChannelBanRemove)
def _ban_remove(state: ServerState, event: ev.ChannelBanRemove) -> None:
    channel = _channel(state, event)
    if state.fold(event.mask) not in channel.entries(event.mode):
        raise NumericError(ERR_INVALIDMODEPARAM, channel.name, event.mode, event.mask, text="Not on the list")


def consequences(state: ServerState, event: ev.Event) -> tuple[ev.Event, ...]:
    """`event` as it goes into the log at this place, with the events that it entails before and after it."""
    if isinstance(event, ev.ChannelJoin):
        return _create_on_first_join(state, event)
    if isinstance(event, (ev.ChannelPart, ev.ChannelKick)):
        channel = state.channels[event.target or ""]
        left: ev.Event = msgspec.structs.replace(event, prefixes=channel.members[event.member_uid])
        return (left, *_destroy_if_last(channel, event.member_uid))
    if isinstance(event, ev.UserDisconnect):
        channels = list(state.channels_of(event.target or ""))
        left = msgspec.structs.replace(
            event, channels={channel.key: channel.members[event.target or ""] for channel in channels}
        )
        ends = (end for channel in channels for end in _destroy_if_last(channel, event.target or ""))
        return (left, *ends)
    if isinstance(event, ev.ChannelModeChange):
        return (event, *_destroy_if_no_longer_permanent(state.channels[event.target or ""], event))
    return (event,)


def _create_on_first_join(state: ServerState, event: ev.ChannelJoin) -> tuple[ev.Event, ...]:
    if event.target in state.channels:
        return (event,)
    create = ev.ChannelCreate(
        actor_uid=event.actor_uid,
        target=event.target,
        nick=event.nick,
        name=event.name,
        modes=state.channel_modes,
    )
    return (create, msgspec.structs.replace(event, prefixes="o"))


def _destroy_if_last(channel: Channel, uid: str) -> tuple[ev.Event, ...]:
    if len(channel.members) > 1 or uid not in channel.members or "P" in channel.flags:
        return ()
    return (ev.ChannelDestroy(actor_uid=ev.SERVER, target=channel.key, name=channel.name),)


def _destroy_if_no_longer_permanent(channel: Channel, event: ev.ChannelModeChange) -> tuple[ev.Event, ...]:
    ends = any(change.sign == "-" and change.mode == "P" for change in event.changes)
    if channel.members or not ends:
        return ()
    return (ev.ChannelDestroy(actor_uid=ev.SERVER, target=channel.key, name=channel.name),)
