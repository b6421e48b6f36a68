"""Readers of conversations and channels: what events.pages asks, answered by a database and by a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

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


_CREATION: Final = (
    "SELECT max(id) FROM events {hint}WHERE timestamp = :timestamp AND target = :channel"
    " AND event_type = 'channel.create' AND id < :before_id"
)


def creation_query(dialect: str) -> TextClause:
    """The query for a channel's creation at a moment, by the index over moments, which have few events each."""
    return text(_CREATION.format(hint="INDEXED BY idx_events_timestamp " if dialect == "sqlite" else ""))


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

    def first_id_at(self, timestamp: str) -> int:
        column = EVENTS.c.timestamp
        query = select(EVENTS.c.id).where(column >= timestamp).order_by(column, EVENTS.c.id).limit(1)
        found = self._connection.execute(query).scalar()
        return NO_END if found is None else int(found)

    def creation_at(self, channel: str, timestamp: str, before_id: int) -> int:
        query = creation_query(self._connection.dialect.name)
        parameters = {"channel": channel, "timestamp": timestamp, "before_id": before_id}
        return int(self._connection.execute(query, parameters).scalar() or 0)

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

    def first_id_at(self, timestamp: str) -> int:
        return next((row.id for row in self._all if row.timestamp >= timestamp), NO_END)

    def creation_at(self, channel: str, timestamp: str, before_id: int) -> int:
        wanted = ("channel.create", channel, timestamp)
        found = (row.id for row in self._all if (row.event_type, row.target, row.timestamp) == wanted)
        return max((row_id for row_id in found if row_id < before_id), default=0)

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
