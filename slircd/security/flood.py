"""The token bucket that slows a fast client down."""

from __future__ import annotations


class Bucket:
    """`burst` tokens at first, `rate_per_s` new ones a second, never more than `burst`."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, burst: float, rate_per_s: float, now: float) -> None:
        """`now` is the clock's moment in seconds, as for `take`."""
        self._burst = burst
        self._rate = rate_per_s
        self._tokens = burst
        self._updated = now

    def take(self, now: float) -> float:
        """Take a token and return 0.0, or leave it and return the seconds until there is one."""
        if now > self._updated:
            self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
            self._updated = now
        # A timer that was set for exactly one token may fire a rounding error early.
        if self._tokens >= 1.0 - 1e-6:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate

    def spend(self, tokens: float) -> None:
        """Take tokens that may not be there: who caused much work waits until they have come in.

        The debt is never more than twice the burst, so that nobody is mute for long.
        """
        self._tokens = max(self._tokens - tokens, -2.0 * self._burst)
