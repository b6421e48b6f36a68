"""Requests to others: which addresses are asked, and what answers may be."""

from __future__ import annotations

import gzip
import unittest
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.testing import MemoryReactorClock, StringTransport
from zope.interface import implementer

from slircd.security.outgoing import Answer, Outgoing, OutgoingError, Refused, check_url, is_public

PUBLIC = "93.184.216.34"


@implementer(IHostnameResolver)
class Names:
    """A resolver whose answers change with each question."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *_: Any, **__: Any) -> Any:
        self.asked.append(hostName)
        receiver.resolutionBegan(None)
        for host in self._answers.pop(0):
            receiver.addressResolved((IPv6Address if ":" in host else IPv4Address)("TCP", host, portNumber))
        receiver.resolutionComplete()


class Connection(StringTransport):
    """The far end of a connection; closing it tells the client."""

    protocol: Any = None

    def loseConnection(self) -> None:
        self.abortConnection()

    def abortConnection(self) -> None:
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        if not self.disconnecting:
            self.disconnecting = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


class Asking(unittest.TestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.answers: list[Answer] = []
        self.errors: list[Exception] = []

    def ask(self, url: str, *names: list[str], allow_private: bool = False, **options: Any) -> None:
        self.names = Names(*names)
        self.reactor.installNameResolver(self.names)
        asked = Outgoing(self.reactor, allow_private=allow_private).request("POST", url, body=b"{}", **options)
        asked.addCallbacks(self.answers.append, lambda failure: self.errors.append(failure.value))

    def connect(self) -> Connection:
        """Accept the connection that is being made."""
        host, port, factory, *_ = self.reactor.tcpClients[-1]
        protocol = factory.buildProtocol(IPv4Address("TCP", host, port))
        transport = Connection()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    def test_an_answer(self) -> None:
        """Status, headers and body come back; no cookie and no wish for compression is sent."""
        self.ask("http://hooks.test:8000/x?y=1", [PUBLIC])
        self.assertEqual(self.reactor.tcpClients[0][:2], (PUBLIC, 8000))
        connection = self.connect()
        request = connection.value()
        self.assertTrue(request.startswith(b"POST /x?y=1 HTTP/1.1\r\n"))
        self.assertIn(b"Host: hooks.test:8000\r\n", request)
        self.assertNotIn(b"ccept-", request)
        connection.protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\nSet-Cookie: c=d\r\n\r\nok")
        self.assertEqual((self.answers[0].status, self.answers[0].body), (200, b"ok"))
        self.assertEqual(self.answers[0].headers["x-a"], "b")

    def test_private_addresses_are_never_connected_to(self) -> None:
        """However they are written, and whatever name stands for them."""
        for address in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1", "::ffff:127.0.0.1", "fd00::1"):
            self.ask("https://hooks.test/", [address])
            self.assertIsInstance(self.errors.pop(), Refused, address)
        self.assertEqual(self.reactor.tcpClients, [])

    def test_private_addresses_beside_public_ones(self) -> None:
        """Only the public ones are tried."""
        self.ask("http://hooks.test/", ["127.0.0.1", PUBLIC])
        self.assertEqual([client[0] for client in self.reactor.tcpClients], [PUBLIC])

    def test_a_name_is_resolved_once(self) -> None:
        """A name that means something else the next time (DNS rebinding) changes nothing."""
        self.ask("http://hooks.test/", [PUBLIC], ["127.0.0.1"])
        self.assertEqual(self.names.asked, ["hooks.test"])
        self.assertEqual(self.reactor.tcpClients[0][0], PUBLIC)

    def test_private_addresses_where_that_is_allowed(self) -> None:
        """Nothing is refused then."""
        self.ask("http://hooks.test/", ["127.0.0.1"], allow_private=True)
        self.assertEqual(self.reactor.tcpClients[0][0], "127.0.0.1")

    def test_a_redirect_is_an_answer(self) -> None:
        """Nobody follows it."""
        self.ask("http://hooks.test/", [PUBLIC], ["127.0.0.1"])
        moved = b"HTTP/1.1 307 Moved\r\nLocation: http://localhost/\r\nContent-Length: 0\r\n\r\n"
        self.connect().protocol.dataReceived(moved)
        self.assertEqual(self.answers[0].status, 307)
        self.assertEqual(len(self.reactor.tcpClients), 1)

    def test_a_large_answer_is_cut(self) -> None:
        """Its connection is closed at the limit."""
        self.ask("http://hooks.test/", [PUBLIC], max_bytes=100)
        connection = self.connect()
        connection.protocol.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101)
        self.assertIn("more than 100 bytes", str(self.errors[0]))
        self.assertTrue(connection.disconnecting)

    def test_compressed_answers_stay_compressed(self) -> None:
        """A kilobyte that would be a megabyte stays a kilobyte."""
        packed = gzip.compress(b"\0" * 1_000_000)
        self.ask("http://hooks.test/", [PUBLIC])
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        self.connect().protocol.dataReceived(head + packed)
        self.assertEqual(self.answers[0].body, packed)

    def test_no_answer_in_time(self) -> None:
        """It is given up, and the connection closed."""
        self.ask("http://hooks.test/", [PUBLIC], timeout_s=5)
        connection = self.connect()
        self.reactor.advance(5)
        self.assertEqual(str(self.errors[0]), "no answer within 5 seconds")
        self.assertTrue(connection.disconnecting)

    def test_a_name_that_is_none(self) -> None:
        """It says so."""
        self.ask("http://hooks.test/", [])
        self.assertIn("cannot be resolved", str(self.errors[0]))
        self.assertIsInstance(self.errors[0], OutgoingError)


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http:///x", "//a/", "http://u:p@a/", "http://a b/", "file:///etc/passwd", "", "http://ä/"]
)
def test_urls_that_are_refused(url: str) -> None:
    """Only http and https, a host, no credentials, plain ASCII."""
    with pytest.raises(Refused):
        check_url(url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True),
        ("2606:2800:220:1::1", True),
        ("0.0.0.0", False),
        ("100.64.0.1", False),
        ("192.168.1.1", False),
        ("224.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::5db8:d822", True),
        ("2002:7f00:1::", False),
        ("2001:0:1::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("192.0.0.8", False),
        ("192.88.99.1", False),
        ("::127.0.0.1", False),
        ("64:ff9b:1::7f00:1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    """Loopback, private, link-local, shared, multicast and what embeds one of them are not public."""
    assert is_public(address) is public
