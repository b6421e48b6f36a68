"""Messages as lines, and to whom they go: the same way for those that are events and those that are not.

The session that a message came from gets an echo if it has asked for one; other sessions of its user always get a
copy, as bouncers do, because they show what one says on one's other devices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

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
    """What is sent, as lines: once for each form that recipients can read."""

    __slots__ = ("_batched", "_named", "line", "plain", "verb")

    def __init__(
        self,
        server_name: str,
        source: str,
        target: str,
        said: Said,
        *,
        timestamp: str,
        msgid: str,
        account: str | None,
        bot: bool,
        relayed_by: str = "",
    ) -> None:
        """`source` is nick!user@host of the sender, `relayed_by` the nick of who says it for somebody elsewhere."""

        def line(body: str, *, first: bool, **more: Any) -> Line:
            return Line(
                body,
                timestamp=timestamp,
                account=account,
                msgid=msgid if first else None,
                client_tags=said.tags,
                bot=bot,
                **more,
            )

        self.verb = said.verb
        self._batched: list[Line] = []
        self._named: list[Line] = []
        if not said.parts:
            body = f":{source} {said.verb} {target}" + ("" if said.text is None else f" :{said.text}")
            self.line: Line | None = line(body, first=True)
            self.plain = [self.line]
            if relayed_by:
                self.line = None
                self._named = [line(body, first=True, server_tags={RELAYED: relayed_by})]
            return
        self.line = None
        # Clients that do not know multiline get its lines, blank ones left out, with the id on the first.
        texts = [part.text for part in said.parts if part.text]
        self.plain = [line(f":{source} {said.verb} {target} :{text}", first=not at) for at, text in enumerate(texts)]
        reference = f"m{msgid}"
        self._batched.append(line(f":{source} BATCH +{reference} draft/multiline {target}", first=True))
        for part in said.parts:
            tags = {"batch": reference, CONCAT: ""} if part.concat else {"batch": reference}
            self._batched.append(Line(f":{source} {said.verb} {target} :{part.text}", server_tags=tags))
        self._batched.append(Line(f":{server_name} BATCH -{reference}"))

    def lines_for(self, session: Session) -> list[Line]:
        """The lines that this client can read."""
        both = BATCH | MULTILINE
        if self._batched and session.caps & both == both:
            return self._batched
        return self._named if self._named and session.caps & RELAYMSG else self.plain

    def send(self, session: Session, *, free: bool = False) -> None:
        """Send it to one client, if that knows this sort of message; `free` as in Session.send."""
        if self.verb == "TAGMSG" and not session.caps & MESSAGE_TAGS:
            return
        for line in self.lines_for(session):
            session.send(line, free=free)


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


def spoken_of(server_name: str, event: Message, place: Place) -> Spoken:
    """A message that is an event, as lines."""
    verb = VERBS[type(event)]
    parts = tuple(Part(part.text, part.concat) for part in event.parts)
    return Spoken(
        server_name,
        event.source,
        event.to,
        Said(verb, None if verb == "TAGMSG" else event.text, event.tags or None, parts),
        timestamp=place.timestamp,
        msgid=message_id(place.id, place.session_id),
        account=event.account,
        bot=event.bot,
        relayed_by=event.relayed_by,
    )


def deliver_to_channel(
    service: ChannelService, spoken: Spoken, sender: Session | None, *, modes: str = "", free: bool = False
) -> None:
    """Send a message to everybody on a channel who listens, or to those with one of the prefix `modes`."""
    if spoken.line is not None and not modes and spoken.verb != "TAGMSG":
        service.tell(spoken.line, but=sender, free=free)
        return
    channel = service.channel
    for session in service.sessions:
        if session is not sender and session not in service.deaf and (not modes or channel.has_any(session.uid, modes)):
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
