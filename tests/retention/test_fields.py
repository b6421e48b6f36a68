"""Nothing in an event or in the state is overlooked when somebody is erased."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from slircd.events.types import EVENT_TYPES
from slircd.retention.fields import Kind, parts_of
from slircd.state.model import ServerState
from slircd.state.snapshot import Snapshot


def structs_of(cls: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """A struct and all structs that it can hold."""
    yield cls
    for field in msgspec.structs.fields(cls):
        pending = [field.type]
        while pending:
            hint: Any = pending.pop()
            if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
                yield from structs_of(hint)
            else:
                pending.extend(get_args(hint))


STRUCTS = sorted(
    {each for cls in (*EVENT_TYPES.values(), Snapshot) for each in structs_of(cls)}, key=lambda cls: cls.__name__
)


@pytest.mark.parametrize("cls", STRUCTS, ids=lambda cls: cls.__name__)
def test_every_text_is_classified(cls: type[msgspec.Struct]) -> None:
    """A new field has to be listed in slircd/retention/fields.py: whose is it, what did somebody write, or neither?

    Until it is, its words are searched, which is right for all but texts that are somebody's as a whole.
    """
    unlisted = [part.name for part in parts_of(cls) if not part.listed]
    assert not unlisted, f"{cls.__name__}: {unlisted}"


def test_the_snapshot_holds_the_whole_state() -> None:
    """What is not in the snapshot cannot be rewritten."""
    indexes = {"_casemap", "account_users", "fold", "casemapping", "invited", "memberships", "nick_owners", "nicks"}
    assert set(ServerState.__slots__) - indexes == set(Snapshot.__struct_fields__) - indexes


def test_what_is_new_is_searched() -> None:
    """A field that nobody has listed counts as data."""

    class New(msgspec.Struct):
        something: str
        more: dict[str, list[str]]
        number: int

    assert [(part.name, part.kind, part.listed) for part in parts_of(New)] == [
        ("something", Kind.DATA, False),
        ("more", Kind.DATA, False),
    ]
