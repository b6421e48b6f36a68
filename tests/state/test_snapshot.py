"""Snapshots: the state as JSON and back, and digests."""

import pytest

from slircd.state.snapshot import digest, from_json, to_json
from tests.harness import World


def test_round_trip_with_indexes() -> None:
    """A state read from its snapshot is equal, and its indexes serve."""
    world = World()
    world.client("ann").sends("JOIN #a,#b", "MODE #a +ikl key 5", "MODE #a +beI x y z", "TOPIC #a :t")
    world.client("bob").sends("AWAY :gone", "JOIN #b")
    world.clients[0].sends("INVITE bob #a")
    copy = from_json(to_json(world.state))
    assert digest(copy) == digest(world.state)
    assert copy.nicks == world.state.nicks
    assert copy.memberships == world.state.memberships
    assert copy.invited == world.state.invited


def test_other_versions_are_refused() -> None:
    """A snapshot of another version is not guessed at."""
    document = to_json(World().state).replace(b'"version":1', b'"version":2', 1)
    with pytest.raises(ValueError, match="version 2"):
        from_json(document)
