"""Events and states with other texts in them: the walk is here, which texts become what a Rewriter says.

A rewriter answers for a text by its kind, by the text, and by whether it belongs to somebody who is meant; the state
that rewritten events make is therefore the rewritten state.  That is what makes it safe to rewrite a log in place:
digests of live state, base and replay go on to agree.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol, TypeVar

import msgspec

from slircd.events.types import Event
from slircd.retention.fields import Kind, Part, parts_of

S = TypeVar("S", bound=msgspec.Struct)

UNTOUCHED: Final = frozenset({Kind.PLAIN, Kind.PLACE, Kind.UID})
_UID: Final = re.compile(r"[0-9][0-9A-Z]{8}", re.ASCII)


class Rewriter(Protocol):
    """Says what a text becomes."""

    def text(self, kind: Kind, value: str, mine: bool) -> str:
        """The new text; `mine` if it belongs to somebody who is meant."""

    def is_mine(self, uid: str) -> bool:
        """Whether somebody who is meant had this UID."""

    def is_author(self, source: str) -> bool:
        """Whether nick!user@host, or a nick alone, is of somebody who is meant."""


def rewrite_event(event: Event, rewriter: Rewriter) -> Event:
    """The event with its texts rewritten; the same object where nothing changes."""
    actor, target = event.actor_uid or "", event.target or ""
    authored = rewriter.is_mine(actor) or (event.event_type.startswith("user.") and rewriter.is_mine(target))
    return _struct(event, rewriter, authored)


def rewrite_state(part: S, rewriter: Rewriter) -> S:
    """A struct of the state, or all of it as a Snapshot, with its texts rewritten; the same where nothing changes."""
    return _struct(part, rewriter, False)


def rewrite_entry(part: Part, key: str, value: Any, rewriter: Rewriter) -> tuple[str, Any]:
    """One entry of a dict of the state: its key and value, the same objects where nothing changes."""
    return _text(key, part.keys[0], False, rewriter), _value(value, part, 1, False, rewriter, False)


def _struct(struct: S, rewriter: Rewriter, authored: bool) -> S:
    changed: dict[str, Any] = {}
    for part in parts_of(type(struct)):
        before = getattr(struct, part.name)
        if before is None or before == "":
            continue
        after = _value(before, part, 0, _whose(struct, part, rewriter, authored), rewriter, authored)
        if after is not before:
            changed[part.name] = after
    return msgspec.structs.replace(struct, **changed) if changed else struct


def _whose(struct: Any, part: Part, rewriter: Rewriter, authored: bool) -> bool:
    """Whether the text of a field belongs to somebody who is meant."""
    if part.of is None:
        return authored and part.kind is Kind.TEXT
    owner = getattr(struct, part.of, None)
    if not owner:
        return False
    if part.kind is not Kind.TEXT or part.of == "uid":
        return rewriter.is_mine(owner)
    return rewriter.is_author(owner)


def _value(value: Any, part: Part, depth: int, mine: bool, rewriter: Rewriter, authored: bool) -> Any:
    if isinstance(value, str):
        return _text(value, part.kind, mine, rewriter)
    if isinstance(value, msgspec.Struct):
        return _struct(value, rewriter, authored)
    if isinstance(value, dict):
        key_kind = part.keys[min(depth, len(part.keys) - 1)]
        pairs = [
            (_text(key, key_kind, mine, rewriter), _value(item, part, depth + 1, mine, rewriter, authored))
            for key, item in value.items()
        ]
        same = all(
            new is old
            for pair, item in zip(pairs, value.items(), strict=True)
            for new, old in zip(pair, item, strict=True)
        )
        return value if same else dict(pairs)
    if isinstance(value, list | tuple):
        items = [_value(item, part, depth, mine, rewriter, authored) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else type(value)(items)
    return value


def _text(value: str, kind: Kind, mine: bool, rewriter: Rewriter) -> str:
    if kind in UNTOUCHED or not value:
        return value
    if kind in (Kind.TARGET, Kind.NICK) and value[0] in "#&":
        return value
    if kind is Kind.TARGET:
        if _UID.fullmatch(value):
            return value
        kind = Kind.MASK
    after = rewriter.text(kind, value, mine)
    return value if after == value else after
