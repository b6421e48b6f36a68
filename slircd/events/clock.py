"""The two clocks of the log: the Lamport sequence, and timestamps that never run backwards."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final


def format_timestamp(seconds: float) -> str:
    """The log's form of a moment, `2025-01-01T12:00:00.000000Z`: fixed width, so that text order is time order.

    `seconds` are those since the epoch.
    """
    return to_timestamp(datetime.fromtimestamp(seconds, UTC))


def to_timestamp(moment: datetime) -> str:
    """The log's form of a moment that is in UTC."""
    # strftime writes years before 1000 with fewer digits.
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_timestamp(text: str) -> float:
    """Seconds since the epoch of a timestamp of the log; ValueError if it is none."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


_AGO: Final = re.compile(r"-([0-9]{1,9})([smhdw])", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_moment(text: str, now_s: float) -> str:
    """A moment as people write it, as a timestamp of the log: `2025-01-01`, ISO 8601 with or without offset, `-15m`, `now`.

    Without an offset it is UTC.  `now_s` are seconds since the epoch.  Raises ValueError, with what is allowed.
    """
    ago = _AGO.fullmatch(text)
    try:
        if text == "now":
            return format_timestamp(now_s)
        if ago is not None:
            return format_timestamp(now_s - int(ago[1]) * _UNITS[ago[2]])
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return to_timestamp(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: 2025-01-01, 2025-01-01T14:05:00Z, -15m (s, m, h, d, w), or now"
        ) from None


class LamportClock:
    """A logical clock (Lamport 1978): +1 per own event, and never behind what was seen from elsewhere."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def tick(self) -> int:
        """The next sequence number."""
        self.value += 1
        return self.value

    def merge(self, seen: int) -> int:
        """Take note of a sequence number from elsewhere; the next one is above both."""
        self.value = max(self.value, seen) + 1
        return self.value


class WallClock:
    """Timestamps for the log: a clock that steps back is held at the last timestamp until it has caught up."""

    __slots__ = ("_now", "_prefix", "_second", "held", "holding", "last")

    def __init__(self, now: Callable[[], float], last: str = "") -> None:
        """`now` gives seconds since the epoch; `last` is the newest timestamp that the log already has."""
        self._now = now
        self._second = -1
        self._prefix = ""
        self.last = last
        self.held = 0
        """How many timestamps were held because the clock stood before the last one."""
        self.holding = False
        """Whether the newest one was."""

    def stamp(self) -> str:
        """The current moment in the log's form, never before one given out earlier."""
        now = self._now()
        second = int(now)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        text = f"{self._prefix}{int((now - second) * 1_000_000):06d}Z"
        if text < self.last:
            self.held += 1
            self.holding = True
            return self.last
        self.holding = False
        self.last = text
        return text
