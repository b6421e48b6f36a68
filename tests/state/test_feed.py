"""The loop that replays rows: the same as decoding and applying one by one, only faster."""

from __future__ import annotations

from itertools import islice

import pytest

from slircd.events.codec import decode_event
from slircd.events.row import REPLAYED, Row
from slircd.events.upcast import _UPCASTERS, Payload, upcasts
from slircd.state.apply import Stamp, apply
from slircd.state.feed import Damaged, feed
from slircd.state.model import ServerState
from slircd.state.snapshot import digest
from tests.harness import World


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """A small log."""
    world = World()
    ann, bob = world.client("ann"), world.client("bob")
    ann.sends("JOIN #c", "MODE #c +b x!*@*", "TOPIC #c :t", "AWAY :here")
    bob.sends("JOIN #c", "NICK bobby", "PART #c")
    return world.store.rows


def at(rows: list[Row], event_type: str) -> int:
    return next(index for index, row in enumerate(rows) if row.event_type == event_type)


def test_is_what_apply_does(rows: list[Row]) -> None:
    """One digest, however the rows are cut."""
    one_by_one = ServerState()
    for row in rows:
        event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
        apply(one_by_one, event, Stamp(row.id, row.sequence, row.timestamp, row.session_id))
    whole, cut, narrow = ServerState(), ServerState(), ServerState()
    assert feed(whole, rows) == rows[-1].id
    rest = iter(rows)
    for size in (1, 3, 2, len(rows)):
        feed(cut, islice(rest, size))
    feed(cut, rows)
    feed(narrow, [tuple(getattr(row, name) for name in REPLAYED) for row in rows])
    assert digest(whole) == digest(cut) == digest(narrow) == digest(one_by_one)
    assert whole.sequence == rows[-1].sequence
    assert feed(whole, []) == 0
    assert feed(whole, rows) == rows[-1].id
    assert digest(whole) == digest(one_by_one)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"payload": "{"}, "channel.topic_change"),
        ({"payload": '{"v":1}'}, "missing"),
        ({"event_type": "no.such"}, "unknown event type"),
        ({"target": None}, "needs a target"),
        ({"target": "#nowhere"}, "#nowhere"),
    ],
)
def test_damage_is_named_and_the_rest_can_follow(rows: list[Row], change: dict[str, object], words: str) -> None:
    """The id is in the error, the state has what stands before, and the iterator goes on behind it."""
    index = at(rows, "channel.topic_change")
    damaged = [*rows[:index], rows[index]._replace(**change), *rows[index + 1 :]]
    state, rest = ServerState(), iter(damaged)
    with pytest.raises(Damaged, match=words) as caught:
        feed(state, rest)
    assert caught.value.event_id == rows[index].id
    assert state.sequence == rows[index - 1].sequence
    assert feed(state, rest) == rows[-1].id
    assert state.channels["#c"].topic is None
    assert state.channels["#c"].entries("b")


def test_old_payloads_are_upcast(rows: list[Row]) -> None:
    """A payload of an older version goes the long way, and then the same way."""
    index = at(rows, "user.away")
    old = rows[index]._replace(payload=rows[index].payload.replace('"v":1', '"v":0').replace("message", "text"))
    _UPCASTERS.pop(("user.away", 0), None)

    @upcasts("user.away", from_version=0)
    def away_v1(payload: Payload) -> Payload:
        return {"nick": payload["nick"], "message": payload["text"]}

    try:
        today, before = ServerState(), ServerState()
        feed(today, rows)
        feed(before, [*rows[:index], old, *rows[index + 1 :]])
        assert digest(before) == digest(today)
    finally:
        del _UPCASTERS["user.away", 0]


def test_what_changes_no_state_is_not_read() -> None:
    """The position moves on; the payload is nobody's business."""
    state = ServerState()
    row = Row(1, "2025-01-01T00:00:00.000000Z", 1, "oper.rehash", None, None, "whatever", "run")
    assert feed(state, [row]) == 1
    assert (state.sequence, state.timestamp) == (1, row.timestamp)
