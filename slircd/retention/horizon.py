"""Pruning of events that change the state: together, oldest first, up to one event, the horizon.

What stands for them is the base, the state at the horizon.  The order of steps is what makes this safe:

1. the log is replayed up to the new horizon, and the state packed as it will be stored;
2. both, the replayed state and the one read back from the packed bytes, are led on to the end of the log: they must
   come to the same digests, or nothing is touched;
3. one transaction writes the base, removes checkpoints before it, and deletes the first events.  From here on replay
   begins at the base and passes over whatever is still there before it;
4. the other events before the base are deleted, some hundred at a time; whoever is killed here leaves rows that nobody
   reads, and the next run deletes them.
"""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, delete, func, select

from slircd.config.sections import Keep
from slircd.events import checkpoints
from slircd.events.clock import format_timestamp
from slircd.events.reader import LogError, LogReader
from slircd.events.schema import CHECKPOINTS, EVENTS
from slircd.retention.database import Workplace
from slircd.retention.prune import Progress, head_id, last_id_before, quiet
from slircd.retention.rules import DAY_S, STATE_FREE
from slircd.state.feed import feed, without_gc
from slircd.state.snapshot import SnapshotError, decode_snapshot, digest

CHANGES_STATE: Final = EVENTS.c.event_type.not_in(STATE_FREE)


class NotVerified(LogError):
    """The base would not lead to the same states as the events that it stands for; nothing was removed."""


class Horizon(NamedTuple):
    """What was done, or would be."""

    event_id: int
    timestamp: str
    pruned: int
    """Events that went."""


def new_horizon(connection: Connection, rule: Keep, now_s: float) -> int:
    """The id of the event up to which the rule lets events that change the state go; 0 for none."""
    last = 0
    if rule.keep_days:
        last = last_id_before(connection, format_timestamp(now_s - rule.keep_days * DAY_S))
    if rule.keep_events:
        newest = select(EVENTS.c.id).where(CHANGES_STATE).order_by(EVENTS.c.id.desc())
        last = max(last, connection.execute(newest.offset(rule.keep_events).limit(1)).scalar() or 0)
    last = min(last, head_id(connection) - 1)
    # It has to be an event that is there: its place in the log is the base's.
    found = select(EVENTS.c.id).where(EVENTS.c.id <= last).order_by(EVENTS.c.id.desc()).limit(1)
    return connection.execute(found).scalar() or 0


def prune_state(
    place: Workplace, rule: Keep, *, now_s: float, dry_run: bool = False, progress: Progress = quiet
) -> Horizon | None:
    """Move the horizon as far as the rule wants, and delete what lies before it; None if there is nothing to do.

    `now_s` are seconds since the epoch.  Raises NotVerified, Damaged, or DamagedBase: then nothing has changed.
    """
    with place.reading() as connection:
        base = checkpoints.find_base(connection)
        old = 0 if base is None else base.event_id
        wanted = 0 if rule.keeps_everything else new_horizon(connection, rule, now_s)
        horizon = max(wanted, old)
        count = select(func.count()).select_from(EVENTS).where(EVENTS.c.id <= horizon, CHANGES_STATE)
        going: int = connection.execute(count).scalar() or 0
        if not going:
            return None
        timestamp = connection.execute(select(EVENTS.c.timestamp).where(EVENTS.c.id == horizon)).scalar()
        if timestamp is None and base is not None:
            timestamp = base.timestamp
    if dry_run:
        return Horizon(horizon, timestamp or "", going)
    pruned = 0
    if horizon > old:
        packed = make_base(place, horizon, progress)
        place.reached("base made")
        with place.changing() as connection:
            checkpoints.write(connection, packed)
            connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.event_id < horizon))
            place.reached("base written")
            pruned = _delete_some(connection, 0, horizon, place.pace.rows)[1]
        place.reached("base committed")
    pruned += delete_before(place, horizon, progress)
    return Horizon(horizon, timestamp or "", pruned)


def make_base(place: Workplace, horizon: int, progress: Progress = quiet) -> checkpoints.Packed:
    """The base at an event, proved to lead to the same states as the whole log.

    Raises NotVerified, Damaged or DamagedBase.
    """
    with LogReader(place.location) as reader, without_gc():
        # From the beginning, not from a checkpoint: the base will be all that is left of it.
        start = reader.start(only_base=True)
        state = start.state
        end = reader.head().id
        _feed(state, reader, start.position.id, horizon, progress)
        packed = checkpoints.pack(state, horizon, kind=checkpoints.BASE)
        try:
            restored = decode_snapshot(checkpoints.unpack(packed.state), packed.version)
        except SnapshotError as error:
            raise NotVerified(f"the base at event {horizon} cannot be read back: {error}") from None
        _compare(digest(restored), packed.digest, horizon)
        _feed(state, reader, horizon, end, progress)
        _feed(restored, reader, horizon, end, progress)
        _compare(digest(restored), digest(state), end)
    return packed


def _feed(state: Any, reader: LogReader, after_id: int, last_id: int, progress: Progress) -> None:
    for batch in reader.batches(after_id=after_id, before_id=last_id + 1):
        feed(state, batch)
        if batch:
            progress(f"replayed up to event {batch[-1][0]:,} of {last_id:,}")


def _compare(one: str, other: str, event_id: int) -> None:
    if one != other:
        raise NotVerified(
            f"the base does not lead to the state at event {event_id}: digest {one}, not {other}; nothing was removed"
        )


def delete_before(place: Workplace, horizon: int, progress: Progress = quiet) -> int:
    """Delete the events that change the state up to `horizon`, in small transactions; how many there were."""
    pruned = after = 0
    while True:
        started = time.monotonic()
        with place.changing() as connection:
            after, deleted = _delete_some(connection, after, horizon, place.pace.rows)
        if not deleted:
            return pruned
        pruned += deleted
        place.pace.took(time.monotonic() - started, deleted)
        place.reached("some deleted")
        progress(f"events before the horizon: {pruned:,} pruned")


def _delete_some(connection: Connection, after: int, horizon: int, most: int) -> tuple[int, int]:
    """Delete the first events behind `after`, up to the horizon: the id of the last one, and how many they were."""
    going = (EVENTS.c.id > after) & (EVENTS.c.id <= horizon) & CHANGES_STATE
    ids = connection.execute(select(EVENTS.c.id).where(going).order_by(EVENTS.c.id).limit(most)).scalars().all()
    if not ids:
        return after, 0
    connection.execute(delete(EVENTS).where(EVENTS.c.id >= ids[0], EVENTS.c.id <= ids[-1], CHANGES_STATE))
    return ids[-1], len(ids)
