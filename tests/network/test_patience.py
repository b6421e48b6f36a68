"""How sessions are woken: about when they asked for it, once, and not all at one time."""

from __future__ import annotations

import itertools
import unittest
from typing import Any

from slircd.network.patience import BUCKET_S, PIECE, Patience
from tests.harness import TurnClock


class Sleeper:
    """What Patience knows of a session; waits again for `more` seconds when it is woken."""

    def __init__(self, patience: Patience, more: float = 0.0) -> None:
        self.waits_in: Any = None
        self.woken = 0
        self.patience: Any = patience
        self.more = more

    def patience_ends(self) -> None:
        self.woken += 1
        if self.more:
            self.patience.wait(self, self.more)


class Waiting(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = TurnClock()
        self.patience: Any = Patience(self.clock)

    def test_about_the_moment(self) -> None:
        """A session is woken once, at most a bucket early or late."""
        sleeper = Sleeper(self.patience)
        self.patience.wait(sleeper, 60)
        self.clock.advance(60 - BUCKET_S)
        self.assertEqual(sleeper.woken, 0)
        self.clock.advance(2 * BUCKET_S)
        self.clock.advance(600)
        self.assertEqual(sleeper.woken, 1)

    def test_moved_and_forgotten(self) -> None:
        """Who waits for another moment is not woken at the first; who is gone is not woken."""
        moved, gone = Sleeper(self.patience), Sleeper(self.patience)
        self.patience.wait(moved, 60)
        self.patience.wait(gone, 60)
        self.patience.wait(moved, 200)
        self.patience.forget(gone)
        self.clock.advance(150)
        self.assertEqual((moved.woken, gone.woken), (0, 0))
        self.clock.advance(60)
        self.assertEqual((moved.woken, gone.woken), (1, 0))

    def test_who_waits_on_is_not_woken_at_once(self) -> None:
        """A session that was woken early and has a moment to wait does not keep the reactor busy until then."""
        sleeper = Sleeper(self.patience, more=0.5)
        self.patience.wait(sleeper, 0)
        for _ in range(1_000):
            self.clock.advance(0.01)
        self.assertLessEqual(sleeper.woken, 3)

    def test_thousands_are_spread(self) -> None:
        """Those who have one moment are woken a piece at a time, over the seconds of the bucket."""
        many = [Sleeper(self.patience) for _ in range(5 * PIECE)]
        for each in many:
            self.patience.wait(each, 60)
        self.clock.advance(60)
        counts = [sum(each.woken for each in many)]
        for _ in range(100):
            self.clock.advance(BUCKET_S / 50)
            counts.append(sum(each.woken for each in many))
        self.assertEqual(counts[-1], 5 * PIECE)
        self.assertLessEqual(max(after - before for before, after in itertools.pairwise(counts)), PIECE)
