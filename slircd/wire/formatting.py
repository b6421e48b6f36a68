"""Formatting codes in messages (modern.ircdocs.horse/formatting): bold, colour and the like."""

from __future__ import annotations

import re
from typing import Final

_CODES: Final = re.compile(
    r"\x03(?:[0-9]{1,2}(?:,[0-9]{1,2})?)?|\x04(?:[0-9A-Fa-f]{6}(?:,[0-9A-Fa-f]{6})?)?|[\x02\x0f\x11\x16\x1d\x1e\x1f]"
)


_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def one_line(text: str, most: int) -> str:
    """`text` of somebody else's as one line of at most `most` characters: a space stands for control characters."""
    return _CONTROLS.sub(" ", text[: 2 * most]).strip()[:most]


def has_formatting(text: str) -> bool:
    """Whether `text` has a formatting code."""
    return _CODES.search(text) is not None


def strip_formatting(text: str) -> str:
    """`text` without its formatting codes."""
    return _CODES.sub("", text)


def is_ctcp(text: str) -> bool:
    """Whether `text` is a CTCP message other than ACTION (/me)."""
    return text.startswith("\x01") and not text[1:].upper().startswith("ACTION")
