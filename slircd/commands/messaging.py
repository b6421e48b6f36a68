"""PRIVMSG, NOTICE, TAGMSG.

Messages change no state, so they are no events and go straight to the outboxes.  While the log cannot be written, a
message between people and on channels that have nothing unwritten is delivered at once; others wait with what they
could reveal.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from slircd.commands.registry import Context, command, tags_of, targets
from slircd.rules.lookup import channel_named, may_see_channel
from slircd.rules.message import check_channel_text, check_private_text, is_silenced
from slircd.rules.modes import parse_rate
from slircd.services.directory import SERVICES
from slircd.wire.capabilities import ECHO_MESSAGE, MESSAGE_TAGS
from slircd.wire.line import Line
from slircd.wire.modes import CHANNEL_MODES
from slircd.wire.numerics import (
    ERR_CANNOTSENDTOCHAN,
    ERR_NORECIPIENT,
    ERR_NOSUCHCHANNEL,
    ERR_NOSUCHNICK,
    ERR_NOTEXTTOSEND,
    RPL_AWAY,
    NumericError,
)

if TYPE_CHECKING:
    from slircd.network.channels import ChannelService
    from slircd.network.session import Session
    from slircd.state.model import User

SYMBOLS: Final = {symbol: mode for mode, symbol in CHANNEL_MODES.prefixes.items()}


@command("PRIVMSG")
def privmsg(ctx: Context, to: str = "", text: str = "") -> Coroutine[Any, Any, None] | None:
    """PRIVMSG <target>{,<target>} <text>  (RFC 2812 3.3.1)

    Sends a message to users, channels, or a channel's members from a prefix up (@#channel).
    """
    service = SERVICES.get(ctx.state.fold(to))
    if service is not None and text:
        # What is said to a service may be a secret: it is neither passed on nor echoed.
        return service.handle(ctx, text)
    _to_each(ctx, "PRIVMSG", to, text, ctx.config.limits.targets.privmsg)
    return None


@command("NOTICE")
def notice(ctx: Context, to: str = "", text: str = "") -> None:
    """NOTICE <target>{,<target>} <text>  (RFC 2812 3.3.2)

    Sends a message that nothing may answer automatically.
    """
    _to_each(ctx, "NOTICE", to, text, ctx.config.limits.targets.notice)


@command("TAGMSG")
def tagmsg(ctx: Context, to: str = "") -> None:
    """TAGMSG <target>{,<target>}  (IRCv3 message-tags)

    Sends tags without a text, to clients that know tags.
    """
    if not ctx.caps & MESSAGE_TAGS or not tags_of(ctx.message):
        return
    _to_each(ctx, "TAGMSG", to, None, ctx.config.limits.targets.tagmsg)


def _to_each(ctx: Context, verb: str, to: str, text: str | None, limit: int) -> None:
    quiet = verb == "NOTICE"
    try:
        if not to:
            raise NumericError(ERR_NORECIPIENT, text=f"No recipient given ({verb})")
        if text == "":
            raise NumericError(ERR_NOTEXTTOSEND)
        names = [to] if "," not in to else targets(to, limit)
        if text and is_filtered(ctx, text):
            if not ctx.session.is_closed and not quiet:
                ctx.standard_reply(
                    "FAIL", "MESSAGE_BLOCKED", to.split(",")[0], text="A spam filter blocks this message"
                )
            return
        for target in names:
            try:
                _to_one(ctx, verb, target, text)
            except NumericError as error:
                # Nothing may answer a NOTICE, errors included (RFC 2812 3.3.2).
                if not quiet:
                    ctx.refuse(error)
    except NumericError:
        if not quiet:
            raise


def is_filtered(ctx: Context, text: str) -> bool:
    """Whether a spam filter takes `text`; staff are told, and a sender may be killed for it."""
    user = ctx.user
    met = ctx.server.bans.filters.match(text) if not user.is_oper else None
    if met is None:
        return False
    ctx.server.bans.notify("s", f"{user.source} met the filter {met.pattern} ({met.action})")
    if met.action == "kill":
        ctx.session.close(f"Spam: {met.reason}")
    return met.action != "warn"


def _to_one(ctx: Context, verb: str, target: str, text: str | None) -> None:
    if target.lstrip("~&@%+").startswith("#"):
        _to_channel(ctx, verb, target, text)
    else:
        _to_user(ctx, verb, target, text)


def _line(ctx: Context, user: User, body: str) -> Line:
    message = ctx.message
    return Line(
        body,
        timestamp=ctx.server.timestamp(),
        account=user.account,
        msgid=ctx.server.new_msgid(),
        client_tags=tags_of(message) if message.tags else None,
        bot="B" in user.modes,
    )


def _body(user: User, verb: str, target: str, text: str | None) -> str:
    head = f":{user.nick}!{user.username}@{user.host} {verb} {target}"
    return head if text is None else f"{head} :{text}"


def _echo(ctx: Context, line: Line) -> None:
    if ctx.session.caps & ECHO_MESSAGE:
        ctx.send(line)


# --- channels -----------------------------------------------------------------------------------------------------


def _to_channel(ctx: Context, verb: str, target: str, text: str | None) -> None:
    state, session = ctx.state, ctx.session
    user = state.users[session.uid]
    name = target.lstrip("~&@%+")
    channel = channel_named(state, name)
    override = user.is_oper and ctx.has_privilege("override")
    if not override and not may_see_channel(channel, user.uid):
        # A secret channel that takes messages from outside still may not be told from one that is not there.
        raise NumericError(ERR_NOSUCHCHANNEL, name)
    said = check_channel_text(state, channel, user, text or "", notice=verb == "NOTICE", override=override)
    service = ctx.server.channels.named(name)
    if "f" in channel.params and not override:
        _check_rate(ctx, service)
    if verb != "TAGMSG":
        session.last_message_s = ctx.server.reactor.seconds()
    symbols = target[: -len(name)]
    line = _line(ctx, user, _body(user, verb, symbols[:1] + channel.name, None if text is None else said))
    free = _is_free(ctx, user.uid, channel.key)
    if symbols:
        _to_prefix(service, line, session, CHANNEL_MODES.at_least(SYMBOLS[symbols[0]]), free=free)
    elif verb == "TAGMSG":
        for other in service.sessions:
            if other is not session and other.caps & MESSAGE_TAGS and other not in service.deaf:
                other.send(line, free=free)
    else:
        service.tell(line, but=session, free=free)
    _echo(ctx, line)


def _to_prefix(service: ChannelService, line: Line, sender: Session, modes: str, *, free: bool) -> None:
    channel = service.channel
    for other in service.sessions:
        if other is not sender and other not in service.deaf and channel.has_any(other.uid, modes):
            other.send(line, free=free)


def _check_rate(ctx: Context, service: ChannelService) -> None:
    channel = service.channel
    rate = parse_rate(channel.params["f"])
    if rate is None or channel.members.get(ctx.uid):
        return
    if service.within(f"text {ctx.uid}", ctx.server.reactor.seconds(), rate.seconds) > rate.most:
        raise NumericError(
            ERR_CANNOTSENDTOCHAN, channel.name, text=f"{ERR_CANNOTSENDTOCHAN.text}, you are too fast (+f)"
        )


def _is_free(ctx: Context, *names: str) -> bool:
    """Whether a message need not wait for a log that cannot be written: nothing of these names is unwritten."""
    bus = ctx.server.bus
    return bus.degraded and bus.unwritten_names().isdisjoint(names)


# --- users --------------------------------------------------------------------------------------------------------


def _to_user(ctx: Context, verb: str, nick: str, text: str | None) -> None:
    state, session = ctx.state, ctx.session
    user = state.users[session.uid]
    recipient = state.user_by_nick(nick)
    if recipient is None:
        raise NumericError(ERR_NOSUCHNICK, nick)
    if recipient.is_service:
        # Among several targets, or by NOTICE: nothing that a service would run.
        return
    check_private_text(user, recipient, text or "")
    if verb != "TAGMSG":
        session.last_message_s = ctx.server.reactor.seconds()
    line = _line(ctx, user, _body(user, verb, recipient.nick, text))
    free = _is_free(ctx, user.uid, recipient.uid)
    for other in ctx.server.users.sessions_of(recipient.uid):
        if verb == "TAGMSG" and not other.caps & MESSAGE_TAGS:
            continue
        if other.silenced and is_silenced(state, user, other.silenced.values()):
            continue
        other.send(line, free=free)
    _echo(ctx, line)
    if recipient.away is not None and verb == "PRIVMSG":
        ctx.reply(RPL_AWAY, recipient.nick, text=recipient.away)
