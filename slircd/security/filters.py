"""Spam filters: regular expressions with RE2's semantics, which match in linear time whatever anybody writes."""

from __future__ import annotations

import re2

from slircd.state.model import Filter

MAX_PATTERN = 300
"""Bytes of a pattern."""

_OPTIONS = re2.Options()
_OPTIONS.case_sensitive = False
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 23


def check_pattern(pattern: str) -> str | None:
    """Why a pattern is none, or None if it is one."""
    if not pattern or len(pattern.encode()) > MAX_PATTERN:
        return f"a pattern has 1 to {MAX_PATTERN} bytes"
    try:
        compiled = re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        text = error.args[0]
        return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    return "this pattern matches every message" if compiled.search("") else None


class FilterSet:
    """All filters, matched in one pass."""

    def __init__(self) -> None:
        self._filters: list[Filter] = []
        self._set: re2.Set | None = None

    def use(self, filters: list[Filter]) -> None:
        """Match these from now on."""
        self._filters = filters
        self._set = None
        if filters:
            self._set = re2.Set.SearchSet(_OPTIONS)
            for each in filters:
                self._set.Add(each.pattern)
            self._set.Compile()

    def match(self, text: str) -> Filter | None:
        """The first filter that `text` meets."""
        if self._set is None:
            return None
        found = self._set.Match(text)
        return self._filters[min(found)] if found else None
