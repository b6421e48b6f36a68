"""How long turns are, and how much one may hold."""

from __future__ import annotations

import select
import socket
import unittest
from types import SimpleNamespace

from slircd.network.meter import MOST_EVENTS, Durations, MeasuredPoll, TurnMeter


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
        pairs = [socket.socketpair() for _ in range(2 * MOST_EVENTS)]
        for here, there in pairs:
            self.addCleanup(here.close)
            self.addCleanup(there.close)
            self.reactor._poller.register(here.fileno(), select.EPOLLIN)
            there.send(b"x")
        seen = [fd for _ in range(2) for fd, _ in self.reactor._poller.poll(0, 10_000)]
        self.assertEqual(len(seen), 2 * MOST_EVENTS)
        self.assertEqual(set(seen), {here.fileno() for here, _ in pairs})

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
