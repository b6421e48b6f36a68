"""What the order of events may still refuse, and what follows from an event at its place in the order.

A rule decides against the state of its moment.  Between that and the event's turn in the log other events may stand:
none on a single node, some where nodes share an ordered log.  `admit` checks again exactly what such an event could
have made impossible; `consequences` says what an event entails there (the channel that a first join creates, the end of
one that a last part empties).  Both are pure, so that every node comes to the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import msgspec

from slircd.events import types as ev
from slircd.state.access import CHANSERV, NICKSERV, granted_modes
from slircd.state.model import Channel, ServerState
from slircd.wire.numerics import (
    ERR_CHANOPRIVSNEEDED,
    ERR_INVALIDMODEPARAM,
    ERR_NICKNAMEINUSE,
    ERR_NOSUCHCHANNEL,
    ERR_NOSUCHNICK,
    ERR_UNAVAILRESOURCE,
    ERR_USERNOTINCHANNEL,
    ERR_USERONCHANNEL,
    NumericError,
)

E = TypeVar("E", bound=ev.Event)

Admitter = Callable[[ServerState, Any], None]

ADMITTERS: Final[dict[type[ev.Event], Admitter]] = {}
"""Event classes that the order may refuse, and the check; every other class is always admitted."""


def _admits(
    *classes: type[ev.Event],
) -> Callable[[Callable[[ServerState, E], None]], Callable[[ServerState, E], None]]:
    def register(function: Callable[[ServerState, E], None]) -> Callable[[ServerState, E], None]:
        for cls in classes:
            ADMITTERS[cls] = function
        return function

    return register


def admit(state: ServerState, event: ev.Event, earlier: Sequence[ev.Event] = ()) -> None:
    """Raise NumericError, as the client will see it, if `event` has become impossible.

    `earlier` are the events of the same decision before it: what they make, it may rely on.
    """
    check = ADMITTERS.get(type(event))
    if check is not None and not (earlier and any(_makes(before, event) for before in earlier)):
        check(state, event)


def _makes(before: ev.Event, event: ev.Event) -> bool:
    """Whether `before` makes what `event` is about: a user, an account, a channel, a registration."""
    return before.target == event.target and (
        (
            isinstance(before, ev.UserConnect)
            and isinstance(event, ev.UserAccount | ev.UserModeChange | ev.UserAway | ev.UserAlwaysOn | ev.MetadataSet)
        )
        or (isinstance(before, ev.NickRegister) and isinstance(event, ACCOUNT_EVENTS))
        or (isinstance(before, ev.ChanRegister) and isinstance(event, ev.ChanFlags | ev.ChanSet))
        or isinstance(before, ev.ChannelCreate)
    )


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
    ev.UserAttach,
    ev.UserDetach,
    ev.UserAlwaysOn,
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
def _may_join(state: ServerState, event: ev.ChannelJoin) -> None:
    if event.member_uid not in state.users:
        raise NumericError(ERR_NOSUCHNICK, event.member)
    channel = state.channels.get(event.target or "")
    if channel is not None and event.member_uid in channel.members:
        raise NumericError(ERR_USERONCHANNEL, event.member, channel.name)


@_admits(ev.ChannelPart, ev.ChannelKick)
def _may_leave(state: ServerState, event: ev.ChannelPart | ev.ChannelKick) -> None:
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


@_admits(ev.ChannelRename)
def _rename(state: ServerState, event: ev.ChannelRename) -> None:
    channel = _channel(state, event)
    if state.channel_by_name(event.new_name) not in (None, channel):
        raise NumericError(ERR_UNAVAILRESOURCE, event.new_name)


@_admits(ev.MetadataSet)
def _metadata(state: ServerState, event: ev.MetadataSet) -> None:
    if event.target not in state.channels and event.target not in state.users:
        raise NumericError(ERR_NOSUCHNICK, event.name)


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


ACCOUNT_EVENTS: Final = (
    ev.NickVerify,
    ev.NickGroup,
    ev.NickUngroup,
    ev.NickDrop,
    ev.NickSet,
    ev.NickCert,
    ev.AccountReadMarker,
)


@_admits(ev.NickRegister)
def _register(state: ServerState, event: ev.NickRegister) -> None:
    if event.target in state.nick_owners:
        raise NumericError(ERR_NICKNAMEINUSE, event.account, text="This name is registered already")


@_admits(*ACCOUNT_EVENTS)
def _account_is_here(state: ServerState, event: ev.Event) -> None:
    if event.target not in state.accounts:
        raise NumericError(ERR_NOSUCHNICK, event.target or "*", text="No such account")
    if isinstance(event, ev.NickGroup) and state.owner_of_nick(event.grouped) is not None:
        raise NumericError(ERR_NICKNAMEINUSE, event.grouped, text="This nick is registered already")


@_admits(*ev.LineRemove.__subclasses__())
def _line_is_here(state: ServerState, event: ev.LineRemove) -> None:
    if state.fold(event.mask) not in state.bans.get(event.event_type.removeprefix("oper.un"), {}):
        raise NumericError(ERR_NOSUCHNICK, event.mask, text="No such ban")


@_admits(ev.FilterRemove)
def _filter_is_here(state: ServerState, event: ev.FilterRemove) -> None:
    if event.pattern not in state.filters:
        raise NumericError(ERR_NOSUCHNICK, event.pattern, text="No such filter")


@_admits(ev.ChanRegister)
def _chan_register(state: ServerState, event: ev.ChanRegister) -> None:
    if _channel(state, event).registration is not None:
        raise NumericError(ERR_CHANOPRIVSNEEDED, event.target or "*", text="This channel is registered already")


@_admits(ev.ChanDrop, ev.ChanFlags, ev.ChanSet)
def _chan_is_registered(state: ServerState, event: ev.Event) -> None:
    if _channel(state, event).registration is None:
        raise NumericError(ERR_NOSUCHCHANNEL, event.target or "*", text="This channel is not registered")


@_admits(ev.MessagePrivmsg, ev.MessageNotice, ev.MessageTagmsg)
def _message(state: ServerState, event: ev.Message) -> None:
    # A plugin that speaks as the server is no user.
    if event.actor_uid not in state.users and not (event.actor_uid or "").startswith("plugin:"):
        raise NumericError(ERR_NOSUCHNICK, event.nick)
    if event.recipient_uid is None:
        _channel(state, event)
    elif event.recipient_uid not in state.users:
        raise NumericError(ERR_NOSUCHNICK, event.to)


@_admits(ev.MessageRedact)
def _redact(state: ServerState, event: ev.MessageRedact) -> None:
    if event.actor_uid not in state.users:
        raise NumericError(ERR_NOSUCHNICK, event.nick)
    if event.to.startswith("#"):
        _channel(state, event)


def consequences(state: ServerState, event: ev.Event) -> tuple[ev.Event, ...]:
    """`event` as it goes into the log at this place, with the events that it entails before and after it."""
    entailing = ENTAILING.get(type(event))
    return (event,) if entailing is None else tuple(entailing(state, event))


def _join(state: ServerState, event: ev.ChannelJoin) -> Iterator[ev.Event]:
    channel = state.channels.get(event.target or "")
    if channel is None:
        yield ev.ChannelCreate(
            actor_uid=event.actor_uid, target=event.target, nick=event.nick, name=event.name, modes=state.channel_modes
        )
        yield msgspec.structs.replace(event, prefixes="o")
        return
    yield event
    if channel.registration is not None:
        yield from granted_modes(state, channel, state.users[event.member_uid], "")


def _nick(state: ServerState, event: ev.UserNickChange) -> Iterator[ev.Event]:
    yield msgspec.structs.replace(event, channels=list(state.memberships[event.target or ""]))


def _leave(state: ServerState, event: ev.ChannelPart | ev.ChannelKick) -> Iterator[ev.Event]:
    channel = state.channels[event.target or ""]
    yield msgspec.structs.replace(event, prefixes=channel.members[event.member_uid])
    yield from _destroy_if_last(channel, event.member_uid)


def _disconnect(state: ServerState, event: ev.UserDisconnect) -> Iterator[ev.Event]:
    uid = event.target or ""
    channels = list(state.channels_of(uid))
    yield msgspec.structs.replace(event, channels={channel.key: channel.members[uid] for channel in channels})
    for channel in channels:
        yield from _destroy_if_last(channel, uid)


def _destroy_if_last(channel: Channel, uid: str) -> Iterator[ev.Event]:
    if len(channel.members) != 1 or uid not in channel.members:
        return
    if not channel.is_permanent:
        yield _destroy(channel)
    elif (
        channel.registration is not None
        and channel.registration.settings.get("keeptopic") == "off"
        and channel.topic is not None
    ):
        yield ev.ChannelTopicChange(
            actor_uid=CHANSERV,
            target=channel.key,
            nick="ChanServ",
            topic="",
            set_by="ChanServ",
            previous=channel.topic.text,
        )


def _destroy(channel: Channel) -> ev.ChannelDestroy:
    return ev.ChannelDestroy(actor_uid=ev.SERVER, target=channel.key, name=channel.name)


def _mode_change(state: ServerState, event: ev.ChannelModeChange) -> Iterator[ev.Event]:
    yield event
    channel = state.channels[event.target or ""]
    ends = any(change.sign == "-" and change.mode == "P" for change in event.changes)
    if ends and not channel.members and channel.registration is None:
        yield _destroy(channel)


def _account(state: ServerState, event: ev.UserAccount) -> Iterator[ev.Event]:
    yield event
    user = state.users.get(event.target or "")
    if user is None or not event.account:
        return
    after = msgspec.structs.replace(user, account=event.account)
    for channel in state.channels_of(user.uid):
        if channel.registration is not None:
            yield from granted_modes(state, channel, after, channel.members[user.uid])


def _chan_drop(state: ServerState, event: ev.ChanDrop) -> Iterator[ev.Event]:
    yield event
    channel = state.channels[event.target or ""]
    if not channel.members and "P" not in channel.flags:
        yield _destroy(channel)


def _nick_drop(state: ServerState, event: ev.NickDrop) -> Iterator[ev.Event]:
    """Those who are logged in are so no longer, channels go to their successors, or are dropped."""
    account = state.accounts[event.target or ""]
    for channel in state.channels.values():
        registration = channel.registration
        if registration is None:
            continue
        successor = registration.settings.get("successor", "")
        if registration.founder == account.key and successor in state.accounts and successor != account.key:
            yield ev.ChanSet(
                actor_uid=CHANSERV,
                target=channel.key,
                nick="ChanServ",
                setting="founder",
                value=successor,
                previous=account.key,
            )
        elif registration.founder == account.key:
            drop = ev.ChanDrop(actor_uid=CHANSERV, target=channel.key, nick="ChanServ", founder=account.key)
            yield from _chan_drop(state, drop)
            continue
        if account.key in registration.access:
            access = registration.access[account.key]
            yield ev.ChanFlags(
                actor_uid=CHANSERV,
                target=channel.key,
                nick="ChanServ",
                entry=access.entry,
                flags="",
                previous=access.flags,
            )
    for user in state.users_of_account(account.key):
        yield ev.UserAccount(actor_uid=NICKSERV, target=user.uid, nick=user.nick, account="")
    yield event


ENTAILING: Final[dict[type[ev.Event], Callable[[ServerState, Any], Iterator[ev.Event]]]] = {
    ev.UserNickChange: _nick,
    ev.ChannelJoin: _join,
    ev.ChannelPart: _leave,
    ev.ChannelKick: _leave,
    ev.UserDisconnect: _disconnect,
    ev.ChannelModeChange: _mode_change,
    ev.UserAccount: _account,
    ev.ChanDrop: _chan_drop,
    ev.NickDrop: _nick_drop,
}
"""Event classes that can entail others, and which."""
