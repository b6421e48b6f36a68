"""A bound on those who have come in and have not yet said who they are.

When there are too many, the one that has been there longest goes: whoever does what it came for is through in a moment,
so a flood of connections that only wait pushes out itself, and shuts nobody out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lobby(Generic[T]):
    """Who is there, in order of coming."""

    __slots__ = ("_limit", "_make_room", "_waiting")

    def __init__(self, limit: Callable[[], int], make_room: Callable[[T], None]) -> None:
        """`limit` gives the bound of now; `make_room` ends one that has to go."""
        self._limit = limit
        self._make_room = make_room
        self._waiting: dict[T, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, who: T) -> bool:
        return who in self._waiting

    def add(self, who: T) -> None:
        """Somebody comes in."""
        self._waiting[who] = None
        while len(self._waiting) > self._limit():
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            self._make_room(oldest)

    def discard(self, who: T) -> None:
        """Somebody is through, or gone."""
        self._waiting.pop(who, None)
