"""What may happen on a channel: join, part, kick, invite, topic.  Modes have a module of their own.

Every function reads the state and yields events, or raises the numeric that the client will see.  `override` says that
the actor is an IRC operator who may do what channels would refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from hmac import compare_digest
from typing import Final

from slircd.events import types as ev
from slircd.rules.bans import is_banned, is_listed
from slircd.rules.lookup import actor_of, channel_named, person_named, require_member, visible_channel
from slircd.state.access import flags_of
from slircd.state.model import Channel, ServerState, User
from slircd.wire.message import truncate_utf8
from slircd.wire.modes import CHANNEL_MODES
from slircd.wire.names import valid_channel
from slircd.wire.numerics import (
    ERR_BADCHANMASK,
    ERR_BADCHANNELKEY,
    ERR_BANNEDFROMCHAN,
    ERR_CANNOTKNOCK,
    ERR_CHANNELISFULL,
    ERR_CHANOPEN,
    ERR_CHANOPRIVSNEEDED,
    ERR_INVITEONLYCHAN,
    ERR_KNOCKONCHAN,
    ERR_NEEDREGGEDNICK,
    ERR_NOSUCHCHANNEL,
    ERR_OPERONLY,
    ERR_SECUREONLYCHAN,
    ERR_TOOMANYCHANNELS,
    ERR_USERNOTINCHANNEL,
    ERR_USERONCHANNEL,
    NumericError,
    StandardReply,
)

STAFF = CHANNEL_MODES.at_least("h")
"""Prefix modes of those who run a channel."""

OPERATORS = CHANNEL_MODES.at_least("o")


def require_staff(channel: Channel, uid: str, modes: str = STAFF) -> None:
    """Raise ERR_CHANOPRIVSNEEDED unless `uid` has one of the prefix `modes` on the channel."""
    if not channel.has_any(uid, modes):
        raise NumericError(ERR_CHANOPRIVSNEEDED, channel.name)


def rank(modes: str) -> int:
    """How high somebody with these prefix modes stands: 0 for an ordinary member, more for more."""
    return len(CHANNEL_MODES.prefixes) - CHANNEL_MODES.rank(modes[0]) if modes else 0


# --- joining and leaving ------------------------------------------------------------------------------------------


def decide_join(
    state: ServerState,
    uid: str,
    name: str,
    key: str,
    *,
    max_channels: int,
    max_length: int,
    override: bool = False,
    oper: bool = False,
) -> Iterator[ev.Event]:
    """A user joins a channel, and makes it if it is not there; nothing if the user is on it.

    `oper` says that the client which asks is an IRC operator's.
    Raises ERR_NOSUCHCHANNEL or ERR_BADCHANMASK for a name that is none, ERR_TOOMANYCHANNELS, or what check_join does.
    """
    check_channel_name(name, max_length)
    user = state.users[uid]
    channel = state.channel_by_name(name)
    if channel is not None and uid in channel.members:
        return
    if len(state.memberships[uid]) >= max_channels and not override:
        raise NumericError(ERR_TOOMANYCHANNELS, name)
    if channel is not None and not override:
        check_join(state, channel, user, key, oper=oper)
    yield join_event(state, user, user, name)


LINKED: Final = frozenset({ERR_CHANNELISFULL, ERR_INVITEONLYCHAN, ERR_NEEDREGGEDNICK, ERR_SECUREONLYCHAN})
"""Refusals of a join after which mode L leads elsewhere: what nobody has against the user, as a ban is."""


def link_of(state: ServerState, name: str, refusal: NumericError) -> Channel | None:
    """The channel that mode L leads those to whom `refusal` keeps out of the channel `name`; None if to none."""
    channel = state.channel_by_name(name)
    if channel is None or refusal.numeric not in LINKED or "L" not in channel.params:
        return None
    return state.channel_by_name(channel.params["L"])


def check_channel_name(name: str, max_length: int) -> None:
    """Raise ERR_NOSUCHCHANNEL for a name without the mark of channels, ERR_BADCHANMASK for one that cannot be."""
    if not name.startswith("#"):
        raise NumericError(ERR_NOSUCHCHANNEL, name)
    if not valid_channel(name, max_length):
        raise NumericError(ERR_BADCHANMASK, name)


def check_join(state: ServerState, channel: Channel, user: User, key: str, *, oper: bool = False) -> None:
    """Raise the numeric that says why the channel does not let `user` in.

    An invitation stands for the list I and goes past the limit; one by staff goes past the key, too, and past the bans
    that were set before it.
    """
    flags = channel.flags
    if "O" in flags and not oper:
        raise NumericError(ERR_OPERONLY, channel.name)
    if "z" in flags and not user.secure:
        raise NumericError(ERR_SECUREONLYCHAN, channel.name)
    if "R" in flags and user.account is None:
        raise NumericError(ERR_NEEDREGGEDNICK, channel.name)
    if channel.registration is not None:
        _check_access(state, channel, user)
    opened = user.uid in channel.opened_to
    if is_banned(state, channel, user, since=channel.invites[user.uid] if opened else ""):
        raise NumericError(ERR_BANNEDFROMCHAN, channel.name)
    if opened:
        return
    if not compare_digest(*(each.encode(errors="surrogatepass") for each in (channel.params.get("k", key), key))):
        raise NumericError(ERR_BADCHANNELKEY, channel.name)
    invited = user.uid in channel.invites
    if "l" in channel.params and not invited and len(channel.members) >= int(channel.params["l"]):
        raise NumericError(ERR_CHANNELISFULL, channel.name)
    if "i" in flags and not invited and not is_listed(state, channel, "I", user):
        raise NumericError(ERR_INVITEONLYCHAN, channel.name)


def _check_access(state: ServerState, channel: Channel, user: User) -> None:
    """Raise the numeric that says why the access list does not let `user` in: AKICK, or SET RESTRICTED."""
    registration = channel.registration
    flags = flags_of(state, channel, user)
    if "b" in flags:
        raise NumericError(ERR_BANNEDFROMCHAN, channel.name, text="Cannot join channel (AKICK)")
    if registration is not None and registration.is_set("restricted") and not flags:
        raise NumericError(ERR_INVITEONLYCHAN, channel.name, text="Cannot join channel (RESTRICTED)")


def join_event(state: ServerState, actor: User, member: User, name: str) -> ev.ChannelJoin:
    """`member` is put on the channel `name` by `actor`, often itself."""
    channel = state.channel_by_name(name)
    return ev.ChannelJoin(
        actor_uid=actor.uid,
        target=state.fold(name),
        nick=actor.nick,
        member_uid=member.uid,
        member=member.nick,
        name=name if channel is None else channel.name,
        prefixes="",
    )


def decide_sajoin(state: ServerState, actor: str, nick: str, name: str, max_length: int) -> Iterator[ev.Event]:
    """An operator puts a user on a channel, whatever the channel says; nothing if it is there."""
    member = person_named(state, nick)
    check_channel_name(name, max_length)
    channel = state.channel_by_name(name)
    if channel is None or member.uid not in channel.members:
        yield join_event(state, actor_of(state, actor), member, name)


def decide_part(state: ServerState, uid: str, name: str, reason: str) -> Iterator[ev.Event]:
    """A user leaves a channel."""
    channel = visible_channel(state, name, uid)
    require_member(channel, uid)
    yield _part_event(channel, state.users[uid], state.users[uid], reason)


def decide_sapart(state: ServerState, actor: str, nick: str, name: str, reason: str) -> Iterator[ev.Event]:
    """An operator makes a user leave a channel."""
    member = person_named(state, nick)
    channel = channel_named(state, name)
    if member.uid not in channel.members:
        raise NumericError(ERR_USERNOTINCHANNEL, member.nick, channel.name)
    yield _part_event(channel, actor_of(state, actor), member, reason)


def decide_part_all(state: ServerState, uid: str) -> Iterator[ev.Event]:
    """A user leaves all its channels (JOIN 0)."""
    user = state.users[uid]
    for channel in state.channels_of(uid):
        yield _part_event(channel, user, user, "")


def _part_event(channel: Channel, actor: User, member: User, reason: str) -> ev.ChannelPart:
    return ev.ChannelPart(
        actor_uid=actor.uid,
        target=channel.key,
        nick=actor.nick,
        member_uid=member.uid,
        member=member.nick,
        name=channel.name,
        reason=reason,
        prefixes="",
    )


def decide_kick(
    state: ServerState, actor: str, name: str, nick: str, reason: str, *, override: bool = False
) -> Iterator[ev.Event]:
    """A member is removed; by staff, and never by somebody who stands lower."""
    channel = visible_channel(state, name, actor, sees_hidden=override)
    if not override:
        require_member(channel, actor)
        require_staff(channel, actor)
    kicked = person_named(state, nick)
    if kicked.uid not in channel.members:
        raise NumericError(ERR_USERNOTINCHANNEL, kicked.nick, channel.name)
    if not override:
        if "Q" in channel.flags:
            raise NumericError(ERR_CHANOPRIVSNEEDED, channel.name, text="Kicks are not allowed here (+Q)")
        if rank(channel.members[kicked.uid]) > rank(channel.members[actor]):
            raise NumericError(
                ERR_CHANOPRIVSNEEDED, channel.name, text=f"{kicked.nick} stands above you on this channel"
            )
    yield ev.ChannelKick(
        actor_uid=actor,
        target=channel.key,
        nick=actor_of(state, actor).nick,
        member_uid=kicked.uid,
        member=kicked.nick,
        name=channel.name,
        reason=reason,
        prefixes="",
    )


def _check_topic_lock(state: ServerState, channel: Channel, actor: str) -> None:
    if "t" not in flags_of(state, channel, state.users[actor]):
        raise NumericError(ERR_CHANOPRIVSNEEDED, channel.name, text="The topic is locked (ChanServ SET TOPICLOCK)")


# --- invitations --------------------------------------------------------------------------------------------------


def decide_invite(
    state: ServerState, actor: str, nick: str, name: str, *, override: bool = False
) -> Iterator[ev.Event]:
    """A user is invited: by any member, or by staff where the channel is invite-only (+i) and not +g.

    Whom staff invite they want there: its bans, key and limit do not hold then.  Other members lift nothing.
    """
    invited = person_named(state, nick)
    channel = visible_channel(state, name, actor, sees_hidden=override)
    if not override:
        require_member(channel, actor)
        if "V" in channel.flags:
            raise NumericError(ERR_CHANOPRIVSNEEDED, channel.name, text="Invitations are not allowed here (+V)")
        if "i" in channel.flags and "g" not in channel.flags:
            require_staff(channel, actor)
    if invited.uid in channel.members:
        raise NumericError(ERR_USERONCHANNEL, invited.nick, channel.name)
    yield ev.ChannelInvite(
        actor_uid=actor,
        target=channel.key,
        nick=state.users[actor].nick,
        member_uid=invited.uid,
        member=invited.nick,
        by_staff=override or channel.has_any(actor, STAFF),
    )


def check_knock(state: ServerState, uid: str, name: str) -> Channel:
    """The channel that `uid` may ask for an invitation to; raises the numeric that says why not."""
    channel = visible_channel(state, name, uid)
    if uid in channel.members:
        raise NumericError(ERR_KNOCKONCHAN, channel.name)
    if not channel.flags & {"i"} and not channel.params.keys() & {"k"}:
        raise NumericError(ERR_CHANOPEN, channel.name)
    if "K" in channel.flags:
        raise NumericError(ERR_CANNOTKNOCK, channel.name, text="Cannot knock (+K)")
    if is_banned(state, channel, state.users[uid]):
        raise NumericError(ERR_CANNOTKNOCK, channel.name, text="Cannot knock, you are banned (+b)")
    return channel


# --- rename -------------------------------------------------------------------------------------------------------


def decide_rename(
    state: ServerState, actor: str, name: str, new_name: str, reason: str, *, max_length: int, override: bool = False
) -> Iterator[ev.Event]:
    """A channel gets another name, by one of its operators, or where it is registered by whoever may change settings.

    Raises numerics, and StandardReply where the new name is taken or none (IRCv3 draft/channel-rename).
    """
    channel = visible_channel(state, name, actor, sees_hidden=override)
    if not override:
        require_member(channel, actor)
        require_staff(channel, actor, OPERATORS)
        if channel.registration is not None and "s" not in flags_of(state, channel, state.users[actor]):
            raise NumericError(ERR_CHANOPRIVSNEEDED, channel.name, text="The channel is registered (ChanServ flag s)")
    if not valid_channel(new_name, max_length):
        raise StandardReply("FAIL", "CANNOT_RENAME", channel.name, new_name, text="This is no name of a channel")
    holder = state.channel_by_name(new_name)
    if holder is not None and holder is not channel:
        raise StandardReply(
            "FAIL", "CHANNEL_NAME_IN_USE", channel.name, new_name, text="There is a channel of this name already"
        )
    if new_name != channel.name:
        yield ev.ChannelRename(
            actor_uid=actor,
            target=channel.key,
            nick=state.users[actor].nick,
            name=channel.name,
            new_name=new_name,
            reason=reason,
            named_at="" if state.fold(new_name) == channel.key else channel.named_at or channel.created_at,
        )


# --- topic --------------------------------------------------------------------------------------------------------


def decide_topic(
    state: ServerState, actor: str, name: str, topic: str, max_bytes: int, *, override: bool = False
) -> Iterator[ev.Event]:
    """A topic is set or, if empty, removed: by any member, or by staff where the channel has +t."""
    channel = visible_channel(state, name, actor, sees_hidden=override)
    if not override:
        require_member(channel, actor)
        if "t" in channel.flags:
            require_staff(channel, actor)
        if channel.registration is not None and channel.registration.is_set("topiclock"):
            _check_topic_lock(state, channel, actor)
    user = actor_of(state, actor)
    yield ev.ChannelTopicChange(
        actor_uid=actor,
        target=channel.key,
        nick=user.nick,
        topic=truncate_utf8(topic, max_bytes),
        set_by=user.source,
        previous=channel.topic.text if channel.topic is not None else "",
    )
