"""Targets: what is read from a log, an export, a checkpoint, however damaged it is."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from io import BytesIO
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from slircd.events.codec import DecodeError, EncodeError, decode_event, encode_payload
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.schema import METADATA
from slircd.events.store import SQLStore
from slircd.events.types import EVENT_TYPES
from slircd.replay.diff import diff_states
from slircd.replay.document import to_document
from slircd.retention.transfer import ImportFailed, export_lines, import_lines
from slircd.state.feed import Damaged, feed
from slircd.state.model import ServerState
from slircd.state.snapshot import SnapshotError, decode_snapshot, digest, encode_snapshot
from tests.fuzz import odd
from tests.fuzz.choices import Choices
from tests.fuzz.registry import target
from tests.harness import World, make_config
from tests.test_audit import newcomer, random_line

TYPES = sorted(EVENT_TYPES)


@cache
def sample() -> tuple[Row, ...]:
    """A log in which most sorts of things happen."""
    rng = Random(7)
    world = World(config=make_config({"history": {"channels": True, "direct": True}}))
    for _ in range(260):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 4:
            newcomer(world, rng)
        else:
            rng.choice(clients).sends(random_line(rng))
    root = world.oper("staff")
    root.sends(
        "KLINE *@spam.example :x", "FILTER ADD block spam :x", "JOIN #a", "MODE #a +beI *!*@x ~m:y z", "CS REGISTER #a"
    )
    root.sends("METADATA * SET url :x", "VHOST a.host", "CHGHOST staff b.host", "AWAY :out", "REDACT #a 1-run-0")
    return tuple(world.store.rows)


def rows_by_type() -> dict[str, Row]:
    return {row.event_type: row for row in sample()}


def payload_seeds() -> list[bytes]:
    return [bytes([TYPES.index(name)]) + row.payload.encode() for name, row in sorted(rows_by_type().items())]


@target(max_bytes=1500, seeds=payload_seeds())
def fuzz_payload(data: bytes) -> None:
    """A payload is an event or a DecodeError; an event that can be written reads as itself."""
    name = TYPES[data[0] % len(TYPES)] if data else "nosuch"
    try:
        event = decode_event(name, "000AAAAAA", "#c", data[1:].decode("utf-8", "replace"))
    except DecodeError as error:
        assert name in str(error)
        return
    try:
        payload = encode_payload(event)
    except EncodeError as error:
        assert name in str(error)
        return
    assert "\0" not in payload
    assert decode_event(name, "000AAAAAA", "#c", payload) == event


def damaged(choices: Choices, rows: list[Row]) -> list[Row]:
    """A log with something wrong in it."""
    for _ in range(1 + choices.number(4)):
        index = choices.number(len(rows))
        row = rows[index]
        kind = choices.number(10)
        if kind < 5:
            try:
                fields = json.loads(row.payload)
            except ValueError:
                continue
            if not isinstance(fields, dict):
                continue
            key = choices.pick([*fields, "nosuch"])
            fields[key] = odd.value(choices)
            row = row._replace(payload=json.dumps(fields))
        elif kind == 5:
            row = row._replace(payload=choices.text(60))
        elif kind == 6:
            row = row._replace(target=choices.pick([None, odd.text(choices), rows[choices.number(len(rows))].target]))
        elif kind == 7:
            row = row._replace(event_type=choices.pick([*TYPES, "nosuch", ""]))
        elif kind == 8:
            row = row._replace(payload=choices.pick(rows).payload)
        if kind == 9:
            del rows[index]
        else:
            rows[index] = row
    return rows


@target(max_bytes=400, seeds=[bytes([n, 30, 1, n % 10, 2, 3, 4, 5]) for n in range(12)])
def fuzz_replay(data: bytes) -> None:
    """A damaged log is replayed, or Damaged names the event; a state that came out of it can be kept, shown, compared."""
    rows = damaged(Choices(data), list(sample()))
    state = ServerState()
    todo = iter(rows)
    for _ in range(len(rows)):
        before = state.sequence
        try:
            feed(state, todo)
            break
        except Damaged as error:
            assert error.event_id in {row.id for row in rows} and str(error.event_id) in str(error)
            assert state.sequence >= before
    check_state(state)


def check_state(state: ServerState) -> None:
    """A state can be kept, read again, shown and compared."""
    kept = encode_snapshot(state)
    again = decode_snapshot(kept)
    assert digest(again) == digest(state)
    document = to_document(state, "2025-01-01T00:00:00.000000Z", 1)
    msgspec.json.encode(document)
    nothing = to_document(ServerState(), "2025-01-01T00:00:00.000000Z", 0)
    diff_states(document, nothing)
    diff_states(nothing, document)


@cache
def snapshot_bytes() -> bytes:
    state = ServerState()
    feed(state, sample())
    return encode_snapshot(state)


@target(max_bytes=3000, seeds=[b"\x00", b"\x80\x03\x02\x01", b"\x01\x05\x02", b"\xff\x80", b"\x90\x81\xa1x\x01"])
def fuzz_snapshot(data: bytes) -> None:
    """A damaged checkpoint is a SnapshotError, or a state that can be kept, shown and compared."""
    choices = Choices(data)
    if choices.number(256) < 128:
        fields = msgspec.msgpack.decode(snapshot_bytes())
        for _ in range(1 + choices.number(3)):
            change(choices, fields)
        try:
            document = msgspec.msgpack.encode(fields)
        except OverflowError:
            return
    else:
        document = choices.rest()
    try:
        state = decode_snapshot(document)
    except SnapshotError:
        return
    check_state(state)


def change(choices: Choices, fields: Any) -> None:
    """Put something odd somewhere in a document."""
    while True:
        keys = list(fields) if isinstance(fields, dict) else list(range(len(fields)))
        if not keys:
            return
        key = choices.pick(keys)
        if isinstance(fields[key], dict | list) and fields[key] and choices.number(5):
            fields = fields[key]
            continue
        fields[key] = odd.value(choices)
        return


@cache
def export() -> tuple[bytes, ...]:
    with TemporaryDirectory() as folder:
        store = SQLStore(f"sqlite:///{folder}/log.db", call_in_reactor=lambda *_: None, seconds=float)
        store.open()
        store.append(sample()[:60])
        store.close()
        with LogReader(f"{folder}/log.db") as reader:
            return tuple(export_lines(reader, {}))


@target(
    max_bytes=600,
    seeds=[b"\x00", b"\x01\x05\x01\x02", b"\x02\x10\x03\x04\x05", b"\x03\x20\x04", b"\xc8{}\n", b"\xd0\x1f\x8b"],
)
def fuzz_import(data: bytes) -> None:
    """A file is imported, and is then the log that it says, or ImportFailed names the line."""
    choices = Choices(data)
    lines = list(export())
    how = choices.number(256)
    if how < 200:
        for _ in range(1 + choices.number(3)):
            index = choices.number(len(lines))
            kind = choices.number(6)
            if kind == 0:
                del lines[index]
            elif kind == 1:
                lines[index] = choices.take(80).replace(b"\n", b"")
            elif kind == 2:
                lines.insert(index, choices.pick(lines))
            elif kind == 3:
                at = choices.number(len(lines[index]) + 1)
                lines[index] = lines[index][:at] + choices.take(8).replace(b"\n", b"") + lines[index][at:]
            else:
                lines[index] = changed(choices, lines[index])
        if choices.number(4):
            lines = signed(lines)
        stream = b"\n".join(lines) + b"\n"
        if choices.chance(30):
            stream = stream[: choices.number(len(stream))]
    else:
        stream = choices.rest()
    engine = create_engine("sqlite://", poolclass=StaticPool)
    METADATA.create_all(engine)
    with engine.connect() as connection:
        try:
            done = import_lines(BytesIO(stream), connection)
        except ImportFailed as error:
            assert str(error)
        else:
            state = ServerState()
            rows = connection.exec_driver_sql("SELECT * FROM events ORDER BY id").fetchall()
            feed(state, [tuple(row) for row in rows])
            assert digest(state) == done.digest and len(rows) == done.events
        connection.rollback()
    engine.dispose()


def changed(choices: Choices, line: bytes) -> bytes:
    try:
        fields = json.loads(line)
        change(choices, fields)
        return json.dumps(fields).encode("utf-8", "surrogatepass")
    except (ValueError, TypeError):
        return line


def signed(lines: list[bytes]) -> list[bytes]:
    """With a trailer that fits, so that what is behind the checksum is looked at, too."""
    body = [line for line in lines[1:] if not line.startswith(b'{"end":')]
    checksum = hashlib.sha256(b"".join(line + b"\n" for line in body)).hexdigest()
    trailer = {"end": True, "events": len(body), "sha256": checksum, "last_id": 0}
    return [*lines[:1], *body, json.dumps(trailer, separators=(",", ":")).encode()]
