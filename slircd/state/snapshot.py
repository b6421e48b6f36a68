"""The state as JSON and back, and its digest.

Two states are equal exactly if their digests are: this is how "live = replayed" is checked.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from slircd.state.model import Account, Channel, Filter, NetworkBan, ServerState, User
from slircd.wire.casemap import CASEMAPS

SNAPSHOT_VERSION: Final = 1


class Snapshot(msgspec.Struct, kw_only=True):
    """All of a state that is no index."""

    version: int = SNAPSHOT_VERSION
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


def to_snapshot(state: ServerState) -> Snapshot:
    """A view of `state`: it shares its users and channels, so encode it before the next event is applied."""
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
    )


def to_json(state: ServerState) -> bytes:
    """The state as JSON in which equal states have equal bytes."""
    return msgspec.json.encode(to_snapshot(state), order="deterministic")


def from_json(document: bytes) -> ServerState:
    """The state that `to_json` wrote, its indexes made anew.

    Raises msgspec.ValidationError for a document of another shape, ValueError for one of another version.
    """
    snapshot = msgspec.json.decode(document, type=Snapshot)
    if snapshot.version != SNAPSHOT_VERSION:
        raise ValueError(f"snapshot version {snapshot.version}, this slircd reads {SNAPSHOT_VERSION}")
    state = ServerState()
    state.sequence = snapshot.sequence
    state.timestamp = snapshot.timestamp
    state.casemap = CASEMAPS[snapshot.casemapping]
    state.channel_modes = snapshot.channel_modes
    state.uid_counters = snapshot.uid_counters
    state.users = snapshot.users
    state.channels = snapshot.channels
    state.accounts = snapshot.accounts
    state.bans = snapshot.bans
    state.filters = snapshot.filters
    reindex(state)
    return state


def reindex(state: ServerState) -> None:
    """Make the indexes of `state` anew from its users and channels."""
    state.nicks = {state.fold(user.nick): uid for uid, user in state.users.items()}
    state.nick_owners = {nick: key for key, account in state.accounts.items() for nick in account.nicks}
    state.memberships = {uid: {} for uid in state.users}
    state.invited = {}
    for key, channel in state.channels.items():
        for uid in channel.members:
            state.memberships[uid][key] = None
        for uid in channel.invites:
            state.invited.setdefault(uid, {})[key] = None


def digest(state: ServerState) -> str:
    """SHA-256 of the state, lower-case hex."""
    return hashlib.sha256(to_json(state)).hexdigest()
