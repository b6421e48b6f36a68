"""Hostile clients of the admin API, none of whom can log in: they wait, they trickle, they send too much, they read nothing."""

from __future__ import annotations

from base64 import b64encode

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from slircd.admin.site import IDLE_S, AdminChannel, AdminSite
from tests.admin.harness import ADMIN, AdminTestCase, parse

LIMIT, REQUEST_S = 20, 15


class Pipe(StringTransport):
    """A connection that tells its channel when it is aborted, as TCP does."""

    def __init__(self) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "203.0.113.66", 4711))
        self.channel: AdminChannel | None = None
        self.gone = False

    def abortConnection(self) -> None:
        if not self.gone:
            self.gone = True
            assert self.channel is not None
            self.channel.connectionLost(Failure(ConnectionAborted()))


class HTTP(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = AdminSite(
            self.api.resource(), self.world.clock, connections=lambda: LIMIT, request_s=lambda: REQUEST_S
        )

    def tearDown(self) -> None:
        self.assertServed()
        super().tearDown()
        self.assertEqual((self.site.channels, len(self.site.waiting)), (0, 0))

    def assertServed(self) -> None:
        """An administrator is answered, whatever others do."""
        self.assertEqual(self.ask("/admin/users").status, 200)

    def attack(self) -> tuple[AdminChannel, Pipe]:
        """One connection of the attacker."""
        pipe = Pipe()
        channel = self.site.buildProtocol(pipe.getPeer())
        assert isinstance(channel, AdminChannel)
        pipe.channel = channel
        channel.makeConnection(pipe)
        self.addCleanup(pipe.abortConnection)
        self.pipes = [*getattr(self, "pipes", []), pipe]
        return channel, pipe

    def waits(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.clock.advance(1)

    def end(self) -> None:
        """The attacker goes home."""
        for pipe in self.pipes:
            pipe.abortConnection()

    def test_silent(self) -> None:
        """Who connects and says nothing, not even TLS, is cut when a request should have been there."""
        _, pipe = self.attack()
        self.waits(REQUEST_S - 1)
        self.assertFalse(pipe.gone)
        self.waits(1)
        self.assertTrue(pipe.gone)

    def test_slowloris(self) -> None:
        """A byte of a header, or of a body, every second buys no time."""
        for start in (
            b"GET /admin/users HTTP/1.1\r\nX: ",
            b"POST /admin/actions/kill HTTP/1.1\r\nContent-Length: 50\r\n\r\n",
        ):
            channel, pipe = self.attack()
            channel.dataReceived(start)
            for _ in range(REQUEST_S):
                channel.dataReceived(b"x")
                self.waits(1)
            self.assertTrue(pipe.gone, start)

    def test_slow_second_request(self) -> None:
        """A kept connection may be idle for a minute; its next request has the same time as the first."""
        channel, pipe = self.attack()
        channel.dataReceived(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        self.world.turn()
        self.assertEqual(parse(pipe.value()).status, 200)
        self.waits(IDLE_S - 5)
        self.assertFalse(pipe.gone)
        channel.dataReceived(b"GET ")
        self.waits(REQUEST_S)
        self.assertTrue(pipe.gone)

    def test_connect_floods(self) -> None:
        """With more connections than `admin.connections` the one that has been idle longest goes, never an administrator's."""
        feed, stream = self.connect()
        feed.dataReceived(b"GET /admin/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46c2VzYW1l\r\n\r\n")
        self.world.turn()
        self.assertIn(b"200 OK", stream.value())
        for _ in range(500):
            self.attack()
            self.assertLessEqual(self.site.channels, LIMIT)
        self.assertServed()
        self.assertIn(feed, self.channels)
        self.client("ann")
        self.world.turn()
        self.assertIn(b"user.connect", stream.value())
        self.end()

    def test_too_much_of_a_header(self) -> None:
        """Many headers, or long ones, are refused before the request exists, and no more is kept than Twisted's 16 KiB."""
        for head in (
            b"".join(b"X-%d: y\r\n" % number for number in range(200)),
            b"X: " + b"y" * 20_000 + b"\r\n",
            b"X: y\r\n " + b"z\r\n " * 10_000,
        ):
            channel, pipe = self.attack()
            channel.dataReceived(b"GET /admin/users HTTP/1.1\r\nHost: x\r\n" + head)
            self.assertTrue(pipe.value().startswith(b"HTTP/1.1 400") or pipe.disconnecting, head[:20])
            self.waits(int(channel.abortTimeout))
            self.assertTrue(pipe.gone)
        self.end()

    def test_too_much_of_a_body(self) -> None:
        """A megabyte of body is not kept, and what goes on for ever is cut."""
        for head in (b"Content-Length: 100000000", b"Transfer-Encoding: chunked"):
            channel, pipe = self.attack()
            channel.dataReceived(b"POST /admin/actions/kill HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
            piece = b"10000\r\n" + b"x" * 65_536 + b"\r\n" if b"chunked" in head else b"x" * 65_536
            most = 0
            for _ in range(40):
                if pipe.gone:
                    break
                content = channel.requests[0].content
                channel.dataReceived(piece)
                most = max(most, 0 if content.closed else content.tell())
            self.assertTrue(pipe.gone)
            self.assertLessEqual(most, 65_536)

    def test_who_does_not_read(self) -> None:
        """An answer that nobody reads waits for a minute, then the connection is cut."""
        channel, pipe = self.attack()
        channel.dataReceived(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        self.world.turn()
        channel.pauseProducing()
        self.waits(IDLE_S)
        self.assertTrue(pipe.gone)

    def test_does_not_read_the_last_answer(self) -> None:
        """The same where the connection ends with the answer."""
        channel, pipe = self.attack()
        channel.dataReceived(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.world.turn()
        self.assertTrue(pipe.disconnecting)
        self.waits(int(channel.abortTimeout))
        self.assertTrue(pipe.gone)

    def test_pipelined_requests(self) -> None:
        """Requests that come before the answer wait in the kernel, not here."""
        channel, pipe = self.attack()
        channel.dataReceived(b"GET /admin/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Basic YWRtaW46c2VzYW1l\r\n\r\n")
        self.world.turn()
        for _ in range(10):
            channel.dataReceived(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        self.assertEqual(pipe.producerState, "paused")
        self.end()

    def test_many_feeds(self) -> None:
        """Feeds are limited, and the one that is too many is told so; a page that only asks goes on."""
        from slircd.admin.live import MAX_FOLLOWERS

        self.backend.feed.followers = MAX_FOLLOWERS
        answer = self.ask("/admin/stream", ADMIN)
        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "60"))
        self.backend.feed.followers = 0

    def test_guessing(self) -> None:
        """Ten wrong passwords of one address are checked, the rest of a thousand are not; others log in."""
        tried: list[str] = []
        verify = self.world.server.passwords.verify
        self.world.server.passwords.verify = lambda hashed, word: tried.append(word) or verify(hashed, word)  # type: ignore[method-assign,func-returns-value]
        statuses = set()
        for number in range(1000):
            channel, pipe = self.attack()
            basic = b64encode(f"admin:wrong{number}".encode())
            channel.dataReceived(b"GET /admin/users HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + basic + b"\r\n\r\n")
            self.world.turn()
            statuses.add(parse(pipe.value()).status)
            pipe.abortConnection()
        self.assertEqual((statuses, len(tried)), ({401, 429}, 10))
