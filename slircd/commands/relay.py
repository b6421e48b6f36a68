"""RELAYMSG: bridges speak for people of other networks (ergo.chat, draft/relaymsg)."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from slircd.commands.delivery import Said, deliver_to_channel, echo, spoken_of, to_spoken
from slircd.commands.messaging import is_filtered, is_free, is_kept
from slircd.commands.registry import Context, command
from slircd.events.types import Message
from slircd.rules.channel import OPERATORS
from slircd.rules.history import decide_message
from slircd.rules.lookup import channel_named, may_see_channel
from slircd.rules.message import check_channel_text, hearing_modes
from slircd.wire.capabilities import ECHO_MESSAGE
from slircd.wire.names import valid_nick
from slircd.wire.numerics import (
    ERR_NOSUCHCHANNEL,
    ERR_NOTEXTTOSEND,
    ERR_UNKNOWNCOMMAND,
    NumericError,
    StandardReply,
)

if TYPE_CHECKING:
    from slircd.state.model import Channel


def valid_relayed_nick(nick: str, separator: str, max_length: int) -> bool:
    """Whether `nick` may be that of somebody elsewhere: a nick but for the separator, which no nick here can have."""
    parts = nick.split(separator)
    return len(parts) > 1 and len(nick) <= 2 * max_length and all(valid_nick(part, max_length) for part in parts)


@command("RELAYMSG", params=3)
def relaymsg(ctx: Context, name: str, nick: str, text: str) -> Coroutine[Any, Any, None] | None:
    """RELAYMSG <channel> <nick> <text>  (draft/relaymsg)

    Says something on a channel for somebody of another network.
    """
    config = ctx.config.relay
    if not config.enabled:
        raise NumericError(ERR_UNKNOWNCOMMAND, "RELAYMSG")
    channel = channel_named(ctx.state, name)
    if not may_see_channel(channel, ctx.uid):
        raise NumericError(ERR_NOSUCHCHANNEL, name)
    if not text:
        raise NumericError(ERR_NOTEXTTOSEND)
    if not ctx.has_privilege("relaymsg") and not (config.channel_operators and channel.has_any(ctx.uid, OPERATORS)):
        raise StandardReply("FAIL", "PRIVS_NEEDED", text="You may not relay to this channel", always=True)
    if not valid_relayed_nick(nick, config.separator, ctx.config.limits.nicklen):
        raise StandardReply(
            "FAIL", "INVALID_NICK", text=f"A relayed nick is a nick with {config.separator} in it", always=True
        )
    user = ctx.user
    return say_for(ctx, channel, f"{nick}!{user.username}@{user.host}", text)


def say_for(
    ctx: Context, channel: Channel, source: str, text: str, *, always_shown: bool = False
) -> Coroutine[Any, Any, None] | None:
    """Say `text` on a channel for `source` (nick!user@host), who is nobody here.  Raises the numeric that refuses it.

    `always_shown`: the client that it comes from sees it even if it has asked for no echo.
    """
    server, user = ctx.server, ctx.user
    said = check_channel_text(ctx.state, channel, user, text)
    if is_filtered(ctx, said):
        return None
    what = Said("PRIVMSG", said, ctx.client_tags())
    modes = hearing_modes(channel, user)
    if not modes and is_kept(ctx, channel, what):
        decision = decide_message(ctx.state, user, "PRIVMSG", channel, what, source=source)
        return _say_kept(ctx, decision, always_shown=always_shown)
    spoken = to_spoken(
        server.server_name,
        source,
        channel.name,
        what,
        server.timestamp(),
        server.new_msgid(),
        None,
        relayed_by=user.nick,
    )
    free = is_free(ctx, user.uid, channel.key)
    deliver_to_channel(ctx.channel(channel.name), spoken, ctx.session, modes=modes, free=free)
    if always_shown:
        ctx.send_whole(spoken.lines_for(ctx.session))
    else:
        echo(ctx, spoken)
    return None


async def _say_kept(ctx: Context, decision: Iterator[Message], *, always_shown: bool) -> None:
    for event, stamp in await ctx.emit(decision):
        # Its rendering has echoed it where that was asked for.
        if always_shown and not ctx.caps & ECHO_MESSAGE and isinstance(event, Message):
            ctx.send_whole(spoken_of(ctx.server.server_name, event, stamp, event.to).lines_for(ctx.session))
