"""A clock that is set while the server runs: delays stay as long as they are, and what has an end by the clock ends then."""

from __future__ import annotations

from twisted.internet.selectreactor import SelectReactor

from slircd.network.expiry import LOOK_S
from slircd.steady import keep_steady
from tests.harness import ServerTestCase


class Machine:
    """Its two clocks."""

    def __init__(self) -> None:
        self.wall_s = 1_800_000_000.0
        self.monotonic_s = 1_000.0

    def passes(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds


def test_delays_when_the_clock_is_set() -> None:
    """Ten seconds are ten seconds, whether the clock is set back or forward meanwhile."""
    for step in (-600, 600):
        machine = Machine()
        reactor = SelectReactor()
        reactor.seconds = lambda machine=machine: machine.wall_s
        called: list[str] = []
        reactor.callLater(5, called.append, "from before")
        keep_steady(reactor, lambda machine=machine: machine.monotonic_s)
        reactor.callLater(10, called.append, "later")
        machine.wall_s += step
        machine.passes(4)
        reactor.runUntilCurrent()
        assert called == []
        machine.passes(2)
        reactor.runUntilCurrent()
        assert called == ["from before"]
        machine.passes(5)
        reactor.runUntilCurrent()
        assert called == ["from before", "later"]
        for reader in reactor.removeAll():
            reader.connectionLost(None)


class ExpiryByTheClock(ServerTestCase):
    """What is to end at a time ends at that time, also where the clock gets there in one step."""

    def test_set_forward(self) -> None:
        server, step_s = self.world.server, 0.0
        server.epoch_s = lambda: self.world.clock.seconds() + step_s
        server.bus.wall._now = server.bus._epoch_s = lambda: server.epoch_s()
        root = self.client("root")
        root.sends("OPER root sesame", "KLINE FORCE 60m *@192.0.2.1 :never here")
        self.assertTrue(any(self.world.state.bans.values()))
        self.world.clock.advance(LOOK_S + 1)
        self.assertTrue(any(self.world.state.bans.values()))
        step_s = 3600.0
        self.world.clock.advance(LOOK_S + 1)
        self.assertFalse(any(self.world.state.bans.values()))
