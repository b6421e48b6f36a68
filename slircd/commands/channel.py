"""Channels: JOIN, PART, TOPIC, KICK, RENAME, INVITE, KNOCK, NAMES, LIST."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from slircd.commands.messaging import is_filtered
from slircd.commands.names import end_of_names, send_implicit_names, send_names, topic_lines
from slircd.commands.registry import Context, command, targets
from slircd.events.clock import parse_timestamp
from slircd.rules.channel import (
    OPERATORS,
    check_knock,
    decide_invite,
    decide_join,
    decide_kick,
    decide_part,
    decide_part_all,
    decide_rename,
    decide_topic,
    link_of,
)
from slircd.rules.lookup import may_see_channel, visible_channel
from slircd.rules.modes import parse_rate
from slircd.wire.capabilities import CHANNEL_RENAME
from slircd.wire.line import Line
from slircd.wire.masks import matches_glob
from slircd.wire.message import truncate_utf8
from slircd.wire.numerics import (
    ERR_LINKCHANNEL,
    ERR_NEEDMOREPARAMS,
    ERR_THROTTLE,
    ERR_TOOMANYKNOCK,
    ERR_TOOMANYTARGETS,
    RPL_AWAY,
    RPL_ENDOFINVITELIST,
    RPL_INVITELIST,
    RPL_INVITING,
    RPL_KNOCK,
    RPL_KNOCKDLVR,
    RPL_LIST,
    RPL_LISTEND,
    RPL_LISTSTART,
    RPL_NOTOPIC,
    NumericError,
    StandardReply,
)

if TYPE_CHECKING:
    from slircd.events.types import Event
    from slircd.state.model import Channel

KNOCKS: Final = 1
KNOCK_WINDOW_S: Final = 60
"""How often one user may knock on one channel."""

CONDITIONS: Final = 10
"""Conditions of one LIST, of which each is looked at for each channel."""

RENAMES: Final = 2
RENAME_WINDOW_S: Final = 60
"""How often one channel may be renamed: each time all its members are told who is there."""

MAX_TOLD: Final = 1_000_000
"""Names that a renaming may send: members who know no RENAME (they are told all names) times members."""


# --- JOIN, PART ---------------------------------------------------------------------------------------------------


@command("JOIN", params=1)
async def join(ctx: Context, channels: str, keys: str = "") -> None:
    """JOIN <channel>{,<channel>} [<key>{,<key>}] | 0  (RFC 2812 3.2.1)

    Joins channels, or leaves them all with 0.
    """
    if channels == "0":
        await ctx.emit(decide_part_all(ctx.state, ctx.uid))
        return
    given = iter(keys.split(","))
    for name in targets(channels, ctx.config.limits.targets.join):
        key = next(given, "")
        try:
            await _join_one(ctx, name, key)
            while ctx.owed:
                await send_implicit_names(ctx.server, ctx.session, ctx.owed.pop(), ctx.send, ctx.next_turn)
        except NumericError as error:
            ctx.refuse(error)


def _decide_join(ctx: Context, name: str, key: str, *, override: bool) -> list[Event]:
    limits = ctx.config.limits
    return list(
        decide_join(
            ctx.state,
            ctx.uid,
            name,
            key,
            max_channels=limits.channels_per_user,
            max_length=limits.channellen,
            override=override,
            oper=ctx.is_oper,
        )
    )


def _follow_link(ctx: Context, name: str, refusal: NumericError) -> tuple[str, list[Event]] | None:
    """The channel that is joined instead, and the decision; None if there is none, or it refuses, too.

    One link is followed: the channel behind it sends nobody on.
    """
    linked = link_of(ctx.state, name, refusal)
    if linked is None:
        return None
    try:
        decision = _decide_join(ctx, linked.name, "", override=False)
    except NumericError:
        # Nothing was asked of the other channel, and whether it is there is nobody's business.
        return None
    if not decision:
        return None
    ctx.reply(ERR_LINKCHANNEL, *refusal.params, linked.name)
    return linked.name, decision


async def _join_one(ctx: Context, name: str, key: str) -> None:
    override = ctx.has_privilege("override")
    try:
        decision = _decide_join(ctx, name, key, override=override)
    except NumericError as refusal:
        instead = _follow_link(ctx, name, refusal)
        if instead is None:
            # Not from inside there: a frame that holds the exception it raises is a cycle.
            raise
        name, decision = instead
    service = ctx.server.channels.get(ctx.state.fold(name))
    if service is None:
        await ctx.emit(decision)
        return
    rate = parse_rate(service.channel.params.get("j", ""))
    now = ctx.server.reactor.seconds()
    if decision and rate is not None and not override and service.within("joins", now, rate.seconds) > rate.most:
        raise NumericError(ERR_THROTTLE, service.channel.name)
    await service.emit(decision, ctx)


@command("PART", params=1)
async def part(ctx: Context, channels: str, reason: str = "") -> None:
    """PART <channel>{,<channel>} [<reason>]  (RFC 2812 3.2.2)

    Leaves channels.
    """
    text = truncate_utf8(reason, ctx.config.limits.quitlen)
    if text and is_filtered(ctx, text):
        text = ""
    for name in targets(channels, ctx.config.limits.targets.part):
        try:
            await ctx.channel(name).emit(decide_part(ctx.state, ctx.uid, name, text), ctx)
        except NumericError as error:
            ctx.refuse(error)


# --- TOPIC, KICK, RENAME, INVITE, KNOCK ---------------------------------------------------------------------------


@command("TOPIC", params=1)
async def topic(ctx: Context, name: str, text: str | None = None) -> None:
    """TOPIC <channel> [<topic>]  (RFC 2812 3.2.4)

    Shows a channel's topic, or sets it; an empty one removes it.
    """
    override = ctx.has_privilege("override")
    if text is None:
        sees_hidden = override or ctx.has_privilege("see-hidden")
        channel = visible_channel(ctx.state, name, ctx.uid, sees_hidden=sees_hidden)
        if channel.topic is None:
            ctx.reply(RPL_NOTOPIC, channel.name)
        for body in topic_lines(ctx.server, ctx.session, channel):
            ctx.send_text(body)
        return
    limit = ctx.config.limits.topiclen
    decision = decide_topic(ctx.state, ctx.uid, name, text, limit, override=override)
    await ctx.channel(name).emit(decision, ctx)


@command("KICK", params=2)
async def kick(ctx: Context, channels: str, nicks: str, reason: str = "") -> None:
    """KICK <channel>{,<channel>} <nick>{,<nick>} [<reason>]  (RFC 2812 3.2.8)

    Removes members from a channel, or each from the channel at its place.
    """
    text = truncate_utf8(reason or ctx.nick, ctx.config.limits.kicklen)
    override = ctx.has_privilege("override")
    names = channels.split(",")
    wanted = list(targets(nicks, ctx.config.limits.targets.kick))
    if len(names) not in (1, len(wanted)):
        raise NumericError(ERR_NEEDMOREPARAMS, "KICK", text="Give one channel, or one for each nick")
    for name, nick in zip(names if len(names) > 1 else names * len(wanted), wanted, strict=True):
        try:
            decision = list(decide_kick(ctx.state, ctx.uid, name, nick, text, override=override))
            await ctx.channel(name).emit(decision, ctx)
        except NumericError as error:
            ctx.refuse(error)


@command("RENAME", params=2)
async def rename(ctx: Context, name: str, new_name: str, reason: str = "") -> None:
    """RENAME <channel> <new name> [<reason>]  (IRCv3 draft/channel-rename)

    Gives a channel another name; members, modes, lists and topic stay.
    """
    text = truncate_utf8(reason, ctx.config.limits.kicklen)
    if text and is_filtered(ctx, text):
        text = ""
    override = ctx.has_privilege("override")
    limit = ctx.config.limits.channellen
    decision = list(decide_rename(ctx.state, ctx.uid, name, new_name, text, max_length=limit, override=override))
    service = ctx.channel(name)
    now = ctx.server.reactor.seconds()
    if decision and not override and service.within("renames", now, RENAME_WINDOW_S) > RENAMES:
        raise StandardReply(
            "FAIL", "CANNOT_RENAME", service.channel.name, new_name, text="The channel was renamed a moment ago"
        )
    told = sum(not session.caps & CHANNEL_RENAME for session in service.sessions)
    if decision and told * len(service.channel.members) > MAX_TOLD:
        raise StandardReply(
            "FAIL", "CANNOT_RENAME", service.channel.name, new_name, text="Too many would have to be told who is there"
        )
    await service.emit(decision, ctx)


@command("INVITE")
async def invite(ctx: Context, nick: str = "", name: str = "") -> None:
    """INVITE [<nick> <channel>]  (RFC 2812 3.2.7)

    Invites a user to a channel, and if one may lift bans there, past its bans, key and limit; without parameters shows
    the channels that one is invited to.
    """
    if not nick:
        for key in ctx.state.invited.get(ctx.uid, ()):
            ctx.reply(RPL_INVITELIST, ctx.state.channels[key].name)
        ctx.reply(RPL_ENDOFINVITELIST)
        return
    if not name:
        raise NumericError(ERR_NEEDMOREPARAMS, "INVITE")
    override = ctx.has_privilege("override")
    # The rule runs before the look-up of the service: it has the better errors, in the expected order.
    decision = list(decide_invite(ctx.state, ctx.uid, nick, name, override=override))
    await ctx.channel(name).emit(decision, ctx)
    channel = ctx.state.channel_by_name(name)
    invited = ctx.state.user_by_nick(nick)
    if channel is None or invited is None:
        return
    ctx.reply(RPL_INVITING, invited.nick, channel.name)
    if invited.away is not None:
        ctx.reply(RPL_AWAY, invited.nick, text=invited.away)


@command("KNOCK", params=1)
def knock(ctx: Context, name: str, reason: str = "") -> None:
    """KNOCK <channel> [<reason>]

    Asks the operators of an invite-only channel for an invitation.
    """
    channel = check_knock(ctx.state, ctx.uid, name)
    service = ctx.channel(name)
    now = ctx.server.reactor.seconds()
    if service.within(f"knock {ctx.uid}", now, KNOCK_WINDOW_S) > KNOCKS:
        raise NumericError(ERR_TOOMANYKNOCK, channel.name)
    source = ctx.user.source
    text = f"{RPL_KNOCK.text} ({truncate_utf8(reason, 200)})" if reason else RPL_KNOCK.text
    timestamp = ctx.server.timestamp()
    for session in service.sessions:
        if channel.has_any(session.uid, OPERATORS):
            body = f":{ctx.server.server_name} {RPL_KNOCK.code} {session.display_nick} {channel.name} {source} :{text}"
            session.send(Line(body, timestamp=timestamp))
    ctx.reply(RPL_KNOCKDLVR, channel.name)


# --- NAMES, LIST --------------------------------------------------------------------------------------------------


@command("NAMES")
async def names(ctx: Context, channels: str = "") -> None:
    """NAMES <channel>{,<channel>}  (RFC 2812 3.2.5)

    Shows who is on channels.
    """
    for name in targets(channels, ctx.config.limits.targets.names):
        channel = ctx.state.channel_by_name(name)
        if channel is not None:
            await send_names(ctx.server, ctx.session, channel, ctx.send, ctx.next_turn)
    ctx.send_text(end_of_names(ctx.server, ctx.session, channels or "*"))


@command("LIST")
async def list_(ctx: Context, conditions: str = "", _target: str = "") -> None:
    """LIST [<channel or condition>{,<channel or condition>}]  (RFC 2812 3.2.6, ELIST)

    Shows channels.  Conditions: <N and >N members, C<N and C>N minutes since creation, T<N and T>N minutes since the
    topic was set, a mask of names, !mask of names that are left out.

    A long list comes in pieces, however slowly it is read (SAFELIST): what is there from its beginning to its end is
    in it once.
    """
    words = [word for word in conditions.split(",") if word]
    plain = [word for word in words if word.startswith("#") and not any(sign in word for sign in "*?")]
    tests = [_condition(ctx, word) for word in words if word not in plain]
    if len(tests) > CONDITIONS:
        text = f"Too many conditions, at most {CONDITIONS} are allowed"
        raise NumericError(ERR_TOOMANYTARGETS, conditions.split(",")[0], text=text)
    if plain:
        named = (ctx.state.channel_by_name(name) for name in plain)
        candidates = [channel for channel in named if channel is not None]
    else:
        candidates = list(ctx.state.channels.values())
    ctx.work += len(candidates)
    ctx.reply(RPL_LISTSTART, "Channel")
    async for piece in ctx.pieces(candidates):
        sees_hidden = ctx.has_privilege("see-hidden")
        for channel in piece:
            if ctx.state.channels.get(channel.key) is not channel:
                continue  # gone meanwhile
            if not channel.members and "P" not in channel.flags:
                continue  # registered, and nobody is there
            if may_see_channel(channel, ctx.uid, sees_hidden=sees_hidden) and all(test(channel) for test in tests):
                text = channel.topic.text if channel.topic is not None else ""
                ctx.reply(RPL_LIST, channel.name, len(channel.members), text=text)
    ctx.reply(RPL_LISTEND)


def _condition(ctx: Context, word: str) -> Callable[[Channel], bool]:
    """The test that a condition of LIST stands for; one that is none is a mask that nothing matches."""
    now = ctx.server.epoch_s()
    letter = word[0].upper() if word[0] in "CcTt" else ""
    sign, number = word[len(letter) : len(letter) + 1], word[len(letter) + 1 :]
    if sign in ("<", ">") and number.isascii() and number.isdigit():
        limit = int(number[:12])

        def compares(value: float) -> bool:
            return value < limit if sign == "<" else value > limit

        def minutes_since(timestamp: str) -> float:
            since: float = now - parse_timestamp(timestamp)
            return since / 60

        if letter == "C":
            return lambda channel: compares(minutes_since(channel.created_at))
        if letter == "T":
            return lambda channel: channel.topic is not None and compares(minutes_since(channel.topic.set_at))
        return lambda channel: compares(len(channel.members))
    mask = ctx.state.fold(word.removeprefix("!"))
    wanted = not word.startswith("!")
    return lambda channel: matches_glob(mask, channel.key) == wanted
