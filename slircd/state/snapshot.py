"""The state as bytes and back, and its digest.

Two states are equal exactly if their digests are: this is how "live = replayed" is checked.  The digest is a sum of
one hash for each thing that there is (a user, a channel, a membership, a ban, …), so that a running server can keep it
by taking off the hash of what is about to change and adding that of what it became (`state.livedigest`).

A new kind of state is a field of `Snapshot` with a default, a slot of ServerState, and one line in PARTS.  A new field
of a user, a channel or an account needs nothing here but a default: defaults are left out of snapshots and digests, so
old snapshots stay readable and digests of states that do not use the field stay what they were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from slircd.state.model import Account, Channel, Filter, NetworkBan, ServerState, User
from slircd.wire.casemap import CASEMAPS

SNAPSHOT_VERSION: Final = 1
"""Raise it, and add an upcaster, when a field changes shape or meaning, or when the same events make another state."""


class Snapshot(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All of a state that is no index."""

    sequence: int
    timestamp: str
    casemapping: str
    channel_modes: str
    uid_counters: dict[str, int]
    users: dict[str, User]
    channels: dict[str, Channel]
    accounts: dict[str, Account]
    bans: dict[str, dict[str, NetworkBan]]
    filters: dict[str, Filter]
    storage: dict[str, dict[str, str]] = {}


Document = dict[str, Any]
UPCASTERS: Final[dict[int, Callable[[Document], Document]]] = {}
"""The step from each old version of a snapshot, as plain dicts and lists, to the next one."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Snapshot).decode


class SnapshotError(ValueError):
    """Bytes that are no snapshot that this slircd can read."""


def to_snapshot(state: ServerState) -> Snapshot:
    """A view of `state`: it shares its users, channels and the rest."""
    return Snapshot(
        sequence=state.sequence,
        timestamp=state.timestamp,
        casemapping=state.casemap.name,
        channel_modes=state.channel_modes,
        uid_counters=state.uid_counters,
        users=state.users,
        channels=state.channels,
        accounts=state.accounts,
        bans=state.bans,
        filters=state.filters,
        storage=state.storage,
    )


def encode_snapshot(state: ServerState) -> bytes:
    """The state as MessagePack; it keeps the order of members and entries."""
    return _encode(to_snapshot(state))


def decode_snapshot(document: bytes, version: int = SNAPSHOT_VERSION) -> ServerState:
    """The state that `encode_snapshot` wrote, its indexes made anew; `version` is the SNAPSHOT_VERSION of that time.

    Raises SnapshotError for bytes of another shape, and for a version that no upcasters lead from.
    """
    try:
        snapshot = _decode(document) if version == SNAPSHOT_VERSION else _upcast(document, version)
        return from_snapshot(snapshot)
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # msgspec's errors are ValueErrors
        raise SnapshotError(f"no snapshot of version {version}: {error}") from None


def from_snapshot(snapshot: Snapshot) -> ServerState:
    """The state of a snapshot, its indexes made anew; it takes over what the snapshot holds.

    Raises SnapshotError for one that contradicts itself.
    """
    casemap = CASEMAPS[snapshot.casemapping]
    state = ServerState()
    state.sequence = snapshot.sequence
    state.timestamp = snapshot.timestamp
    state.casemap = casemap
    state.channel_modes = snapshot.channel_modes
    state.uid_counters = snapshot.uid_counters
    state.users = snapshot.users
    state.channels = snapshot.channels
    state.accounts = snapshot.accounts
    state.bans = snapshot.bans
    state.filters = snapshot.filters
    state.storage = snapshot.storage
    try:
        reindex(state)
    except LookupError as error:
        raise SnapshotError(f"a snapshot that contradicts itself: {error!r}") from None
    for kept, name in ((state.users, "uid"), (state.channels, "key"), (state.accounts, "key")):
        if any(getattr(each, name) != key for key, each in kept.items()):
            raise SnapshotError("a snapshot that contradicts itself: something is kept under another's key")
    return state


def _upcast(document: bytes, version: int) -> Snapshot:
    fields: Document = msgspec.msgpack.decode(document)
    while version != SNAPSHOT_VERSION:
        step = UPCASTERS.get(version)
        if step is None:
            raise SnapshotError(f"snapshot version {version}, this slircd reads {SNAPSHOT_VERSION}")
        fields, version = step(fields), version + 1
    return msgspec.convert(fields, Snapshot)


def reindex(state: ServerState) -> None:
    """Make the indexes of `state` anew from its users, channels and accounts."""
    fold = state.casemap.fold
    state.nicks = {fold(user.nick): uid for uid, user in state.users.items()}
    state.nick_owners = {nick: key for key, account in state.accounts.items() for nick in account.nicks}
    state.account_users = {}
    for user in state.users.values():
        if user.account is not None:
            state.account_users.setdefault(state.fold(user.account), {})[user.uid] = None
    memberships: dict[str, dict[str, None]] = {uid: {} for uid in state.users}
    state.memberships = memberships
    state.invited = {}
    for key, channel in state.channels.items():
        for uid in channel.members:
            memberships[uid][key] = None
        for uid in channel.invites:
            state.invited.setdefault(uid, {})[key] = None


# --- the digest ---------------------------------------------------------------------------------------------------

Key = str | tuple[str, str]
"""What names one thing within its kind: its key in the state, or two of them for something between two."""

MODULUS: Final = 1 << 128

DIGEST_VERSION: Final = 1
"""How digests are made; only those of one version can be compared."""


class Part(NamedTuple):
    """One kind of state: how to find all of it, and one of it (None if there is none of that key)."""

    name: str
    pairs: bool
    """Whether its keys are pairs."""
    items: Callable[[ServerState], Iterable[tuple[Key, Any]]]
    get: Callable[[ServerState, Any], Any]


def table(attribute: str) -> Part:
    """A dict of the state by text keys; each of its values is one thing, so none should become very large."""
    return Part(
        attribute,
        pairs=False,
        items=lambda state: getattr(state, attribute).items(),
        get=lambda state, key: getattr(state, attribute).get(key),
    )


def _channels(state: ServerState) -> Iterable[tuple[str, Channel]]:
    return ((key, _without_members(channel)) for key, channel in state.channels.items())


def _without_members(channel: Channel) -> Channel:
    return msgspec.structs.replace(channel, members={})


def _channel(state: ServerState, key: str) -> Channel | None:
    channel = state.channels.get(key)
    return None if channel is None else _without_members(channel)


def _members(state: ServerState) -> Iterable[tuple[Key, str]]:
    for key, channel in state.channels.items():
        for uid, prefixes in channel.members.items():
            yield (key, uid), prefixes


def _member(state: ServerState, key: tuple[str, str]) -> str | None:
    channel = state.channels.get(key[0])
    return None if channel is None else channel.members.get(key[1])


def _bans(state: ServerState) -> Iterable[tuple[Key, NetworkBan]]:
    for kind, bans in state.bans.items():
        for mask, ban in bans.items():
            yield (kind, mask), ban


def _ban(state: ServerState, key: tuple[str, str]) -> NetworkBan | None:
    return state.bans.get(key[0], {}).get(key[1])


def _stored(state: ServerState) -> Iterable[tuple[Key, str]]:
    for plugin, kept in state.storage.items():
        for key, value in kept.items():
            yield (plugin, key), value


def _stored_value(state: ServerState, key: tuple[str, str]) -> str | None:
    return state.storage.get(key[0], {}).get(key[1])


PARTS: Final = (
    table("users"),
    Part("channels", False, _channels, _channel),
    Part("members", True, _members, _member),
    table("accounts"),
    Part("bans", True, _bans, _ban),
    table("filters"),
    Part("storage", True, _stored, _stored_value),
)
"""Everything that the digest covers, apart from the few fields that `combine` adds."""

_canonical: Final = msgspec.json.Encoder(order="deterministic").encode
_from_bytes: Final = int.from_bytes
_blake2b: Final = hashlib.blake2b


def hash_of(name: str, key: Key, value: object) -> int:
    """The hash of one thing; equal things have equal hashes, whatever the order of their sets and dicts."""
    return _from_bytes(_blake2b(_canonical((name, key, value)), digest_size=16).digest(), "big")


def combine(state: ServerState, total: int) -> str:
    """The digest of a state whose things have hashes that sum up to `total`: 32 characters, lower-case hex.

    Where in the log it was reached is no part of it: what retention takes out of the log changes no digest.
    """
    rest = (
        state.casemap.name,
        state.channel_modes,
        state.uid_counters,
        str(total % MODULUS),
    )
    return _blake2b(_canonical(rest), digest_size=16).hexdigest()


def digest(state: ServerState) -> str:
    """The digest of a state, from scratch."""
    return combine(state, sum(hash_of(part.name, key, value) for part in PARTS for key, value in part.items(state)))
