"""Writes a log that a network could have written: `python -m tests.bench.generate PATH [--events N] [--seed N]`.

Decisions come from tests.bench.traffic and go through the bus like any other; only the store is another one, which
writes large transactions without waiting for the disk.  PATH may be the URL of an empty PostgreSQL database.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from random import Random
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from twisted.python.failure import Failure

from slircd.events.bus import EventBus
from slircd.events.database import parse_url
from slircd.events.memory import MemoryStore
from slircd.events.migrate import ensure_schema
from slircd.events.row import Row
from slircd.events.schema import EVENTS
from slircd.events.store import insert_rows
from slircd.events.types import Event
from slircd.state.model import ServerState
from slircd.state.snapshot import digest
from tests.bench.traffic import Traffic

BEGIN_S = 1_750_000_000.0
"""The simulated moment of the first event: June 2025."""
BATCH = 20_000
RESTART_EVERY = 400_000
"""Events between two starts of the server."""


class BulkStore(MemoryStore):
    """An EventStore that only writes, as fast as the database takes it; indexes come at the end."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._collected: list[Row] = []
        ensure_schema(connection, upgrade=True)
        for index in EVENTS.indexes:
            index.drop(connection)

    def append(self, rows: Sequence[Row], *_: Any, **__: Any) -> None:
        self._collected.extend(rows)
        if len(self._collected) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what is collected."""
        rows, self._collected = self._collected, []
        if rows:
            insert_rows(self._connection, rows)
            self.on_commit(rows[-1].id, len(rows), 0.0)

    def finish(self) -> None:
        """Make the indexes, and let the planner know the table."""
        self.flush()
        for index in EVENTS.indexes:
            index.create(self._connection)
        self._connection.commit()
        self._connection.execute(text("ANALYZE"))
        self._connection.commit()


class OpenGate:
    """Nobody looks."""

    def applied(self, sequence: int) -> None: ...

    def committed(self, sequence: int) -> None: ...


class Simulated:
    """A clock that a decision moves on."""

    def __init__(self) -> None:
        self.now = BEGIN_S

    def seconds(self) -> float:
        return self.now


def generate(location: str, events: int, seed: int = 1, **population: int) -> ServerState:
    """Write about `events` events to an empty database; the state at its end."""
    url = parse_url(location if "://" in location else f"sqlite:///{location}")
    engine = create_engine(url)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _hurry)
    rng, state, clock = Random(seed), ServerState(), Simulated()
    with engine.connect() as connection:
        store: Any = BulkStore(connection)
        bus = EventBus(
            state, store, reactor=clock, session_id=f"{seed:032x}", gate=OpenGate(), renderer=lambda *_: None
        )

        def emit(events: Sequence[Event]) -> None:
            bus.emit(events).addErrback(Failure.raiseException)

        traffic = Traffic(state, rng, **population)
        emit(traffic.start())
        restart = RESTART_EVERY
        while bus.clock.value < events:
            clock.now += rng.expovariate(4.0)
            emit(traffic.decision())
            if bus.clock.value > restart:
                restart += RESTART_EVERY
                emit(traffic.stop())
                clock.now += 60
                bus.session_id = f"{rng.getrandbits(128):032x}"
                emit(traffic.start())
        store.finish()
        if url.get_backend_name() == "sqlite":
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    engine.dispose()
    return state


def _hurry(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", help="the database: a path that does not exist yet, or a URL")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--online", type=int, default=3_000)
    parser.add_argument("--channels", type=int, default=5_000)
    options = parser.parse_args()
    started = time.monotonic()
    state = generate(options.path, options.events, options.seed, online=options.online, channels=options.channels)
    seconds = time.monotonic() - started
    json.dump(
        {
            "events": state.sequence,
            "seconds": round(seconds, 1),
            "per_s": round(state.sequence / seconds),
            "users": len(state.users),
            "channels": len(state.channels),
            "digest": digest(state),
        },
        sys.stdout,
        indent=2,
    )


if __name__ == "__main__":
    main()
