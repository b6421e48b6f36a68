"""One client: its phase, the order of its commands, its pace, its patience.

Rules that hold here.  Commands of one client run one after the other: while one waits (for a password hash, say), what
follows waits in the receive queue, so answers stand in the order of the questions.  A client that is too fast is
delayed by its token bucket, never cut for that; it is cut when its receive queue is full all the same.  Whatever goes
wrong in a handler costs this client its connection, and nobody else anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import txaio
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from slircd.commands import families as families  # fills the registry
from slircd.commands.multiline import OpenBatch, collects
from slircd.commands.registration import Registration
from slircd.commands.registry import COMMANDS, ClientGone, Context, arguments, check
from slircd.events.bus import StoreUnavailable
from slircd.events.codec import EncodeError
from slircd.events.steps import begin
from slircd.network.outbox import Outbox
from slircd.rules.bouncer import decide_leave
from slircd.security.addresses import peer_address
from slircd.security.certificates import peer_fingerprint
from slircd.security.flood import Bucket
from slircd.wire.capabilities import LABELED_RESPONSE, MULTILINE, RAW_BYTES, SERVER_TIME
from slircd.wire.line import Line
from slircd.wire.message import LineTooLong, MalformedLine, Message, NotUtf8, parse
from slircd.wire.numerics import ERR_INPUTTOOLONG, ERR_UNKNOWNCOMMAND, ERR_YOUREBANNEDCREEP, NumericError, StandardReply

if TYPE_CHECKING:
    from slircd.network.listeners import ListenerInfo
    from slircd.network.patience import Bucket as PatienceBucket
    from slircd.network.server import IRCServer
    from slircd.services.accounts import Login
    from slircd.services.sasl import Exchange

txaio.use_twisted()
log = txaio.make_logger()

SHUNNED_MAY: Final = frozenset({"PING", "PONG", "QUIT", "PART", "OPER"})
"""What somebody who is shunned may still do."""

LONG_S: Final = 0.003
"""A command that takes longer than this ends its client's turn."""

CLOSING_S: Final = 10
"""Seconds that a client has to read its last lines."""

STRANGER_SENDQ: Final = 65_536
"""Bytes that may wait for a client that is no user yet."""

LINE_BYTES: Final = 48
"""What a line in the receive queue takes beside its bytes."""

ONE_READ: Final = 65_536
"""What comes at once, and may wait beyond the limit: a client cannot know that it will not be read on."""

CHEAP: Final = 50
"""Lines that any command may cause for its one token."""

MAX_LABEL: Final = 64
"""Bytes of a label (IRCv3 labeled-response)."""


class Session:
    """A connection of a client, before and after its registration."""

    __slots__ = (
        "_admitted",
        "_blocked",
        "_bucket",
        "_busy",
        "_closed",
        "_crowded",
        "_free_bucket",
        "_handshaking",
        "_last_line",
        "_pinged",
        "_queue",
        "_queue_bytes",
        "_too_fast",
        "_wakeup",
        "address",
        "away",
        "away_since_s",
        "batches",
        "blocklisted",
        "caps",
        "certfp",
        "connected_s",
        "failures",
        "followed",
        "gateway",
        "hostname",
        "last_message_s",
        "listener",
        "metadata_changes",
        "monitored",
        "open_batch",
        "oper",
        "outbox",
        "pending_login",
        "read_markers",
        "received",
        "received_bytes",
        "registration",
        "sasl",
        "sasl_data",
        "sasl_mechanism",
        "secure",
        "sees_values",
        "server",
        "silenced",
        "transport",
        "uid",
        "waits_in",
    )

    def __init__(
        self, server: IRCServer, transport: Any, listener: ListenerInfo | None, *, handshaking: bool = False
    ) -> None:
        """`handshaking` says that TLS has only begun: `handshake_completed` will be called, or the transport knows."""
        self.server = server
        self.transport = transport
        self.listener = listener
        self.secure = getattr(transport, "secure", listener is not None and listener.tls)
        """Whether the client's own connection is protected."""
        self.certfp: str | None = None
        self.address = _address(transport)
        self.hostname = ""
        """The client's host name, if a gateway has told one."""
        self.gateway = server.gateways.is_gateway(self.address)
        """Whether this may be a gateway that will say who its client is."""
        self._admitted = False
        self.uid = ""
        self.blocklisted: Deferred[str | None] | None = None
        """The answer of the DNS block lists."""
        self.caps = RAW_BYTES if server.encoding.keeps_bytes and getattr(transport, "takes_bytes", True) else 0
        self.away: str | None = None
        """What this client says of its user's absence; the user is away if all its clients say so."""
        self.away_since_s = 0.0
        self.sees_values = False
        """Whether the client knows values of capabilities (CAP LS 302)."""
        self.registration: Registration | None = Registration()
        self.batches = 0
        self.monitored: dict[str, str] = {}
        """Casefolded nick to the nick as it was given (MONITOR); gone with the connection."""
        self.followed: dict[str, None] = {}
        """Keys of metadata that the client wants to hear of; gone with the connection."""
        self.metadata_changes: deque[float] | None = None
        """When the client changed metadata lately, in seconds; None if it never did."""
        self.read_markers: dict[str, str] = {}
        """How far who is not logged in has read (MARKREAD), by casefolded channel or nick."""
        self.silenced: dict[str, str] = {}
        """Casefolded mask to the mask as it was given (SILENCE); gone with the connection."""
        now = server.reactor.seconds()
        self.connected_s = now
        self.last_message_s = now
        """When the client last sent a message to somebody: what WHOIS calls idle."""
        self.received = 0
        self.received_bytes = 0
        self.failures = 0
        """Wrong passwords that the client has given."""
        self.sasl: Exchange | None = None
        """The log-in that is going on."""
        self.sasl_mechanism = ""
        self.sasl_data = ""
        self.oper = ""
        """The operator block whose OPER this client has passed, while its user is an IRC operator.

        The user's mode +o is everybody's to see; what an operator may do only such a client may: another one of the
        same user has proved to own the account, not to be an operator.
        """
        self.pending_login: Login | None = None
        """A log-in before registration; `Accounts.pending` says whether it still holds."""
        self.open_batch: OpenBatch | None = None
        """The multiline message that the client is sending."""
        self._last_line = now
        self._pinged = False
        self.waits_in: PatienceBucket | None = None
        """With whom the session waits for its moment; of Patience alone."""
        self._wakeup: IDelayedCall | None = None
        flood = server.config.flood
        self._bucket = Bucket(flood.burst, flood.rate_per_s, now)
        self._free_bucket: Bucket | None = None
        """That of PING and PONG, once the client has sent one."""
        self._handshaking = handshaking
        self._blocked = False
        """Whether the client does not read what it is sent, and so is not read either."""
        self._too_fast = False
        """Whether its bucket is empty."""
        self._crowded = False
        """Whether it is not read until the command that is running is done, because enough waits behind that."""
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._busy = False
        self._closed = False
        self.outbox = Outbox(
            server.gate,
            server.flusher,
            transport,
            limit=min(server.config.limits.sendq_bytes, STRANGER_SENDQ),
            on_overflow=self._sendq_exceeded,
            on_blocked=self._output_blocked,
        )

    # --- who ------------------------------------------------------------------------------------------------------

    @property
    def is_registered(self) -> bool:
        """Whether the client is a user of the network."""
        return bool(self.uid)

    @property
    def is_websocket(self) -> bool:
        """Whether the client speaks WebSocket."""
        return self.listener is not None and self.listener.websocket

    def fingerprint(self) -> str | None:
        """SHA-256 of the client's certificate, lower-case hex; None without one."""
        return peer_fingerprint(self.transport) if self.secure else None

    def tls_connection(self) -> Any:
        """The OpenSSL connection behind the client's, for channel binding; None without TLS."""
        return getattr(self.transport, "_tlsConnection", None) if self.secure else None

    def end_sasl(self) -> None:
        """The log-in that was going on is over."""
        self.sasl = None
        self.sasl_mechanism = self.sasl_data = ""

    @property
    def is_closed(self) -> bool:
        """Whether the session is over; what is still on its way out goes out."""
        return self._closed

    @property
    def display_nick(self) -> str:
        """The user's nick; before registration the nick that was asked for, or *."""
        if self.uid:
            user = self.server.state.users.get(self.uid)
            return user.nick if user is not None else "*"
        return (self.registration.nick if self.registration is not None else None) or "*"

    # --- begin and end --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Admit the connection or turn it away, and give it its time to register."""
        server = self.server
        server.sessions[self] = None
        server.connections += 1
        if not self.gateway and not self.admit():
            return
        server.strangers.add(self)
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
        timeouts = server.config.timeouts
        server.patience.wait(self, timeouts.handshake_s if self._handshaking else timeouts.registration_s)

    def handshake_completed(self) -> None:
        """TLS is there."""
        self._handshaking = False

    def _is_handshaking(self) -> bool:
        if self._handshaking:
            self._handshaking = getattr(self.transport, "is_handshaking", True)
        return self._handshaking

    def admit(self) -> bool:
        """Whether the client's address may connect; it is told, and closed, if not."""
        server = self.server
        self.gateway = False
        self._admitted = True
        refusal, reason = server.throttle.admit(self.address), "limit"
        if server.log_full:
            refusal, reason = "The server cannot take anybody at the moment, try again later", "log"
        ban = server.bans.tables.for_address(self.address) if self.address else None
        if ban is not None:
            refusal, reason = f"Banned: {ban.reason}", "ban"
            self._context(Message("*", ())).reply(ERR_YOUREBANNEDCREEP, text=refusal)
        if refusal is not None:
            server.measures.refused[reason] += 1
            server.bans.notify("f", f"refused {self.address}: {refusal}")
            if self._is_handshaking() and server.refusals.take(server.reactor.seconds()) > 0.0:
                # To say why costs a TLS handshake, which is what a flood of connections is after.
                self._end_now(refusal)
            else:
                self.close(refusal)
            return False
        if server.blocklists is not None and self.address:
            self.blocklisted = server.blocklists.check(self.address)
        return True

    def comes_through(self, address: str, hostname: str, *, secure: bool) -> None:
        """A gateway says who its client is; `secure` tells whether that one came to it protected."""
        self.address = address
        self.hostname = hostname if hostname != address else ""
        # Only as safe as the weaker of the two ways (IRCv3 webirc).
        self.secure = self.secure and secure
        self.admit()

    @property
    def is_admitted(self) -> bool:
        """Whether the throttle has counted the connection."""
        return self._admitted

    def make_room(self) -> None:
        """Too many connections are no users yet, and this one has been one for the longest time."""
        self.server.measures.cut["registration"] += 1
        if self._is_handshaking():
            self._end_now("Too many connections")
        else:
            self.close("Too many connections are registering, and yours was the slowest")

    def registered_as(self, uid: str) -> None:
        """The client is the user `uid` from now on."""
        self.uid = uid
        self.registration = None
        self.outbox.limit = self.server.config.limits.sendq_bytes
        self.server.strangers.discard(self)
        self.server.patience.wait(self, self.server.config.timeouts.ping_interval_s)

    def close(self, reason: str, *, farewell: str = "") -> None:
        """End the session: its user leaves the network, the client gets ERROR, then the connection is closed.

        `farewell` is a line before that.
        """
        if self._closed:
            return
        self._closed = True
        self.server.strangers.discard(self)
        self._leave(reason)
        if farewell:
            self.send(Line(farewell, timestamp=self.server.timestamp()))
        host = self.address or "unix"
        self.send(Line(f"ERROR :Closing Link: {host} ({reason})"))
        # A client that does not read, or does not answer the end of TLS, would keep its connection for ever.
        self.server.patience.wait(self, CLOSING_S)
        self.outbox.close()

    def connection_lost(self, reason: str) -> None:
        """The connection is gone."""
        was_closed, self._closed = self._closed, True
        self.outbox.discard()
        self.server.patience.forget(self)
        self._queue.clear()
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        self.server.session_ended(self)
        if not was_closed:
            self._leave(reason)

    def _leave(self, reason: str) -> None:
        uid, self.uid = self.uid, ""
        if uid:
            self.release(uid, reason)

    def release(self, uid: str, reason: str) -> None:
        """The client is one of the user `uid` no longer; the user ends with its last one, unless it stays."""
        server = self.server
        server.users.detach(uid, self)
        server.channels.detached(uid, self)
        others = server.users.sessions_of(uid)
        ends_oper = bool(self.oper) and not any(session.oper for session in others)
        decision = decide_leave(server.state, uid, reason, others=len(others), ends_oper=ends_oper)
        server.bus.emit(decision).addErrback(self._leaving_failed)
        server.users.settle_away(server, uid)

    def _leaving_failed(self, failure: Failure) -> None:
        if failure.check(NumericError) is None:
            log.failure("a user's end could not be logged", failure=failure)

    def user_ended(self, reason: str) -> None:
        """The session's user was ended by somebody else (KILL); close the connection."""
        self.uid = ""
        self.close(reason)

    def _sendq_exceeded(self) -> None:
        # Not from inside whoever is sending: it may be iterating over the very sessions that this ends.
        self.server.reactor.callLater(0, self._cut, "SendQ exceeded")

    def _cut(self, reason: str) -> None:
        if not self._closed:
            self.server.measures.cut["sendq"] += 1
            self.server.bans.notify("f", f"cut {self.display_nick} ({self.address}): {reason}")
            self._end_now(reason)

    def _end_now(self, reason: str) -> None:
        """End the session without a word to the client."""
        self._closed = True
        self.server.strangers.discard(self)
        self.outbox.discard()
        self._leave(reason)
        self.abort()

    def abort(self) -> None:
        """Close the connection without waiting for what is still to be sent."""
        abort = getattr(self.transport, "abortConnection", self.transport.loseConnection)
        abort()

    # --- input ----------------------------------------------------------------------------------------------------

    def pause(self, paused: bool) -> None:
        """Do not read from the client, or read again."""
        if not self._closed:
            held = paused or self._blocked or self._crowded
            (self.transport.pauseProducing if held else self.transport.resumeProducing)()

    def _output_blocked(self, blocked: bool) -> None:
        """Whoever does not read is not read: so nothing that a client asks for can pile up anywhere."""
        if self._closed or self._is_handshaking():
            return
        self._blocked = blocked
        self.pause(self.server.log_full)

    def receive(self, line: bytes) -> None:
        """Take a line from the client: run it, or queue it behind what is running or delayed."""
        if self._closed or not line:
            return
        self._last_line = self.server.reactor.seconds()
        self._pinged = False
        self.received += 1
        self.received_bytes += len(line)
        if self._busy or self._queue or self._wakeup is not None:
            self._enqueue(line)
            return
        delay = self._delay(line)
        if delay > 0.0:
            self.server.measures.delayed += 1
            self._sleep(delay)
            self._enqueue(line)
        else:
            self._run(line)

    def receive_too_long(self) -> None:
        """The client sends a line that is longer than any may be, which no flood bucket counts: it is cut.

        Lines whose tags or whose body alone are too long are answered in their turn, and the client stays.
        """
        if not self._closed:
            self.server.measures.cut["recvq"] += 1
            self._context(Message("*", ())).reply(ERR_INPUTTOOLONG)
            self.close("Excess flood: input line too long")

    def receive_too_much(self) -> None:
        """The client sends more of what is no line than any client has to: it is cut."""
        if not self._closed:
            self.server.measures.cut["recvq"] += 1
            self.close("Excess flood: too many frames")

    def _enqueue(self, line: bytes) -> None:
        self._queue.append(line)
        self._queue_bytes += len(line) + LINE_BYTES
        limit = self.server.config.limits.recvq_bytes
        if not (self._too_fast or self._crowded) and self._queue_bytes > limit // 2:
            # It is not the client that is too fast: a command, or everybody else, takes its time.
            self._crowded = True
            self.pause(self.server.log_full)
        if self._queue_bytes > limit + ONE_READ:
            self._queue.clear()
            self.server.measures.cut["recvq"] += 1
            self.close("Excess flood: receive queue exceeded")

    def _delay(self, line: bytes) -> float:
        """Seconds until the bucket allows this line."""
        flood = self.server.config.flood
        if not flood.enabled or (self.oper and self.server.has_privilege(self, "flood-exempt")):
            return 0.0
        now = self.server.reactor.seconds()
        if not _is_free(line):
            return self._bucket.take(now)
        if self._free_bucket is None:
            self._free_bucket = Bucket(flood.burst, flood.rate_per_s, now)
        return self._free_bucket.take(now)

    def _charge(self, work: int) -> None:
        """A command has caused so many lines, or as much work as these: that is more than one token's worth."""
        flood = self.server.config.flood
        if flood.enabled:
            self._bucket.spend(work / flood.lines_per_token)

    def _sleep(self, seconds: float) -> None:
        self._too_fast = seconds > 0.0
        self._wakeup = self.server.reactor.callLater(seconds, self._wake)

    def _wake(self) -> None:
        self._wakeup = None
        self._too_fast = False
        self._drain()

    def _drain(self) -> None:
        while self._queue and not self._busy and not self._closed and self._wakeup is None:
            line = self._queue[0]
            delay = self._delay(line)
            if delay > 0.0:
                self._sleep(delay)
                return
            self._queue.popleft()
            self._queue_bytes -= len(line) + LINE_BYTES
            if self._crowded and not self._queue:
                self._crowded = False
                self.pause(self.server.log_full)
            self._run(line)

    # --- running a command ----------------------------------------------------------------------------------------

    def _run(self, line: bytes) -> None:
        try:
            message = parse(line, self.server.encoding.decode)
        except LineTooLong:
            self._context(Message("*", ())).reply(ERR_INPUTTOOLONG)
            return
        except NotUtf8 as error:
            context = self._context(Message(error.command or "*", (), error.tags))
            # IRCv3 UTF8ONLY
            text = "Message rejected, your client must use UTF-8"
            context.standard_reply("FAIL", "INVALID_UTF8", text=text, always=True)
            context.finish()
            return
        except MalformedLine as error:
            self._context(Message("*", ())).standard_reply("FAIL", "MALFORMED_LINE", text=str(error))
            return
        context = self._context(message)
        entry = COMMANDS.get(message.command)
        try:
            if entry is None:
                entry = self.server.extensions.commands.get(message.command)
            if entry is None:
                raise NumericError(ERR_UNKNOWNCOMMAND, message.command)
            check(entry, context)
            if (self.open_batch is not None or (message.tags and self.caps & MULTILINE)) and collects(context):
                context.finish()
                return
            if self.server.bans.tables.has_shuns and entry.name not in SHUNNED_MAY and self._is_shunned():
                context.finish()
                return
            counts = self.server.command_counts
            counts[entry.name] = counts.get(entry.name, 0) + 1
            started = perf_counter()
            pending = entry.handler(context, *arguments(entry, message.params))
            if pending is not None:
                waiting = begin(pending)
                if waiting is not None:
                    self._await(context, waiting, entry.name, started)
                    return
            self._took(entry.name, perf_counter() - started)
        except Exception as error:
            self._failed(context, error)
        if context.label is not None:
            context.finish()
        if context.work > CHEAP:
            self._charge(context.work)

    def _took(self, command: str, seconds: float) -> None:
        self.server.measures.took(command, seconds)
        if seconds > LONG_S and self._wakeup is None and not self._closed:
            # What the client says next waits for the next turn: others have waited long enough.
            self._sleep(0.0)

    def _is_shunned(self) -> bool:
        user = self.server.state.users.get(self.uid)
        return user is not None and not self.oper and self.server.bans.is_shunned(user)

    def _await(self, context: Context, done: Deferred[None], command: str, started: float) -> None:
        self._busy = True
        done.addErrback(self._failed_later, context)
        done.addCallback(self._done, context, command, started)

    def _failed_later(self, failure: Failure, context: Context) -> None:
        self._failed(context, failure.value or RuntimeError("no reason"), failure)

    def _done(self, _: object, context: Context, command: str, started: float) -> None:
        self._busy = False
        self._took(command, perf_counter() - started)
        context.finish()
        if context.work > CHEAP:
            self._charge(context.work)
        if self._queue:
            self._drain()

    def _failed(self, context: Context, error: BaseException, failure: Failure | None = None) -> None:
        if isinstance(error, (NumericError, StandardReply)):
            context.refuse(error)
        elif isinstance(error, ClientGone):
            pass  # nobody is there to be told
        elif isinstance(error, StoreUnavailable):
            context.standard_reply(
                "FAIL", "TEMPORARILY_UNAVAILABLE", text="The event log cannot be used now, try again later"
            )
        elif isinstance(error, EncodeError):
            context.standard_reply("FAIL", "INVALID_PARAMS", text=str(error))
        else:
            log.failure("{command} failed", failure=failure or Failure(error), command=context.message.command)
            self.close("Internal error")

    def _context(self, message: Message) -> Context:
        if not message.tags:
            return Context(self.server, self, message, None)
        label = message.tags.get("label") if self.caps & LABELED_RESPONSE else None
        if label is not None and len(label.encode()) > MAX_LABEL:
            label = None
        return Context(self.server, self, message, label or None)

    # --- output ---------------------------------------------------------------------------------------------------

    def send(self, line: Line, extra: Mapping[str, str] | None = None, *, free: bool = False) -> None:
        """Send a line, with the tags that the client has negotiated; `extra` are tags for this client alone.

        A `free` line shows nothing of the state, so it waits only behind lines that do.
        """
        self.outbox.append(line.encoded_with(self.caps, extra) if extra else line.encoded(self.caps), free=free)

    async def next_turn(self) -> None:
        """Between two pieces of a long answer: let others have their turn, and the client read what it has been sent.

        Raises ClientGone if it leaves meanwhile.
        """
        await self.outbox.room()
        await self.server.turns.next()
        if self._closed:
            raise ClientGone

    def next_batch(self) -> str:
        """A reference for a new batch, unique on this connection."""
        self.batches += 1
        return f"b{self.batches}"

    # --- patience -------------------------------------------------------------------------------------------------

    def patience_ends(self) -> None:
        """The moment has come for which the session waits: cut it, ask whether it is there, or wait on."""
        if self._closed:
            self.abort()  # it has not read its last lines, or does not close its end
            return
        if self._is_handshaking():
            self.server.measures.cut["handshake"] += 1
            self._end_now("TLS handshake timed out")
            return
        if self.registration is not None:
            # Those who had to finish TLS first have been looked at once before.
            rest = self.connected_s + self.server.config.timeouts.registration_s - self.server.reactor.seconds()
            if rest > 0.0:
                self.server.patience.wait(self, rest)
                return
            self.server.measures.cut["registration"] += 1
            self.close("Registration timed out")
            return
        timeouts = self.server.config.timeouts
        idle = self.server.reactor.seconds() - self._last_line
        if self._pinged and not self.outbox.holding:
            self.server.measures.cut["ping"] += 1
            self.close(f"Ping timeout: {round(idle)} seconds")
        elif idle < timeouts.ping_interval_s:
            self.server.patience.wait(self, timeouts.ping_interval_s - idle)
        else:
            self._pinged = True
            timestamp = self.server.timestamp() if self.caps & SERVER_TIME else ""
            self.send(Line(f":{self.server.server_name} PING :{self.server.server_name}", timestamp=timestamp))
            self.server.patience.wait(self, timeouts.ping_timeout_s)


def _address(transport: Any) -> str:
    """The client's IP address; empty for a Unix socket."""
    host = getattr(transport.getPeer(), "host", "")
    return peer_address(host) if isinstance(host, str) else ""


def _is_free(line: bytes) -> bool:
    """PING and PONG have a bucket of their own, so that a client that is delayed does not time out."""
    if line[:1] == b"@":
        line = line[line.find(b" ") + 1 :].lstrip(b" ")
    return line[:5].upper() in (b"PING ", b"PONG ")
