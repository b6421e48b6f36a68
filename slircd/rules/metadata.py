"""Metadata: who may read and who may set what (IRCv3 draft/metadata-2 and draft/metadata-3).

A user's metadata is for everybody, as WHOIS is.  A channel's is for its members, and for others where anybody may join:
neither a secret channel nor one that asks for an invitation or a key tells strangers anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from slircd.events import types as ev
from slircd.rules.channel import OPERATORS
from slircd.rules.lookup import may_see_channel
from slircd.state.model import Channel, ServerState, User
from slircd.wire.encoding import is_kept
from slircd.wire.names import valid_metadata_key
from slircd.wire.numerics import StandardReply

Owner = User | Channel

CLOSED: Final = frozenset("iOz")
"""Flags that keep strangers out of a channel."""


def fail(code: str, *context: str, text: str, kind: str = "FAIL") -> StandardReply:
    """An answer of METADATA, with the codes of draft/metadata-3."""
    return StandardReply(kind, code, *context, text=text, command="METADATA", always=True)


def no_permission(target: str, key: str) -> StandardReply:
    """The client may not do that."""
    return fail("KEY_NO_PERMISSION", target, key, text="You may not do that")


def invalid_key(key: str, kind: str = "FAIL") -> StandardReply:
    """This is no key."""
    shown = key if key and " " not in key and key[0] != ":" else "*"
    return fail("INVALID_KEY", shown[:64], text="This is no key", kind=kind)


def owner_named(state: ServerState, uid: str, name: str, *, override: bool = False) -> Owner:
    """The user, or the channel, of this name; * is the asker itself.  Raises StandardReply."""
    if name == "*":
        return state.users[uid]
    owner: Owner | None
    if name.startswith("#"):
        owner = state.channel_by_name(name)
        if owner is not None and not may_see_channel(owner, uid, sees_hidden=override):
            owner = None
    else:
        owner = state.user_by_nick(name)
    if owner is None:
        shown = name if name and " " not in name and name[0] != ":" else "*"
        raise fail("INVALID_TARGET", shown[:64], text="There is no such user or channel")
    return owner


def name_of(owner: Owner) -> str:
    """The nick, or the channel's name."""
    return owner.name if isinstance(owner, Channel) else owner.nick


def may_read(owner: Owner, uid: str) -> bool:
    """Whether a user may read the metadata of something that it may know of."""
    return not isinstance(owner, Channel) or uid in owner.members or not (owner.flags & CLOSED or "k" in owner.params)


def check_may_set(owner: Owner, uid: str, key: str) -> None:
    """Raise StandardReply unless `uid` may set `key` (*: all keys): its own, or a channel's as its operator."""
    allowed = owner.has_any(uid, OPERATORS) if isinstance(owner, Channel) else owner.uid == uid
    if not allowed:
        raise no_permission(name_of(owner), key)


def check_value(key: str, value: str, max_bytes: int) -> None:
    """Raise StandardReply if the value is too long, or not UTF-8."""
    if is_kept(value):
        raise fail("INVALID_VALUE", key, text="A value is UTF-8")
    if len(value.encode()) > max_bytes:
        raise fail("INVALID_VALUE", key, text=f"A value has at most {max_bytes} bytes")


def check_room(values: dict[str, str], target: str, key: str, max_keys: int) -> None:
    """Raise StandardReply if there is no room for one more key."""
    if key not in values and len(values) >= max_keys:
        raise fail("LIMIT_REACHED", target, str(max_keys), text=f"At most {max_keys} keys")


def decide_set(
    state: ServerState,
    actor: str,
    owner: Owner,
    key: str,
    value: str,
    *,
    max_keys: int,
    max_bytes: int,
    override: bool = False,
) -> Iterator[ev.Event]:
    """A key is set, or removed (empty value); nothing if nothing changes.  Raises StandardReply."""
    if not valid_metadata_key(key):
        raise invalid_key(key)
    if not override:
        check_may_set(owner, actor, key)
    if value:
        check_value(key, value, max_bytes)
        check_room(owner.metadata, name_of(owner), key, max_keys)
    if value != owner.metadata.get(key, ""):
        yield set_event(state, actor, owner, key, value)


def decide_clear(state: ServerState, actor: str, owner: Owner, *, override: bool = False) -> Iterator[ev.Event]:
    """All keys are removed.  Raises StandardReply."""
    if not override:
        check_may_set(owner, actor, "*")
    for key in sorted(owner.metadata):
        yield set_event(state, actor, owner, key, "")


def set_event(state: ServerState, actor: str, owner: Owner, key: str, value: str) -> ev.MetadataSet:
    """A key is set, or removed (empty value)."""
    return ev.MetadataSet(
        actor_uid=actor,
        target=owner.key if isinstance(owner, Channel) else owner.uid,
        nick=state.users[actor].nick,
        name=name_of(owner),
        key=key,
        value=value,
        previous=owner.metadata.get(key, ""),
    )
