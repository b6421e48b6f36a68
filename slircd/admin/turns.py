"""Long work on the live state, in pieces that are shorter than a turn of the reactor may last.

What is chosen in one turn may be gone in the next: whoever uses the result looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import nsmallest
from itertools import islice
from typing import Final, TypeVar

from slircd.network.turns import Turns

PIECE: Final = 2_000
"""Things that are looked at in one turn; about five milliseconds for users with all their names."""

MAX_LETTERS: Final = 9
"""Letters by which keys are told apart before they are sorted."""

T = TypeVar("T")


async def select_in_turns(turns: Turns, things: Sequence[T], wanted: Callable[[T], bool]) -> list[T]:
    """The things that are wanted, in their order."""
    found: list[T] = []
    for start in range(0, len(things), PIECE):
        if start:
            await turns.next()
        found += [thing for thing in islice(things, start, start + PIECE) if wanted(thing)]
    return found


async def page_in_turns(turns: Turns, keys: Sequence[str], offset: int, limit: int, letters: int = 1) -> list[str]:
    """A page of the sorted keys, without sorting what lies before and behind it.

    Sorting fifty thousand takes sixteen milliseconds, which is too long for a turn.  The first pages are found by a heap;
    for those further back the keys are put in boxes by their first letters, and only the boxes of the page are sorted.
    """
    if offset + limit <= PIECE or len(keys) <= PIECE or letters > MAX_LETTERS:
        return nsmallest(offset + limit, keys)[offset:]
    boxes: dict[str, list[str]] = {}
    for start in range(0, len(keys), 5 * PIECE):
        await turns.next()
        for key in islice(keys, start, start + 5 * PIECE):
            boxes.setdefault(key[:letters], []).append(key)
    found: list[str] = []
    for name in sorted(boxes):
        box = boxes[name]
        if offset < len(box):
            found += await page_in_turns(turns, box, offset, limit - len(found), letters + 2)
            if len(found) >= limit:
                break
        offset = max(offset - len(box), 0)
    return found
