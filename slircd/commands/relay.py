"""RELAYMSG: bridges speak for people of other networks (ergo.chat, draft/relaymsg)."""

from __future__ import annotations

from slircd.commands.messaging import is_filtered, is_free
from slircd.commands.registry import Context, command
from slircd.rules.channel import OPERATORS
from slircd.rules.lookup import channel_named, may_see_channel
from slircd.rules.message import check_channel_text
from slircd.wire.capabilities import ECHO_MESSAGE, RELAYMSG
from slircd.wire.line import Line
from slircd.wire.names import valid_nick
from slircd.wire.numerics import (
    ERR_NOSUCHCHANNEL,
    ERR_NOTEXTTOSEND,
    ERR_UNKNOWNCOMMAND,
    NumericError,
    StandardReply,
)

TAG = "draft/relaymsg"
"""The tag that names who relayed."""


def valid_relayed_nick(nick: str, separator: str, max_length: int) -> bool:
    """Whether `nick` may be that of somebody elsewhere: a nick but for the separator, which no nick here can have."""
    parts = nick.split(separator)
    return len(parts) > 1 and len(nick) <= 2 * max_length and all(valid_nick(part, max_length) for part in parts)


@command("RELAYMSG", params=3)
def relaymsg(ctx: Context, name: str, nick: str, text: str) -> None:
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
        return
    timestamp, msgid = ctx.server.timestamp(), ctx.server.new_msgid()
    body = f":{nick}!{user.username}@{user.host} PRIVMSG {channel.name} :{said}"
    tags = ctx.client_tags()
    plain = Line(body, timestamp=timestamp, msgid=msgid, client_tags=tags)
    named = Line(body, timestamp=timestamp, msgid=msgid, client_tags=tags, server_tags={TAG: user.nick})
    free = is_free(ctx, user.uid, channel.key)
    service = ctx.channel(name)
    for session in service.sessions:
        if session is not ctx.session and session not in service.deaf:
            session.send(named if session.caps & RELAYMSG else plain, free=free)
    if ctx.caps & ECHO_MESSAGE:
        ctx.send(named if ctx.caps & RELAYMSG else plain)
