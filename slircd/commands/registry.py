"""The registry of commands, and the context in which a handler runs.

A handler turns words into a question or a decision.  It never writes to a socket: it replies through its context, or
emits events, whose rendering is what the clients see.  The registry has checked phase, number of parameters and
privilege before a handler runs.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from twisted.internet.defer import Deferred

from slircd.events.types import Event
from slircd.wire.capabilities import BATCH, SERVER_TIME, STANDARD_REPLIES, TAGGING
from slircd.wire.line import Line, untagged
from slircd.wire.numerics import (
    ERR_ALREADYREGISTERED,
    ERR_NEEDMOREPARAMS,
    ERR_NOPRIVILEGES,
    ERR_NOTREGISTERED,
    ERR_TOOMANYTARGETS,
    Numeric,
    NumericError,
    StandardReply,
)

if TYPE_CHECKING:
    from slircd.config.sections import Config
    from slircd.events.bus import Record
    from slircd.network.channels import ChannelService
    from slircd.network.server import IRCServer
    from slircd.network.session import Session
    from slircd.state.model import Channel, ServerState, User
    from slircd.wire.message import Message


class Phase(enum.Enum):
    """When a command may be used."""

    ANY = "any"
    REGISTERING = "registering"
    REGISTERED = "registered"


# Looked up at every command.
_REGISTERED: Final = Phase.REGISTERED
_REGISTERING: Final = Phase.REGISTERING

Handler = Callable[..., Coroutine[Any, Any, None] | None]
H = TypeVar("H", bound=Handler)
T = TypeVar("T")

PIECE: Final = 200
"""Things that a long answer looks at in one turn: lines of a LIST or a WHO, about two milliseconds."""


AT_ONCE: Final = 60
"""Things that are looked at as soon as somebody asks."""


class ClientGone(Exception):
    """The client has gone while it was being answered; there is nothing more to do."""


class Command(NamedTuple):
    """One row of the registry.  `free` commands take no token from the flood bucket."""

    name: str
    handler: Handler
    phase: Phase
    min_params: int
    max_params: int | None
    privilege: str | None
    free: bool
    help: str


COMMANDS: Final[dict[str, Command]] = {}


def command(
    name: str,
    *,
    params: int = 0,
    phase: Phase = Phase.REGISTERED,
    privilege: str | None = None,
    free: bool = False,
) -> Callable[[H], H]:
    """Register the decorated handler `(ctx, *parameters)`, plain or async, under `name`.

    `params` is the least number of parameters; what the handler's signature cannot take is dropped.  `privilege` is
    what the user's operator class must grant.  The docstring is the text of HELP, its first line the syntax.
    """

    def register(handler: H) -> H:
        if name in COMMANDS:
            raise ValueError(f"two handlers for {name}")
        positional = 0
        unlimited = False
        for parameter in list(inspect.signature(handler).parameters.values())[1:]:
            unlimited = unlimited or parameter.kind is parameter.VAR_POSITIONAL
            positional += parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        COMMANDS[name] = Command(
            name,
            handler,
            phase,
            params,
            None if unlimited else positional,
            privilege,
            free,
            inspect.getdoc(handler) or "",
        )
        return handler

    return register


class Context:
    """One command of one client: who asked, and how to answer.

    With a label (labeled-response) all that the client is sent as an answer is collected, the echo of its own events
    included, and leaves as one labelled line or batch when the command is done.
    """

    __slots__ = ("_answers", "_batch", "_covered", "_outer", "label", "message", "owed", "server", "session", "work")

    def __init__(self, server: IRCServer, session: Session, message: Message, label: str | None) -> None:
        self.server = server
        self.session = session
        self.message = message
        self.label = label
        self._answers: list[tuple[Line, Mapping[str, str] | None]] | None = None if label is None else []
        self._batch = ""
        """The reference of the batch that is open."""
        self._covered = 0
        """How many of the first answers are one whole batch."""
        self._outer = ""
        """The reference of the labelled batch of an answer in pieces."""
        self.owed: list[Channel] = []
        """Channels that the client has joined whose names are too many for a turn: the command sends them."""
        self.work = 0
        """Lines that the command has caused, for anybody, and what it did in lines' worth; the flood bucket counts it."""

    # --- reading --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ServerState:
        """The state of the network, to read."""
        return self.server.state

    @property
    def config(self) -> Config:
        """The configuration in force; REHASH replaces it."""
        return self.server.config

    @property
    def uid(self) -> str:
        """The UID of the client's user; only for commands of phase REGISTERED."""
        return self.session.uid

    @property
    def user(self) -> User:
        """The client's user; only for commands of phase REGISTERED."""
        return self.server.state.users[self.session.uid]

    @property
    def nick(self) -> str:
        """What numerics call the client: its nick, or * before it has one."""
        return self.session.display_nick

    @property
    def is_oper(self) -> bool:
        """Whether the client has passed OPER; another client of the same user may have."""
        return bool(self.session.oper)

    @property
    def caps(self) -> int:
        """The capabilities that the client has negotiated, as bits."""
        return self.session.caps

    def has_privilege(self, privilege: str) -> bool:
        """Whether the client is an IRC operator's whose class grants `privilege` now."""
        return self.server.has_privilege(self.session, privilege)

    def require_privilege(self, privilege: str) -> None:
        """Raise ERR_NOPRIVILEGES unless the client has `privilege`."""
        if not self.has_privilege(privilege):
            raise NumericError(ERR_NOPRIVILEGES)

    def client_tags(self) -> Mapping[str, str] | None:
        """The client-only tags of the command that may be passed on; None if there are none."""
        tags = self.message.tags
        return (self.server.client_tags.of(tags) or None) if tags else None

    def channel(self, name: str) -> ChannelService:
        """The live channel of this name; raises ERR_NOSUCHCHANNEL."""
        return self.server.channels.named(name)

    # --- answering ------------------------------------------------------------------------------------------------

    def reply(self, numeric: Numeric, *params: object, text: str | None = None) -> None:
        """Answer with a numeric: the client's nick, `params`, and `text` or the numeric's fixed text as trailing."""
        trailing = numeric.text if text is None else text
        body = f":{self.server.server_name} {numeric.code} {self.session.display_nick}"
        for param in params:
            body = f"{body} {param}"
        self.send_text(f"{body} :{trailing}" if text is not None or trailing else body)

    def send_text(self, body: str, *, free: bool = False) -> None:
        """Answer with a line of the server, `body` being complete with its source; `free` as in `send`."""
        session = self.session
        caps = session.caps
        if not (caps & TAGGING or self._batch or self._outer) and self._answers is None:
            self.work += 1
            session.outbox.append(untagged(body), free=free)
            return
        self.send(Line(body, timestamp=self.server.timestamp() if caps & SERVER_TIME else ""), free=free)

    def from_server(self, rest: str, *, free: bool = False) -> None:
        """Answer with a line whose source is the server."""
        self.send_text(f":{self.server.server_name} {rest}", free=free)

    def notice(self, text: str) -> None:
        """Answer with a NOTICE from the server."""
        self.from_server(f"NOTICE {self.nick} :{text}")

    def standard_reply(
        self, kind: str, code: str, *context: str, text: str, command: str | None = None, always: bool = False
    ) -> None:
        """Answer FAIL, WARN or NOTE (IRCv3 standard-replies); a NOTICE for clients without the capability.

        `always` is for those that another specification demands of every client.
        """
        name = command or self.message.command
        if always or self.session.caps & STANDARD_REPLIES:
            self.from_server(" ".join([kind, name, code, *context]) + f" :{text}")
        else:
            self.notice(f"{kind} {name} {code}: {text}")

    def send(self, line: Line, *, free: bool = False) -> None:
        """Answer with `line`; a `free` one shows nothing of the state, so it need not wait for the log."""
        self.work += 1
        batch = self._batch or self._outer
        extra = {"batch": batch} if batch and not _is_inside(line) else None
        if self._answers is None:
            self.session.send(line, extra, free=free)
        else:
            self._answers.append((line, extra))

    @contextmanager
    def batch(self, kind: str, *params: str) -> Iterator[None]:
        """What is answered in this block is one batch (IRCv3 batch); no batch for clients without the capability.

        Batches nest.  If the batch is all of the answer, a label goes on its first line (IRCv3 labeled-response).
        """
        if not self.session.caps & BATCH:
            yield
            return
        first = self._answers is not None and not self._answers
        before, reference = self._batch, self.session.next_batch()
        self.from_server(" ".join([f"BATCH +{reference}", kind, *params]))
        self._batch = reference
        try:
            yield
        finally:
            self._batch = before
            self.from_server(f"BATCH -{reference}")
            if first and self._answers is not None:
                self._covered = len(self._answers)

    def send_whole(self, lines: Iterable[Line]) -> None:
        """Answer with lines that are one batch already: if they are all of the answer, a label goes on the first."""
        first = self._answers is not None and not self._answers
        for line in lines:
            self.send(line)
        if first and self._answers is not None:
            self._covered = len(self._answers)

    async def pieces(self, things: Sequence[T], most: int = PIECE) -> AsyncIterator[Sequence[T]]:
        """Divide `things`, at most `most` a piece, for an answer that is made a turn of the reactor for each.

        What there was when the list was made may be gone when its piece comes: look again.  A client that reads slowly
        is waited for.  Raises ClientGone if it leaves before the end.
        """
        for start in range(0, len(things), most):
            # Not even the first piece of something long is at once: many may have asked in this turn.
            if start or len(things) > AT_ONCE:
                await self.next_turn()
            yield things[start : start + most]

    async def next_turn(self) -> None:
        """Let everybody else have a turn; see `pieces`."""
        if self._answers:
            self._begin_outer()
        await self.session.next_turn()

    def _begin_outer(self) -> None:
        """Send what was collected for the label: the rest of the answer comes in later turns, too much to keep."""
        answers, self._answers = self._answers or [], None
        if self.label is not None and self.session.caps & BATCH:
            self._outer = self._open_labelled()
        self._send_in(self._outer, answers)

    def put_off(self) -> None:
        """The answer to the label comes with a later command, which will `take_over` the label."""
        self._answers = self.label = None

    def take_over(self, label: str | None) -> None:
        """Answer the label of an earlier command."""
        self.label = label
        self._answers = None if label is None else []

    def refuse(self, error: NumericError | StandardReply) -> None:
        """Answer with the error that a rule or the order raised."""
        if isinstance(error, NumericError):
            self.reply(error.numeric, *error.params, text=error.text)
        else:
            self.standard_reply(
                error.kind, error.code, *error.context, text=error.text, command=error.command, always=error.always
            )

    def finish(self) -> None:
        """The command is done: send what was collected for the label.  Afterwards answers go out at once."""
        answers, self._answers = self._answers, None
        session = self.session
        if self._outer:
            outer, self._outer = self._outer, ""
            session.send(Line(f":{self.server.server_name} BATCH -{outer}"))
        if answers is None or self.label is None:
            return
        if not answers:
            answers = [(Line(f":{self.server.server_name} ACK", timestamp=self.server.timestamp()), None)]
        if len(answers) in (1, self._covered):
            line, extra = answers[0]
            session.send(line, {"label": self.label, **(extra or {})})
            for line, extra in answers[1:]:
                session.send(line, extra)
        elif not session.caps & BATCH:
            self._send_in("", answers)
        else:
            reference = self._open_labelled()
            self._send_in(reference, answers)
            session.send(Line(f":{self.server.server_name} BATCH -{reference}"))

    def _open_labelled(self) -> str:
        """Begin the batch that carries the label; returns its reference."""
        reference = self.session.next_batch()
        line = Line(f":{self.server.server_name} BATCH +{reference} labeled-response")
        self.session.send(line, {"label": self.label or ""})
        return reference

    def _send_in(self, reference: str, answers: Iterable[tuple[Line, Mapping[str, str] | None]]) -> None:
        """Send what was collected, in a batch if there is a reference."""
        for line, extra in answers:
            outer = {"batch": reference} if reference and not _is_inside(line) else None
            self.session.send(line, extra or outer)

    # --- deciding -------------------------------------------------------------------------------------------------

    def emit(self, events: Iterable[Event]) -> Deferred[tuple[Record, ...]]:
        """Give a decision to the bus, with this command as its origin; see EventBus.emit."""
        return self.server.bus.emit(events, self)


def _is_inside(line: Line) -> bool:
    """Whether a line says itself which batch it belongs to."""
    return line.server_tags is not None and "batch" in line.server_tags


def targets(words: str, limit: int | None = None) -> Iterator[str]:
    """The items of a comma-separated list, without empty ones and repetitions.

    Raises ERR_TOOMANYTARGETS, before the first is given out, if there are more than `limit`.
    """
    items = list(dict.fromkeys(item for item in words.split(",") if item))
    if limit is not None and len(items) > limit:
        raise NumericError(ERR_TOOMANYTARGETS, items[limit], text=f"Too many targets, at most {limit} are allowed")
    return iter(items)


def check(entry: Command, ctx: Context) -> None:
    """Raise the numeric that says why the client may not use this command as it did."""
    phase, registered = entry.phase, ctx.session.uid
    if phase is _REGISTERED:
        if not registered:
            raise NumericError(ERR_NOTREGISTERED)
    elif phase is _REGISTERING and registered:
        raise NumericError(ERR_ALREADYREGISTERED)
    if len(ctx.message.params) < entry.min_params:
        raise NumericError(ERR_NEEDMOREPARAMS, entry.name)
    if entry.privilege is not None:
        ctx.require_privilege(entry.privilege)


def arguments(entry: Command, params: tuple[str, ...]) -> tuple[str, ...]:
    """The parameters that the handler can take."""
    return params if entry.max_params is None else params[: entry.max_params]
