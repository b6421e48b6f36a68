"""Case mappings: which names are the same (modern.ircdocs.horse, CASEMAPPING).

`precis` (RFC 8265, UsernameCaseMapped) also knows letters that are not ASCII.  What it makes of a character depends on
the version of Unicode, so its name in the log carries that version.  Characters that a version knows are mapped alike by
every later one, and only those may be in names: a log can be read by a newer Python and not by an older one.
"""

from __future__ import annotations

import unicodedata
from string import ascii_lowercase, ascii_uppercase
from typing import Final

PRECIS: Final = "precis"


class CaseMap:
    """One mapping; `name` is what the log calls it, `token` what ISUPPORT does."""

    __slots__ = ("_table", "name", "token")

    def __init__(self, name: str, upper: str, lower: str, token: str = "") -> None:
        """Each character of `upper` is the same as the one at its place in `lower`."""
        self.name = name
        self.token = token or name
        self._table = str.maketrans(ascii_uppercase + upper, ascii_lowercase + lower)

    @property
    def is_precis(self) -> bool:
        """Whether names may have letters that are not ASCII."""
        return False

    def fold(self, text: str) -> str:
        """The form that is equal for all spellings of one name."""
        # str.lower is several times faster than translate, and the same where only ASCII letters are concerned.
        if text.isascii() and self.name == "ascii":
            return text.lower()
        return text.translate(self._table)


class PrecisMap(CaseMap):
    """Width, case and composition do not matter (RFC 8265 3.3.2), for any text, names or not."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(name, "", "", "rfc8265")

    @property
    def is_precis(self) -> bool:
        """Whether names may have letters that are not ASCII."""
        return True

    def fold(self, text: str) -> str:
        """The form that is equal for all spellings of one name."""
        if text.isascii():
            return text.lower()
        narrow = "".join(_without_width(character) for character in text)
        folded = unicodedata.normalize("NFC", narrow.lower())
        # Composition can make a letter that has a lower case of its own.
        return unicodedata.normalize("NFC", folded.lower())


def _without_width(character: str) -> str:
    decomposition = unicodedata.decomposition(character)
    if decomposition.startswith(("<wide>", "<narrow>")):
        return chr(int(decomposition.split()[1], 16))
    return character


class _CaseMaps(dict[str, CaseMap]):
    """The mappings by name; `precis-VERSION` as far as this Python's Unicode goes."""

    def __missing__(self, name: str) -> CaseMap:
        kind, _, version = name.partition("-")
        if kind != PRECIS or not version.replace(".", "").isdigit():
            raise KeyError(name)
        if _numbers(version) > _numbers(unicodedata.unidata_version):
            raise KeyError(f"{name} needs a newer Python: this one has Unicode {unicodedata.unidata_version}")
        self[name] = PrecisMap(name)
        return self[name]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part]


CASEMAPS: Final[dict[str, CaseMap]] = _CaseMaps(
    {
        "ascii": CaseMap("ascii", "", ""),
        "rfc1459": CaseMap("rfc1459", "[]\\~", "{}|^"),
        "rfc1459-strict": CaseMap("rfc1459-strict", "[]\\", "{}|"),
    }
)
"""The mappings by the name that the log has; KeyError for one that this Python cannot follow."""


def in_log(name: str) -> str:
    """What the log calls the mapping that the configuration calls `name`."""
    return f"{PRECIS}-{unicodedata.unidata_version}" if name == PRECIS else name
