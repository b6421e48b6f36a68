"""Extended bans: entries of channel lists that say more than nick!user@host.

Their form is `~LETTER:VALUE`, or `~LETTER` for one without a value.  A matching extban says whom it hits; an acting one
says what it does and holds a mask, or a matching extban, that says whom: `~m:~a:ann` quiets the account ann.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import Final, NamedTuple

from slircd.wire.masks import canonical_mask

PREFIX: Final = "~"
MAX_MASK_BYTES: Final = 200


class Shape(enum.Enum):
    """What follows an extban's letter."""

    GLOB = "a glob"
    NOTHING = "nothing"
    MASK = "a mask or a matching extban"
    TIMED = "minutes, a colon, and a mask or extban"


class ExtbanKind(NamedTuple):
    """One letter: what follows it, and what it means."""

    shape: Shape
    description: str


EXTBANS: Final[dict[str, ExtbanKind]] = {
    "a": ExtbanKind(Shape.GLOB, "users who are logged in to a matching account"),
    "c": ExtbanKind(Shape.GLOB, "users who are on a matching channel"),
    "m": ExtbanKind(Shape.MASK, "mute: may join but not speak"),
    "n": ExtbanKind(Shape.MASK, "may not change nick while on the channel"),
    "r": ExtbanKind(Shape.GLOB, "users with a matching real name"),
    "t": ExtbanKind(Shape.TIMED, "an entry that the server removes after so many minutes"),
    "U": ExtbanKind(Shape.NOTHING, "users who are not logged in to an account"),
    "z": ExtbanKind(Shape.GLOB, "users with a matching TLS certificate fingerprint"),
}
"""Letter to its kind; ISUPPORT EXTBAN and HELP are made from it."""

ACTING: Final = frozenset({"m", "n"})

_TIMED: Final = re.compile(r"([0-9]{1,6}):(.+)", re.DOTALL)


class Extban(NamedTuple):
    """A list entry, taken apart.

    `action` is an acting letter or "" for an ordinary entry; `letter` a matching one or "" for a plain mask; `value`
    is the glob or the mask; `minutes` its life, if it is a timed one.
    """

    action: str
    letter: str
    value: str
    minutes: int | None = None


@lru_cache(maxsize=8192)
def parse_extban(text: str) -> Extban | None:
    """The parts of a list entry, be it a plain mask or an extban; None if it is no right extban."""
    if not text.startswith(PREFIX):
        return Extban("", "", canonical_mask(text))
    letter, value = text[1:2], text[3:]
    kind = EXTBANS.get(letter)
    if kind is None or (len(text) > 2 and text[2] != ":"):
        return None
    if kind.shape is Shape.NOTHING:
        return Extban("", letter, "") if len(text) == 2 else None
    if not value:
        return None
    if kind.shape is Shape.GLOB:
        return Extban("", letter, value)
    minutes: int | None = None
    if kind.shape is Shape.TIMED:
        timed = _TIMED.fullmatch(value)
        if timed is None or not int(timed[1]):
            return None
        minutes, value = int(timed[1]), timed[2]
    inner = parse_extban(value)
    if inner is None or inner.minutes is not None or (inner.action and minutes is None):
        return None
    return inner._replace(action=inner.action or ("" if minutes is not None else letter), minutes=minutes)


def format_extban(entry: Extban) -> str:
    """The text of a list entry; the inverse of `parse_extban` up to the canonical form of masks."""
    text = f"{PREFIX}{entry.letter}" if entry.letter else entry.value
    if entry.letter and EXTBANS[entry.letter].shape is not Shape.NOTHING:
        text += f":{entry.value}"
    if entry.action:
        text = f"{PREFIX}{entry.action}:{text}"
    return text if entry.minutes is None else f"{PREFIX}t:{entry.minutes}:{text}"


def looks_like_mask(text: str) -> bool:
    """Whether `text` is meant as a mask and not as a nick: `+q` takes both, an owner's nick and a mask to quiet."""
    return text.startswith(PREFIX) or any(sign in text for sign in "!@*?.:/$")
