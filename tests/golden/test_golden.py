"""Every golden log replays, for ever, to the state that its own version had at its end."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from slircd.events.codec import decode_event, encode_payload
from slircd.events.row import Row
from slircd.events.types import EVENT_TYPES
from slircd.events.upcast import _UPCASTERS, Payload, upcasts
from slircd.replay.document import to_document
from slircd.state.feed import feed
from slircd.state.model import ServerState
from slircd.state.snapshot import decode_snapshot, digest
from tests.golden.write import FOLDER, write

VERSIONS = sorted(path.parent for path in FOLDER.glob("*/about.json"))


def rows_of(folder: Path) -> list[Row]:
    lines = gzip.decompress((folder / "log.ndjson.gz").read_bytes()).splitlines()
    return [Row(*msgspec.json.decode(line)) for line in lines]


def replayed(rows: list[Row]) -> ServerState:
    state = ServerState()
    feed(state, rows)
    return state


def recorded(folder: Path) -> ServerState:
    """The state that the version had."""
    about = json.loads((folder / "about.json").read_text())
    return decode_snapshot(gzip.decompress((folder / "state.msgpack.gz").read_bytes()), about["snapshot_version"])


def assert_has(found: Any, wanted: Any, path: str = "") -> None:
    """All that is wanted is found; what newer versions say beside it does not matter."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in found, f"{path}.{key} is gone"
            assert_has(found[key], value, f"{path}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), path
        for index, value in enumerate(wanted):
            assert_has(found[index], value, f"{path}[{index}]")
    else:
        assert found == wanted, path


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_replays_to_the_recorded_state(folder: Path) -> None:
    """The state is the one of its checkpoint, and the document says all that it said."""
    rows = rows_of(folder)
    state = replayed(rows)
    assert digest(state) == digest(recorded(folder))
    document = msgspec.to_builtins(to_document(state, rows[-1].timestamp, rows[-1].id, show_keys=True))
    assert_has(document, json.loads((folder / "document.json").read_text()) | {"version": document["version"]})


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_has_every_type_of_its_catalogue(folder: Path) -> None:
    """No type of a released version is forgotten, in its log or by a later version."""
    about = json.loads((folder / "about.json").read_text())
    assert about["slircd"] == folder.name
    assert {row.event_type for row in rows_of(folder)} == set(about["types"])
    assert set(about["types"]) <= set(EVENT_TYPES)


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_every_event_is_decoded_and_encoded_again(folder: Path) -> None:
    """State-free events, too, which a replay passes over."""
    for row in rows_of(folder):
        event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
        payload = encode_payload(event)
        assert decode_event(row.event_type, row.actor_uid, row.target, payload) == event


@pytest.fixture
def away_had_another_shape() -> Iterator[None]:
    """As if `user.away` had had a version 0, with a list of words, and a version -1, with `text`."""

    @upcasts("user.away", from_version=-1)
    def away_0(payload: Payload) -> Payload:
        """Version 0 keeps the words apart."""
        return {"nick": payload["nick"], "words": payload["text"].split(" ")}

    @upcasts("user.away", from_version=0)
    def away_1(payload: Payload) -> Payload:
        """Version 1 has one message."""
        return {"nick": payload["nick"], "message": " ".join(payload["words"])}

    yield
    del _UPCASTERS["user.away", -1], _UPCASTERS["user.away", 0]


@pytest.mark.usefixtures("away_had_another_shape")
@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_older_payloads_in_the_same_log(folder: Path) -> None:
    """Payloads that several upcasters have to bring up to date, one after the other, mean what they meant."""
    rows = rows_of(folder)
    for index, row in enumerate(rows):
        if row.event_type == "user.away":
            fields = json.loads(row.payload)
            old = {"v": -1, "nick": fields["nick"], "text": fields["message"]}
            rows[index] = row._replace(payload=json.dumps(old))
    assert any('"v": -1' in row.payload for row in rows)
    assert digest(replayed(rows)) == digest(recorded(folder))


def test_a_golden_log_can_be_written(tmp_path: Path) -> None:
    """The script works for the catalogue of today, twice the same."""
    for name in ("one", "two"):
        write(tmp_path / name)
    for file in ("log.ndjson.gz", "state.msgpack.gz", "document.json", "about.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert digest(replayed(rows_of(tmp_path / "one"))) == digest(recorded(tmp_path / "one"))
