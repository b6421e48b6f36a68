"""Bystanders: two people who only want to talk, whatever somebody else does to the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.harness import FakeClient, ServerTestCase

FLOOD = {"enabled": True, "burst": 20, "rate_per_s": 4.0}
"""The flood bucket of the default configuration, which the harness turns off."""


class HostileTestCase(ServerTestCase):
    """A server with its limits on, where ann and bob talk; each test ends with them undisturbed."""

    config: Mapping[str, Any] = {"flood": FLOOD, "throttle": {"exempt": []}}

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = (self.client(nick, address="192.0.2.1") for nick in ("ann", "bob"))
        for each in (self.ann, self.bob):
            each.sends("JOIN #quiet")
        self.said = 0
        self.waits(60)
        for each in (self.ann, self.bob):
            each.lines()

    def tearDown(self) -> None:
        self.assertUndisturbed()
        super().tearDown()

    def assertUndisturbed(self) -> None:
        """What each of the two says is there in the same turn, PING is answered, and nothing else came in between."""
        for speaker, hearer in ((self.ann, self.bob), (self.bob, self.ann)):
            self.said += 1
            for target in ("#quiet", hearer.nick):
                speaker.sends(f"PRIVMSG {target} :{self.said}")
                self.assertReceives(hearer, f":{speaker.session_source} PRIVMSG {target} :{self.said}")
            self.assertEqual(speaker.asks("PING x"), [":irc.test PONG irc.test :x"])

    def client(self, nick: str, **options: Any) -> FakeClient:
        """A registered user, whose source is known."""
        client = super().client(nick, **options)
        client.session_source = self.world.state.users[client.uid].source  # type: ignore[attr-defined]
        return client

    def waits(self, seconds: float) -> None:
        """Time goes by, in steps in which timers can run."""
        for _ in range(int(seconds)):
            self.world.clock.advance(1)

    def attacker(self, nick: str = "eve", *, caps: str = "") -> FakeClient:
        """A registered user at another address, whose bucket is full."""
        eve = self.client(nick, address="203.0.113.66", caps=caps)
        self.waits(10)
        eve.lines()
        return eve
