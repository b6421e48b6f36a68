"""TLS on a connection's own socket.

Twisted's TLS stands between a transport and a protocol: what it sends and receives goes through buffers in memory, and
each line costs several calls into OpenSSL and one turn of the reactor more.  Where the transport is a plain TCP
connection, OpenSSL can read and write its socket itself: one call for what a client is sent at the end of a turn, and
one for what it has sent.  A record is read whole, so nothing is left behind in OpenSSL where the reactor cannot see it.

The handshake takes its course in the first reads and writes.  Whatever is written before it is done waits for it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IDelayedCall, IProtocol, ISSLTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Server as TCPServer
from zope.interface import implementer

RECORD: Final = 16_384
"""Bytes of the longest TLS record (RFC 8446 5.1)."""

PATIENCE_S: Final = 10
"""Seconds that a client has to finish its handshake when its connection is to be closed, with a word why."""


@implementer(ISSLTransport)
class TLSServer(TCPServer):
    """A TCP connection from a client that speaks TLS.

    `begin_tls` makes one of a connection that was just accepted.
    """

    _tlsConnection: SSL.Connection
    _blocked = False
    """Whether writing waits for something to be read, as in a handshake."""
    _is_open = False
    """Whether anything went through, so that the handshake is over."""
    _cut: IDelayedCall | None = None
    reactor: Any

    @property
    def is_handshaking(self) -> bool:
        """Whether the client has still to finish its handshake."""
        return not self._is_open and self._tlsConnection.get_peer_finished() is None

    def getPeerCertificate(self) -> Any:
        """The client's certificate, or None."""
        return self._tlsConnection.get_peer_certificate()

    def send_now(self, data: bytes | memoryview) -> int:
        """Encrypt and send as much of `data` as the socket takes; raises SSL.Error."""
        sent = self._tlsConnection.send(data)
        self._is_open = True
        return sent

    def doRead(self) -> Any:
        """Read a record and hand it to the protocol."""
        try:
            data = self._tlsConnection.recv(RECORD)
        except SSL.WantReadError:
            data = b""
        except SSL.WantWriteError:
            # An answer of the handshake does not go out: wait until the socket takes something.
            self.startWriting()
            return None
        except SSL.ZeroReturnError:
            return CONNECTION_DONE
        except SSL.SysCallError:
            return CONNECTION_LOST
        except SSL.Error as error:
            return error
        if self._blocked:
            self._blocked = False
            self.startWriting()
        if data:
            self._is_open = True
            self.protocol.dataReceived(data)
        return None

    def doWrite(self) -> Any:
        """Write what waits; without anything that waits, go on with the handshake."""
        if self._tempDataBuffer or len(self.dataBuffer) > self.offset or self.disconnecting:
            return super().doWrite()
        self.stopWriting()
        return self.doRead()

    def writeSomeData(self, data: bytes | memoryview) -> Any:
        """Encrypt and send as much of `data` as the socket takes."""
        if not data:
            return 0
        try:
            return self.send_now(memoryview(data)[: self.SEND_LIMIT])
        except SSL.WantWriteError:
            return 0
        except SSL.WantReadError:
            self._blocked = True
            self.stopWriting()
            return 0
        except SSL.SysCallError:
            return CONNECTION_LOST
        except SSL.Error as error:
            return error

    def loseConnection(self) -> None:
        """Close the connection when all is sent; a client in the middle of its handshake has a while for it."""
        was_open = self.connected and not self.disconnecting
        super().loseConnection()
        if was_open and not self._is_open and self.connected:
            self.startReading()
            self._cut = self.reactor.callLater(PATIENCE_S, self.abortConnection)

    def connectionLost(self, reason: Any) -> None:
        """The connection is over."""
        if self._cut is not None and self._cut.active():
            self._cut.cancel()
        super().connectionLost(reason)

    def _closeSocket(self, orderly: bool) -> None:
        if orderly:
            with suppress(SSL.Error):  # the client is gone already, or there never was a handshake
                self._tlsConnection.shutdown()
        super()._closeSocket(orderly)


def begin_tls(transport: TCPServer, context: SSL.Context, protocol: IProtocol) -> None:
    """Speak TLS with the client of a connection that was just accepted, and connect `protocol` to it."""
    connection = SSL.Connection(context, transport.socket)
    connection.set_accept_state()
    secured: Any = transport
    secured.__class__ = TLSServer  # as Twisted's own startTLS did, before it had a TLS of its own
    secured._tlsConnection = connection
    secured.protocol = protocol
    protocol.makeConnection(secured)
