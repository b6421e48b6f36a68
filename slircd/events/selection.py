"""Which rows of a log, and how they are found at any place of a log of any size.

A batch of rows costs about the same at the beginning and behind nine million others, because three things hold.  The
cursor is an id, never an offset.  Time never runs backwards in a log, so two look-ups turn moments into ids before the
first batch.  And every batch walks one index in the order of ids: that of the target, of the actor, of the type, or the
table's own; where several would do, each is asked how many rows it has, up to a few thousand, and the one with the
fewest is walked.  Conditions on the other columns are written so that no planner takes them for a reason to walk (or to
sort) something else; docs/performance.md has the plans.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypedDict

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    func,
    literal,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.exc import OperationalError

from slircd.events.row import REPLAYED
from slircd.events.schema import EVENTS

BATCH: Final = 5_000
"""Rows in memory at a time; few enough to stay in the processor's cache until they are used."""

MAX_ID: Final = 2**63 - 1

PROBE: Final = 5_000
"""Rows that an index is asked for before it counts as having many."""


_KEEP_TO_THE_INDEX: Final = (
    "SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true),"
    " set_config('jit', 'off', true)"
)
"""For PostgreSQL's planner, until the end of the transaction: where it takes a condition for rarer than it is, it would
read all rows of a target and sort them, to give the first hundred.  Compiling a plan takes longer than such a page."""


class Selection(TypedDict, total=False):
    """Which rows: with an id between two others, no earlier and no later than two timestamps, of one target, type,
    some types, or one actor.

    `limit` is how many are read at a time; `newest` turns the order round.  `for_replay`, where all rows between two ids
    are read, gives the columns REPLAYED alone.
    """

    after_id: int
    before_id: int | None
    since: str | None
    until: str | None
    target: str | None
    event_type: str | None
    types: Sequence[str] | None
    actor: str | None
    limit: int
    newest: bool
    for_replay: bool


_FOR_REPLAY: Final = tuple(EVENTS.c[name] for name in REPLAYED)

Condition = tuple[ColumnElement[str], Sequence[str]]
"""A column, and the values that it may have."""


def last_id(connection: Connection, until: str, *, inclusive: bool = True) -> int:
    """The id of the newest row that is not later than `until`, or (not `inclusive`) earlier; 0 if there is none."""
    column = EVENTS.c.timestamp
    early = column <= bindparam("until") if inclusive else column < bindparam("until")
    query = select(EVENTS.c.id).where(early).order_by(column.desc(), EVENTS.c.id.desc()).limit(1)
    return connection.execute(query, {"until": until}).scalar() or 0


def fetch_all(connection: Connection, query: Select[Any], values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of a query, as the driver's own tuples.

    Raises what the database raises; for a text that is not UTF-8, which SQLite keeps, it is an error with the row's id.
    """
    try:
        result: Any = connection.execute(query, values)
        rows: list[tuple[Any, ...]] = result.cursor.fetchall()
        result.close()
        return rows
    except (OperationalError, sqlite3.OperationalError) as error:
        if "decode to UTF-8" not in str(error):
            raise
    raise sqlite3.DataError(_what_is_no_text(connection, query, values))


def _what_is_no_text(connection: Connection, query: Select[Any], values: dict[str, Any]) -> str:
    """Which row of a query has bytes that are not UTF-8, and in which column."""
    driver: Any = connection.connection.driver_connection
    before, driver.text_factory = driver.text_factory, bytes
    try:
        result: Any = connection.execute(query, values)
        names = [column[0] for column in result.cursor.description]
        for row in result.cursor:
            for name, value in zip(names, row, strict=True):
                try:
                    if isinstance(value, bytes):
                        value.decode()
                except UnicodeDecodeError:
                    return f"event {row[0]} is damaged: its {name} is not UTF-8"
        return "an event is damaged: it has a text that is not UTF-8"
    finally:
        driver.text_factory = before


def batches(connection: Connection, selection: Selection) -> Iterator[list[tuple[Any, ...]]]:
    """The selected rows in order, as lists of the driver's own tuples; no transaction is open between two of them."""
    after, before = _bounds(connection, selection)
    size = min(selection.get("limit", BATCH), BATCH)
    newest = selection.get("newest", False)
    walked = _walked(connection, _conditions(selection), after, before)
    query = _query(walked, newest=newest, size=size, sqlite=connection.dialect.name == "sqlite")
    if selection.get("for_replay") and not walked:
        query = query.with_only_columns(*_FOR_REPLAY)
    while True:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(_KEEP_TO_THE_INDEX)
        batch = fetch_all(connection, query, {"after": after, "before": before})
        connection.rollback()
        yield batch
        if len(batch) < size:
            return
        if newest:
            before = batch[-1][0]
        else:
            after = batch[-1][0]


def _bounds(connection: Connection, selection: Selection) -> tuple[int, int]:
    """Ids between which the selected rows lie, both excluded."""
    after, before = selection.get("after_id", 0), selection.get("before_id") or MAX_ID
    since, until = selection.get("since"), selection.get("until")
    if since is not None:
        after = max(after, last_id(connection, since, inclusive=False))
    if until is not None:
        before = min(before, last_id(connection, until) + 1)
    return after, before


def _conditions(selection: Selection) -> list[Condition]:
    """What is asked of columns other than id and time; where nothing tells them apart, the first is walked."""
    conditions: list[Condition] = []
    for column, value in ((EVENTS.c.target, selection.get("target")), (EVENTS.c.actor_uid, selection.get("actor"))):
        if value is not None:
            conditions.append((column, [value]))
    wanted, types = selection.get("event_type"), selection.get("types")
    if wanted is not None:
        types = [wanted] if types is None or wanted in types else []
    if types is not None:
        conditions.append((EVENTS.c.event_type, list(types)))
    return conditions


def _walked(connection: Connection, conditions: list[Condition], after: int, before: int) -> list[Condition]:
    """The conditions, the one whose index has the fewest rows first."""

    def found(condition: Condition) -> int:
        column, values = condition
        rows = select(EVENTS.c.id).where(column.in_(values), EVENTS.c.id > after, EVENTS.c.id < before).limit(PROBE)
        return connection.execute(select(func.count()).select_from(rows.subquery())).scalar() or 0

    return sorted(conditions, key=found) if len(conditions) > 1 else conditions


def _query(conditions: list[Condition], *, newest: bool, size: int, sqlite: bool) -> Select[Any]:
    """The next rows between the ids :after and :before, by walking the index of the first condition."""
    row_id = EVENTS.c.id
    after: BindParameter[int] = bindparam("after", type_=row_id.type)
    before: BindParameter[int] = bindparam("before", type_=row_id.type)
    if not conditions:
        order = row_id.desc() if newest else row_id
        return select(EVENTS).where(row_id > after, row_id < before).order_by(order).limit(size)
    (column, values), *others = conditions

    def walk(selected: Select[Any], value: str) -> Select[Any]:
        if sqlite:
            selected = selected.where(column == value, row_id > after, row_id < before)
        else:
            # Both ends as places in the index, and its order: no other index can do that, so PostgreSQL takes no other.
            place = tuple_(column, row_id)
            selected = selected.where(place > tuple_(literal(value), after), place < tuple_(literal(value), before))
        # A column with an empty text behind it is in no index, so no planner walks that of another condition.
        rest = [other.concat("").in_(wanted) for other, wanted in others]
        by = [row_id] if sqlite else [column, row_id]
        order = [each.desc() for each in by] if newest else by
        return selected.where(*rest).order_by(*order).limit(size)

    if len(values) == 1:
        return walk(select(EVENTS), values[0])
    # No index has the rows of several values in order, but each value's are: the next of each, and of those the first.
    ids = [select(walk(select(row_id), value).subquery().c.id) for value in values]
    some = union_all(*ids).subquery() if ids else select(row_id).where(row_id < 0).subquery()
    next_id = some.c.id.desc() if newest else some.c.id
    found = select(some.c.id).order_by(next_id).limit(size).subquery()
    by_id = found.c.id.desc() if newest else found.c.id
    return select(EVENTS).join(found, found.c.id == row_id).order_by(by_id)
