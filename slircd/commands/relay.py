"""RELAYMSG: bridges speak for people of other networks (ergo.chat, draft/relaymsg)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from slircd.commands.delivery import Said, deliver_to_channel, echo, to_spoken
from slircd.commands.messaging import finish, is_filtered, is_free, is_kept
from slircd.commands.registry import Context, command
from slircd.rules.channel import OPERATORS
from slircd.rules.history import decide_message
from slircd.rules.lookup import channel_named, may_see_channel
from slircd.rules.message import check_channel_text, hearing_modes
from slircd.wire.names import valid_nick
from slircd.wire.numerics import (
    ERR_NOSUCHCHANNEL,
    ERR_NOTEXTTOSEND,
    ERR_UNKNOWNCOMMAND,
    NumericError,
    StandardReply,
)


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
    said = check_channel_text(ctx.state, channel, user, text)
    if is_filtered(ctx, said):
        return None
    source, what = f"{nick}!{user.username}@{user.host}", Said("PRIVMSG", said, ctx.client_tags())
    modes = hearing_modes(channel, user)
    if not modes and is_kept(ctx, channel, what):
        turn = ctx.emit(decide_message(ctx.state, user, "PRIVMSG", channel, what, source=source))
        return finish(ctx, [turn], quiet=False)
    server = ctx.server
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
    deliver_to_channel(ctx.channel(name), spoken, ctx.session, modes=modes, free=is_free(ctx, user.uid, channel.key))
    echo(ctx, spoken)
    return None
