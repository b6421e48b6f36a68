"""IRC over WebSocket: real frames, in memory, against the library's own client."""

from typing import Any

import pytest
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from slircd.network.listeners import ListenerInfo, Plan, plan_listeners
from slircd.network.protocol import MAX_LINE
from slircd.network.websocket import BINARY, TEXT, WebSocketIRCFactory, client_address
from tests.harness import ServerTestCase, make_config


class Browser(WebSocketClientProtocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[bytes, bool]] = []
        self.opened = False
        self.closed: tuple[Any, ...] = ()

    def onOpen(self) -> None:
        self.opened = True

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.got.append((payload, isBinary))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.closed = (wasClean, code, reason)


class Pipe(StringTransport):
    """One end of a connection in memory."""

    def __init__(self, address: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 1))
        self.done = False
        self.protocol: Any = None

    def loseConnection(self) -> None:
        if not self.done:
            self.done = True
            if self.protocol is not None:
                self.protocol.connectionLost(Failure(ConnectionDone()))

    abortConnection = loseConnection

    def unregisterProducer(self) -> None:
        """Twisted's own take this twice."""
        self.producer = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It has no delay."""


class WebSocketTestCase(ServerTestCase):
    def plan(self, **listen: Any) -> Plan:
        [plan] = plan_listeners(make_config(listen=[{"port": 0, "websocket": True, **listen}]), "test")
        return plan

    def open(
        self,
        protocols: list[str],
        *,
        origin: str | None = None,
        headers: dict[str, str] | None = None,
        address: str = "192.0.2.7",
        **listen: Any,
    ) -> "Connection":
        """A browser that has tried to connect."""
        factory = WebSocketIRCFactory(self.world.server, self.plan(**listen), self.world.clock)
        server = factory.buildProtocol(None)
        server.listener = ListenerInfo("ws", False)
        client_factory = WebSocketClientFactory(
            "ws://irc.test/", origin=origin, protocols=protocols, headers=headers or {}, reactor=self.world.clock
        )
        browser = Browser()
        browser.factory = client_factory
        return Connection(self, server, browser, address)


class Connection:
    """Both ends, and what carries bytes between them."""

    def __init__(self, case: WebSocketTestCase, server: Any, browser: Browser, address: str) -> None:
        self.case, self.server, self.browser = case, server, browser
        self.inside, self.outside = Pipe(address), Pipe("192.0.2.1")
        self.inside.protocol = server
        server.makeConnection(self.inside)
        browser.makeConnection(self.outside)
        self.pump()

    def pump(self) -> None:
        for _ in range(20):
            self.case.world.turn()
            up, down = self.outside.value(), self.inside.value()
            self.outside.clear()
            self.inside.clear()
            if not up and not down:
                return
            if up:
                self.server.dataReceived(up)
            if down:
                self.browser.dataReceived(down)

    def sends(self, *lines: str | bytes, binary: bool = False) -> None:
        for line in lines:
            data = line.encode() if isinstance(line, str) else line
            self.browser.sendMessage(data, isBinary=binary)
            self.pump()

    def lines(self) -> list[str]:
        self.pump()
        got, self.browser.got = self.browser.got, []
        return [payload.decode() for payload, _ in got]

    def registers(self, nick: str) -> list[str]:
        self.sends(f"NICK {nick}", f"USER {nick} 0 * :{nick}")
        return self.lines()


class Talking(WebSocketTestCase):
    def test_subprotocols(self) -> None:
        """The client's order decides; without any that is known, none is named, and messages are text."""
        for asked, chosen, binary in (
            ([BINARY], BINARY, True),
            ([TEXT], TEXT, False),
            ([TEXT, BINARY], TEXT, False),
            ([BINARY, TEXT], BINARY, True),
            ([], None, False),
        ):
            with self.subTest(asked=asked):
                connection = self.open(asked)
                self.assertTrue(connection.browser.opened)
                self.assertEqual(connection.browser.websocket_protocol_in_use, chosen)
                connection.sends("PING :x", binary=binary)
                self.assertEqual(connection.browser.got, [(b":irc.test PONG irc.test :x", binary)])

    def test_conversation(self) -> None:
        """One message is one line without its end, both ways; a QUIT closes."""
        web = self.open([TEXT])
        welcome = web.registers("web")
        self.assertEqual(welcome[0].split()[1], "001")
        self.assertFalse(any("\r" in line or "\n" in line for line in welcome))
        ann = self.client("ann")
        ann.sends("PRIVMSG web :hä?")
        self.assertEqual(web.lines(), [":ann!~ann@192.0.2.1 PRIVMSG web :hä?"])
        web.sends("PRIVMSG ann :one\r\nPRIVMSG ann :two\r\n")
        self.assertReceives(ann, ":web!~web@192.0.2.7 PRIVMSG ann :one", ":web!~web@192.0.2.7 PRIVMSG ann :two")
        web.sends("QUIT :bye")
        self.assertTrue(any(line.startswith("ERROR") for line in web.lines()))
        self.assertIsNone(self.world.state.user_by_nick("web"))
        self.assertTrue(web.inside.done)

    def test_bytes_that_are_no_utf8(self) -> None:
        """They are refused with a FAIL, the connection stays."""
        web = self.open([TEXT])
        web.registers("web")
        web.sends(b"PRIVMSG web :caf\xe9", binary=True)
        self.assertIn("FAIL PRIVMSG INVALID_UTF8", web.lines()[0])
        web.sends("PING x")
        self.assertEqual(len(web.lines()), 1)

    def test_limits(self) -> None:
        """A line that is too long is answered with 417; a message that no line can be ends the connection."""
        web = self.open([TEXT])
        web.registers("web")
        web.sends("PRIVMSG web :" + "x" * 510)
        self.assertIn(" 417 ", web.lines()[0])
        web.sends("x" * (MAX_LINE + 1))
        self.assertIsNone(self.world.state.user_by_nick("web"))

    def test_endless_handshake(self) -> None:
        """A request that does not end is cut, by size and by time."""
        connection = self.open([TEXT])
        for data in (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, b"GET / HT"):
            server = WebSocketIRCFactory(self.world.server, self.plan(), self.world.clock).buildProtocol(None)
            server.listener = ListenerInfo("ws", False)
            pipe = Pipe("192.0.2.9")
            server.makeConnection(pipe)
            server.dataReceived(data)
            self.world.clock.advance(20)
            self.assertTrue(pipe.done)
        self.assertTrue(connection.browser.opened)

    def test_no_websocket_request(self) -> None:
        """A plain HTTP request is told to upgrade."""
        server = WebSocketIRCFactory(self.world.server, self.plan(), self.world.clock).buildProtocol(None)
        pipe = Pipe("192.0.2.9")
        server.makeConnection(pipe)
        server.dataReceived(b"GET / HTTP/1.1\r\nHost: irc.test\r\n\r\n")
        self.assertTrue(pipe.value().startswith(b"HTTP/1.1 426 "))

    def test_connection_breaks(self) -> None:
        """The user is gone when the connection is."""
        web = self.open([TEXT])
        web.registers("web")
        web.server.connectionLost(None)
        self.world.turn()
        self.assertIsNone(self.world.state.user_by_nick("web"))
        self.assertEqual(len(self.world.server.sessions), 0)


class WhoConnects(WebSocketTestCase):
    def test_origins(self) -> None:
        """Pages of other origins are refused; clients that are no browser name none."""
        allowed = {"origins": ["https://chat.example.org", "https://*.example.net"]}
        for origin, opened in (
            ("https://chat.example.org", True),
            ("https://a.example.net", True),
            ("https://evil.example.com", False),
            ("null", False),
            (None, True),
        ):
            with self.subTest(origin=origin):
                self.assertEqual(self.open([TEXT], origin=origin, **allowed).browser.opened, opened)

    def test_forwarded(self) -> None:
        """X-Forwarded-For counts from a trusted proxy only, and then the last address that is no proxy's."""
        headers = {"X-Forwarded-For": "203.0.113.66, 198.51.100.4, 10.0.0.2", "X-Forwarded-Proto": "https"}
        web = self.open([TEXT], headers=headers, address="10.0.0.1", forwarded_from=["10.0.0.0/8"])
        web.registers("behind")
        user = self.world.state.user_by_nick("behind")
        self.assertEqual((user.ip, user.secure), ("198.51.100.4", True))
        web = self.open([TEXT], headers=headers, address="192.0.2.9", forwarded_from=["10.0.0.0/8"])
        web.registers("liar")
        user = self.world.state.user_by_nick("liar")
        self.assertEqual((user.ip, user.secure), ("192.0.2.9", False))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.4", "198.51.100.4"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.4", "198.51.100.4"),
        ("10.0.0.1", "198.51.100.4, 10.9.9.9", "198.51.100.4"),
        ("10.0.0.1", "[2001:db8::1]", "2001:db8::1"),
        ("10.0.0.1", "::FFFF:198.51.100.4", "198.51.100.4"),
        ("10.0.0.1", "2001:db8::1%a b", "10.0.0.1"),
        ("::ffff:10.0.0.1", "198.51.100.4", "198.51.100.4"),
        ("192.0.2.1", "198.51.100.4", "192.0.2.1"),
    ],
)
def test_client_address(peer: str, forwarded: str, client: str) -> None:
    """A header is believed as far as trusted proxies wrote it."""
    assert client_address(peer, forwarded, ["10.0.0.0/8"]) == client
