"""How fast the log is: `python -m tests.bench.log [--events N] [--seconds S] [--url URL]`; prints JSON.

A real reactor emits decisions of tests.bench.traffic through the real bus, gate and store, strict and with fsync: as
many as the log takes, then 1,000 and 10 a second.  Of each run it says events a second, CPU for each event (bus, writer
thread and all between), how long commits took, and how long an applied event's output waited at the gate: what a client
feels of the log.  `ratio`s compare with SQLAlchemy Core alone, which inserts the same rows into the same kind of
database, 100 at a commit, in the same run; on a machine that does other things, too, only they mean something.

Making the decisions is no part of what is measured.  --url is an empty PostgreSQL database; default is SQLite.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from sqlalchemy import create_engine, event, insert, select
from twisted.internet import reactor as installed_reactor  # noqa: TID251  # this is a program, too
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from slircd.events.bus import EventBus
from slircd.events.memory import MemoryStore
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.schema import EVENTS, METADATA
from slircd.events.store import SQLStore
from slircd.events.types import EVENT_TYPES, Event
from slircd.network.collector import settle
from slircd.network.outbox import OutputGate
from slircd.replay.reconstructor import Replayed, replay
from slircd.state.livedigest import LiveDigest
from slircd.state.model import ServerState
from slircd.state.snapshot import digest
from tests.bench.traffic import Traffic

reactor: Any = installed_reactor
WINDOW = 4_000
"""Events that may wait for their commit while as much is emitted as possible."""

Decisions = list[list[Event]]
Figures = dict[str, Any]


def decisions(events: int) -> tuple[Decisions, list[Row]]:
    """So many events as decisions, and as the rows that they become."""
    state, store = ServerState(), MemoryStore()
    bus = EventBus(
        state,
        store,
        reactor=reactor,
        session_id="0" * 32,
        gate=OutputGate(reactor),
        renderer=lambda *_: None,
        stall_s=1e9,
    )
    traffic = Traffic(state, Random(1), online=2_000, channels=2_000)
    made: Decisions = []
    decision = traffic.start()
    while bus.clock.value < events:
        made.append(decision)
        bus.emit(decision).addErrback(Failure.raiseException)
        decision = traffic.decision()
    return made, store.rows


class WatchedGate(OutputGate):
    """The server's gate, and for each event how long what shows it waited there."""

    __slots__ = ("_since", "waits")

    def __init__(self) -> None:
        super().__init__(reactor)
        self._since: deque[tuple[int, float]] = deque()
        self.waits: list[float] = []

    def applied(self, sequence: int) -> None:
        super().applied(sequence)
        self._since.append((sequence, time.monotonic()))

    def committed(self, sequence: int) -> None:
        super().committed(sequence)
        now = time.monotonic()
        while self._since and self._since[0][0] <= sequence:
            self.waits.append(now - self._since.popleft()[1])


class Run:
    """Decisions through bus and store, in a running reactor, at one rate."""

    def __init__(self, url: str, made: Decisions) -> None:
        self._left = iter(made)
        self.state = ServerState()
        self.gate = WatchedGate()
        self.store = SQLStore(url, call_in_reactor=reactor.callFromThread, seconds=reactor.seconds)
        self.store.open()
        self.bus = EventBus(
            self.state,
            self.store,
            reactor=reactor,
            session_id="0" * 32,
            gate=self.gate,
            renderer=lambda *_: None,
            stall_s=1e9,
        )
        self.bus.live_digest = LiveDigest(self.state)
        self.bus.recover()
        self.commits: list[tuple[int, float]] = []
        self.store.watch_commits(lambda last, rows, seconds: self.commits.append((rows, seconds)))

    def emit(self, count: int) -> bool:
        """The next decisions; False at the end."""
        for _ in range(count):
            decision = next(self._left, None)
            if decision is None:
                return False
            self.bus.emit(decision).addErrback(Failure.raiseException)
        return True

    def flood(self) -> None:
        """As much as the log takes: a window of events is always on its way."""
        room = self.gate.applied_sequence - self.gate.committed_sequence < WINDOW
        if room and not self.emit(50):
            reactor.callLater(0, self._finish)
        else:
            reactor.callLater(0 if room else 0.001, self.flood)

    def pace(self, per_s: int, seconds: float) -> None:
        """So many decisions a second."""
        loop = LoopingCall.withCount(lambda ticks: self.emit(ticks))
        loop.start(1 / per_s, now=False)
        reactor.callLater(seconds, lambda: (loop.stop(), self._finish()))

    def _finish(self) -> None:
        if self.gate.closed:
            reactor.callLater(0.0005, self._finish)
        else:
            reactor.crash()

    def measure(self, start: Callable[[], None]) -> Figures:
        """Run the reactor until all is committed."""
        gc.collect()
        settle()
        before, started = cpu(), time.monotonic()
        reactor.callWhenRunning(start)
        reactor.run()
        seconds, used = time.monotonic() - started, cpu() - before
        self.store.close()
        events = self.bus.clock.value
        return {
            "events": events,
            "events_per_s": round(events / seconds),
            "cpu_us_per_event": round(used / events * 1e6, 1),
            "commits": len(self.commits),
            "rows_per_commit": round(events / len(self.commits), 1),
            "commit_ms": spread([seconds for _, seconds in self.commits]),
            "gate_wait_ms": spread(self.gate.waits),
        }


def cpu() -> float:
    """Seconds of CPU that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99, in milliseconds."""
    ordered = sorted(seconds)
    return {
        name: round(ordered[min(len(ordered) * share // 100, len(ordered) - 1)] * 1000, 2)
        for name, share in (("p50", 50), ("p99", 99))
    }


def core_alone(url: str, rows: Sequence[Row]) -> Figures:
    """SQLAlchemy Core and nothing else: 100 rows a commit, as durable as the store."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
    parameters = [row._asdict() for row in rows]
    METADATA.drop_all(engine)
    METADATA.create_all(engine)
    statement = insert(EVENTS)
    with engine.connect() as connection:
        before, started = cpu(), time.monotonic()
        for start in range(0, len(parameters), 100):
            with connection.begin():
                connection.execute(statement, parameters[start : start + 100])
        seconds, used = time.monotonic() - started, cpu() - before
    METADATA.drop_all(engine)
    engine.dispose()
    return {"rows_per_s": round(len(rows) / seconds), "cpu_us_per_row": round(used / len(rows) * 1e6, 1)}


def _durable(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def replayed(location: str, expected: str) -> Figures:
    """Full replay, and what of it reading, decoding and dispatching to nothing cost alone."""
    with LogReader(location) as reader:
        into, before = Replayed(), cpu()
        last, _ = replay(reader.raw_rows(), into)
        used = cpu() - before
    assert digest(into.state) == expected
    reference = read_alone(location)
    return {
        "events_per_s": round(last / used),
        "reference_per_s": round(last / reference),
        "ratio": round(reference / used, 2),
    }


def read_alone(location: str) -> float:
    """CPU seconds of the least that a replay has to do: SQLAlchemy Core, msgspec, a look-up and a call."""
    decoders = {name: msgspec.json.Decoder(cls).decode for name, cls in EVENT_TYPES.items()}
    nothing = dict.fromkeys(EVENT_TYPES, lambda event: None)
    engine = create_engine(location if "://" in location else f"sqlite:///{location}")
    before, after_id = cpu(), 0
    gc.disable()
    with engine.connect() as connection:
        query = select(EVENTS).order_by(EVENTS.c.id).limit(10_000)
        while rows := connection.execute(query.where(EVENTS.c.id > after_id)).fetchall():
            for row in rows:
                nothing[row[3]](decoders[row[3]](row[6]))
            after_id = rows[-1][0]
    gc.enable()
    used = cpu() - before
    engine.dispose()
    return used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="of the saturating run")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the runs at a rate")
    parser.add_argument("--url", help="an empty PostgreSQL database, whose tables will be dropped")
    parser.add_argument("--folder", help="where SQLite's files go; default: a temporary folder")
    options = parser.parse_args()
    made, rows = decisions(options.events)
    result: Figures = {"database": "postgresql" if options.url else "sqlite"}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:

        def fresh(name: str) -> str:
            if options.url is None:
                return f"sqlite:///{folder}/{name}.db"
            engine = create_engine(options.url)
            with engine.begin() as connection, suppress(Exception):
                METADATA.drop_all(connection)
                connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
            engine.dispose()
            return str(options.url)

        alone = result["core_alone"] = core_alone(fresh("alone"), rows[: min(len(rows), 50_000)])
        for name, rate in (("at_10_per_s", 10), ("at_1000_per_s", 1000)):
            run = Run(fresh(name), made)
            result[name] = run.measure(lambda run=run, rate=rate: run.pace(rate, options.seconds))  # type: ignore[misc]
        url = fresh("saturated")
        run = Run(url, made)
        saturated = result["saturated"] = run.measure(run.flood)
        saturated["ratio_of_rate"] = round(saturated["events_per_s"] / alone["rows_per_s"], 2)
        saturated["ratio_of_cpu"] = round(saturated["cpu_us_per_event"] / alone["cpu_us_per_row"], 2)
        if options.url is None:
            saturated["bytes_per_event"] = round(Path(folder, "saturated.db").stat().st_size / saturated["events"])
        result["replay"] = replayed(url.removeprefix("sqlite:///"), digest(run.state))
    json.dump(result, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
