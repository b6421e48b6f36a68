"""Pruning of events that change no state: each type by its own rule, oldest first, some hundred rows at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, delete, func, select

from slircd.config.sections import Keep
from slircd.events.clock import format_timestamp
from slircd.events.schema import EVENTS
from slircd.retention.database import Workplace
from slircd.retention.rules import DAY_S, rules_by_type

Progress = Callable[[str], None]


def quiet(text: str) -> None:
    """A Progress of nobody."""


def last_id_before(connection: Connection, timestamp: str) -> int:
    """The id of the newest event that is older than `timestamp`; 0 if there is none."""
    query = select(EVENTS.c.id).where(EVENTS.c.timestamp < timestamp)
    return connection.execute(query.order_by(EVENTS.c.timestamp.desc(), EVENTS.c.id.desc()).limit(1)).scalar() or 0


def last_to_go(connection: Connection, event_type: str, rule: Keep, now_s: float) -> int:
    """The id up to which events of a type go under a rule; 0 for none."""
    last = 0
    if rule.keep_days:
        last = last_id_before(connection, format_timestamp(now_s - rule.keep_days * DAY_S))
    if rule.keep_events:
        query = select(EVENTS.c.id).where(EVENTS.c.event_type == event_type).order_by(EVENTS.c.id.desc())
        too_many = connection.execute(query.offset(rule.keep_events).limit(1)).scalar()
        last = max(last, too_many or 0)
    return last


def head_id(connection: Connection) -> int:
    """The id of the newest event, which always stays: ids and sequences go on from it."""
    return connection.execute(select(func.max(EVENTS.c.id))).scalar() or 0


def prune_families(
    place: Workplace,
    families: Mapping[str, Keep],
    *,
    now_s: float,
    dry_run: bool = False,
    progress: Progress = quiet,
) -> dict[str, int]:
    """Delete what the rules of state-free types do not keep; how many went, or would go, by type.

    `now_s` are seconds since the epoch.
    """
    gone: dict[str, int] = {}
    for event_type, rule in rules_by_type(families):
        with place.reading() as connection:
            last = min(last_to_go(connection, event_type, rule, now_s), head_id(connection) - 1)
            old = (EVENTS.c.event_type == event_type) & (EVENTS.c.id <= last)
            if dry_run:
                count = connection.execute(select(func.count()).select_from(EVENTS).where(old)).scalar() or 0
        if not dry_run:
            count = 0
            while deleted := _delete_some(place, event_type, last):
                count += deleted
                progress(f"{event_type}: {count:,} pruned")
        if count:
            gone[event_type] = count
    return gone


def _delete_some(place: Workplace, event_type: str, last: int) -> int:
    old = (EVENTS.c.event_type == event_type) & (EVENTS.c.id <= last)
    started = time.monotonic()
    with place.changing() as connection:
        some = select(EVENTS.c.id).where(old).order_by(EVENTS.c.id).limit(place.pace.rows)
        deleted = connection.execute(delete(EVENTS).where(EVENTS.c.id.in_(some))).rowcount
    place.pace.took(time.monotonic() - started, deleted)
    return deleted
