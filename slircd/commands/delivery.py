"""Messages as lines, and to whom they go: the same way for those that are events and those that are not.

The session that a message came from gets an echo if it has asked for one; other sessions of its user always get a
copy, as bouncers do, because they show what one says on one's other devices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from slircd.events.msgid import message_id
from slircd.rules.history import VERBS
from slircd.rules.message import is_silenced
from slircd.wire.capabilities import BATCH, ECHO_MESSAGE, MESSAGE_TAGS, MULTILINE, RELAYMSG
from slircd.wire.line import Line

if TYPE_CHECKING:
    from slircd.commands.registry import Context
    from slircd.events.types import Message
    from slircd.network.channels import ChannelService
    from slircd.network.server import IRCServer
    from slircd.network.session import Session
    from slircd.state.model import User

CONCAT: Final = "draft/multiline-concat"
"""The tag of a line that continues the one before it, without a line break between them."""

_MULTILINE: Final = BATCH | MULTILINE

RELAYED: Final = "draft/relaymsg"
"""The tag that names who relayed a message."""


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
    """What is sent, as lines: once for each form that recipients can read.

    `line` is the one line of a message that has only one form, which most have; `plain` are the lines for everybody
    who knows no better form, `batched` those for clients with multiline, `named` for those with relaymsg.
    """

    __slots__ = ("_batched", "_named", "line", "plain", "verb")

    def __init__(
        self,
        verb: str,
        plain: list[Line],
        line: Line | None = None,
        *,
        batched: Sequence[Line] = (),
        named: Sequence[Line] = (),
    ) -> None:
        self.verb = verb
        self.plain = plain
        self.line = line
        self._batched = batched
        self._named = named

    def lines_for(self, session: Session) -> Sequence[Line]:
        """The lines that this client can read."""
        if self._batched and session.caps & _MULTILINE == _MULTILINE:
            return self._batched
        return self._named if self._named and session.caps & RELAYMSG else self.plain

    def send(self, session: Session, *, free: bool = False) -> None:
        """Send it to one client, if that knows this sort of message; `free` as in Session.send."""
        if self.verb == "TAGMSG" and not session.caps & MESSAGE_TAGS:
            return
        if self.line is not None:
            session.send(self.line, free=free)
            return
        for line in self.lines_for(session):
            session.send(line, free=free)


def to_spoken(
    server_name: str,
    source: str,
    target: str,
    said: Said,
    timestamp: str,
    msgid: str,
    account: str | None,
    *,
    bot: bool = False,
    relayed_by: str = "",
) -> Spoken:
    """What is said, as lines: `source` is nick!user@host of the sender, `relayed_by` the nick of who says it for it."""
    verb, tags = said.verb, said.tags
    if said.parts:
        return _of_several(server_name, source, target, said, timestamp, msgid, account, bot=bot)
    body = f":{source} {verb} {target}" if said.text is None else f":{source} {verb} {target} :{said.text}"
    line = Line(body, timestamp=timestamp, account=account, msgid=msgid, client_tags=tags, bot=bot)
    if not relayed_by:
        return Spoken(verb, [line], line)
    named = Line(body, timestamp=timestamp, msgid=msgid, client_tags=tags, server_tags={RELAYED: relayed_by})
    return Spoken(verb, [line], named=[named])


def _of_several(
    server_name: str,
    source: str,
    target: str,
    said: Said,
    timestamp: str,
    msgid: str,
    account: str | None,
    *,
    bot: bool,
) -> Spoken:
    """A message of several lines: one batch, or, for clients that do not know multiline, its lines without blank ones."""

    def line(body: str, *, first: bool) -> Line:
        shown = msgid if first else None
        return Line(body, timestamp=timestamp, account=account, msgid=shown, client_tags=said.tags, bot=bot)

    head = f":{source} {said.verb} {target} :"
    texts = [part.text for part in said.parts if part.text]
    plain = [line(head + text, first=not at) for at, text in enumerate(texts)]
    reference = f"m{msgid}"
    batched = [line(f":{source} BATCH +{reference} draft/multiline {target}", first=True)]
    for part in said.parts:
        tags = {"batch": reference, CONCAT: ""} if part.concat else {"batch": reference}
        batched.append(Line(head + part.text, server_tags=tags))
    batched.append(Line(f":{server_name} BATCH -{reference}"))
    return Spoken(said.verb, plain, batched=batched)


class Place(Protocol):
    """Where an event stands in the log: its stamp, or its row."""

    @property
    def id(self) -> int:
        """Its id."""

    @property
    def timestamp(self) -> str:
        """Its time."""

    @property
    def session_id(self) -> str:
        """The run of the server that wrote it."""


def spoken_of(server_name: str, event: Message, place: Place, to: str) -> Spoken:
    """A message that is an event, as lines to `to`: the name of whom it is said to, which may be another by now."""
    verb = VERBS[type(event)]
    parts = tuple(Part(part.text, part.concat) for part in event.parts)
    return to_spoken(
        server_name,
        event.source,
        to,
        Said(verb, None if verb == "TAGMSG" else event.text, event.tags or None, parts),
        place.timestamp,
        message_id(place.id, place.session_id),
        event.account,
        bot=event.bot,
        relayed_by=event.relayed_by,
    )


def deliver_to_channel(
    service: ChannelService, spoken: Spoken, sender: Session | None, *, modes: str = "", free: bool = False
) -> None:
    """Send a message to everybody on a channel who listens, or to those with one of the prefix `modes`.

    The other sessions of whoever sends it get it in any case.
    """
    if spoken.line is not None and not modes and spoken.verb != "TAGMSG":
        service.tell(spoken.line, but=sender, free=free)
        return
    channel = service.channel
    own = sender.uid if sender is not None else ""
    for session in service.sessions:
        if session is sender or session in service.deaf:
            continue
        if not modes or session.uid == own or channel.has_any(session.uid, modes):
            spoken.send(session, free=free)


def deliver_to_user(
    server: IRCServer, spoken: Spoken, user: User | None, recipient_uid: str, sender: Session | None, *, free: bool
) -> None:
    """Send a message to the clients of a user, and to the other clients of `user`, who sent it."""
    for session in server.users.sessions_of(recipient_uid):
        if session.silenced and user is not None and is_silenced(server.state, user, session.silenced.values()):
            continue
        spoken.send(session, free=free)
    if user is not None and user.uid != recipient_uid:
        for session in server.users.sessions_of(user.uid):
            if session is not sender:
                spoken.send(session, free=free)


def echo(ctx: Context, spoken: Spoken) -> None:
    """Show a message to the client that it came from, if it wants that."""
    if ctx.session.caps & ECHO_MESSAGE:
        ctx.send_whole(spoken.lines_for(ctx.session))
