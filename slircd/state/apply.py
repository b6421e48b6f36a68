"""Apply: how each kind of event changes the state; the same function serves live, at start and in replay.

No clock, no configuration, no look-up outside the state: the time is the stamp's, everything else is in the event.  An
applier checks what it relies on before it changes anything, so an event that does not fit leaves the state as it was
and raises ApplyError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from slircd.events import types as ev
from slircd.state.model import (
    Access,
    Account,
    Channel,
    Filter,
    FormerName,
    ListEntry,
    NetworkBan,
    Registration,
    ServerState,
    Topic,
    User,
)
from slircd.wire.casemap import CASEMAPS
from slircd.wire.modes import CHANNEL_MODES

E = TypeVar("E", bound=ev.Event)


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """What the log adds to an event: its place, its time, and the run of the server that wrote it."""

    id: int
    sequence: int
    timestamp: str
    session_id: str


Applier = Callable[[ServerState, Any, Stamp], None]

MAX_NUMBER: Final = 36**6 - 1
"""The last user of a node: a UID has six digits of base 36."""

APPLIERS: Final[dict[type[ev.Event], Applier]] = {}


class ApplyError(Exception):
    """The event does not fit the state: a bug, or a damaged log.  The state is as it was before."""


def applies(cls: type[E]) -> Callable[[Callable[[ServerState, E, Stamp], None]], Applier]:
    """Register the decorated function as the applier of one event class."""

    def register(function: Callable[[ServerState, E, Stamp], None]) -> Applier:
        APPLIERS[cls] = function
        return function

    return register


def apply(state: ServerState, event: ev.Event, stamp: Stamp) -> None:
    """Change `state` as `event` says.

    An event whose sequence was applied already changes nothing, so replaying twice gives the same state.  Raises
    ApplyError, and changes nothing, if the event does not fit.
    """
    if stamp.sequence <= state.sequence:
        return
    applier = APPLIERS.get(type(event))
    if applier is not None:
        try:
            applier(state, event, stamp)
        except (LookupError, AttributeError) as error:
            raise ApplyError(f"{event.event_type} (sequence {stamp.sequence}): {error!r}") from error
    state.sequence = stamp.sequence
    state.timestamp = stamp.timestamp


# --- user ---------------------------------------------------------------------------------------------------------


@applies(ev.UserConnect)
def user_connect(state: ServerState, event: ev.UserConnect, stamp: Stamp) -> None:
    uid = _word(event.target)
    key = state.fold(event.nick)
    if uid in state.users or key in state.nicks:
        raise ApplyError(f"user.connect: {uid} or {event.nick} is there already")
    if not 0 <= event.number <= MAX_NUMBER:
        raise ApplyError(f"user.connect: {event.number} is no number of a user")
    state.users[uid] = User(
        uid=uid,
        nick=event.nick,
        username=event.username,
        host=event.host,
        real_host=event.real_host,
        ip=event.ip,
        realname=event.realname,
        node=event.node,
        connected_at=stamp.timestamp,
        nick_at=stamp.timestamp,
        modes=set(event.modes),
        secure=event.secure,
        certfp=event.certfp,
    )
    state.nicks[key] = uid
    state.memberships[uid] = {}
    state.uid_counters[event.node] = max(event.number, state.uid_counters.get(event.node, 0))


@applies(ev.UserAttach)
def user_attach(state: ServerState, event: ev.UserAttach, stamp: Stamp) -> None:
    user = state.users[_word(event.target)]
    # As safe as the weakest of its clients.
    user.secure = event.secure and (user.secure or user.clients == 0)
    (user.modes.add if user.secure else user.modes.discard)("Z")
    user.clients += 1
    user.detached_at = ""


@applies(ev.UserDetach)
def user_detach(state: ServerState, event: ev.UserDetach, stamp: Stamp) -> None:
    user = state.users[_word(event.target)]
    user.clients = max(0, user.clients - 1)
    if not user.clients:
        user.detached_at = stamp.timestamp


@applies(ev.UserAlwaysOn)
def user_always_on(state: ServerState, event: ev.UserAlwaysOn, stamp: Stamp) -> None:
    state.users[_word(event.target)].always_on = event.on


@applies(ev.UserDisconnect)
def user_disconnect(state: ServerState, event: ev.UserDisconnect, stamp: Stamp) -> None:
    _remove_user(state, state.users[_word(event.target)])


@applies(ev.UserNickChange)
def user_nick_change(state: ServerState, event: ev.UserNickChange, stamp: Stamp) -> None:
    user = state.users[_word(event.target)]
    new_key = state.fold(event.new_nick)
    if state.nicks.get(new_key, user.uid) != user.uid:
        raise ApplyError(f"user.nick_change: {event.new_nick} is taken")
    del state.nicks[state.fold(user.nick)]
    state.nicks[new_key] = user.uid
    user.nick = event.new_nick
    user.nick_at = stamp.timestamp
    _mark_owner(state, user)


@applies(ev.UserModeChange)
def user_mode_change(state: ServerState, event: ev.UserModeChange, stamp: Stamp) -> None:
    user = state.users[_word(event.target)]
    for change in event.changes:
        if change.sign == "+":
            user.modes.add(change.mode)
        else:
            user.modes.discard(change.mode)
        if change.mode == "s":
            user.snomask = (change.param or "") if change.sign == "+" else ""
    if "o" not in user.modes:
        user.oper = None
    elif event.oper is not None:
        user.oper = event.oper


@applies(ev.UserAway)
def user_away(state: ServerState, event: ev.UserAway, stamp: Stamp) -> None:
    state.users[_word(event.target)].away = event.message or None


@applies(ev.UserAccount)
def user_account(state: ServerState, event: ev.UserAccount, stamp: Stamp) -> None:
    user = state.users[_word(event.target)]
    before = user.account
    _leave_account(state, user)
    user.account = event.account or None
    if before is not None and user.account != before:
        user.always_on = False
    if user.account is not None:
        state.account_users.setdefault(state.fold(user.account), {})[user.uid] = None
    _mark_owner(state, user)


@applies(ev.UserHostChange)
def user_host_change(state: ServerState, event: ev.UserHostChange, stamp: Stamp) -> None:
    user = state.users[_word(event.target)]
    user.username = event.username
    user.host = event.host


@applies(ev.UserRealnameChange)
def user_realname_change(state: ServerState, event: ev.UserRealnameChange, stamp: Stamp) -> None:
    state.users[_word(event.target)].realname = event.realname


# --- channel ------------------------------------------------------------------------------------------------------


@applies(ev.ChannelCreate)
def channel_create(state: ServerState, event: ev.ChannelCreate, stamp: Stamp) -> None:
    key = _word(event.target)
    if key in state.channels:
        raise ApplyError(f"channel.create: {key} is there already")
    state.channels[key] = Channel(key=key, name=event.name, created_at=stamp.timestamp, flags=set(event.modes))


@applies(ev.ChannelDestroy)
def channel_destroy(state: ServerState, event: ev.ChannelDestroy, stamp: Stamp) -> None:
    channel = state.channels[_word(event.target)]
    if channel.members:
        raise ApplyError(f"channel.destroy: {channel.key} has members")
    _remove_channel(state, channel)


@applies(ev.ChannelJoin)
def channel_join(state: ServerState, event: ev.ChannelJoin, stamp: Stamp) -> None:
    channel = state.channels[_word(event.target)]
    uid, members = event.member_uid, channel.members
    memberships = state.memberships[uid]
    if uid in members:
        raise ApplyError(f"channel.join: {uid} is on {channel.key} already")
    members[uid] = CHANNEL_MODES.sort_prefixes(event.prefixes) if event.prefixes else ""
    if channel.invites:
        _remove_invite(state, channel, uid)
    memberships[channel.key] = None


@applies(ev.ChannelPart)
def channel_part(state: ServerState, event: ev.ChannelPart, stamp: Stamp) -> None:
    _remove_member(state, state.channels[_word(event.target)], event.member_uid)


@applies(ev.ChannelKick)
def channel_kick(state: ServerState, event: ev.ChannelKick, stamp: Stamp) -> None:
    _remove_member(state, state.channels[_word(event.target)], event.member_uid)


@applies(ev.ChannelInvite)
def channel_invite(state: ServerState, event: ev.ChannelInvite, stamp: Stamp) -> None:
    channel = state.channels[_word(event.target)]
    uid = state.users[event.member_uid].uid
    channel.invites[uid] = stamp.timestamp
    if event.by_staff:
        channel.opened_to.add(uid)
    state.invited.setdefault(uid, {})[channel.key] = None


MAX_FORMER_NAMES: Final = 32
"""Names that a channel is remembered by; history of before the oldest one is out of reach for its members."""


@applies(ev.ChannelRename)
def channel_rename(state: ServerState, event: ev.ChannelRename, stamp: Stamp) -> None:
    channel = state.channels[_word(event.target)]
    key = state.fold(event.new_name)
    if key != channel.key:
        if key in state.channels:
            raise ApplyError(f"channel.rename: {key} is there already")
        for uid in channel.members:
            state.memberships[uid] = _with_key_replaced(state.memberships[uid], channel.key, key)
        for uid in channel.invites:
            state.invited[uid] = _with_key_replaced(state.invited[uid], channel.key, key)
        if event.named_at:
            former = FormerName(channel.key, event.named_at, stamp.id)
            channel.former = [*channel.former, former][-MAX_FORMER_NAMES:]
            _move_read_markers(state, channel, key)
        del state.channels[channel.key]
        state.channels[key] = channel
        channel.key = key
        channel.named_at = stamp.timestamp
    channel.name = event.new_name


def _with_key_replaced(keys: dict[str, None], old: str, new: str) -> dict[str, None]:
    """`keys` with another one in the place of `old`."""
    return {new if key == old else key: None for key in keys}


def _move_read_markers(state: ServerState, channel: Channel, key: str) -> None:
    """How far members have read goes with the channel; a marker never goes back."""
    for account in state.accounts_on(channel):
        read = account.read_markers.pop(channel.key, "")
        if read:
            account.read_markers[key] = max(read, account.read_markers.get(key, ""))


@applies(ev.ChannelTopicChange)
def channel_topic_change(state: ServerState, event: ev.ChannelTopicChange, stamp: Stamp) -> None:
    channel = state.channels[_word(event.target)]
    channel.topic = Topic(event.topic, event.set_by, stamp.timestamp) if event.topic else None


@applies(ev.ChannelModeChange)
def channel_mode_change(state: ServerState, event: ev.ChannelModeChange, stamp: Stamp) -> None:
    channel = state.channels[_word(event.target)]
    for change in event.changes:
        if change.uid is not None and change.uid not in channel.members:
            raise ApplyError(f"channel.mode_change: {change.uid} is not on {channel.key}")
    for change in event.changes:
        _apply_mode(channel, change)


def _apply_mode(channel: Channel, change: ev.ModeDelta) -> None:
    adding = change.sign == "+"
    if change.uid is not None:
        others = channel.members[change.uid].replace(change.mode, "")
        channel.members[change.uid] = CHANNEL_MODES.sort_prefixes(others + change.mode if adding else others)
    elif adding and change.param is not None:
        channel.params[change.mode] = change.param
    elif adding:
        channel.flags.add(change.mode)
    else:
        channel.params.pop(change.mode, None)
        channel.flags.discard(change.mode)


@applies(ev.ChannelBanAdd)
def channel_ban_add(state: ServerState, event: ev.ChannelBanAdd, stamp: Stamp) -> None:
    channel = state.channels[_word(event.target)]
    entry = ListEntry(event.mask, event.set_by, stamp.timestamp, event.expires)
    channel.lists.setdefault(event.mode, {})[state.fold(event.mask)] = entry


@applies(ev.ChannelBanRemove)
def channel_ban_remove(state: ServerState, event: ev.ChannelBanRemove, stamp: Stamp) -> None:
    channel = state.channels[_word(event.target)]
    entries = channel.lists[event.mode]
    del entries[state.fold(event.mask)]
    if not entries:
        del channel.lists[event.mode]


# --- services -----------------------------------------------------------------------------------------------------


@applies(ev.NickRegister)
def nick_register(state: ServerState, event: ev.NickRegister, stamp: Stamp) -> None:
    key = _word(event.target)
    if key in state.accounts or key in state.nick_owners:
        raise ApplyError(f"services.nick_register: {key} is there already")
    state.accounts[key] = Account(
        key=key,
        name=event.account,
        registered_at=stamp.timestamp,
        verified=event.verified,
        nicks={key: event.account},
    )
    state.nick_owners[key] = key


@applies(ev.NickVerify)
def nick_verify(state: ServerState, event: ev.NickVerify, stamp: Stamp) -> None:
    state.accounts[_word(event.target)].verified = True


@applies(ev.NickGroup)
def nick_group(state: ServerState, event: ev.NickGroup, stamp: Stamp) -> None:
    account = state.accounts[_word(event.target)]
    key = state.fold(event.grouped)
    if key in state.nick_owners:
        raise ApplyError(f"services.nick_group: {key} belongs to somebody")
    account.nicks[key] = event.grouped
    state.nick_owners[key] = account.key
    _mark_holder(state, key)


@applies(ev.NickUngroup)
def nick_ungroup(state: ServerState, event: ev.NickUngroup, stamp: Stamp) -> None:
    account = state.accounts[_word(event.target)]
    key = state.fold(event.grouped)
    del account.nicks[key]
    del state.nick_owners[key]
    _mark_holder(state, key)


@applies(ev.NickDrop)
def nick_drop(state: ServerState, event: ev.NickDrop, stamp: Stamp) -> None:
    account = state.accounts.pop(_word(event.target))
    for key in account.nicks:
        del state.nick_owners[key]
        _mark_holder(state, key)


@applies(ev.NickSet)
def nick_set(state: ServerState, event: ev.NickSet, stamp: Stamp) -> None:
    _set(state.accounts[_word(event.target)].settings, event.setting, event.value)


@applies(ev.NickCert)
def nick_cert(state: ServerState, event: ev.NickCert, stamp: Stamp) -> None:
    certfps = state.accounts[_word(event.target)].certfps
    if event.added:
        certfps[event.fingerprint] = stamp.timestamp
    else:
        del certfps[event.fingerprint]


MAX_READ_MARKERS: Final = 500
"""Channels and conversations of an account with a marker; the one that was read longest ago goes first."""


@applies(ev.AccountReadMarker)
def account_read_marker(state: ServerState, event: ev.AccountReadMarker, stamp: Stamp) -> None:
    markers = state.accounts[_word(event.target)].read_markers
    key = state.fold(event.name)
    markers[key] = max(event.read, markers.get(key, ""))
    if len(markers) > MAX_READ_MARKERS:
        del markers[min(markers, key=lambda each: (markers[each], each))]


@applies(ev.ChanRegister)
def chan_register(state: ServerState, event: ev.ChanRegister, stamp: Stamp) -> None:
    channel = state.channels[_word(event.target)]
    if channel.registration is not None:
        raise ApplyError(f"services.chan_register: {channel.key} is registered already")
    channel.registration = Registration(founder=event.founder, registered_at=stamp.timestamp)


@applies(ev.ChanDrop)
def chan_drop(state: ServerState, event: ev.ChanDrop, stamp: Stamp) -> None:
    state.channels[_word(event.target)].registration = None


@applies(ev.ChanFlags)
def chan_flags(state: ServerState, event: ev.ChanFlags, stamp: Stamp) -> None:
    access = _registration(state, event).access
    key = state.fold(event.entry)
    if event.flags:
        access[key] = Access(event.entry, event.flags, event.nick, stamp.timestamp, event.reason)
    else:
        access.pop(key, None)


@applies(ev.ChanSet)
def chan_set(state: ServerState, event: ev.ChanSet, stamp: Stamp) -> None:
    registration = _registration(state, event)
    if event.setting == "founder":
        registration.founder = event.value
    else:
        _set(registration.settings, event.setting, event.value)


# --- metadata -----------------------------------------------------------------------------------------------------


@applies(ev.MetadataSet)
def metadata_set(state: ServerState, event: ev.MetadataSet, stamp: Stamp) -> None:
    target = _word(event.target)
    owner = state.channels[target] if target.startswith("#") else state.users[target]
    _set(owner.metadata, event.key, event.value)


# --- network bans -------------------------------------------------------------------------------------------------


def line_add(state: ServerState, event: ev.LineAdd, stamp: Stamp) -> None:
    kind = event.event_type.removeprefix("oper.")
    ban = NetworkBan(event.mask, event.reason, event.private_reason, event.set_by, stamp.timestamp, event.expires)
    state.bans.setdefault(kind, {})[state.fold(event.mask)] = ban


def line_remove(state: ServerState, event: ev.LineRemove, stamp: Stamp) -> None:
    kind = event.event_type.removeprefix("oper.un")
    bans = state.bans[kind]
    del bans[state.fold(event.mask)]
    if not bans:
        del state.bans[kind]


APPLIERS.update(dict.fromkeys(ev.LineAdd.__subclasses__(), line_add))
APPLIERS.update(dict.fromkeys(ev.LineRemove.__subclasses__(), line_remove))


@applies(ev.FilterAdd)
def filter_add(state: ServerState, event: ev.FilterAdd, stamp: Stamp) -> None:
    state.filters[event.pattern] = Filter(event.pattern, event.action, event.reason, event.set_by, stamp.timestamp)


@applies(ev.FilterRemove)
def filter_remove(state: ServerState, event: ev.FilterRemove, stamp: Stamp) -> None:
    del state.filters[event.pattern]


# --- plugins ------------------------------------------------------------------------------------------------------


@applies(ev.PluginStore)
def plugin_store(state: ServerState, event: ev.PluginStore, stamp: Stamp) -> None:
    kept = state.storage.setdefault(_word(event.target), {})
    kept.update(event.values)
    for key in event.removed:
        kept.pop(key, None)
    if not kept:
        del state.storage[_word(event.target)]


# --- server -------------------------------------------------------------------------------------------------------


@applies(ev.ServerStart)
def server_start(state: ServerState, event: ev.ServerStart, stamp: Stamp) -> None:
    """The one event with implicit consequences: whoever a crash left on this node in the log is gone.

    Those who are always on stay, without a client, and without what only a client had (being an IRC operator).  With
    the others go the channels that they leave empty, permanent ones (+P, registered) excepted.
    """
    casemap = CASEMAPS[event.casemapping]
    for user in [user for user in state.users.values() if user.node == event.node]:
        if not user.always_on:
            _remove_user(state, user)
            continue
        user.clients = 0
        user.detached_at = user.detached_at or stamp.timestamp
        user.modes -= {"o", "s"}
        user.oper, user.snomask = None, ""
    empty = [channel for channel in state.channels.values() if not channel.members and not channel.is_permanent]
    for channel in empty:
        _remove_channel(state, channel)
    state.casemap = casemap
    state.channel_modes = event.channel_modes


# --- helpers ------------------------------------------------------------------------------------------------------


def _word(value: str | None) -> str:
    if value is None:
        raise ApplyError("an event that changes the state needs a target")
    return value


def _registration(state: ServerState, event: ev.Event) -> Registration:
    registration = state.channels[_word(event.target)].registration
    if registration is None:
        raise ApplyError(f"{event.event_type}: {event.target} is not registered")
    return registration


def _set(settings: dict[str, str], setting: str, value: str) -> None:
    if value:
        settings[setting] = value
    else:
        settings.pop(setting, None)


def _mark_owner(state: ServerState, user: User) -> None:
    """User mode r says that the user is logged in to the account of its nick."""
    if user.account is not None and state.nick_owners.get(state.fold(user.nick)) == state.fold(user.account):
        user.modes.add("r")
    else:
        user.modes.discard("r")


def _mark_holder(state: ServerState, nick_key: str) -> None:
    uid = state.nicks.get(nick_key)
    if uid is not None:
        _mark_owner(state, state.users[uid])


def _remove_member(state: ServerState, channel: Channel, uid: str) -> None:
    memberships = state.memberships[uid]
    del channel.members[uid]
    del memberships[channel.key]


def _remove_invite(state: ServerState, channel: Channel, uid: str) -> None:
    channel.opened_to.discard(uid)
    if channel.invites.pop(uid, None) is not None:
        invited = state.invited[uid]
        del invited[channel.key]
        if not invited:
            del state.invited[uid]


def _remove_channel(state: ServerState, channel: Channel) -> None:
    if channel.invites:
        for uid in list(channel.invites):
            _remove_invite(state, channel, uid)
    del state.channels[channel.key]


def _leave_account(state: ServerState, user: User) -> None:
    """Keep the index in step: the user is logged in no longer, or is no longer."""
    if user.account is not None:
        key = state.fold(user.account)
        users = state.account_users[key]
        del users[user.uid]
        if not users:
            del state.account_users[key]


def _remove_user(state: ServerState, user: User) -> None:
    _leave_account(state, user)
    uid, channels = user.uid, state.channels
    for key in state.memberships.pop(uid):
        del channels[key].members[uid]
    for key in state.invited.pop(uid, ()):
        del channels[key].invites[uid]
        channels[key].opened_to.discard(uid)
    del state.nicks[state.fold(user.nick)]
    del state.users[uid]
