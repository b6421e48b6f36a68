"""Hostile clients over WebSocket: frames that hold no line, handshakes that never end."""

from __future__ import annotations

from typing import Any, ClassVar

from slircd.network.listeners import ListenerInfo
from slircd.network.websocket import FRAMES, IRCWebSocket, WebSocketIRCFactory
from tests.network.test_websocket import Pipe, WebSocketTestCase

MASKED_PING, MASKED_EMPTY = b"\x89\x80abcd", b"\x81\x80abcd"


class Frames(WebSocketTestCase):
    config: ClassVar[Any] = {"flood": {"enabled": True}, "limits": {"unregistered": 30}, "throttle": {"exempt": []}}

    def knock(self, address: str) -> tuple[IRCWebSocket, Pipe]:
        """A connection that begins no handshake."""
        if not hasattr(self, "factory"):
            self.factory = WebSocketIRCFactory(self.world.server, self.plan(), self.world.clock)
        server = self.factory.buildProtocol(None)
        server.listener = ListenerInfo("ws", False)
        pipe = Pipe(address)
        pipe.protocol = server
        server.makeConnection(pipe)
        return server, pipe

    def tearDown(self) -> None:
        client = self.open(["text.ircv3.net"], address="192.0.2.99")
        self.assertIn(":irc.test 001 bystander", client.registers("bystander")[0])
        client.browser.sendClose()
        client.pump()
        client.inside.loseConnection()
        super().tearDown()

    def test_floods_of_empty_frames(self) -> None:
        """PING, PONG, empty messages and fragments: so many are looked at, then the connection is cut, whatever follows."""
        for frame in (
            MASKED_PING,
            MASKED_EMPTY,
            b"\x8a\x80abcd",
            b"\x01\x80abcd" + b"\x00\x80abcd" * 2 + b"\x80\x80abcd",
        ):
            with self.subTest(frame=frame):
                connection = self.open(["text.ircv3.net"])
                connection.registers("eve")
                connection.inside.clear()
                connection.server.dataReceived(frame * (4 * FRAMES))
                self.assertTrue(connection.inside.done)
                self.assertLessEqual(len(connection.inside.value()), 2 * FRAMES + 200)
                self.world.turn()
                self.assertIsNone(self.world.state.user_by_nick("eve"))
        self.assertEqual(self.world.server.measures.cut["recvq"], 4)

    def test_pings_at_a_human_rate(self) -> None:
        """A browser that pings now and then is answered for as long as it likes."""
        connection = self.open(["text.ircv3.net"])
        connection.registers("dan")
        connection.inside.clear()
        for _ in range(3 * FRAMES // 20):
            connection.server.dataReceived(MASKED_PING * 20)
            self.world.clock.advance(1)
        self.assertFalse(connection.inside.done)
        self.assertEqual(len(connection.inside.value()), 2 * 20 * (3 * FRAMES // 20))

    def test_handshakes_that_never_end(self) -> None:
        """Who only connects, or sends a byte of the request every second, is cut after `timeouts.handshake_s`."""
        (_, silent), (server, slow) = self.knock("203.0.113.1"), self.knock("203.0.113.2")
        for _ in range(16):
            if not slow.done:
                server.dataReceived(b"G")
            self.world.clock.advance(1)
        self.assertTrue(silent.done)
        self.assertTrue(slow.done)
        self.assertEqual(len(self.world.server.strangers), 0)

    def test_floods_of_connections(self) -> None:
        """Those that begin no handshake count: for their address, and as connections that are no users yet."""
        limit = self.world.server.config.throttle.connections
        same = [self.knock("203.0.113.3")[1] for _ in range(limit + 5)]
        self.assertEqual([pipe.done for pipe in same[limit:]], [True] * 5)
        many = [self.knock(f"198.51.100.{number}")[1] for number in range(250)]
        self.assertEqual(sum(not pipe.done for pipe in [*same, *many]), 30)
        for pipe in [*same, *many]:
            pipe.loseConnection()
        self.assertEqual(self.world.server.throttle.total, 0)
        self.assertEqual(len(self.world.server.strangers), 0)

    def test_endless_request(self) -> None:
        """A request of more than 16 KiB is cut."""
        server, pipe = self.knock("203.0.113.4")
        server.dataReceived(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 4000)
        self.assertTrue(pipe.done)
