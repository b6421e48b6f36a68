"""Client-only tags: which may be passed on (IRCv3 message-tags, ISUPPORT CLIENTTAGDENY)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

ENTRY: Final = re.compile(r"\*|-?(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9-]+", re.ASCII)
"""The form of one entry: `*`, a tag's name without its +, or -name for an exception from `*`."""


class ClientTags:
    """Which client-only tags are passed on, by a list as CLIENTTAGDENY shows it."""

    __slots__ = ("_all", "_named", "token")

    def __init__(self, denied: Iterable[str]) -> None:
        entries = list(denied)
        self.token = ",".join(entries)
        """The value of CLIENTTAGDENY."""
        self._all = "*" in entries
        self._named = frozenset(entry.removeprefix("-") for entry in entries if entry.startswith("-") == self._all)

    def allows(self, name: str) -> bool:
        """Whether the tag `name` (with its +) is passed on."""
        return (name[1:] in self._named) == self._all

    def of(self, tags: Mapping[str, str]) -> dict[str, str]:
        """The client-only tags among `tags` that are passed on."""
        return {name: value for name, value in tags.items() if name.startswith("+") and self.allows(name)}
