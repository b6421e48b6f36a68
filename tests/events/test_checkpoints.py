"""Checkpoints: written, found, checked; on both databases."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import Connection, create_engine, delete, insert, select, update

from slircd.events import checkpoints
from slircd.events.checkpoints import (
    BASE,
    ZSTANDARD,
    BeforeHorizon,
    Checkpoint,
    DamagedBase,
    find,
    newest,
    pack,
    write,
)
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.schema import CHECKPOINTS, EVENTS
from slircd.events.store import SQLStore
from slircd.replay.reconstructor import BeforeTheLog, Replayed, StateReconstructor, replay
from slircd.state.model import ServerState
from slircd.state.snapshot import digest
from tests.harness import World
from tests.postgres import Postgres
from tests.test_audit import newcomer, random_line


def some_log(seed: int = 5) -> list[Row]:
    """The rows of a random run."""
    rng = Random(seed)
    world = World()
    for _ in range(900):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 4:
            newcomer(world, rng)
        else:
            rng.choice(clients).sends(random_line(rng))
        if rng.random() < 0.2:
            world.clock.advance(1)
    return world.store.rows


ROWS = some_log()


def state_after(event_id: int, rows: list[Row] = ROWS) -> ServerState:
    """What the rows make, from nothing."""
    into = Replayed()
    replay([row for row in rows if row.id <= event_id], into)
    return into.state


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the log."""
    if request.param == "sqlite":
        found = f"sqlite:///{tmp_path / 'log.db'}"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        found = postgres.new_database()
    store = SQLStore(found, call_in_reactor=lambda *_: None, seconds=float)
    store.open()
    store.append(ROWS)
    store.close()
    return found


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def save(connection: Connection, *event_ids: int, kind: str = "checkpoint") -> None:
    for event_id in event_ids:
        write(connection, pack(state_after(event_id), event_id, kind=kind))


LAST = ROWS[-1].id
MIDDLE = LAST // 2


def test_written_and_found(connection: Connection) -> None:
    """A checkpoint comes back equal, and the newest one that leads to a moment is taken."""
    assert newest(connection).position.id == 0
    save(connection, 20, MIDDLE, LAST)
    assert [each.event_id for each in find(connection)] == [LAST, MIDDLE, 20]
    [first] = find(connection, until_id=MIDDLE - 1)
    assert (first.event_id, first.kind, first.timestamp) == (20, "checkpoint", ROWS[19].timestamp)
    assert first.size > 100
    start = newest(connection, until=ROWS[MIDDLE].timestamp)
    assert start.position == (MIDDLE, ROWS[MIDDLE - 1].sequence, ROWS[MIDDLE - 1].timestamp)
    assert digest(start.state) == start.digest == digest(state_after(MIDDLE))
    assert newest(connection, until_id=19).position.id == 0
    save(connection, 20)
    assert len(list(find(connection))) == 3


@pytest.mark.parametrize("how", ["bytes", "cut", "frame", "version", "foreign", "beyond", "other"])
def test_bad_ones_are_ignored(connection: Connection, how: str) -> None:
    """One that is damaged, of another version or of another history is passed over, and said to be."""
    save(connection, 20, MIDDLE)
    values: dict[str, object] = {
        "bytes": {"state": zlib.compress(b"nonsense")},
        "cut": {"state": b""},
        "frame": {"state": ZSTANDARD + b"nonsense", "checksum": sha256(ZSTANDARD + b"nonsense").hexdigest()},
        "version": {"version": 99},
        "foreign": {"timestamp": "2020-01-01T00:00:00.000000Z"},
        "beyond": {"event_id": LAST + 10, "sequence": LAST + 10},
        "other": {"state": pack(state_after(20), 20).state, "checksum": pack(state_after(20), 20).checksum},
    }[how]  # type: ignore[assignment]
    connection.execute(update(CHECKPOINTS).where(CHECKPOINTS.c.event_id == MIDDLE).values(values))
    ignored: list[str] = []
    start = newest(connection, ignored=ignored)
    assert start.position.id == 20
    assert digest(start.state) == digest(state_after(20))
    assert len(ignored) == 1
    assert "is ignored" in ignored[0]


def test_packed_by_older_versions(connection: Connection) -> None:
    """Checkpoints that are packed as they once were are used; the base still is, so that an older slircd can begin."""
    save(connection, MIDDLE)
    zstd = connection.execute(select(CHECKPOINTS.c.state)).scalar_one()
    assert bytes(zstd).startswith(ZSTANDARD)
    old = zlib.compress(checkpoints.unpack(zstd), 1)
    connection.execute(update(CHECKPOINTS).values(state=old, checksum=sha256(old).hexdigest()))
    start = newest(connection)
    assert (start.position.id, digest(start.state)) == (MIDDLE, digest(state_after(MIDDLE)))
    assert zlib.decompress(pack(state_after(20), 20, kind=BASE).state)


def test_pruned_event_of_a_checkpoint(connection: Connection) -> None:
    """Retention may remove the event that a checkpoint was made at; it still belongs to the log."""
    save(connection, MIDDLE)
    connection.execute(delete(EVENTS).where(EVENTS.c.id == MIDDLE))
    assert newest(connection).position.id == MIDDLE


def test_base(connection: Connection) -> None:
    """The base replaces what was before it; behind the horizon there is nothing, and that is said."""
    save(connection, 10, MIDDLE)
    save(connection, 20, kind=BASE)
    save(connection, 40, kind=BASE)
    connection.execute(delete(EVENTS).where(EVENTS.c.id <= 40))
    connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.event_id < 40))
    base = checkpoints.find_base(connection)
    assert base is not None
    assert base.event_id == 40
    assert newest(connection).position.id == MIDDLE
    assert newest(connection, only_base=True).position.id == 40
    with pytest.raises(BeforeHorizon, match=base.timestamp):
        newest(connection, until_id=39)
    into = Replayed(newest(connection, only_base=True).state)
    replay([row for row in ROWS if row.id > 40], into)
    assert digest(into.state) == digest(state_after(LAST))


def test_damaged_base(connection: Connection) -> None:
    """A base that cannot be read is no reason to begin with nothing."""
    save(connection, 40, kind=BASE)
    connection.execute(update(CHECKPOINTS).values(state=b"x"))
    with pytest.raises(DamagedBase, match="restore the database"):
        newest(connection)


def test_base_of_an_old_version(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base of an old version is upcast; an ordinary checkpoint is only made again."""
    save(connection, 40, kind=BASE)
    save(connection, MIDDLE)
    connection.execute(update(CHECKPOINTS).values(version=0))
    monkeypatch.setitem(checkpoints.decode_snapshot.__globals__["UPCASTERS"], 0, lambda fields: fields)
    assert newest(connection).position.id == 40


def test_any_moment_from_any_checkpoint(url: str) -> None:
    """With or without checkpoints, each moment has the same document."""
    moments = sorted({row.timestamp for row in ROWS})[::7]
    with LogReader(url) as reader:
        before = [StateReconstructor(reader).reconstruct_at(moment) for moment in moments]
    engine = create_engine(url)
    with engine.begin() as connection:
        save(connection, 1, 17, MIDDLE, MIDDLE + 1, LAST)
    engine.dispose()
    with LogReader(url) as reader:
        assert [each.event_id for each in reader.checkpoints()] == [1, 17, MIDDLE, MIDDLE + 1, LAST]
        after = [StateReconstructor(reader).reconstruct_at(moment) for moment in moments]
        with pytest.raises(BeforeTheLog):
            StateReconstructor(reader).state_at("2000-01-01T00:00:00.000000Z")
    assert before == after


def test_server_starts_from_a_checkpoint() -> None:
    """The server replays only what came after it, and is what it was."""
    world = World()
    for nick in ("zoe", "ann"):
        world.client(nick).sends("JOIN #a", f"NS REGISTER password-{nick}", "CS REGISTER #a")
    head = world.store.head()
    world.store.save(world.state, head)
    world.clients[0].sends("TOPIC #a :later")
    # Nothing before the checkpoint is read: with the beginning gone, everything is still there.
    del world.store.rows[: head.id]
    after = world.restart()
    assert set(after.state.accounts) == {"zoe", "ann"}
    assert after.state.channels["#a"].topic.text == "later"  # type: ignore[union-attr]


def test_server_starts_on_a_base_alone() -> None:
    """Where retention has left no event, ids and sequence go on behind the base."""
    world = World()
    world.client("ann").sends("NS REGISTER password")
    world.server.stopService()
    world.clock.advance(3)
    head = world.store.head()
    world.store.save(world.state, head)
    world.store.rows.clear()
    after = World(store=world.store.surviving(), clock=world.clock, seed=1)
    assert after.store.rows[0].id == head.id + 1
    assert after.store.rows[0].sequence == head.sequence + 1
    assert set(after.state.accounts) == {"ann"}


def test_which_are_superfluous() -> None:
    """The newest stay, of older ones one in each stretch, and the base; those that stayed go on staying."""
    left = [Checkpoint(5, 5, "", BASE, 1, "", 1)]
    for number in range(10, 310, 10):
        left.append(Checkpoint(number, number, "", "checkpoint", 1, "", 1))
        going = checkpoints.superfluous(left, 5, 40)
        left = [each for each in left if each.event_id not in going]
    assert [each.event_id for each in left] == [5, 10, 40, 80, 120, 160, 200, 240, 260, 270, 280, 290, 300]
    assert checkpoints.superfluous(left[:3], 5, 40) == []


def test_restart_from_disk(url: str) -> None:
    """SQLStore.start hands the newest good one to the bus."""
    engine = create_engine(url)
    with engine.begin() as connection:
        save(connection, MIDDLE)
        rows = connection.execute(select(CHECKPOINTS)).all()
        connection.execute(insert(CHECKPOINTS), [{**rows[0]._asdict(), "event_id": LAST, "sequence": LAST}])
    engine.dispose()
    store = SQLStore(url, call_in_reactor=lambda *_: None, seconds=float)
    store.open()
    try:
        assert store.start().position.id == MIDDLE
    finally:
        store.close()
