"""What differs between two moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from slircd.replay.document import ServerSnapshot


class Change(msgspec.Struct, kw_only=True):
    """One difference: `path` leads to it, such as ["channels", "#ops", "topic", "text"]."""

    kind: str
    """added, removed or changed."""
    path: list[str]
    before: Any = None
    after: Any = None


class StateDiff(msgspec.Struct, kw_only=True):
    """All that differs between two moments."""

    version: int = 1
    before: str
    after: str
    changes: list[Change]


SECTIONS: Final = ("users", "channels", "accounts", "bans", "filters", "plugins")
"""The parts of a document that hold what there is."""

_KEYS: Mapping[str, str] = {
    "users": "uid",
    "channels": "name",
    "accounts": "name",
    "members": "uid",
    "access": "entry",
    "bans": "mask",
    "filters": "pattern",
    "plugins": "plugin",
}
"""What names an item of each list; other lists of tables (bans of a channel) go by their mask."""


def diff_states(before: ServerSnapshot, after: ServerSnapshot) -> StateDiff:
    """The changes from one document to another, in the order of the documents."""
    changes = compare_documents(msgspec.to_builtins(before), msgspec.to_builtins(after))
    return StateDiff(before=before.at, after=after.at, changes=list(changes))


def compare_documents(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """The changes from one document to another, both as plain values."""
    for section in SECTIONS:
        before, after = _keyed(section, old.get(section, [])), _keyed(section, new.get(section, []))
        if section == "channels":
            before = _as_they_are_called_now(before, after)
        yield from _compare([section], before, after)


def _as_they_are_called_now(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The channels of before, those that were renamed under the names that they have now: the rest is what differs.

    A name that was taken from another channel stays that one's, so that its end is not left out.
    """
    created: dict[str, list[str]] = {}
    for name, channel in old.items():
        created.setdefault(channel["created_at"], []).append(name)
    renamed: dict[str, str] = {}
    for name, channel in new.items():
        former = channel.get("former_names", [])
        for before in created.get(channel["created_at"], ()) if former and name not in old else ():
            known = old[before].get("former_names", [])
            if len(known) < len(former) and [*known, before.casefold()] == [
                *former[: len(known)],
                former[len(known)].casefold(),
            ]:
                renamed[before] = name
    return {renamed.get(name, name): channel for name, channel in old.items()}


def _keyed(name: str, items: list[Any]) -> dict[str, Any]:
    if name == "bans" and items and "kind" in items[0]:
        return {f"{item['kind']} {item['mask']}": item for item in items}
    key = _KEYS.get(name, "mask")
    return {str(item[key]) if isinstance(item, dict) else str(item): item for item in items}


def _compare(path: list[str], old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for key in [*old, *(key for key in new if key not in old)]:
        here = [*path, key]
        if key not in new:
            yield Change(kind="removed", path=here, before=old[key])
        elif key not in old:
            yield Change(kind="added", path=here, after=new[key])
        elif old[key] != new[key]:
            yield from _changed(here, old[key], new[key])


def _changed(path: list[str], old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _compare(path, old, new)
    elif isinstance(old, list) and isinstance(new, list):
        yield from _compare(path, _keyed(path[-1], old), _keyed(path[-1], new))
    else:
        yield Change(kind="changed", path=path, before=old, after=new)
