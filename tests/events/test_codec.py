"""Events to payloads and back, for every class."""

from __future__ import annotations

import inspect
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slircd.events.clock import LamportClock, WallClock, format_timestamp, parse_timestamp
from slircd.events.codec import DecodeError, EncodeError, decode_event, encode_payload
from slircd.events.types import EVENT_TYPES, Event, MessagePart, ModeDelta, UserAway

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
VALUES = {
    "str": text,
    "str | None": st.none() | text,
    "int": st.integers(0, 2**40),
    "bool": st.booleans(),
    "dict[str, str]": st.dictionaries(text, text, max_size=3),
    "list[str]": st.lists(text, max_size=3),
    "list[MessagePart]": st.lists(st.builds(MessagePart, text, st.booleans()), max_size=3),
    "list[ModeDelta]": st.lists(
        st.builds(ModeDelta, st.sampled_from("+-"), st.sampled_from("ov"), st.none() | text, st.none() | text),
        max_size=3,
    ),
}


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Any event of any class."""
    cls = draw(st.sampled_from(list(EVENT_TYPES.values())))
    annotations: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        annotations.update(inspect.get_annotations(base))
    return cls(**{name: draw(VALUES[annotations[name]]) for name in cls.__struct_fields__})


@given(events())
def test_round_trip(event: Event) -> None:
    """What is encoded decodes to the same event; the payload has its version and not the columns."""
    payload = encode_payload(event)
    assert decode_event(event.event_type, event.actor_uid, event.target, payload) == event
    fields = json.loads(payload)
    assert fields["v"] == 1
    assert not {"actor_uid", "target"} & set(fields)


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        ("no.such", '{"v":1}'),
        ("user.away", '{"v":99,"nick":"a","message":""}'),
        ("user.away", '{"v":1}'),
        ("user.away", "x"),
    ],
)
def test_what_is_no_event(event_type: str, payload: str) -> None:
    """A row that this version cannot read is an error that says so."""
    with pytest.raises(DecodeError, match=event_type):
        decode_event(event_type, None, None, payload)


@pytest.mark.parametrize("target", ["a\0b", "\ud800", "x" * 1_001, "é" * 501])
def test_columns_that_no_database_takes(target: str) -> None:
    """NUL, lone surrogates, and more than an index entry of PostgreSQL holds are refused in actor and target, too."""
    event = UserAway(actor_uid="001000001", target=target, nick="a", message="")
    with pytest.raises(EncodeError, match="actor or target"):
        encode_payload(event)


@pytest.mark.parametrize("target", ["x" * 1_000, "é" * 500, "a\tb"])
def test_columns_that_a_database_takes(target: str) -> None:
    """What is unusual but short enough is stored."""
    encode_payload(UserAway(actor_uid="001000001", target=target, nick="a", message=""))


def test_no_event_has_a_place_for_secrets() -> None:
    """No field of any class is named for a password, hash, or token."""
    for cls in EVENT_TYPES.values():
        assert not {
            field for field in cls.__struct_fields__ if any(w in field for w in ("pass", "hash", "secret", "token"))
        }


def test_events_of_users_carry_the_nick() -> None:
    """Every event that a user can cause has its nick."""
    without = {"channel.destroy", "plugin.fault", "plugin.store", "server.start", "server.stop"}
    for name, cls in EVENT_TYPES.items():
        assert ("nick" in cls.__struct_fields__) != (name in without), name


def test_lamport_clock() -> None:
    """+1 for an own event, max + 1 for what is seen."""
    clock = LamportClock(5)
    assert (clock.tick(), clock.merge(10), clock.merge(3), clock.tick()) == (6, 11, 12, 13)


@given(st.floats(0, 4_000_000_000))
def test_timestamps(seconds: float) -> None:
    """Fixed width, text order is time order, and back within a microsecond."""
    stamp = format_timestamp(seconds)
    assert len(stamp) == 27
    assert abs(parse_timestamp(stamp) - seconds) <= 1e-5
    assert WallClock(lambda: seconds).stamp()[:19] == stamp[:19] or seconds % 1 > 0.999_999


def test_msgspec_is_what_the_database_holds() -> None:
    """The tag field is the version, so that old payloads can be told apart."""
    assert all(msgspec.inspect.type_info(cls).tag_field == "v" for cls in EVENT_TYPES.values())
