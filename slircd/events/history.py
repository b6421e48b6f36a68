"""Readers of conversations and channels: what events.pages asks, answered by a database and by a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Select, TextClause, bindparam, select, text

from slircd.events.pages import (
    DEPARTURES,
    LIVES,
    LIVES_LIMIT,
    MESSAGE_TYPES,
    MESSAGES,
    NO_END,
    Page,
    is_direct,
    mentions,
)
from slircd.events.row import Row
from slircd.events.schema import CONVERSATIONS, EVENTS


def messages_query(dialect: str, *, newest: bool) -> TextClause:
    """The query for messages of a target, in the words of the partial index, so that a database sees that it fits.

    SQLite is told to take it, because it has no reason to prefer it to the index over all events of a target.
    """
    hint = "INDEXED BY idx_events_words " if dialect == "sqlite" else ""
    query = text(
        f"SELECT {', '.join(Row._fields)} FROM events {hint}WHERE target = :target "  # noqa: S608  # only constants
        f"AND event_type IN ({', '.join(map(repr, MESSAGE_TYPES))}) AND event_type IN :types "
        f"AND id > :after_id AND id < :before_id ORDER BY id {'DESC' if newest else 'ASC'} LIMIT :limit"
    )
    return query.bindparams(bindparam("types", expanding=True))


class SQLHistoryReader:
    """A HistoryReader over a connection to a database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _rows(self, query: Select[Any], *, turn: bool = False) -> list[Row]:
        rows = [Row(*row) for row in self._connection.execute(query)]
        return rows[::-1] if turn else rows

    @staticmethod
    def _bounded(query: Select[Any], page: Page) -> Select[Any]:
        query = query.where(EVENTS.c.id > page.after_id, EVENTS.c.id < page.before_id)
        return query.order_by(EVENTS.c.id.desc() if page.newest else EVENTS.c.id)

    def find(self, row_id: int) -> Row | None:
        found = self._rows(select(EVENTS).where(EVENTS.c.id == row_id))
        return found[0] if found else None

    def first_id_at(self, timestamp: str) -> int:
        column = EVENTS.c.timestamp
        query = select(EVENTS.c.id).where(column >= timestamp).order_by(column, EVENTS.c.id).limit(1)
        found = self._connection.execute(query).scalar()
        return NO_END if found is None else int(found)

    def page(self, page: Page) -> list[Row]:
        if page.types <= MESSAGES:
            return self._messages(page)
        query = select(EVENTS).where(EVENTS.c.target == page.target, EVENTS.c.event_type.in_(sorted(page.types)))
        return self._rows(self._bounded(query, page).limit(page.limit), turn=page.newest)

    def _messages(self, page: Page) -> list[Row]:
        query = messages_query(self._connection.dialect.name, newest=page.newest)
        parameters = page._asdict() | {"types": sorted(page.types)}
        rows = [Row(*row) for row in self._connection.execute(query, parameters)]
        return rows[::-1] if page.newest else rows

    def departures(self, channel: str, page: Page) -> list[Row]:
        found: list[Row] = []
        for kind in ("user.disconnect", "user.nick_change"):
            query = self._bounded(select(EVENTS).where(EVENTS.c.event_type == kind), page).limit(DEPARTURES)
            found += [row for row in self._rows(query) if mentions(row, channel)]
        return sorted(found)

    def lives(self, uids: Iterable[str], until_id: int) -> list[Row]:
        query = (
            select(EVENTS)
            .where(EVENTS.c.target.in_(sorted(uids)), EVENTS.c.event_type.in_(sorted(LIVES)), EVENTS.c.id <= until_id)
            .order_by(EVENTS.c.id)
            .limit(LIVES_LIMIT)
        )
        return self._rows(query)

    def conversations(self, side: str, page: Page) -> list[Row]:
        joined = CONVERSATIONS.join(EVENTS, EVENTS.c.id == CONVERSATIONS.c.last_id)
        query = select(*EVENTS.c).select_from(joined).where(CONVERSATIONS.c.side == side)
        return self._rows(self._bounded(query, page).limit(page.limit), turn=page.newest)


class ListHistoryReader:
    """A HistoryReader over rows in memory."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._all = rows

    @staticmethod
    def _cut(rows: Iterable[Row], page: Page) -> list[Row]:
        found = [row for row in rows if page.after_id < row.id < page.before_id]
        return found[-page.limit :] if page.newest else found[: page.limit]

    def find(self, row_id: int) -> Row | None:
        return next((row for row in self._all if row.id == row_id), None)

    def first_id_at(self, timestamp: str) -> int:
        return next((row.id for row in self._all if row.timestamp >= timestamp), NO_END)

    def page(self, page: Page) -> list[Row]:
        wanted = (row for row in self._all if row.target == page.target and row.event_type in page.types)
        return self._cut(wanted, page)

    def departures(self, channel: str, page: Page) -> list[Row]:
        kinds = ("user.disconnect", "user.nick_change")
        found = self._cut((row for row in self._all if row.event_type in kinds), page._replace(limit=DEPARTURES))
        return [row for row in found if mentions(row, channel)]

    def lives(self, uids: Iterable[str], until_id: int) -> list[Row]:
        wanted = set(uids)
        return [row for row in self._all if row.target in wanted and row.event_type in LIVES and row.id <= until_id]

    def conversations(self, side: str, page: Page) -> list[Row]:
        latest: dict[str, Row] = {}
        for row in self._all:
            if is_direct(row) and side in (row.target or "").split(","):
                latest[row.target or ""] = row
        return self._cut(sorted(latest.values()), page)
