"""Case mappings: which names are the same (modern.ircdocs.horse, CASEMAPPING)."""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Final


class CaseMap:
    """One mapping, under the name that ISUPPORT advertises."""

    __slots__ = ("_table", "name")

    def __init__(self, name: str, upper: str, lower: str) -> None:
        """Each character of `upper` is the same as the one at its place in `lower`."""
        self.name = name
        self._table = str.maketrans(ascii_uppercase + upper, ascii_lowercase + lower)

    def fold(self, text: str) -> str:
        """The form that is equal for all spellings of one name."""
        # str.lower is several times faster than translate, and the same where only ASCII letters are concerned.
        if text.isascii() and self.name == "ascii":
            return text.lower()
        return text.translate(self._table)


CASEMAPS: Final[dict[str, CaseMap]] = {
    "ascii": CaseMap("ascii", "", ""),
    "rfc1459": CaseMap("rfc1459", "[]\\~", "{}|^"),
    "rfc1459-strict": CaseMap("rfc1459-strict", "[]\\", "{}|"),
}
"""The mappings by name."""
