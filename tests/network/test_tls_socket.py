"""TLS on a connection's own socket: real OpenSSL on both sides, a reactor that the test plays."""

from __future__ import annotations

import hashlib
import select
import socket
import ssl
import tempfile
import unittest
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Server
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from slircd.network.outbox import _sender
from slircd.network.tls import ReloadableTLS, over_tls
from slircd.network.tls_socket import PATIENCE_S, TLSServer
from slircd.security.certificates import ensure_self_signed, peer_fingerprint

PORT: Any = SimpleNamespace(_realPortNumber=6697)
PEER = IPv4Address("TCP", "127.0.0.1", 50000)


class Recording(Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.lost: Failure | None = None
        self.greeting = b""

    def connectionMade(self) -> None:
        if self.greeting:
            self.transport.write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class TLSSocketTest(unittest.TestCase):
    folder: Path

    @classmethod
    def setUpClass(cls) -> None:
        keep = tempfile.TemporaryDirectory()
        cls.addClassCleanup(keep.cleanup)
        cls.folder = Path(keep.name)
        for name in ("server", "client"):
            ensure_self_signed(cls.folder / f"{name}.crt", cls.folder / f"{name}.key", name, datetime.now(UTC))

    def setUp(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.protocol = Recording()
        self.tls = ReloadableTLS(self.folder / "server.crt", self.folder / "server.key", "1.2")
        factory: Any = Factory.forProtocol(lambda: self.protocol)
        self.factory = over_tls(factory, self.tls, self.reactor, direct=True)
        near, self.far = socket.socketpair()
        self.addCleanup(self.far.close)
        self.addCleanup(near.close)
        self.near = near

    def accept(self) -> Any:
        """The server's side of a new connection."""
        behind = self.factory.buildProtocol(PEER)
        transport: Any = Server(self.near, behind, ("127.0.0.1", 50000), PORT, 1, self.reactor)
        behind.makeConnection(transport)
        self.transport = transport
        return transport

    def client(self, *, certificate: bool = False, highest: ssl.TLSVersion | None = None) -> ssl.SSLSocket:
        """The client's side, which has not begun its handshake."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if highest is not None:
            context.maximum_version = highest
        if certificate:
            context.load_cert_chain(self.folder / "client.crt", self.folder / "client.key")
        self.far.setblocking(False)
        wrapped = context.wrap_socket(self.far, do_handshake_on_connect=False)
        self.addCleanup(wrapped.close)
        return wrapped

    def step(self) -> None:
        """What the reactor would do now."""
        transport = self.transport
        for selected, method in ((self.reactor.readers, "doRead"), (self.reactor.writers, "doWrite")):
            if transport not in selected:
                continue
            can_read, can_write, _ = select.select([transport], [transport], [], 0)
            if can_read if method == "doRead" else can_write:
                why = getattr(transport, method)()
                if why is not None:
                    transport.connectionLost(Failure(why))
                    return

    def until(self, done: Callable[[], object]) -> Any:
        """What `done` gives, tried again as long as the client's side wants more from the server's."""
        for _ in range(10_000):
            try:
                result = done()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                result = None
            if result is not None and result is not False:
                return result
            self.step()
        raise AssertionError("nothing happens any more")

    def connected(self, **options: Any) -> ssl.SSLSocket:
        """A connection with its handshake done."""
        self.accept()
        client = self.client(**options)
        self.until(lambda: client.do_handshake() or True)
        return client

    def test_both_directions(self) -> None:
        """Lines go both ways, in TLS 1.3 and 1.2, without a look of the reactor at what is written."""
        for highest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            with self.subTest(highest):
                self.doCleanups()
                self.setUp()
                client = self.connected(highest=highest)
                self.assertIs(type(self.transport), TLSServer)
                client.send(b"NICK ann\r\n")
                self.until(lambda: self.protocol.data == b"NICK ann\r\n")
                _sender(self.transport)(b":irc.test 001 ann\r\n")
                self.assertNotIn(self.transport, self.reactor.writers)
                self.assertEqual(self.until(lambda client=client: client.recv(100)), b":irc.test 001 ann\r\n")

    def test_many_records_at_once(self) -> None:
        """What arrives together is read to its end: no record stays where the reactor does not see it."""
        client = self.connected()
        sent = [b"%04d %s\r\n" % (number, b"y" * 300) for number in range(300)]
        waiting = list(sent)
        while waiting:
            self.until(lambda: client.send(waiting[0]))
            waiting.pop(0)
        self.until(lambda: len(self.protocol.data) >= len(b"".join(sent)))
        self.assertEqual(self.protocol.data, b"".join(sent))

    def test_written_before_the_handshake(self) -> None:
        """What is written too early waits, without the reactor asking again and again whether the socket is writable."""
        self.protocol.greeting = b"ERROR :not now\r\n"
        transport = self.accept()
        self.step()
        self.assertNotIn(transport, self.reactor.writers)
        client = self.client()
        self.until(lambda: client.do_handshake() or True)
        self.assertEqual(self.until(lambda: client.recv(100)), b"ERROR :not now\r\n")

    def test_full_socket(self) -> None:
        """More than the socket takes arrives whole and in order."""
        client = self.connected()
        send = _sender(self.transport)
        data = [bytes([number]) * 30_000 for number in range(100)]
        for piece in data:
            send(piece)
        received = bytearray()
        while len(received) < 3_000_000:
            received += self.until(lambda: client.recv(65_536))
        self.assertEqual(bytes(received), b"".join(data))

    def test_close(self) -> None:
        """What is written before the end arrives, and then the client is told that it is the end."""
        client = self.connected()
        self.transport.write(b"ERROR :bye\r\n")
        self.transport.loseConnection()
        self.assertEqual(self.until(lambda: client.recv(100)), b"ERROR :bye\r\n")
        self.until(lambda: self.protocol.lost)
        self.assertEqual(client.recv(100), b"", "the end would be an error without close_notify")
        assert self.protocol.lost is not None
        self.protocol.lost.trap(ConnectionDone)

    def test_client_closes(self) -> None:
        """An end that the client announces is clean; one that it does not is not."""
        for announced, reason in ((True, ConnectionDone), (False, ConnectionLost)):
            with self.subTest(announced=announced):
                self.doCleanups()
                self.setUp()
                client = self.connected()
                if announced:
                    with pytest.raises(ssl.SSLWantReadError):
                        client.unwrap()
                else:
                    client.shutdown(socket.SHUT_WR)
                lost = self.until(lambda: self.protocol.lost)
                lost.trap(reason)

    def test_closed_in_the_handshake(self) -> None:
        """A client that is told why its connection ends has a while to finish its handshake, no longer."""
        self.protocol.greeting = b"ERROR :go away\r\n"
        transport = self.accept()
        transport.loseConnection()
        self.assertIn(transport, self.reactor.readers)
        client = self.client()
        self.until(lambda: client.do_handshake() or True)
        self.assertEqual(self.until(lambda: client.recv(100)), b"ERROR :go away\r\n")
        self.until(lambda: self.protocol.lost)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_never_any_handshake(self) -> None:
        self.protocol.greeting = b"ERROR :go away\r\n"
        self.accept().loseConnection()
        self.step()
        self.reactor.advance(PATIENCE_S - 1)
        self.assertIsNone(self.protocol.lost)
        self.reactor.advance(1)
        self.reactor.advance(0)
        self.assertIsNotNone(self.protocol.lost)

    def test_no_tls_at_all(self) -> None:
        """Who speaks plain IRC is disconnected."""
        self.accept()
        self.far.send(b"NICK ann\r\nUSER ann 0 * :Ann\r\n")
        self.until(lambda: self.protocol.lost)
        self.assertEqual(self.protocol.data, b"")

    def test_certificate(self) -> None:
        """A client's certificate is asked for, and may be missing."""
        self.connected(certificate=True)
        own = ssl.PEM_cert_to_DER_cert((self.folder / "client.crt").read_text())
        self.until(lambda: peer_fingerprint(self.transport))
        self.assertEqual(peer_fingerprint(self.transport), hashlib.sha256(own).hexdigest())
        self.doCleanups()
        self.setUp()
        self.connected()
        self.assertIsNone(peer_fingerprint(self.transport))

    def test_other_transports(self) -> None:
        """What comes through a proxy's protocol, say, is left to Twisted's TLS."""
        behind = self.factory.buildProtocol(PEER)
        behind.makeConnection(StringTransport())
        self.assertIsInstance(self.protocol.transport, TLSMemoryBIOProtocol)
