"""Floods of connections: those that never become users, come too often, or never finish TLS."""

from __future__ import annotations

from typing import Any, ClassVar
from unittest import TestCase

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from slircd.config.sections import Throttle
from slircd.network.proxy import ProxyFactory
from slircd.security.lobby import Lobby
from slircd.security.throttle import MAX_TRACKED, ConnectionThrottle
from tests.harness import FakeClient
from tests.hostile.support import FLOOD, HostileTestCase


class Unregistered(HostileTestCase):
    """The bound on connections that are no users yet, and on their time."""

    config: ClassVar[Any] = {"flood": FLOOD, "throttle": {"exempt": []}, "limits": {"unregistered": 10}}

    def assertTimedOut(self, client: FakeClient) -> None:
        self.assertTrue(client.is_closed)
        self.assertTrue(client.lines()[-1].endswith("(Registration timed out)"))

    def test_never_registering(self) -> None:
        """Neither PING nor CAP nor half a log-in buys time: a minute after it came the connection is closed."""
        chatty, silent = (self.world.connect(f"203.0.113.{number}") for number in (1, 2))
        chatty.sends("CAP LS 302", "NICK chatty", "AUTHENTICATE SCRAM-SHA-256")
        for second in range(66):
            if not chatty.is_closed:
                chatty.sends(f"PING {second}", "CAP LIST")
            self.waits(1)
        self.assertTimedOut(chatty)
        self.assertTimedOut(silent)
        self.assertEqual(self.world.server.measures.cut["registration"], 2)
        self.assertEqual(len(self.world.server.strangers), 0)

    def test_slow_writer(self) -> None:
        """A byte every second, for ever: the same, and the line that does not end is all that is kept."""
        slow = self.world.connect("203.0.113.3")
        for byte in b"NICK " + b"x" * 61:
            slow.sends_bytes(bytes([byte]))
            self.waits(1)
        self.assertTimedOut(slow)

    def test_too_many_unregistered(self) -> None:
        """The eleventh connection that is no user pushes out the oldest, and whoever registers at once gets in."""
        waiting = [self.world.connect(f"203.0.113.{number}") for number in range(10)]
        self.assertEqual(len(self.world.server.strangers), 10)
        dan = self.client("dan", address="192.0.2.9")
        self.assertTrue(waiting[0].is_closed)
        self.assertEqual(
            waiting[0].lines(),
            ["ERROR :Closing Link: 203.0.113.0 (Too many connections are registering, and yours was the slowest)"],
        )
        self.assertFalse(any(each.is_closed for each in waiting[1:]))
        for number in range(1000):
            self.world.connect(f"198.51.{number // 250}.{number % 250}")
        self.world.turn()
        self.assertLessEqual(len(self.world.server.strangers), 10)
        self.assertLessEqual(len(self.world.server.sessions), 13)
        self.assertFalse(dan.is_closed)
        self.client("erin", address="192.0.2.10")

    def test_little_waits_for_a_stranger(self) -> None:
        """Who is no user yet, and does not read, is cut at 64 KiB."""
        eve = self.world.connect("203.0.113.7")
        eve.session.outbox.pauseProducing()
        self.assertEqual(eve.session.outbox.limit, 65_536)
        eve.session.outbox.append(b"x" * 65_537)
        self.waits(1)
        self.assertTrue(eve.is_closed)
        self.assertEqual(self.world.server.measures.cut["sendq"], 1)


class Addresses(HostileTestCase):
    """The throttle of blocks of addresses."""

    def test_one_address(self) -> None:
        """The seventeenth connection of an address is told so, and others are not concerned."""
        many = [self.world.connect("203.0.113.5") for _ in range(17)]
        self.world.turn()
        self.assertEqual([each.is_closed for each in many], [False] * 16 + [True])
        self.assertEqual(
            many[16].lines(), ["ERROR :Closing Link: 203.0.113.5 (Too many connections from your address)"]
        )
        self.client("dan", address="192.0.2.9")

    def test_reconnecting_too_fast(self) -> None:
        """An address that comes and goes is turned away after twenty times in a minute, and comes in afterwards."""
        for _ in range(20):
            self.world.connect("203.0.113.6").disconnects()
        refused = self.world.connect("203.0.113.6")
        self.assertEqual(
            refused.lines(),
            ["ERROR :Closing Link: 203.0.113.6 (You are reconnecting too fast, try again later)"],
        )
        self.waits(61)
        self.assertFalse(self.world.connect("203.0.113.6").is_closed)

    def test_nothing_is_left_of_a_flood(self) -> None:
        """Ten thousand addresses that came and went: every table is as it was."""
        server = self.world.server
        for number in range(10_000):
            client = self.world.connect(f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}")
            client.disconnects()
        self.world.clients.clear()
        self.waits(61)
        self.world.connect("203.0.113.8").disconnects()
        throttle = server.throttle
        self.assertEqual((len(server.sessions), len(server.strangers)), (2, 0))
        self.assertEqual((throttle.total, len(throttle._open), len(throttle._attempts)), (2, 1, 1))


class Operators(HostileTestCase):
    config: ClassVar[Any] = {"flood": FLOOD, "throttle": {"exempt": [], "connections": 1}}

    def setUp(self) -> None:
        self.config = {**self.config, "throttle": {"exempt": ["192.0.2.0/24"], "connections": 1}}
        super().setUp()

    def test_notices_of_a_flood_are_summed_up(self) -> None:
        """A thousand refused connections are a few notices to the operators, and then one that counts the rest."""
        root = self.oper("root")
        root.sends("MODE root +s +f")
        self.waits(10)
        root.lines()
        for _ in range(1000):
            self.world.connect("203.0.113.9")
        shown = root.lines()
        self.assertEqual(len(shown), 20)
        self.assertIn("refused 203.0.113.9: Too many connections from your address", shown[-1])
        self.waits(5)
        self.world.connect("203.0.113.9")
        later = root.lines()
        self.assertEqual(len(later), 2)
        self.assertIn("*** 979 more such notices were left out", later[0])


class Tables(TestCase):
    def test_refused_proxies_fill_no_log(self) -> None:
        """A thousand connections from elsewhere to a listener for a proxy are twenty lines in the process's log."""
        clock = Clock()
        factory = ProxyFactory(Factory(), ["10.0.0.0/8"], clock)
        with capturedLogs() as events:
            for _ in range(1000):
                self.assertIsNone(factory.buildProtocol(IPv4Address("TCP", "203.0.113.1", 1)))
            clock.advance(1)
            factory.buildProtocol(IPv4Address("TCP", "203.0.113.1", 1))
        self.assertEqual(len(events), 21)
        self.assertIn("(980 more were not logged)", events[-1]["more"])

    def test_lobby(self) -> None:
        """It never holds more than its limit, lets the oldest go, and obeys a limit that has changed."""
        gone: list[int] = []
        limit = [3]
        lobby: Lobby[int] = Lobby(lambda: limit[0], gone.append)
        for number in range(5):
            lobby.add(number)
        lobby.discard(3)
        lobby.discard(99)
        self.assertEqual((gone, len(lobby), 4 in lobby), ([0, 1], 2, True))
        limit[0] = 1
        lobby.add(5)
        self.assertEqual(gone, [0, 1, 2, 4])

    def test_attempts_are_bounded(self) -> None:
        """A flood from more addresses than anybody has forgets the oldest: the table never grows beyond its bound."""
        clock = Clock()
        throttle = ConnectionThrottle(Throttle(exempt=[], window_s=86_400), clock, 10**9)
        for number in range(MAX_TRACKED + 1000):
            address = f"{number >> 24 & 255}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
            throttle.admit(address)
            throttle.release(address)
        self.assertEqual(len(throttle._attempts), MAX_TRACKED)
        self.assertEqual(throttle._open, {})


class HalfOpen(HostileTestCase):
    config: ClassVar[Any] = {"flood": FLOOD, "timeouts": {"ping_interval_s": 120, "ping_timeout_s": 60}}

    def test_who_has_vanished(self) -> None:
        """A client whose machine is gone says nothing: it is asked once, and its user leaves three minutes after its last word."""
        eve = self.attacker()
        eve.sends("JOIN #gone")
        dan = self.client("dan", address="192.0.2.9")
        dan.sends("JOIN #gone")
        dan.lines()
        for _ in range(186):
            for each in (self.ann, self.bob, dan):
                each.sends("PING x")
            self.waits(1)
        self.ann.lines(), self.bob.lines()
        self.assertTrue(eve.is_closed)
        self.assertTrue(any(" QUIT :Ping timeout" in line for line in dan.lines()))
        self.assertEqual(self.world.server.measures.cut["ping"], 1)
