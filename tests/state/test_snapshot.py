"""Snapshots: the state as bytes and back, and digests."""

import zlib
from pathlib import Path
from random import Random

import msgspec
import pytest

from slircd.events.codec import decode_event
from slircd.state import snapshot
from slircd.state.apply import ApplyError, Stamp, apply
from slircd.state.livedigest import TOUCHES
from slircd.state.model import ServerState
from slircd.state.snapshot import SNAPSHOT_VERSION, SnapshotError, decode_snapshot, digest, encode_snapshot
from tests.harness import World
from tests.test_audit import newcomer, random_line


def test_round_trip_with_indexes() -> None:
    """A state read from its snapshot is equal, and its indexes serve."""
    world = World()
    world.client("ann").sends("JOIN #a,#b", "MODE #a +ikl key 5", "MODE #a +beI x y z", "TOPIC #a :t")
    world.client("bob").sends("AWAY :gone", "JOIN #b")
    world.clients[0].sends("INVITE bob #a")
    copy = decode_snapshot(encode_snapshot(world.state))
    assert digest(copy) == digest(world.state)
    assert copy.nicks == world.state.nicks
    assert copy.memberships == world.state.memberships
    assert copy.invited == world.state.invited


def test_order_is_kept() -> None:
    """Members come back in the order in which they joined, so that NAMES is what it was."""
    world = World()
    for nick in ("zoe", "ann", "bob"):
        world.client(nick).sends("JOIN #a")
    copy = decode_snapshot(encode_snapshot(world.state))
    assert list(copy.channels["#a"].members) == list(world.state.channels["#a"].members)


def test_other_versions_are_refused() -> None:
    """A snapshot of a version that no upcaster leads from, and bytes that are none, are not guessed at."""
    document = encode_snapshot(World().state)
    with pytest.raises(SnapshotError, match="version 99"):
        decode_snapshot(document, 99)
    with pytest.raises(SnapshotError):
        decode_snapshot(document[:-5])
    fields = msgspec.msgpack.decode(document)
    fields["channels"]["#a"] = {"key": "#a", "name": "#a", "created_at": "", "flags": [], "members": {"nobody": ""}}
    with pytest.raises(SnapshotError, match="contradicts"):
        decode_snapshot(msgspec.msgpack.encode(fields))
    fields["channels"] = {"#b": {"key": "#a", "name": "#a", "created_at": "", "flags": []}}
    with pytest.raises(SnapshotError, match="contradicts"):
        decode_snapshot(msgspec.msgpack.encode(fields))
    with pytest.raises(SnapshotError):
        decode_snapshot(document.replace(b"ascii", b"asc\xff\xff"))


def test_old_versions_are_upcast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each upcaster is one step; the last one leads to today's shape."""
    fields = msgspec.msgpack.decode(encode_snapshot(World().state))
    fields["when"] = fields.pop("timestamp")
    monkeypatch.setitem(snapshot.UPCASTERS, 0, lambda old: {**old, "timestamp": old["when"]})
    monkeypatch.setattr(snapshot, "SNAPSHOT_VERSION", 1)
    old = decode_snapshot(msgspec.msgpack.encode(fields), 0)
    assert digest(old) == digest(World().state)
    assert SNAPSHOT_VERSION not in snapshot.UPCASTERS


def test_digest_depends_on_everything() -> None:
    """Each kind of state, and each field of a thing, is in the digest."""
    world = World()
    ann = world.client("ann")
    seen = {digest(world.state)}
    for line in ("JOIN #a", "TOPIC #a :t", "MODE #a +k x", "MODE #a +b x", "MODE ann -i", "AWAY :x", "SETNAME :y"):
        ann.sends(line)
        seen.add(digest(world.state))
    assert len(seen) == 8


@pytest.mark.parametrize("seed", range(3))
def test_live_digest(seed: int) -> None:
    """Whatever happens, and wherever slices of the work fall, the kept digest is the one from scratch."""
    rng = Random(seed)
    world = World()
    live = world.live_digest
    for _ in range(300):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 5:
            newcomer(world, rng)
        else:
            rng.choice(clients).sends(random_line(rng))
        if rng.random() < 0.1:
            world.clock.advance(rng.choice([1, 30, 61]))
        if rng.random() < 0.5:
            live.work(rng.randint(0, 4))
        if rng.random() < 0.1:
            assert live.is_right()
            assert live.waiting == 0
    assert live.is_right()


def test_every_event_says_what_it_touches() -> None:
    """The table has all of the catalogue."""
    from slircd.events.types import EVENT_TYPES

    assert set(TOUCHES) == set(EVENT_TYPES.values())


def test_golden_snapshot() -> None:
    """A base that this version wrote is read for ever: it is part of somebody's log."""
    packed = (Path(__file__).parent / "golden" / "snapshot-1.zlib").read_bytes()
    state = decode_snapshot(zlib.decompress(packed), 1)
    assert digest(state) == "2412fd848ea1011453211632e48dcb22"
    assert set(state.accounts) == {"ann", "bob", "mallory"}
    assert state.channels["#ops"].registration is not None
    assert state.channels["#z"].params == {"k": "key", "l": "5"}
    assert state.bans["kline"]
    assert state.filters


def test_numbers_of_users_have_an_end() -> None:
    """A number that no UID has is no event of this log, and leaves the state as it was."""
    world = World()
    world.client("ann")
    row = next(row for row in world.store.rows if row.event_type == "user.connect" and '"ann"' in row.payload)
    for number in (-1, 36**6, 10**30):
        state = ServerState()
        event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
        with pytest.raises(ApplyError, match="number"):
            apply(state, msgspec.structs.replace(event, number=number), Stamp(1, 1, row.timestamp, "x"))
        assert digest(state) == digest(ServerState())
