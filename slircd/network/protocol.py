"""Bytes to lines: the Twisted protocol of an IRC connection.

A LineReceiver that keeps lines whole however the stream is cut: Twisted's own looks at the length of what is unfinished
only, so the same bytes are too long or not, depending on where TCP cut them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IAddress, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.basic import LineReceiver
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from slircd.network.session import Session
from slircd.network.tls_socket import TLSServer
from slircd.wire.message import MAX_BODY, MAX_TAGS

if TYPE_CHECKING:
    from slircd.network.listeners import ListenerInfo
    from slircd.network.server import IRCServer

MAX_LINE: Final = MAX_TAGS + MAX_BODY
"""Bytes of the longest line that can be right: tags and body, their ends included (IRCv3 message-tags)."""


@implementer(IHandshakeListener)
class IRCProtocol(LineReceiver):
    """One connection.  Lines end with LF; a CR before it is dropped (RFC 1459 2.3, and clients that send LF only)."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    listener: ListenerInfo
    session: Session | None = None

    def __init__(self, server: IRCServer) -> None:
        self._server = server
        self._rest = b""

    def connectionMade(self) -> None:
        """Begin a session."""
        handshaking = isinstance(self.transport, TLSMemoryBIOProtocol | TLSServer)
        self.session = Session(self._server, self.transport, getattr(self, "listener", None), handshaking=handshaking)
        self.session.start()

    def handshakeCompleted(self) -> None:
        """TLS is there (IHandshakeListener)."""
        if self.session is not None:
            self.session.handshake_completed()

    def dataReceived(self, data: bytes) -> None:
        """Cut the stream into lines; one that cannot be right is the end, wherever it was cut."""
        if self.session is None or self.session.is_closed:
            return
        lines = (self._rest + data if self._rest else data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            if len(line) >= MAX_LINE:
                self.lineLengthExceeded(line)
            else:
                self.lineReceived(line)
        if len(self._rest) >= MAX_LINE:
            self.lineLengthExceeded(self._rest)
            self._rest = b""

    def lineReceived(self, line: bytes) -> None:
        """Hand a line to the session."""
        if self.session is not None:
            self.session.receive(line[:-1] if line.endswith(b"\r") else line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line that is longer than tags and body may be together: whoever sends it does not speak IRC."""
        if self.session is not None:
            self.session.receive_too_long()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """End the session."""
        session, self.session = self.session, None
        if session is not None:
            session.connection_lost("Connection closed" if reason is None else reason.getErrorMessage())


class IRCFactory(Factory):
    """Makes a protocol for each connection."""

    noisy = False

    def __init__(self, server: IRCServer) -> None:
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A protocol that will begin a session when it is connected."""
        return IRCProtocol(self._server)
