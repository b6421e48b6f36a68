"""Figures of a log: rows, bytes and age by family and type, and what it takes on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from sqlalchemy import ColumnElement, LargeBinary, func, literal, select, text

from slircd.events.reader import LogReader
from slircd.events.schema import EVENTS
from slircd.retention.rules import STATE_FREE, family_of


class Figures(msgspec.Struct, kw_only=True):
    """Of some events."""

    name: str
    rows: int
    bytes: int
    """Of their columns, as UTF-8 text; indexes and the database's own bookkeeping come on top."""
    first: str
    last: str
    state_free: bool = False


class Place(msgspec.Struct, kw_only=True):
    """Where a log begins whose first events were pruned."""

    event_id: int
    timestamp: str


class Stats(msgspec.Struct, kw_only=True):
    """Of a log."""

    version: int = 1
    total: Figures
    families: list[Figures]
    types: list[Figures]
    horizon: Place | None
    """What lies before was pruned; null for a log that has its beginning."""
    checkpoints: Figures
    """States that are kept beside the log, the base included."""
    disk_bytes: int
    """Of the whole database, all tables and indexes, on SQLite with the file beside it that is not merged yet."""


def collect(reader: LogReader) -> Stats:
    """Count everything: one pass over the table."""
    types = list(_types(reader))
    disk = _disk_bytes(reader)
    kept = reader.checkpoints()
    base = next((each for each in kept if each.is_base), None)
    families: dict[str, Figures] = {}
    for each in types:
        name = family_of(each.name)
        families[name] = _add(families[name], each) if name in families else msgspec.structs.replace(each, name=name)
    for name, family in families.items():
        family.state_free = all(each.state_free for each in types if family_of(each.name) == name)
    total = Figures(name="total", rows=0, bytes=0, first="", last="")
    for each in types:
        total = _add(total, each)
    return Stats(
        total=total,
        families=list(families.values()),
        types=types,
        horizon=None if base is None else Place(event_id=base.event_id, timestamp=base.timestamp),
        checkpoints=Figures(
            name="checkpoints",
            rows=len(kept),
            bytes=sum(each.size for each in kept),
            first=min((each.timestamp for each in kept), default=""),
            last=max((each.timestamp for each in kept), default=""),
        ),
        disk_bytes=disk,
    )


def _add(one: Figures, other: Figures) -> Figures:
    return Figures(
        name=one.name,
        rows=one.rows + other.rows,
        bytes=one.bytes + other.bytes,
        first=min(one.first or other.first, other.first),
        last=max(one.last, other.last),
    )


def _types(reader: LogReader) -> Iterator[Figures]:
    size: ColumnElement[int] = literal(16)  # of the two numbers
    for column in EVENTS.c:
        if column.name not in ("id", "sequence"):
            length = func.length(column.cast(LargeBinary)) if reader.is_sqlite else func.octet_length(column)
            size = size + func.coalesce(length, 0)
    query = select(
        EVENTS.c.event_type,
        func.count(),
        func.sum(size),
        func.min(EVENTS.c.timestamp),
        func.max(EVENTS.c.timestamp),
    )
    for name, rows, size_bytes, first, last in reader.select(
        query.group_by(EVENTS.c.event_type).order_by(EVENTS.c.event_type)
    ):
        yield Figures(
            name=name, rows=rows, bytes=int(size_bytes), first=first, last=last, state_free=name in STATE_FREE
        )


def _disk_bytes(reader: LogReader) -> int:
    if not reader.is_sqlite:
        return int(reader.select(text("SELECT pg_database_size(current_database())"))[0][0])
    file = reader.select(text("SELECT file FROM pragma_database_list WHERE name = 'main'"))[0][0]
    return sum(path.stat().st_size for path in (Path(file or ""), Path(f"{file}-wal")) if path.is_file())
