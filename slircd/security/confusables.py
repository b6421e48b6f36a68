"""Nicks that look alike (Unicode Technical Standard 39, section 4): equal skeletons, different names.

The table of what looks alike is the library's; a character's skeleton is the one that stands for all that look like it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from unicodedata import normalize


@lru_cache(maxsize=1)
def _table() -> dict[str, list[dict[str, str]]]:
    # A tenth of a second, which only a server that wants it pays.
    from confusable_homoglyphs import confusables

    table: Any = confusables.confusables_data
    return table  # type: ignore[no-any-return]  # the library has no types


@lru_cache(maxsize=16_384)
def _prototype(character: str) -> str:
    """What stands for a character: the one that all its likes name, or itself."""
    table = _table()
    likes = table.get(character, [])
    if len(likes) != 1:
        return character
    other = likes[0]["c"].strip("\u200e")
    # Two that look like each other alone: either could stand for both.
    return min(character, other) if len(table.get(other, [])) == 1 else other


@lru_cache(maxsize=65_536)
def skeleton(nick: str) -> str:
    """What is equal for nicks that look alike."""
    apart = normalize("NFD", nick)
    return normalize("NFD", "".join(_prototype(character) for character in apart)).lower()


class LookAlikes:
    """Nicks by skeleton: those that are online, kept in step, and those that are registered, made anew when they change."""

    def __init__(self) -> None:
        self._online: dict[str, dict[str, None]] = {}
        self._skeletons: dict[str, str] = {}
        """UID to the skeleton that it stands under."""
        self._registered: dict[str, str] | None = None

    def came(self, nick: str, uid: str) -> None:
        """Somebody has this nick now, and no other."""
        self.went(uid)
        key = self._skeletons[uid] = skeleton(nick)
        self._online.setdefault(key, {})[uid] = None

    def went(self, uid: str) -> None:
        """Somebody is gone; what was decided before its last change of nick may call it by another."""
        key = self._skeletons.pop(uid, "")
        holders = self._online.get(key, {})
        holders.pop(uid, None)
        if not holders:
            self._online.pop(key, None)

    def registrations_changed(self) -> None:
        """Nicks were registered or dropped."""
        self._registered = None

    def holders(self, nick: str) -> Iterable[str]:
        """UIDs of those whose nick looks like this one."""
        return self._online.get(skeleton(nick), ())

    def owner(self, nick: str, registered: Iterable[tuple[str, str]]) -> str | None:
        """The key of an account with a nick that looks like this one; `registered` are nicks and accounts."""
        if self._registered is None:
            self._registered = {skeleton(name): account for name, account in registered}
        return self._registered.get(skeleton(nick))
