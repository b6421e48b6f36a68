"""Who is gone leaves nothing behind, with or without the cycle collector; and how that one is kept short."""

from __future__ import annotations

import gc
import sys
import unittest
import weakref
from collections import Counter

from twisted.internet.task import Clock

from slircd.network.collector import Collector
from slircd.network.outbox import Outbox
from slircd.network.protocol import IRCProtocol
from slircd.network.session import Session
from tests.harness import ServerTestCase

OF_A_CLIENT = (IRCProtocol, Session, Outbox)


class Teardown(ServerTestCase):
    config = {"throttle": {"enabled": False}, "limits": {"whowas": 10}}

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(_without_collector())

    def alive(self) -> Counter[str]:
        return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, OF_A_CLIENT))

    def visit(self, number: int) -> None:
        """Somebody comes, does this and that, and goes, in one of several ways."""
        world = self.world
        nick = f"n{number}"
        client = world.connect()
        client.sends("CAP LS 302", "CAP REQ :labeled-response batch multi-prefix echo-message", f"NICK {nick}")
        if number % 5 != 4:
            client.sends(f"USER {nick} 0 * :Real {nick}", "CAP END")
            client.sends("JOIN #c", "PRIVMSG #c :hello", "@label=1 NAMES #c", "LIST", "WHO *", "JOIN bad", "NOSUCH")
            client.sends("MONITOR + ann,ben", "AWAY :out", "MODE #c +b x!*@*")
        if number % 5 == 0:
            client.sends("QUIT :bye")
        elif number % 5 == 1:
            self.ann.sends(f"KILL {nick} :enough")
        elif number % 5 == 2:
            client.session.outbox.pauseProducing()
            client.session.outbox.append(b"x" * 2_000_000 + b"\r\n")
        client.disconnects()
        world.clients.remove(client)
        world.turn()
        world.store.rows.clear()

    def test_nothing_is_left_to_the_collector(self) -> None:
        """However a client goes, its objects go at once, because nothing that leads in a circle is left of them."""
        self.ann = self.oper("ann")
        before = self.alive()
        for number in range(10):
            self.visit(number)
        self.assertEqual(self.alive(), before)

    def test_memory_is_flat(self) -> None:
        """Hundreds of visits later there is no more memory in use than after some."""
        self.ann = self.oper("ann")
        self.world.clients.clear()
        for number in range(60):
            self.visit(number)
        self.ann.received.clear()
        gc.collect()
        blocks = sys.getallocatedblocks()
        for number in range(60, 260):
            self.visit(number)
        self.ann.received.clear()
        self.assertEqual(gc.collect(), 0)
        self.assertLess(sys.getallocatedblocks() - blocks, 1_000)

    def tearDown(self) -> None:
        """The log was thrown away, so there is nothing to compare the state with."""


class Link:
    """A thing that leads to itself."""

    def __init__(self) -> None:
        self.itself = self


class Collecting(unittest.TestCase):
    def setUp(self) -> None:
        gc.collect()
        self.clock = Clock()
        self.clients = 0
        self.collector = Collector(self.clock, lambda: self.clients)
        self.collector.startService()
        self.addCleanup(self.collector.stopService)

    def test_young_cycles_are_freed(self) -> None:
        """Cycles that die young go with the next search."""
        link = weakref.ref(Link())
        gc.collect(0)
        self.assertIsNone(link())
        self.assertGreaterEqual(sum(self.collector.pauses.counts), 1)

    def test_survivors_are_searched_no_more(self) -> None:
        """What survives is frozen, so that no later search takes long; a full one still finds it."""
        kept = Link()
        gc.collect(1)
        self.assertNotIn(kept, gc.get_objects())
        link = weakref.ref(kept)
        del kept
        gc.collect()
        self.assertIsNotNone(link())
        self.collector.search()
        self.assertIsNone(link())
        self.assertEqual(self.collector.full, 1)

    def test_growth_without_a_reason(self) -> None:
        """Memory that grows with the clients is no reason for a full search; without them it is."""
        self.clock.advance(60)
        self.assertEqual(self.collector.full, 0)
        blocks = sys.getallocatedblocks()
        links = [Link() for _ in range(blocks)]
        gc.collect(1)
        self.clients = blocks
        self.clock.advance(60)
        self.assertEqual(self.collector.full, 0)
        self.clients = 0
        link = weakref.ref(links[0])
        links.clear()
        self.clock.advance(60)
        self.assertEqual(self.collector.full, 1)
        self.assertIsNone(link())
        self.clock.advance(600)
        self.assertEqual(self.collector.full, 1)

    def test_stops(self) -> None:
        """Afterwards the collector works as Python's does."""
        before = self.collector._before
        self.collector.stopService()
        self.assertEqual(gc.get_threshold(), before)
        self.assertEqual(gc.get_freeze_count(), 0)
        self.assertEqual(self.clock.calls, [])


class _without_collector:  # read as a phrase
    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()
