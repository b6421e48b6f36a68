"""The incident of docs/time-travel.md: a channel is taken over, and given back.  The page shows what comes of it."""

from __future__ import annotations

from tests.harness import FakeClient, World


class Incident:
    """A log of three quarters of an hour, and what ChanServ said to the founder at its end."""

    def __init__(self) -> None:
        self.world = World()
        self.ann, self.bob, self.mallory = (self._account(nick) for nick in ("ann", "bob", "mallory"))
        self._before()
        self.world.clock.advance(600)
        self.bob.sends("MODE #ops +o mallory")
        self.world.clock.advance(300)
        self.ann.sends("PART #ops :lunch")
        self.world.clock.advance(900)
        self._takeover()
        self.world.clock.advance(300)
        self.ann.sends("JOIN #ops")
        self.shown = self._asks("RESTORE #ops 2025-06-15T15:16:00Z")
        self.done = self._asks("RESTORE #ops 2025-06-15T15:16:00Z CONFIRM")
        self.world.clock.advance(60)
        self.ann.sends("JOIN #ops")

    def _account(self, nick: str) -> FakeClient:
        client = self.world.client(nick)
        client.sends(f"NS REGISTER password-{nick}")
        return client

    def _before(self) -> None:
        self.ann.sends("JOIN #ops", "CS REGISTER #ops", "CS FLAGS #ops bob AOP")
        for client in (self.bob, self.mallory):
            client.sends("JOIN #ops")
        self.ann.sends("TOPIC #ops :Runbooks: https://runbooks.example", "MODE #ops +b *!*@spam.example")

    def _takeover(self) -> None:
        self.mallory.sends("TOPIC #ops :ours now", "MODE #ops +mk sesame", "MODE #ops -b *!*@spam.example")
        self.mallory.sends("MODE #ops +b ann!*@*", "KICK #ops bob :bye")

    def _asks(self, words: str) -> list[str]:
        """What ChanServ answers to the founder."""
        lines = self.ann.asks(f"CS {words}")
        return [line.partition(" NOTICE ann :")[2] for line in lines if line.startswith(":ChanServ!")]
