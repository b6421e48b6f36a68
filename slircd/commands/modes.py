"""MODE: of channels and of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slircd.commands.registry import Context, command
from slircd.events.clock import format_timestamp, parse_timestamp
from slircd.rules.lookup import channel_named, may_see_channel, user_named
from slircd.rules.modes import (
    ModeLimits,
    decide_channel_modes,
    decide_user_modes,
    unknown_user_modes,
)
from slircd.wire.modes import CHANNEL_MODES, USER_MODES, Change, format_changes, parse_changes
from slircd.wire.numerics import (
    ERR_INVALIDMODEPARAM,
    ERR_NEEDMOREPARAMS,
    ERR_NOSUCHCHANNEL,
    ERR_UMODEUNKNOWNFLAG,
    ERR_UNKNOWNMODE,
    ERR_USERSDONTMATCH,
    RPL_BANLIST,
    RPL_CHANNELMODEIS,
    RPL_CREATIONTIME,
    RPL_ENDOFBANLIST,
    RPL_ENDOFEXCEPTLIST,
    RPL_ENDOFINVEXLIST,
    RPL_ENDOFQUIETLIST,
    RPL_EXCEPTLIST,
    RPL_INVEXLIST,
    RPL_QUIETLIST,
    RPL_UMODEIS,
    NumericError,
)

if TYPE_CHECKING:
    from slircd.state.model import Channel

LISTS: Final = {
    "b": (RPL_BANLIST, RPL_ENDOFBANLIST),
    "e": (RPL_EXCEPTLIST, RPL_ENDOFEXCEPTLIST),
    "I": (RPL_INVEXLIST, RPL_ENDOFINVEXLIST),
}

QUIET_PREFIX: Final = "~m:"


@command("MODE", params=1)
async def mode(ctx: Context, target: str, *words: str) -> None:
    """MODE <channel> [<modes> {<parameter>}] | <nick> [<modes>]  (RFC 2812 3.1.5, 3.2.3)

    Shows or changes modes.  HELP CMODES and HELP UMODES list them.
    """
    if target.startswith("#"):
        channel = channel_named(ctx.state, target)
        if not may_see_channel(channel, ctx.uid, sees_hidden=_sees_hidden(ctx)):
            raise NumericError(ERR_NOSUCHCHANNEL, target)
        if words:
            await change_channel_modes(ctx, channel, words, override=ctx.has_privilege("override"))
        else:
            show_channel_modes(ctx, channel)
        return
    user = user_named(ctx.state, target)
    if user.uid != ctx.uid:
        raise NumericError(ERR_USERSDONTMATCH)
    if words:
        await _change_user_modes(ctx, words)
    else:
        ctx.reply(RPL_UMODEIS, "+" + "".join(sorted(user.modes)))


def _sees_hidden(ctx: Context) -> bool:
    return ctx.has_privilege("see-hidden") or ctx.has_privilege("override")


# --- channels -----------------------------------------------------------------------------------------------------


def show_channel_modes(ctx: Context, channel: Channel) -> None:
    """RPL_CHANNELMODEIS and RPL_CREATIONTIME; the key shows to members only."""
    changes = [Change("+", letter) for letter in sorted(channel.flags)]
    inside = ctx.uid in channel.members or ctx.has_privilege("override")
    for letter, value in sorted(channel.params.items()):
        changes.append(Change("+", letter, value if letter != "k" or inside else "*"))
    words = next(format_changes(changes, len(changes) or 1, 400), ("+",))
    ctx.reply(RPL_CHANNELMODEIS, channel.name, *words)
    ctx.reply(RPL_CREATIONTIME, channel.name, int(parse_timestamp(channel.created_at)))


async def change_channel_modes(ctx: Context, channel: Channel, words: tuple[str, ...], *, override: bool) -> None:
    """Run the changes and the queries of a MODE for a channel."""
    parsed = parse_changes(words, CHANNEL_MODES)
    # `+q` or `q` without anything asks for the quiets; the prefix mode q would need a nick.
    quiets = [letter for letter in parsed.missing if letter == "q"]
    missing = [letter for letter in parsed.missing if letter != "q"]
    limits = ctx.config.limits
    with_parameter = 0
    changes: list[Change] = []
    for change in parsed.changes:
        with_parameter += change.param is not None
        if with_parameter > limits.modes and change.param is not None:
            break
        changes.append(change)

    def expiry(minutes: int) -> str:
        return format_timestamp(ctx.server.epoch_s() + 60 * minutes)

    for letter in parsed.unknown:
        ctx.reply(ERR_UNKNOWNMODE, letter)
    for letter in missing:
        ctx.reply(ERR_INVALIDMODEPARAM, channel.name, letter, "*", text="This mode needs a parameter")
    for letter in parsed.queries:
        _show_list(ctx, channel, letter)
    if quiets:
        _show_quiets(ctx, channel)
    decided = decide_channel_modes(
        ctx.state,
        ctx.uid,
        channel,
        changes,
        ModeLimits(limits.list_entries, limits.keylen),
        expiry,
        override=override,
        oper=ctx.is_oper,
    )
    if decided.events:
        await ctx.channel(channel.name).emit(decided.events, ctx)
    for error in decided.refused:
        ctx.refuse(error)


def _show_list(ctx: Context, channel: Channel, letter: str) -> None:
    each, end = LISTS[letter]
    for entry in channel.entries(letter).values():
        ctx.reply(each, channel.name, entry.mask, entry.set_by, int(parse_timestamp(entry.set_at)))
    ctx.reply(end, channel.name)


def _show_quiets(ctx: Context, channel: Channel) -> None:
    for entry in channel.entries("b").values():
        if entry.mask.startswith(QUIET_PREFIX):
            mask = entry.mask.removeprefix(QUIET_PREFIX)
            ctx.reply(RPL_QUIETLIST, channel.name, "q", mask, entry.set_by, int(parse_timestamp(entry.set_at)))
    ctx.reply(RPL_ENDOFQUIETLIST, channel.name, "q")


# --- users --------------------------------------------------------------------------------------------------------


async def _change_user_modes(ctx: Context, words: tuple[str, ...]) -> None:
    if not words[0]:
        raise NumericError(ERR_NEEDMOREPARAMS, "MODE")
    if unknown_user_modes(words[0]):
        ctx.reply(ERR_UMODEUNKNOWNFLAG)
    parsed = parse_changes(words, USER_MODES)
    changes = parsed.changes + [Change("+", "s") for letter in parsed.missing if letter == "s"]

    def cloak(user: object) -> str:
        return ctx.server.cloak.cloak(ctx.user.ip)

    await ctx.emit(decide_user_modes(ctx.state, ctx.uid, changes, cloak, oper=ctx.is_oper))
