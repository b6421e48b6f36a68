"""The state that is served, rewritten: looked through a slice at a time, changed in one turn.

Looking for what has to change may take as many turns as it likes.  Between its first and its last one, events go on;
whatever they named is looked at again at the moment of the change, so nothing is missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from slircd.events.types import Event
from slircd.retention.fields import parts_of
from slircd.retention.rewrite import Rewriter, rewrite_entry
from slircd.state.livedigest import LiveDigest
from slircd.state.model import ServerState
from slircd.state.snapshot import PARTS, Key, Snapshot

SLICE: Final = 50
"""Things that are looked at in one turn."""

TABLES: Final = tuple(part for part in parts_of(Snapshot) if part.name in {each.name for each in PARTS})
"""The dicts of the state, and what their keys and values are."""


class LiveRewrite:
    """One rewriting of a state that lives."""

    def __init__(self, state: ServerState, rewriter: Rewriter) -> None:
        self._state = state
        self._rewriter = rewriter
        self._found: dict[tuple[str, str], None] = {}
        self._touched: set[str] = set()

    def look(self) -> Iterator[None]:
        """Look for what has to change; each step is one slice."""
        count = 0
        for part in TABLES:
            table: dict[str, Any] = getattr(self._state, part.name)
            for key in list(table):
                if key in table and self._rewritten(part, key, table[key]) is not None:
                    self._found[part.name, key] = None
                count += len(table[key]) if key in table and isinstance(table[key], dict) else 1
                if count >= SLICE:
                    count = 0
                    yield

    def saw(self, event: Event) -> None:
        """An event was applied since the first look: what it names is looked at again."""
        self._touched.update(text for text in msgspec.structs.astuple(event) if isinstance(text, str))

    def apply(self, kept: LiveDigest | None) -> int:
        """Change the state now; how many things changed.  `kept` is the digest that has to go with it."""
        changed = 0
        for part in TABLES:
            table: dict[str, Any] = getattr(self._state, part.name)
            fold = self._state.fold
            keys = {key for name, key in self._found if name == part.name}
            keys |= {key for text in self._touched for key in (text, fold(text)) if key in table}
            # A dict of dicts has few keys; whatever was touched is somewhere inside.
            keys |= {key for key, value in table.items() if isinstance(value, dict)} if self._touched else set()
            new = {key: after for key in keys if key in table and (after := self._rewritten(part, key, table[key]))}
            if not new:
                continue
            changed += len(new)
            if kept is not None:
                kept.touch_keys(_digest_keys(table, new))
            self._put(table, new)
        return changed

    def _rewritten(self, part: Any, key: str, value: Any) -> tuple[str, Any] | None:
        after = rewrite_entry(part, key, value, self._rewriter)
        return None if after[0] is key and after[1] is value else after

    @staticmethod
    def _put(table: dict[str, Any], new: dict[str, tuple[str, Any]]) -> None:
        """Change entries in place and in order: others hold on to the table and to the structs in it."""
        if all(after[0] == key for key, after in new.items()):
            for key, (_, value) in new.items():
                _become(table, key, value)
            return
        entries = list(table.items())
        table.clear()
        for key, before in entries:
            if key in new:
                table[key] = before
                _become(table, key, new[key][1])
                table[new[key][0]] = table.pop(key)
            else:
                table[key] = before


def _digest_keys(table: dict[str, Any], new: dict[str, tuple[str, Any]]) -> set[Key]:
    """What the digest goes by, of entries that are about to change: their keys, and those that they will have."""
    keys: set[Key] = set()
    for key, (new_key, value) in new.items():
        if isinstance(value, dict):
            keys |= {(key, inner) for inner in (*table[key], *value)}
        else:
            keys |= {key, new_key}
    return keys


def _become(table: dict[str, Any], key: str, value: Any) -> None:
    before = table[key]
    if isinstance(before, msgspec.Struct) and not type(before).__struct_config__.frozen:
        for name in before.__struct_fields__:
            setattr(before, name, getattr(value, name))
    elif isinstance(before, dict):
        before.clear()
        before.update(value)
    else:
        table[key] = value
