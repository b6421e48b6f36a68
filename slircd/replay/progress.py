"""How far a replay is: a line on stderr, on a terminal only, when it takes over a second."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Final

FIRST_S: Final = 1.0
EVERY_S: Final = 0.2
WIDTH: Final = 24


class Progress:
    """A bar with events a second and the time left; a context manager that clears its line."""

    def __init__(self, last_id: int, about: str = "") -> None:
        """`last_id` is the id of the last event that will be replayed."""
        self._last_id = last_id
        self._about = f"{about}: " if about else ""
        self._shown = sys.stderr.isatty()
        self._began = time.monotonic()
        self._next = self._began + FIRST_S
        self._first: tuple[int, float] | None = None
        self._drawn = False

    @property
    def each(self) -> Callable[[int], None] | None:
        """What is to be told of the ids of events, every few thousand; None if nobody looks."""
        return self._each if self._shown else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _each(self, event_id: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = event_id, now
        if now >= self._next:
            self._next = now + EVERY_S
            self._drawn = True
            sys.stderr.write(f"\r{self._about}{bar(*self._first, event_id, now, self._last_id)}\x1b[K")
            sys.stderr.flush()


def bar(first_id: int, first_s: float, event_id: int, now_s: float, last_id: int) -> str:
    """The text: how far, how fast, how long still."""
    done, whole = event_id - first_id, max(last_id - first_id, 1)
    rate = done / (now_s - first_s) if now_s > first_s else 0.0
    filled = min(int(WIDTH * done / whole), WIDTH)
    left = f"{max(last_id - event_id, 0) / rate:.0f} s left" if rate else ""
    return f"[{'=' * filled}{' ' * (WIDTH - filled)}] {event_id:,} of {last_id:,} events, {rate:,.0f}/s, {left}"
