"""Output straight to a socket: nothing is lost or out of order, whatever the socket takes."""

from __future__ import annotations

import socket
import unittest
from types import SimpleNamespace
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Server
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure

from slircd.network.outbox import _sender

PORT: Any = SimpleNamespace(_realPortNumber=6667)


class DirectTest(unittest.TestCase):
    def setUp(self) -> None:
        near, self.far = socket.socketpair()
        self.reactor: Any = MemoryReactor()
        self.transport: Any = Server(near, Protocol(), ("127.0.0.1", 50000), PORT, 1, self.reactor)
        self.addCleanup(self.far.close)
        self.addCleanup(near.close)
        self.send = _sender(self.transport)

    def received(self, count: int) -> bytes:
        """`count` bytes from the far end, the reactor calling the socket writable meanwhile."""
        data = b""
        while len(data) < count:
            self.far.settimeout(5)
            data += self.far.recv(65_536)
            if self.transport in self.reactor.writers:
                self.transport.doWrite()
        return data

    def test_without_the_reactor(self) -> None:
        self.send(b"one\r\n")
        self.assertNotIn(self.transport, self.reactor.writers)
        self.assertEqual(self.received(5), b"one\r\n")

    def test_full_socket(self) -> None:
        lines = [b"%05d %s\r\n" % (number, b"x" * 400) for number in range(5_000)]
        for line in lines:
            self.send(line)
        self.assertIn(self.transport, self.reactor.writers, "the socket cannot have taken two megabytes")
        expected = b"".join(lines)
        self.assertEqual(self.received(len(expected)), expected)

    def test_partly_taken(self) -> None:
        data = bytes(range(256)) * 500
        for _ in range(20):
            self.send(data)
        self.assertEqual(self.received(20 * len(data)), 20 * data)

    def test_far_end_gone(self) -> None:
        self.far.close()
        self.send(b"nobody hears\r\n")
        self.assertIn(self.transport, self.reactor.writers, "the reactor meets the error, and reports it")

    def test_after_the_end(self) -> None:
        self.transport.connectionLost(Failure(ConnectionDone()))
        self.send(b"too late\r\n")
        self.assertNotIn(self.transport, self.reactor.writers)
