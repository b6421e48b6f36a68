"""How long turns are, and how much one may hold."""

from __future__ import annotations

import select
import socket
import unittest
from types import SimpleNamespace

from slircd.network.meter import (
    MOST_ACCEPTS,
    MOST_EVENTS,
    READING_S,
    Durations,
    MeasuredPoll,
    TurnMeter,
    bound_accepts,
)


class Histograms(unittest.TestCase):
    def test_buckets(self) -> None:
        """A duration counts for its bound and all above, as Prometheus wants it."""
        durations = Durations()
        for seconds in (0.0001, 0.0005, 0.003, 7.0):
            durations.add(seconds)
        buckets = dict(durations.buckets())
        self.assertEqual([buckets[bound] for bound in ("0.0005", "0.002", "0.005", "1.0", "+Inf")], [2, 2, 3, 3, 4])
        self.assertAlmostEqual(durations.total_s, 7.0036)
        self.assertEqual(durations.longest_s, 7.0)


class Polls(unittest.TestCase):
    def setUp(self) -> None:
        self.epoll = select.epoll()
        self.addCleanup(self.epoll.close)
        self.reactor = SimpleNamespace(_poller=self.epoll)
        self.meter = TurnMeter(self.reactor)
        self.meter.startService()

    def test_most_events(self) -> None:
        """A look at the sockets takes no more than a turn may hold; all come in turn, none twice before the others."""
        pairs = [socket.socketpair() for _ in range(MOST_EVENTS + 5)]
        for here, there in pairs:
            self.addCleanup(here.close)
            self.addCleanup(there.close)
            self.reactor._poller.register(here.fileno(), select.EPOLLIN)
            there.send(b"x")
        self.assertEqual(len(list(self.reactor._poller.poll(0, 10_000))), MOST_EVENTS)
        seen = {fd for _ in range(8) for fd, _ in self.reactor._poller.poll(0, 10_000)}
        self.assertEqual(seen, {here.fileno() for here, _ in pairs})

    def test_enough_for_a_turn(self) -> None:
        """A turn that has taken long enough serves no more; who was not served comes first in the next, in order."""
        now = 0.0

        class Ready:
            def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
                return [(fd, select.EPOLLIN) for fd in (1, 2, 3, 4, 5)]

        poller = MeasuredPoll(Ready(), Durations(), lambda: now)
        served: list[int] = []
        for _ in range(10):
            for fd, _event in poller.poll(0, 1_000):
                served.append(fd)
                now += 0.6 * READING_S
        self.assertEqual(served[:5], [1, 2, 3, 4, 5])
        self.assertEqual(len(served), 20)
        self.assertGreaterEqual(min(served.count(fd) for fd in (1, 2, 3, 4, 5)), 3)

    def test_accepts(self) -> None:
        """A port takes some connections a turn, however many Twisted has come to think of."""

        class Port:
            numberAccepts = 100  # Twisted's name
            taken = 0

            def doRead(self) -> None:  # Twisted's name
                self.taken += self.numberAccepts
                self.numberAccepts += 20

        port = Port()
        bound_accepts(port)
        port.doRead()
        port.doRead()
        self.assertEqual(port.taken, 2 * MOST_ACCEPTS)

    def test_turns_are_counted(self) -> None:
        """Each look ends a turn; waiting is not part of one."""
        self.reactor._poller.poll(0, 1)
        self.reactor._poller.poll(0.05, 1)
        self.reactor._poller.poll(0, 1)
        self.assertEqual(sum(self.meter.turns.counts), 3)
        self.assertLess(self.meter.turns.total_s, 10)

    def test_taken_out_again(self) -> None:
        """When the server stops, the reactor has its own again."""
        self.assertIsInstance(self.reactor._poller, MeasuredPoll)
        self.meter.stopService()
        self.assertIs(self.reactor._poller, self.epoll)

    def test_other_reactors(self) -> None:
        """A reactor without epoll is left alone."""
        for reactor in (SimpleNamespace(), SimpleNamespace(_poller=select.poll())):
            before = dict(vars(reactor))
            TurnMeter(reactor).startService()
            self.assertEqual(vars(reactor), before)
