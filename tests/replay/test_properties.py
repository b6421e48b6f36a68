"""However a log is replayed, one state comes out: twice, in slices, from any checkpoint, from either database."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from slircd.events.checkpoints import pack
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.store import SQLStore
from slircd.replay.document import SECTIONS, channel_document, encode_document, to_document, user_document
from slircd.replay.reconstructor import Replayed, StateReconstructor, replay
from slircd.replay.verify import verify
from slircd.replay.worker import Outcome, Replay, run
from slircd.state.model import ServerState
from slircd.state.snapshot import decode_snapshot, digest, encode_snapshot
from tests.harness import World
from tests.postgres import Postgres
from tests.replay.test_replay import save
from tests.test_audit import newcomer, random_line

SETTINGS = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
RANDOM = st.integers(0, 2**32).map(Random)
COMMANDS = st.integers(1, 150)


def random_world(rng: Random, commands: int) -> World:
    """What some people do in some minutes, a restart and a crash among it."""
    world = World()
    for _ in range(commands):
        clients = [client for client in world.clients if not client.is_closed]
        if len(clients) < 4:
            newcomer(world, rng)
        else:
            rng.choice(clients).sends(random_line(rng))
        if rng.random() < 0.1:
            world.clock.advance(rng.choice([1, 30]))
        if rng.random() < 0.02:
            world = world.restart(crash=rng.random() < 0.5)
    return world


def orders(state: ServerState) -> list[list[str]]:
    """What has an order that people see: members in order of joining, lists in order of setting."""
    return [
        [*channel.members, *(mask for entries in channel.lists.values() for mask in entries)]
        for channel in state.channels.values()
    ]


def replayed(rows: list[Row], state: ServerState | None = None) -> ServerState:
    into = Replayed(state)
    replay(rows, into)
    return into.state


def in_order(state: ServerState) -> list[object]:
    """Where order is part of what people see: members as they joined, entries of lists as they were set."""
    return [
        (key, list(channel.members.items()), [(mode, list(entries)) for mode, entries in channel.lists.items()])
        for key, channel in state.channels.items()
    ]


@given(rng=RANDOM, commands=COMMANDS)
@settings(SETTINGS, max_examples=60)
def test_in_memory(rng: Random, commands: int) -> None:
    """In one go, twice over, in slices, and from a snapshot at any event, whose digest is the one of that event."""
    world = random_world(rng, commands)
    rows = world.store.rows
    wanted = digest(world.state)
    assert digest(replayed(rows)) == wanted
    assert digest(replayed(rows, replayed(rows))) == wanted
    cut = rng.randrange(len(rows) + 1)
    sliced = replayed(rows[:cut])
    then = digest(sliced)
    snapshot = encode_snapshot(sliced)
    order = orders(sliced)
    assert digest(replayed(rows[cut // 2 :], sliced)) == wanted
    restored = decode_snapshot(snapshot)
    assert digest(restored) == then
    assert orders(restored) == order
    assert digest(replayed(rows[cut:], restored)) == wanted
    if cut:
        assert pack(decode_snapshot(snapshot), rows[cut - 1].id).digest == then


Fill = Callable[[World], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def fill(request: pytest.FixtureRequest) -> Iterator[Fill]:
    """Makes a database of each log, and says its URL."""
    if request.param == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "log.db")

            def fill_file(world: World) -> str:
                for each in Path(folder).iterdir():
                    each.unlink()
                save(world, path)
                return f"sqlite:///{path}"

            yield fill_file
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    url = postgres.new_database()
    engine = create_engine(url)

    def fill_server(world: World) -> str:
        store = SQLStore(url, call_in_reactor=lambda *_: None, seconds=float)
        store.open()
        with engine.begin() as connection:
            connection.execute(text("TRUNCATE events, checkpoints"))
        store.append(world.store.rows)
        store.close()
        return url

    yield fill_server
    engine.dispose()


@given(rng=RANDOM, commands=COMMANDS)
@SETTINGS
def test_in_a_database(fill: Fill, rng: Random, commands: int) -> None:
    """With checkpoints anywhere the log verifies, and any moment is what it is from the rows alone."""
    world = random_world(rng, commands)
    rows = world.store.rows
    url = fill(world)
    for event_id in sorted(rng.sample(range(1, rows[-1].id + 1), 3)):
        made = run(Replay(url=url, until_id=event_id, keep=9))
        assert isinstance(made, Outcome)
        assert made.digest == digest(replayed(rows[:event_id]))
    with LogReader(url) as reader:
        found = verify(reader, watch=unwatched)
        assert found.verified, found.reasons
        assert found.digest == digest(world.state)
        assert [each.verdict for each in found.checkpoints] == ["good"] * 3
        for row in rng.sample(rows, 3):
            from_rows = replayed([each for each in rows if each.timestamp <= row.timestamp])
            reconstructor = StateReconstructor(reader)
            document = reconstructor.reconstruct_at(row.timestamp)
            assert document == to_document(from_rows, row.timestamp, reconstructor.last_id)
            assert reconstructor.encoded_at(row.timestamp) == msgspec.json.encode(document)


@given(rng=RANDOM, commands=COMMANDS)
@SETTINGS
def test_parts_of_a_document(rng: Random, commands: int) -> None:
    """A part that is made alone is what the whole document has in its place, and nothing else is there."""
    state = random_world(rng, commands).state
    whole = to_document(state, "then", 7, show_keys=True)
    assert encode_document(state, "then", 7, show_keys=True) == msgspec.json.encode(whole)
    nothing = msgspec.structs.replace(whole, **{section: [] for section in SECTIONS})
    for section in SECTIONS:
        only = to_document(state, "then", 7, show_keys=True, sections=(section,))
        assert only == msgspec.structs.replace(nothing, **{section: getattr(whole, section)})
    for channel in whole.channels:
        only = channel_document(state, "then", 7, channel.name.upper(), show_keys=True)
        assert only == msgspec.structs.replace(nothing, channels=[channel])
    names = {name for user in whole.users for name in (user.nick, user.uid, user.account) if name}
    for name in names | {"nobody"}:
        key = state.fold(name)
        wanted = [
            user
            for user in whole.users
            if key in [state.fold(each or "") for each in (user.nick, user.uid, user.account)]
        ]
        assert user_document(state, "then", 7, name.upper()) == msgspec.structs.replace(nothing, users=wanted)
    assert channel_document(state, "then", 7, "#nowhere") == nothing


@contextmanager
def unwatched(about: str) -> Iterator[None]:
    """A watch that nobody looks at."""
    yield
