"""Output: what a client is sent, in order, when it may be sent, and as few writes as possible.

Two rules.  A line waits in the outbox until the log is committed up to the last event that was applied when the line
was made (the output gate): any later answer could reveal that event, so the rule is the whole server's, and where
nothing is unwritten nothing waits.  What may go is collected and leaves in one write per client at the end of the
reactor's turn; when a turn has thousands of clients to write to, the writes go on in the next one.

A client that does not read is cut when its outbox exceeds its limit; it never makes the server grow, and nobody else
waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer, IReactorTime, ITransport
from twisted.internet.tcp import Server as TCPServer
from zope.interface import implementer

from slircd.network.tls_socket import TLSServer
from slircd.network.turns import BUDGET_S


class OutputGate:
    """Knows how far the state, which output shows, is ahead of the log, which survives a crash."""

    __slots__ = (
        "_clock",
        "_closed_since",
        "_releasing",
        "_waiting",
        "applied_sequence",
        "closed",
        "committed_sequence",
        "on_release",
        "strict",
    )

    def __init__(self, clock: IReactorTime, *, strict: bool = True) -> None:
        """`strict` False never holds anything back: the last batch can then be lost after it was seen."""
        self.strict = strict
        self.on_release: Callable[[float], None] = _ignore
        """Told of each release how many seconds the output that had waited longest has waited."""
        self._clock = clock
        self._closed_since = 0.0
        self.applied_sequence = 0
        self.committed_sequence = 0
        self.closed = False
        self._waiting: list[Outbox] = []
        self._releasing = False
        """Whether some are still to be let go in the next turn."""

    def applied(self, sequence: int) -> None:
        """From now on output shows the state up to `sequence`."""
        self.applied_sequence = sequence
        if not self.closed and self.strict and sequence > self.committed_sequence:
            self.closed = True
            self._closed_since = self._clock.seconds()

    def committed(self, sequence: int) -> None:
        """The log is safe up to `sequence`: let go what waited for that."""
        self.committed_sequence = max(self.committed_sequence, sequence)
        if self.closed:
            now = self._clock.seconds()
            self.on_release(now - self._closed_since)
            # What stays behind was made after the commit began, so not much before now.
            self._closed_since = now
            self.closed = self.applied_sequence > self.committed_sequence
        if not self._releasing:
            self._release()

    def _release(self) -> None:
        """Let go what waited, or as much of it as a turn may have: who is not reached keeps its order all the same."""
        self._releasing = False
        sequence = self.committed_sequence
        waiting = self._waiting
        again: list[Outbox] = []
        self._waiting = []
        end = self._clock.seconds() + BUDGET_S
        for start in range(0, len(waiting), PIECE):
            if start and self._clock.seconds() >= end:
                again += waiting[start:]
                self._releasing = True
                self._clock.callLater(0, self._release)
                break
            again += [outbox for outbox in waiting[start : start + PIECE] if outbox.release(sequence)]
        self._waiting = again + self._waiting

    def wait(self, outbox: Outbox) -> None:
        """Have `outbox` told of the next commit."""
        self._waiting.append(outbox)


def _ignore(seconds: float) -> None:
    """An `on_release` of nobody."""


PIECE: Final = 32
"""Outboxes that are flushed between two looks at the clock."""


class Flusher:
    """Collects the outboxes that have something to send, and flushes them once at the end of the turn.

    A write costs a system call, so ten thousand would be a long turn: what does not fit in the budget waits for the
    next one, behind nothing that came later.
    """

    __slots__ = ("_dirty", "_reactor")

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._dirty: list[Outbox] = []

    def add(self, outbox: Outbox) -> None:
        """Flush `outbox` at the end of this turn."""
        if not self._dirty:
            self._reactor.callLater(0, self.flush)
        self._dirty.append(outbox)

    def flush(self) -> None:
        """Send what every outbox has ready, or as much of it as a turn may have."""
        dirty = self._dirty
        self._dirty = []
        if len(dirty) <= PIECE:
            for outbox in dirty:
                outbox.flush()
            return
        seconds = self._reactor.seconds
        end = seconds() + BUDGET_S
        for start in range(0, len(dirty), PIECE):
            if start and seconds() >= end:
                self._later(dirty[start:])
                return
            for outbox in dirty[start : start + PIECE]:
                outbox.flush()

    def _later(self, rest: list[Outbox]) -> None:
        if not self._dirty:  # else the call is made already
            self._reactor.callLater(0, self.flush)
        self._dirty = rest + self._dirty


ROOM: Final = 8
"""A long answer goes on when no more than this part of the limit waits, which leaves the rest to what others say."""


@implementer(IPushProducer)
class Outbox:
    """The lines on their way to one client.

    `on_overflow` is called once, when more than `limit` bytes wait; `on_blocked` when the transport takes no more, and
    when it does again.
    """

    __slots__ = (
        "_closing",
        "_dirty",
        "_flusher",
        "_gate",
        "_held",
        "_held_for",
        "_on_blocked",
        "_on_overflow",
        "_paused",
        "_ready",
        "_room",
        "_send",
        "_transport",
        "bytes_sent",
        "limit",
        "lines_sent",
        "size",
    )

    def __init__(
        self,
        gate: OutputGate,
        flusher: Flusher,
        transport: Any,
        *,
        limit: int,
        on_overflow: Callable[[], None],
        on_blocked: Callable[[bool], None] | None = None,
    ) -> None:
        self.limit = limit
        self.size = 0
        self.lines_sent = 0
        """How much went out; counted where it goes, once a turn, not once a line."""
        self.bytes_sent = 0
        self._gate = gate
        self._flusher = flusher
        self._transport = transport
        self._send: Callable[[bytes], None] = _sender(transport)
        self._on_overflow: Callable[[], None] | None = on_overflow
        self._on_blocked = on_blocked
        self._ready: list[bytes] = []
        # A sequence, the lines that wait for it, the next sequence, and so on: nothing is made for a line that waits,
        # because what thousands hold would have the cycle collector at work in the middle of a message.
        self._held: deque[int | bytes] = deque()
        self._held_for = -1
        """The last sequence in `_held`."""
        self._paused = False
        self._dirty = False
        self._closing = False
        self._room: Deferred[None] | None = None
        transport.registerProducer(self, True)

    @property
    def holding(self) -> bool:
        """Whether lines wait for the log."""
        return bool(self._held)

    def room(self) -> Deferred[None]:
        """Fires when so little waits that a piece of a long answer may follow, or when nothing will ever be sent again.

        There is one long answer at a time: commands of a client run one after the other.
        """
        if self._has_room():
            return succeed(None)
        self._room = Deferred()
        return self._room

    def _has_room(self) -> bool:
        return self.size <= self.limit // ROOM or self._closing

    def append(self, data: bytes, *, free: bool = False) -> None:
        """Send `data` (a whole line) when the log allows it, after all that was appended before.

        `free` data shows nothing of the state, so it waits only behind lines that do.
        """
        if self._closing:
            return
        size = self.size = self.size + len(data)
        if self._held or (self._gate.closed and not free):
            self._hold(data)
        else:
            self._ready.append(data)
            if not self._dirty:
                self._dirty = True
                self._flusher.add(self)
        if size > self.limit and self._on_overflow is not None:
            on_overflow, self._on_overflow = self._on_overflow, None
            on_overflow()

    def _hold(self, data: bytes) -> None:
        sequence = self._gate.applied_sequence
        held = self._held
        if sequence != self._held_for:
            if not held:
                self._gate.wait(self)
            held.append(sequence)
            self._held_for = sequence
        held.append(data)

    def release(self, sequence: int) -> bool:
        """The log is safe up to `sequence`; True if something waits for more than that."""
        held = self._held
        while held:
            first = held[0]
            if isinstance(first, bytes):
                self._ready.append(first)
            elif first > sequence:
                break
            held.popleft()
        else:
            self._held_for = -1
        if self._ready and not self._dirty:
            self._dirty = True
            self._flusher.add(self)
        return bool(held)

    def flush(self) -> None:
        """Hand the transport what may go, in one write."""
        self._dirty = False
        if self._paused:
            return
        ready = self._ready
        if ready:
            count = len(ready)
            data = ready[0] if count == 1 else b"".join(ready)
            ready.clear()
            size = len(data)
            self.size -= size
            self.lines_sent += count
            self.bytes_sent += size
            self._send(data)
            if self._room is not None and self._has_room():
                self._go_on()
        if self._closing and not self._held and not self._ready:
            self._end()

    def close(self) -> None:
        """Take no more lines; close the connection when those that are here have gone out."""
        if not self._closing:
            self._closing = True
            self._go_on()
            if not self._dirty:
                self._dirty = True
                self._flusher.add(self)

    def discard(self) -> None:
        """Forget everything: the connection is gone, or the client does not read."""
        self._closing = True
        self._ready.clear()
        self._held.clear()
        self.size = 0
        # Nothing may lead in a circle: who is gone is to go without the cycle collector.
        self._on_overflow = self._on_blocked = None
        self._transport = None
        self._send = _ignore_data
        self._go_on()

    def _go_on(self) -> None:
        """Whoever waits for room need not wait any more."""
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.unregisterProducer()
            self._transport.loseConnection()

    # --- IPushProducer: the transport says when its own buffer is full --------------------------------------------

    def pauseProducing(self) -> None:
        """The transport's buffer is full: keep what comes."""
        if not self._paused:
            self._paused = True
            if self._on_blocked is not None:
                self._on_blocked(True)

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        if self._paused:
            self._paused = False
            if self._on_blocked is not None:
                self._on_blocked(False)
        self.flush()

    def stopProducing(self) -> None:
        """The connection is gone."""
        self.discard()


def _ignore_data(data: bytes) -> None:
    """A `_send` to nobody."""


_MAX_DIRECT: Final = 131_072


def _sender(transport: ITransport) -> Callable[[bytes], None]:
    """How to write to `transport`: straight to the socket where that is a TCP connection, plain or with TLS.

    `transport.write` buffers and waits for the reactor to call the socket writable, which doubles the system calls
    of a small write.
    """
    write: Callable[[bytes], None] = transport.write
    tcp: Any = transport
    send_some: Callable[[bytes], int]
    if type(transport) is TCPServer:
        send_some = tcp.socket.send
    elif type(transport) is TLSServer:
        send_some = tcp.send_now
    else:
        return write

    def send(data: bytes) -> None:
        # The order of bytes is kept only if nothing is buffered, hence the look into FileDescriptor's buffers.
        if tcp._tempDataBuffer or len(tcp.dataBuffer) > tcp.offset or len(data) > _MAX_DIRECT or not tcp.connected:
            write(data)
            return
        try:
            sent = send_some(data)
        except (OSError, SSL.Error):
            # The socket is full, or the reactor will meet the same error on its own write, and report it as ever.
            write(data)
            return
        if sent < len(data):
            write(data[sent:])

    return send
