"""The PROXY protocol: what its headers say, and what becomes of connections without a right one."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from slircd.network.proxy import HEADER_TIMEOUT_S, SIGNATURE, InvalidHeader, ProxyFactory, parse_header


def v2(family: int, body: bytes, *, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


FOUR = socket.inet_aton("192.0.2.9") + socket.inet_aton("10.0.0.1") + struct.pack("!HH", 4000, 6697)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::9") * 2 + struct.pack("!HH", 4000, 6697)

RIGHT = [
    (b"PROXY TCP4 192.0.2.9 10.0.0.1 4000 6697\r\n", IPv4Address("TCP", "192.0.2.9", 4000)),
    (b"PROXY TCP6 2001:db8::9 2001:db8::1 4000 6697\r\n", IPv6Address("TCP", "2001:db8::9", 4000)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
    (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),
    (v2(0x11, FOUR), IPv4Address("TCP", "192.0.2.9", 4000)),
    (v2(0x21, SIX), IPv6Address("TCP", "2001:db8::9", 4000)),
    (v2(0x11, FOUR + b"\x03\x00\x01x"), IPv4Address("TCP", "192.0.2.9", 4000)),
    (v2(0x00, b"", command=0x20), None),
    (v2(0x31, b"\0" * 216), None),
]

WRONG = [
    b"NICK ann\r\n",
    b"PROXY TCP4 2001:db8::9 10.0.0.1 4000 6697\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::1 4000 6697\r\n",
    b"PROXY TCP4 192.0.2.9 10.0.0.1 70000 6697\r\n",
    b"PROXY TCP4 192.0.2.9 10.0.0.1 4000\r\n",
    b"PROXY TCP4 192.0.2.9 10.0.0.1 x 6697\r\n",
    b"PROXY TCP9 192.0.2.9 10.0.0.1 4000 6697\r\n",
    b"PROXY " + b"x" * 200,
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    v2(0x11, FOUR[:3]),
    v2(0x21, SIX[:20]),
    v2(0x11, FOUR, command=0x11),
    v2(0x11, FOUR, command=0x22),
]


@pytest.mark.parametrize(("header", "source"), RIGHT)
def test_right_headers(header: bytes, source: Any) -> None:
    """In one piece, with what follows; and never before it is complete."""
    assert parse_header(header + b"NICK ann\r\n") == (source, b"NICK ann\r\n")
    for length in range(1, len(header)):
        assert parse_header(header[:length]) is None


@pytest.mark.parametrize("header", WRONG)
def test_wrong_headers(header: bytes) -> None:
    with pytest.raises(InvalidHeader):
        parse_header(header)


class Recorder(Protocol):
    """Keeps what it is told."""

    peer: Any = None
    data = b""
    ended = False

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.peer = self.transport.getPeer()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, *_: Any) -> None:
        self.ended = True


class Connection:
    """A connection from a proxy."""

    def __init__(self, trusted: str = "10.0.0.0/8", peer: Any = None) -> None:
        self.clock = Clock()
        self.inner = Recorder()
        factory = ProxyFactory(Factory.forProtocol(lambda: self.inner), [trusted], self.clock)
        self.transport = StringTransport(peerAddress=peer or IPv4Address("TCP", "10.0.0.7", 1))
        self.protocol = factory.buildProtocol(self.transport.getPeer())
        if self.protocol is not None:
            self.protocol.makeConnection(self.transport)

    @property
    def is_refused(self) -> bool:
        return self.protocol is None or self.transport.disconnecting or self.transport.disconnected


def test_the_client_is_who_the_header_says() -> None:
    """Byte by byte; what comes with the header, and after it, reaches the server."""
    connection = Connection()
    for byte in b"PROXY TCP4 192.0.2.9 10.0.0.1 4000 6697\r\nNICK":
        connection.protocol.dataReceived(bytes([byte]))
    connection.protocol.dataReceived(b" ann\r\n")
    assert connection.inner.peer == IPv4Address("TCP", "192.0.2.9", 4000)
    assert connection.inner.data == b"NICK ann\r\n"
    connection.clock.advance(HEADER_TIMEOUT_S + 1)
    assert not connection.is_refused


def test_nothing_comes_through_without_a_header() -> None:
    for data in (b"NICK ann\r\n", b""):
        connection = Connection()
        if data:
            connection.protocol.dataReceived(data)
        else:
            connection.clock.advance(HEADER_TIMEOUT_S + 1)
        assert connection.is_refused
        assert connection.inner.peer is None
        assert connection.inner.data == b""


def test_who_is_trusted() -> None:
    assert Connection(peer=IPv4Address("TCP", "192.0.2.1", 1)).is_refused
    assert not Connection(peer=IPv6Address("TCP", "::ffff:10.0.0.7", 1)).is_refused
    assert not Connection(peer=UNIXAddress(None)).is_refused
