"""Bytes as a row of choices, so that whoever knows how to change bytes can change structured input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Takes choices from the front of some bytes; when there are none left, each is the first there is.

    One choice is one byte, or two where more than 256 are possible, so that a changed byte changes one choice and leaves
    the others as they were.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether there are bytes left."""
        return self._at < len(self._data)

    def number(self, below: int) -> int:
        """A number from 0 to `below` - 1."""
        value = 0
        size = 1
        while size < below:
            value = value << 8 | (self._data[self._at] if self.more else 0)
            self._at += 1
            size <<= 8
        return value % below

    def pick(self, items: Sequence[T]) -> T:
        """One of some things."""
        return items[self.number(len(items))]

    def chance(self, of_256: int) -> bool:
        """True in so many of 256 cases, and never when there is nothing left."""
        return self.more and self.number(256) < of_256

    def take(self, most: int) -> bytes:
        """Some bytes, at most so many."""
        size = self.number(most + 1)
        found = self._data[self._at : self._at + size]
        self._at += size
        return found

    def text(self, most: int) -> str:
        """Some text: what is not UTF-8 is read as Latin-1."""
        data = self.take(most)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def rest(self) -> bytes:
        """All that is left."""
        found = self._data[self._at :]
        self._at = len(self._data)
        return found
