"""Erasure of somebody, beside the server: everything but the one moment that its owner has to do (retention.keeper).

1. The log is read for who is meant.
2. The owner lets them go.
3. The log is read once more: what becomes of the events that the state of now comes from is worked out, the base is
   rewritten, and checkpoints that hold something of it are found.
4. The owner finishes: live state, those events, base, and the plan for the rest, in one transaction.
5. The other events, of people who are gone, are rewritten some hundred at a time.  Whoever is killed here has left the
   plan, and the next `slircd events` that works on the log goes on with it.
6. Checkpoints are made anew, the old bytes are removed from the files, and the plan is deleted.

Replay is right throughout: up to the fourth step nothing is rewritten, and what is rewritten later is known to the
state only by UIDs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import SQLAlchemyError

from slircd.events import checkpoints, runs
from slircd.events.clock import format_timestamp
from slircd.events.codec import decode_event, encode_payload
from slircd.events.reader import LogError, LogReader
from slircd.events.row import Rewrite, Row
from slircd.events.schema import EVENTS
from slircd.events.store import rewrite_row
from slircd.events.types import EVENT_TYPES, Event
from slircd.retention.database import Workplace
from slircd.retention.erasure import TELLING, Erasure, Plan, Request, Search
from slircd.retention.keeper import Base, Finish
from slircd.retention.owner import Owner
from slircd.retention.prune import Progress, quiet
from slircd.retention.rewrite import Rewriter, rewrite_event, rewrite_state
from slircd.state.feed import feed, without_gc
from slircd.state.model import ServerState
from slircd.state.snapshot import from_snapshot, to_snapshot

ABOUT_PEOPLE: Final = frozenset(
    name
    for name, cls in EVENT_TYPES.items()
    if cls.state_free
    or name.startswith("user.")
    or name in ("channel.create", "channel.destroy", "channel.join", "channel.part", "channel.kick", "channel.invite")
)
"""Types whose texts are in the state only while the people in them are there.  What is not listed is rewritten with the
live state, which is right for all."""

FORGET_S: Final = 10.0
"""How long it waits for readers that keep old pages in SQLite's write-ahead log."""


class NobodyFound(LogError):
    """The log knows nobody who is meant."""


class Redacted(NamedTuple):
    """What was done, or would be."""

    events: int
    types: dict[str, int]
    checkpoints: int


class Concerned(Rewriter, Protocol):
    """A Rewriter that knows quickly what it has nothing to do with."""

    def concerns(self, row: Row) -> bool:
        """Whether a row may have to be rewritten."""


# --- an erasure -----------------------------------------------------------------------------------------------------


def erase(
    place: Workplace, owner: Owner, request: Request, *, actor: str, now_s: float, progress: Progress = quiet
) -> Redacted:
    """Erase somebody; how many events were rewritten.

    `actor` is who asked for it, `now_s` seconds since the epoch.  Raises NobodyFound, NoAnswer, Damaged, DamagedBase.
    """
    find_plan(place, request, progress=progress)
    with place.changing() as connection:
        run = runs.begin(connection, f"erase {request.kind}", format_timestamp(now_s))
    finished = False
    try:
        until = owner.begin(run, request, actor)
        plan = find_plan(place, request, until=until, progress=progress)
        erasure = Erasure(plan)
        with LogReader(place.location) as reader, without_gc():
            # What those who are there said of themselves, and of the person, is in the state, too.
            online = set(state_at_end(reader).users)
        rewrites: list[tuple[int, str, str | None, str | None]] = []
        types: Counter[str] = Counter()
        with LogReader(place.location) as reader:
            for row, event in _changes(reader, erasure, until, progress):
                types[row.event_type] += 1
                if row.event_type not in ABOUT_PEOPLE or row.target in online:
                    rewrites.append((row.id, encode_payload(event), event.actor_uid, event.target))
        base = rewritten_base(place, erasure)
        plan.stale = _stale(place, erasure)
        place.reached("planned")
        finish = Finish(
            run=run,
            plan=plan,
            actor=actor,
            what=request.kind,
            rewrites=rewrites,
            base=base,
            events=types.total(),
        )
        events = owner.finish(run, finish)
        finished = True
        place.reached("finished")
        go_on(place, run, plan, progress=progress)
    except BaseException:
        if not finished:
            with place.changing() as connection:
                if runs.unfinished(connection) is None:
                    runs.end(connection, run, runs.FAILED)
        raise
    forget_old_bytes(place, thoroughly=not owner.is_server)
    return Redacted(events, dict(types), len(plan.stale))


def would_erase(place: Workplace, request: Request, *, progress: Progress = quiet) -> Redacted:
    """What an erasure would rewrite.  Raises NobodyFound."""
    plan = find_plan(place, request, progress=progress)
    erasure = Erasure(plan)
    with LogReader(place.location) as reader:
        types = Counter(row.event_type for row, _ in _changes(reader, erasure, reader.head().id, progress))
    return Redacted(types.total(), dict(types), len(_stale(place, erasure)))


def resume(place: Workplace, progress: Progress = quiet) -> bool:
    """Go on with an erasure that was killed behind its fourth step; False if there is none."""
    with place.reading() as connection:
        found = runs.unfinished(connection)
    if found is None:
        return False
    run, plan = found
    go_on(place, run, msgspec.msgpack.decode(plan, type=Plan), progress=progress)
    forget_old_bytes(place, thoroughly=False)
    return True


def go_on(place: Workplace, run: int, plan: Plan, *, progress: Progress = quiet) -> None:
    """The fifth and sixth step."""
    rewrite_rows(place, Erasure(plan), plan.until, progress)
    place.reached("rewritten")
    remake(place, plan.stale, progress)
    with place.changing() as connection:
        runs.end(connection, run, runs.DONE)


def find_plan(place: Workplace, request: Request, *, until: int | None = None, progress: Progress = quiet) -> Plan:
    """Read the log for who is meant.  Raises NobodyFound."""
    with LogReader(place.location) as reader, without_gc():
        now = state_at_end(reader)
        until = reader.head().id if until is None else until
        search = Search(request, reader.start(only_base=True).state, now.fold)
        for row in reader.rows(types=TELLING, before_id=until + 1):
            search.see(decode_event(row.event_type, row.actor_uid, row.target, row.payload))
            if row.id % 1000 == 0:
                progress(f"looking for whom it is about: event {row.id:,} of {until:,}")
    if not search.found:
        raise NobodyFound(f"the log knows no {request.words()}")
    plan = search.plan(now)
    plan.until = until
    return plan


def state_at_end(reader: LogReader) -> ServerState:
    """The state of now, from the newest checkpoint."""
    start = reader.start()
    for batch in reader.batches(after_id=start.position.id):
        feed(start.state, batch)
    return start.state


# --- rows -----------------------------------------------------------------------------------------------------------


def _changes(reader: LogReader, rewriter: Concerned, until: int, progress: Progress) -> Iterator[tuple[Row, Event]]:
    for row in reader.rows(before_id=until + 1):
        if rewriter.concerns(row):
            event = rewritten(row, rewriter)
            if event is not None:
                yield row, event
        if row.id % 10_000 == 0:
            progress(f"looking for what to rewrite: event {row.id:,} of {until:,}")


def rewritten(row: Row, rewriter: Rewriter) -> Event | None:
    """The event of a row with its texts rewritten; None if nothing changes."""
    event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
    after = rewrite_event(event, rewriter)
    return None if after is event else after


def rewrite_rows(place: Workplace, rewriter: Concerned, until: int, progress: Progress = quiet) -> int:
    """Rewrite the events up to an id, some at a time; how many changed."""
    count = 0
    waiting: list[int] = []
    with LogReader(place.location) as reader:
        for row in reader.rows(before_id=until + 1):
            if rewriter.concerns(row):
                waiting.append(row.id)
            if len(waiting) >= place.pace.rows:
                count += _rewrite(place, waiting, rewriter)
                progress(f"rewritten: {count:,} events, up to {row.id:,} of {until:,}")
                waiting = []
    return count + _rewrite(place, waiting, rewriter)


def _rewrite(place: Workplace, ids: Sequence[int], rewriter: Rewriter) -> int:
    if not ids:
        return 0
    started = time.monotonic()
    with place.changing() as connection:
        count = rewrite_ids(connection, ids, rewriter)
    place.pace.took(time.monotonic() - started, len(ids))
    place.reached("some rewritten")
    return count


def rewrite_ids(connection: Connection, ids: Sequence[int], rewriter: Rewriter) -> int:
    """Rewrite some events in a transaction, as they are now: a message may have been redacted since they were read."""
    count = 0
    query = select(EVENTS).where(EVENTS.c.id.in_(ids)).order_by(EVENTS.c.id).with_for_update()
    for found in connection.execute(query).all():
        row = Row(*found)
        event = rewritten(row, rewriter)
        if event is not None:
            count += 1
            rewrite_row(connection, Rewrite(row.id, encode_payload(event), (event.actor_uid, event.target)))
    return count


# --- checkpoints ----------------------------------------------------------------------------------------------------


def rewritten_base(place: Workplace, rewriter: Rewriter) -> Base | None:
    """The base with its texts rewritten; None if there is none, or nothing changes.  Raises DamagedBase."""
    with place.reading() as connection:
        found = checkpoints.find_base(connection)
        if found is None:
            return None
        before = to_snapshot(checkpoints.load(connection, found))
    after = rewrite_state(before, rewriter)
    if after is before:
        return None
    packed = checkpoints.pack(from_snapshot(after), found.event_id, kind=checkpoints.BASE)
    return Base(packed.event_id, packed.version, packed.digest, packed.checksum, packed.state)


def _stale(place: Workplace, rewriter: Rewriter) -> list[int]:
    """The checkpoints that hold something that is rewritten, and those that nobody can read."""
    stale: list[int] = []
    with place.reading() as connection:
        for checkpoint in checkpoints.find(connection, base=False):
            try:
                snapshot = to_snapshot(checkpoints.load(connection, checkpoint))
            except checkpoints.DamagedCheckpoint:
                stale.append(checkpoint.event_id)
                continue
            if rewrite_state(snapshot, rewriter) is not snapshot:
                stale.append(checkpoint.event_id)
    return sorted(stale)


def remake(place: Workplace, event_ids: Sequence[int], progress: Progress = quiet) -> None:
    """Make checkpoints anew, from the log as it is now."""
    for event_id in sorted(event_ids):
        progress(f"making the checkpoint at event {event_id:,} anew")
        with LogReader(place.location) as reader, without_gc():
            start = reader.start(until_id=event_id)
            for batch in reader.batches(after_id=start.position.id, before_id=event_id + 1):
                feed(start.state, batch)
        packed = checkpoints.pack(start.state, event_id)
        with place.changing() as connection:
            checkpoints.write(connection, packed)


# --- bytes ----------------------------------------------------------------------------------------------------------


def forget_old_bytes(place: Workplace, *, thoroughly: bool) -> bool:
    """Remove from the database's files what rows were before; False if readers were in the way.

    `thoroughly` writes the whole database anew, which nobody else may use meanwhile.
    """
    with place.engine.connect() as connection:
        if not place.is_sqlite:
            ordinary: Any = connection.execution_options(isolation_level="AUTOCOMMIT")
            ordinary.execute(text("VACUUM FULL" if thoroughly else "VACUUM"))
            return True
        if thoroughly:
            connection.exec_driver_sql("VACUUM")
        deadline = time.monotonic() + FORGET_S
        while True:
            try:
                busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
            except SQLAlchemyError:
                busy = 1
            if not busy or time.monotonic() > deadline:
                return not busy
            time.sleep(0.1)
