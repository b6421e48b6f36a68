"""PRIVMSG, NOTICE, TAGMSG.

Messages change no state, so they are no events and go straight to the outboxes, unless [history] asks to keep them:
then a message is an event like any other, and what its recipients see is that event's rendering.  While the log cannot
be written, a message that is none, between people and on channels that have nothing unwritten, is delivered at once;
others wait with what they could reveal.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from slircd.commands.backlog import PLAYBACK, playback
from slircd.commands.delivery import Said, Spoken, deliver_to_channel, deliver_to_user, echo, to_spoken
from slircd.commands.registry import Context, command, targets
from slircd.events.bus import StoreUnavailable
from slircd.events.codec import EncodeError
from slircd.rules.history import decide_message, is_kept_of_channel, is_kept_of_users, is_worth_keeping
from slircd.rules.lookup import channel_named, may_see_channel
from slircd.rules.message import GUARDED, check_channel_text, check_private_text, hearing_modes, is_silenced
from slircd.rules.modes import parse_rate
from slircd.services.directory import SERVICES
from slircd.wire.capabilities import ECHO_MESSAGE, MESSAGE_TAGS
from slircd.wire.formatting import strip_formatting
from slircd.wire.line import Line
from slircd.wire.modes import CHANNEL_MODES
from slircd.wire.numerics import (
    ERR_CANNOTSENDTOCHAN,
    ERR_NORECIPIENT,
    ERR_NOSUCHCHANNEL,
    ERR_NOSUCHNICK,
    ERR_NOTEXTTOSEND,
    ERR_TARGUMODEG,
    RPL_AWAY,
    RPL_TARGNOTIFY,
    RPL_UMODEGMSG,
    NumericError,
)

if TYPE_CHECKING:
    from slircd.network.channels import ChannelService
    from slircd.state.model import Channel, User

SYMBOLS: Final = {symbol: mode for mode, symbol in CHANNEL_MODES.prefixes.items()}

Waiting = Deferred[Any]
"""The turn of a message that is an event."""


@command("PRIVMSG")
def privmsg(ctx: Context, to: str = "", text: str = "") -> Coroutine[Any, Any, None] | None:
    """PRIVMSG <target>{,<target>} <text>  (RFC 2812 3.3.1)

    Sends a message to users, channels, or a channel's members from a prefix up (@#channel).
    """
    if text and to[:1] != "#":
        if to[:1] == "*" and to.lower() == PLAYBACK:
            return playback(ctx, text)
        key = ctx.server.state.fold(to)
        # What is said to a service may be a secret: it is neither passed on nor echoed.
        service = SERVICES.get(key)
        if service is not None:
            return service.handle(ctx, text)
        handler = ctx.server.extensions.services.get(key)
        if handler is not None:
            return handler(ctx, text)
    return _to_each(ctx, "PRIVMSG", to, text, ctx.config.limits.targets.privmsg)


@command("NOTICE")
def notice(ctx: Context, to: str = "", text: str = "") -> Coroutine[Any, Any, None] | None:
    """NOTICE <target>{,<target>} <text>  (RFC 2812 3.3.2)

    Sends a message that nothing may answer automatically.
    """
    return _to_each(ctx, "NOTICE", to, text, ctx.config.limits.targets.notice)


@command("TAGMSG")
def tagmsg(ctx: Context, to: str = "") -> Coroutine[Any, Any, None] | None:
    """TAGMSG <target>{,<target>}  (IRCv3 message-tags)

    Sends tags without a text, to clients that know tags.
    """
    if not ctx.caps & MESSAGE_TAGS or not ctx.client_tags():
        return None
    return _to_each(ctx, "TAGMSG", to, None, ctx.config.limits.targets.tagmsg)


def _to_each(ctx: Context, verb: str, to: str, text: str | None, limit: int) -> Coroutine[Any, Any, None] | None:
    quiet = verb == "NOTICE"
    waiting: list[Waiting] = []
    try:
        if not to:
            raise NumericError(ERR_NORECIPIENT, text=f"No recipient given ({verb})")
        if text == "":
            raise NumericError(ERR_NOTEXTTOSEND)
        names = [to] if "," not in to else targets(to, limit)
        said = Said(verb, text, ctx.client_tags())
        if is_blocked(ctx, to, said):
            return None
        for target in names:
            try:
                turn = speak(ctx, target, said)
                if turn is not None:
                    waiting.append(turn)
            except NumericError as error:
                # Nothing may answer a NOTICE, errors included (RFC 2812 3.3.2).
                if not quiet:
                    ctx.refuse(error)
    except NumericError:
        if not quiet:
            raise
    return finish(ctx, waiting, quiet=quiet) if waiting else None


async def finish(ctx: Context, waiting: list[Waiting], *, quiet: bool) -> None:
    """Wait for the turns of messages that are events; `quiet` swallows what the order refuses.

    Raises StoreUnavailable or EncodeError when every turn has been waited for.
    """
    failed: Exception | None = None
    for turn in waiting:
        try:
            await turn
        except NumericError as error:
            if not quiet:
                ctx.refuse(error)
        except (StoreUnavailable, EncodeError) as error:
            failed = error
    if failed is not None:
        raise failed


def is_blocked(ctx: Context, to: str, said: Said) -> bool:
    """Whether a spam filter takes what is said; the sender is told so."""
    if not said.text or not is_filtered(ctx, said.text):
        return False
    if not ctx.session.is_closed and said.verb != "NOTICE":
        ctx.standard_reply("FAIL", "MESSAGE_BLOCKED", to.split(",")[0], text="A spam filter blocks this message")
    return True


def is_filtered(ctx: Context, text: str) -> bool:
    """Whether a spam filter takes `text`; staff are told, and a sender may be killed for it."""
    met = ctx.server.bans.filters.match(text) if not ctx.is_oper else None
    if met is None:
        return False
    user = ctx.user
    ctx.server.bans.notify("s", f"{user.source} met the filter {met.pattern} ({met.action})")
    if met.action == "kill":
        ctx.session.close(f"Spam: {met.reason}")
    return met.action != "warn"


def speak(ctx: Context, target: str, said: Said) -> Waiting | None:
    """Deliver what is said to one target.  Raises the numeric that says why not.

    Where it is kept it is delivered in its turn, which is returned, and has to be waited for.
    """
    if target.lstrip("~&@%+").startswith("#"):
        return _to_channel(ctx, target, said)
    return _to_user(ctx, target, said)


def spoken_now(ctx: Context, user: User, target: str, said: Said) -> Spoken:
    """What `user`, the client's, says, as lines with the time and an id of their own."""
    server = ctx.server
    source = f"{user.nick}!{user.username}@{user.host}"
    bot = "B" in user.modes
    now, msgid = server.timestamp(), server.new_msgid()
    return to_spoken(server.server_name, source, target, said, now, msgid, user.account, bot=bot)


# --- channels -----------------------------------------------------------------------------------------------------


def _to_channel(ctx: Context, target: str, said: Said) -> Waiting | None:
    state, session = ctx.state, ctx.session
    user = state.users[session.uid]
    name = target.lstrip("~&@%+")
    channel = channel_named(state, name)
    override = ctx.has_privilege("override")
    if not override and not may_see_channel(channel, user.uid):
        # A secret channel that takes messages from outside still may not be told from one that is not there.
        raise NumericError(ERR_NOSUCHCHANNEL, name)
    said = _as_channel_allows(ctx, channel, user, said, override=override)
    service = ctx.server.channels.get(channel.key)
    if service is None:
        raise NumericError(ERR_NOSUCHCHANNEL, name)
    if "f" in channel.params and not override:
        check_rate(ctx, service)
    if said.verb != "TAGMSG":
        session.last_message_s = ctx.server.reactor.seconds()
    symbols = target[: -len(name)]
    modes = CHANNEL_MODES.at_least(SYMBOLS[symbols[0]]) if symbols else ""
    if "U" in channel.flags:
        modes = hearing_modes(channel, user, modes, override=override)
    if not modes and is_kept(ctx, channel, said):
        return ctx.emit(decide_message(state, user, said.verb, channel, said))
    spoken = spoken_now(ctx, user, symbols[:1] + channel.name, said)
    ctx.work += len(service.sessions)
    deliver_to_channel(service, spoken, session, modes=modes, free=is_free(ctx, user.uid, channel.key))
    feed = ctx.server.extensions.feed
    if feed is not None and said.text and not modes:
        feed(said.verb, user, channel, said.text, spoken.plain[0])
    if session.caps & ECHO_MESSAGE:
        echo(ctx, spoken)
    return None


def is_kept(ctx: Context, channel: Channel, said: Said) -> bool:
    """Whether what is said on the channel, by all of it, is kept."""
    history = ctx.config.history
    return (
        history.channels
        and is_kept_of_channel(channel)
        and is_worth_keeping(said.verb, said.tags or {}, history.kept_tags)
    )


def _as_channel_allows(ctx: Context, channel: Channel, user: User, said: Said, *, override: bool) -> Said:
    """What is said, as the channel passes it on: formatting may be stripped (+S).  Raises the numeric that refuses it."""
    notice = said.verb == "NOTICE"
    text = check_channel_text(ctx.state, channel, user, said.text or "", notice=notice, override=override)
    if said.text is None or text == said.text:
        return said
    parts = [part._replace(text=strip_formatting(part.text)) for part in said.parts]
    return said._replace(text=text, parts=parts)


def check_rate(ctx: Context, service: ChannelService) -> None:
    """Count a message for the channel's mode f.  Raises ERR_CANNOTSENDTOCHAN if the client is too fast for it."""
    channel = service.channel
    rate = parse_rate(channel.params["f"])
    if rate is None or channel.members.get(ctx.uid):
        return
    if service.within(f"text {ctx.uid}", ctx.server.reactor.seconds(), rate.seconds) > rate.most:
        raise NumericError(
            ERR_CANNOTSENDTOCHAN, channel.name, text=f"{ERR_CANNOTSENDTOCHAN.text}, you are too fast (+f)"
        )


def is_free(ctx: Context, *names: str) -> bool:
    """Whether a message need not wait for a log that cannot be written: nothing of these names is unwritten."""
    bus = ctx.server.bus
    return bus.degraded and bus.unwritten_names().isdisjoint(names)


# --- users --------------------------------------------------------------------------------------------------------


def _to_user(ctx: Context, nick: str, said: Said) -> Waiting | None:
    state, session = ctx.state, ctx.session
    user = state.users[session.uid]
    recipient = state.user_by_nick(nick)
    if recipient is None:
        raise NumericError(ERR_NOSUCHNICK, nick)
    if recipient.is_service:
        # Among several targets, or by NOTICE: nothing that a service would run.
        return None
    accepts = ctx.server.accepts
    try:
        check_private_text(user, recipient, said.text or "", accepts.allows, oper=ctx.is_oper)
    except NumericError as error:
        if error.numeric is not ERR_TARGUMODEG or said.verb == "TAGMSG":
            raise
        _knocks(ctx, user, recipient, said, error)
        return None
    if said.verb == "PRIVMSG" and not user.modes.isdisjoint(GUARDED):
        # Whom one writes to may answer.
        accepts.add(user.uid, recipient.uid, ctx.config.limits.accept, wrote=True)
    if said.verb != "TAGMSG":
        session.last_message_s = ctx.server.reactor.seconds()
    history = ctx.config.history
    if (
        history.direct
        and is_worth_keeping(said.verb, said.tags or {}, history.kept_tags)
        and is_kept_of_users(state, user, recipient)
    ):
        turn = ctx.emit(decide_message(state, user, said.verb, recipient, said))
        return turn.addCallback(lambda _: _tell_away(ctx, recipient, said))
    spoken = spoken_now(ctx, user, recipient.nick, said)
    free = is_free(ctx, user.uid, recipient.uid)
    deliver_to_user(ctx.server, spoken, user, recipient.uid, session, free=free)
    if session.caps & ECHO_MESSAGE:
        echo(ctx, spoken)
    if recipient.away is not None:
        _tell_away(ctx, recipient, said)
    return None


def _knocks(ctx: Context, user: User, recipient: User, said: Said, refusal: NumericError) -> None:
    """Somebody writes to a user with mode g that has not accepted it: the user is told so, at most once a minute."""
    server = ctx.server
    told = server.accepts.may_tell(recipient.uid, server.reactor.seconds())
    if said.verb != "NOTICE":
        ctx.refuse(refusal)
        if told:
            ctx.reply(RPL_TARGNOTIFY, recipient.nick)
    if not told:
        return
    text = f"is messaging you, and you have user mode +g set.  Use /ACCEPT {user.nick} to allow it."
    body = (
        f":{server.server_name} {RPL_UMODEGMSG.code} {recipient.nick} {user.nick} {user.username}@{user.host} :{text}"
    )
    line = Line(body, timestamp=server.timestamp())
    for session in server.users.sessions_of(recipient.uid):
        if not is_silenced(ctx.state, user, session.silenced.values()):
            session.send(line)


def _tell_away(ctx: Context, recipient: User, said: Said) -> None:
    if recipient.away is not None and said.verb == "PRIVMSG":
        ctx.reply(RPL_AWAY, recipient.nick, text=recipient.away)
