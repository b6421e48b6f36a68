"""Limits for each block of addresses: how many connections at one time, how many new ones in a while."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IReactorTime

if TYPE_CHECKING:
    from slircd.config.sections import Throttle


MAX_TRACKED: Final = 100_000
"""Blocks whose attempts are remembered; the oldest are forgotten."""


class ConnectionThrottle:
    """Admits connections.  An address that is none (a Unix socket) has no limits of its own."""

    def __init__(self, config: Throttle, clock: IReactorTime, max_clients: int) -> None:
        """`max_clients` is the most connections of all blocks together."""
        self._clock = clock
        self._open: dict[str, int] = {}
        self._attempts: dict[str, list[float]] = {}
        self._swept = clock.seconds()
        self.total = 0
        self.configure(config, max_clients)

    def configure(self, config: Throttle, max_clients: int) -> None:
        """Use other limits from now on; connections that are here stay and count."""
        self._config = config
        self._max_clients = max_clients
        exempt = [ip_network(text) for text in config.exempt]

        @lru_cache(maxsize=65_536)
        def block_of(address: str) -> str | None:
            try:
                ip = ip_address(address)
            except ValueError:
                return None
            if any(ip in network for network in exempt):
                return None
            prefix = config.ipv4_prefix if ip.version == 4 else config.ipv6_prefix
            return str(ip_network(f"{ip}/{prefix}", strict=False))

        self._block_of = block_of

    def is_exempt(self, address: str) -> bool:
        """Whether the configuration sets no limits to this address."""
        return not self._config.enabled or self._block_of(address) is None

    def admit(self, address: str, *, is_attempt: bool = True) -> str | None:
        """Count a new connection; None if it may stay, else the reason why not.

        One that is no `is_attempt` does not count for how often the block connects: it will be admitted once more.
        Every admitted or refused connection must be given back with `release` when it ends.
        """
        self.total += 1
        block = self._block_of(address) if address else None
        if block is not None:
            self._open[block] = self._open.get(block, 0) + 1
        if self.total > self._max_clients:
            return "The server is full, try again later"
        if block is None or not self._config.enabled:
            return None
        if self._open[block] > self._config.connections:
            return "Too many connections from your address"
        if is_attempt and self._count_attempt(block) > self._config.attempts:
            return "You are reconnecting too fast, try again later"
        return None

    def release(self, address: str) -> None:
        """A connection that `admit` counted is gone."""
        self.total -= 1
        # The block as of now: after a rehash with another prefix length an old count may be in another place.
        block = self._block_of(address) if address else None
        if block is not None and block in self._open:
            self._open[block] -= 1
            if self._open[block] <= 0:
                del self._open[block]

    def _count_attempt(self, block: str) -> int:
        now = self._clock.seconds()
        self._sweep(now)
        recent = self._attempts.setdefault(block, [])
        if len(self._attempts) > MAX_TRACKED:
            del self._attempts[next(iter(self._attempts))]
        self._forget_old(recent, now)
        # More than the limit need not be remembered: attempts that are refused must not keep a block out for ever.
        if len(recent) >= self._config.attempts:
            return self._config.attempts + 1
        recent.append(now)
        return len(recent)

    def _forget_old(self, recent: list[float], now: float) -> None:
        oldest = now - self._config.window_s
        if recent and recent[0] <= oldest:
            recent[:] = [moment for moment in recent if moment > oldest]

    def _sweep(self, now: float) -> None:
        """Once per window, forget the blocks that were quiet during it."""
        if now - self._swept < self._config.window_s:
            return
        self._swept = now
        for block, recent in list(self._attempts.items()):
            self._forget_old(recent, now)
            if not recent:
                del self._attempts[block]
