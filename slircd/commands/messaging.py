"""PRIVMSG, NOTICE, TAGMSG.

Messages change no state, so they are no events and go straight to the outboxes.  While the log cannot be written, a
message between people and on channels that have nothing unwritten is delivered at once; others wait with what they
could reveal.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from slircd.commands.registry import Context, command, targets
from slircd.rules.lookup import channel_named, may_see_channel
from slircd.rules.message import check_channel_text, check_private_text, is_silenced
from slircd.rules.modes import parse_rate
from slircd.services.directory import SERVICES
from slircd.wire.capabilities import BATCH, ECHO_MESSAGE, MESSAGE_TAGS, MULTILINE
from slircd.wire.formatting import strip_formatting
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
    from slircd.state.model import Channel, User

SYMBOLS: Final = {symbol: mode for mode, symbol in CHANNEL_MODES.prefixes.items()}
CONCAT: Final = "draft/multiline-concat"
"""The tag of a line that continues the one before it, without a line break between them."""


class Part(NamedTuple):
    """One line of a multiline message, as its sender split it."""

    text: str
    concat: bool


class Said(NamedTuple):
    """What is sent: a text, several lines that are one message, or (`text` None) only tags."""

    verb: str
    text: str | None
    tags: Mapping[str, str] | None = None
    parts: Sequence[Part] = ()


class Spoken:
    """What is sent, as lines: once for each form that recipients can read."""

    __slots__ = ("_batched", "line", "plain")

    def __init__(self, ctx: Context, user: User, target: str, said: Said) -> None:
        server = ctx.server
        timestamp, msgid, bot = server.timestamp(), server.new_msgid(), "B" in user.modes
        head = f":{user.nick}!{user.username}@{user.host}"

        def line(body: str, *, first: bool, **more: Any) -> Line:
            return Line(
                body,
                timestamp=timestamp,
                account=user.account,
                msgid=msgid if first else None,
                client_tags=said.tags,
                bot=bot,
                **more,
            )

        self._batched: list[Line] = []
        if not said.parts:
            text = "" if said.text is None else f" :{said.text}"
            self.line: Line | None = line(f"{head} {said.verb} {target}{text}", first=True)
            self.plain = [self.line]
            return
        self.line = None
        # Clients that do not know multiline get its lines, blank ones left out, with the id on the first.
        texts = [part.text for part in said.parts if part.text]
        self.plain = [line(f"{head} {said.verb} {target} :{text}", first=not at) for at, text in enumerate(texts)]
        reference = f"m{msgid}"
        self._batched.append(line(f"{head} BATCH +{reference} draft/multiline {target}", first=True))
        for part in said.parts:
            tags = {"batch": reference, CONCAT: ""} if part.concat else {"batch": reference}
            self._batched.append(Line(f"{head} {said.verb} {target} :{part.text}", server_tags=tags))
        self._batched.append(Line(f":{server.server_name} BATCH -{reference}"))

    def lines_for(self, session: Session) -> list[Line]:
        """The lines that this client can read."""
        both = BATCH | MULTILINE
        return self._batched if self._batched and session.caps & both == both else self.plain

    def send(self, session: Session, *, free: bool) -> None:
        """Send it to one client; `free` as in Session.send."""
        for line in self.lines_for(session):
            session.send(line, free=free)


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
    if not ctx.caps & MESSAGE_TAGS or not ctx.client_tags():
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
        said = Said(verb, text, ctx.client_tags())
        if is_blocked(ctx, to, said):
            return
        for target in names:
            try:
                speak(ctx, target, said)
            except NumericError as error:
                # Nothing may answer a NOTICE, errors included (RFC 2812 3.3.2).
                if not quiet:
                    ctx.refuse(error)
    except NumericError:
        if not quiet:
            raise


def is_blocked(ctx: Context, to: str, said: Said) -> bool:
    """Whether a spam filter takes what is said; the sender is told so."""
    if not said.text or not is_filtered(ctx, said.text):
        return False
    if not ctx.session.is_closed and said.verb != "NOTICE":
        ctx.standard_reply("FAIL", "MESSAGE_BLOCKED", to.split(",")[0], text="A spam filter blocks this message")
    return True


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


def speak(ctx: Context, target: str, said: Said) -> None:
    """Deliver what is said to one target.  Raises the numeric that says why not."""
    if target.lstrip("~&@%+").startswith("#"):
        _to_channel(ctx, target, said)
    else:
        _to_user(ctx, target, said)


def _echo(ctx: Context, spoken: Spoken) -> None:
    if ctx.session.caps & ECHO_MESSAGE:
        ctx.send_whole(spoken.lines_for(ctx.session))


# --- channels -----------------------------------------------------------------------------------------------------


def _to_channel(ctx: Context, target: str, said: Said) -> None:
    state, session = ctx.state, ctx.session
    user = state.users[session.uid]
    name = target.lstrip("~&@%+")
    channel = channel_named(state, name)
    override = user.is_oper and ctx.has_privilege("override")
    if not override and not may_see_channel(channel, user.uid):
        # A secret channel that takes messages from outside still may not be told from one that is not there.
        raise NumericError(ERR_NOSUCHCHANNEL, name)
    said = _as_channel_allows(ctx, channel, user, said, override=override)
    service = ctx.server.channels.named(name)
    if "f" in channel.params and not override:
        _check_rate(ctx, service)
    if said.verb != "TAGMSG":
        session.last_message_s = ctx.server.reactor.seconds()
    symbols = target[: -len(name)]
    spoken = Spoken(ctx, user, symbols[:1] + channel.name, said)
    free = is_free(ctx, user.uid, channel.key)
    if symbols:
        _to_prefix(service, spoken, session, CHANNEL_MODES.at_least(SYMBOLS[symbols[0]]), free=free)
    elif said.verb == "TAGMSG":
        for other in service.sessions:
            if other is not session and other.caps & MESSAGE_TAGS and other not in service.deaf:
                spoken.send(other, free=free)
    elif spoken.line is not None:
        service.tell(spoken.line, but=session, free=free)
    else:
        for other in service.sessions:
            if other is not session and other not in service.deaf:
                spoken.send(other, free=free)
    _echo(ctx, spoken)


def _as_channel_allows(ctx: Context, channel: Channel, user: User, said: Said, *, override: bool) -> Said:
    """What is said, as the channel passes it on: formatting may be stripped (+S).  Raises the numeric that refuses it."""
    notice = said.verb == "NOTICE"
    text = check_channel_text(ctx.state, channel, user, said.text or "", notice=notice, override=override)
    if said.text is None or text == said.text:
        return said
    parts = [part._replace(text=strip_formatting(part.text)) for part in said.parts]
    return said._replace(text=text, parts=parts)


def _to_prefix(service: ChannelService, spoken: Spoken, sender: Session, modes: str, *, free: bool) -> None:
    channel = service.channel
    for other in service.sessions:
        if other is not sender and other not in service.deaf and channel.has_any(other.uid, modes):
            spoken.send(other, free=free)


def _check_rate(ctx: Context, service: ChannelService) -> None:
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


def _to_user(ctx: Context, nick: str, said: Said) -> None:
    state, session = ctx.state, ctx.session
    user = state.users[session.uid]
    recipient = state.user_by_nick(nick)
    if recipient is None:
        raise NumericError(ERR_NOSUCHNICK, nick)
    if recipient.is_service:
        # Among several targets, or by NOTICE: nothing that a service would run.
        return
    check_private_text(user, recipient, said.text or "")
    if said.verb != "TAGMSG":
        session.last_message_s = ctx.server.reactor.seconds()
    spoken = Spoken(ctx, user, recipient.nick, said)
    free = is_free(ctx, user.uid, recipient.uid)
    for other in ctx.server.users.sessions_of(recipient.uid):
        if said.verb == "TAGMSG" and not other.caps & MESSAGE_TAGS:
            continue
        if other.silenced and is_silenced(state, user, other.silenced.values()):
            continue
        spoken.send(other, free=free)
    _echo(ctx, spoken)
    if recipient.away is not None and said.verb == "PRIVMSG":
        ctx.reply(RPL_AWAY, recipient.nick, text=recipient.away)
