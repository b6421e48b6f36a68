"""Selecting rows: the right ones, in order, in batches, and by walking one index whatever is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text

from slircd.events import selection
from slircd.events.clock import format_timestamp
from slircd.events.row import Row
from slircd.events.schema import METADATA
from slircd.events.store import insert_rows
from tests.postgres import Postgres

TYPES = ["channel.join", "channel.part", "user.away", "oper.kline"]
TARGETS = ["#a", "#b", "001000001", None]
ACTORS = ["001000001", "001000002", "server", None]


def made(rng: Random, count: int) -> list[Row]:
    """A log: ids have gaps, several rows share a moment."""
    rows: list[Row] = []
    row_id = 0
    for _ in range(count):
        row_id += rng.choice([1, 1, 1, 2])
        stamp = format_timestamp(1_750_000_000 + row_id // 2)
        kind = rng.choices(TYPES, [50, 40, 10, 1])[0]
        rows.append(Row(row_id, stamp, row_id, kind, rng.choice(ACTORS), rng.choice(TARGETS), "{}", "run"))
    return rows


def expected(rows: list[Row], wanted: selection.Selection) -> list[Row]:
    """The selection as its documentation says it."""
    found = [
        row
        for row in rows
        if row.id > wanted.get("after_id", 0)
        and row.id < (wanted.get("before_id") or selection.MAX_ID)
        and (wanted.get("since") or "") <= row.timestamp <= (wanted.get("until") or "~")
        and wanted.get("target") in (None, row.target)
        and wanted.get("actor") in (None, row.actor_uid)
        and wanted.get("event_type") in (None, row.event_type)
        and row.event_type in (TYPES if wanted.get("types") is None else wanted["types"])  # type: ignore[operator]
    ]
    return found[::-1] if wanted.get("newest") else found


def some_selection(rng: Random, rows: list[Row]) -> selection.Selection:
    """Any combination."""
    wanted: dict[str, Any] = {
        "after_id": rng.randrange(rows[-1].id),
        "before_id": rng.choice([None, rng.randrange(1, rows[-1].id + 5)]),
        "since": rng.choice(rows).timestamp,
        "until": rng.choice(rows).timestamp,
        "target": rng.choice(["#a", "#b", "#none"]),
        "actor": rng.choice(["001000001", "server", "nobody"]),
        "event_type": rng.choice(TYPES),
        "types": rng.sample(TYPES, rng.randrange(len(TYPES))),
        "limit": rng.choice([400, 1_000, 10_000]),
        "newest": True,
    }
    return {name: wanted[name] for name in rng.sample(list(wanted), rng.randrange(6))}  # type: ignore[return-value]


ROWS = made(Random(3), 12_000)
ROWS[500] = ROWS[500]._replace(target="#rare", actor_uid="rare")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def connection(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A log in each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('selection')}/log.db"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.new_database()
    engine = create_engine(url)
    METADATA.create_all(engine)
    with engine.connect() as opened:
        insert_rows(opened, ROWS)
        opened.commit()
        if request.param == "postgresql":
            opened.execute(text("ANALYZE events"))
            opened.commit()
        yield opened
    engine.dispose()


def test_finds_what_was_asked_for(connection: Connection) -> None:
    """Any combination of conditions gives the rows that a look at each of them gives, in batches of any size."""
    rng = Random(7)
    for _ in range(100):
        wanted = some_selection(rng, ROWS)
        found = list(selection.batches(connection, wanted))
        assert [Row(*row) for row in chain.from_iterable(found)] == expected(ROWS, wanted), wanted
        assert all(len(batch) <= min(wanted.get("limit", selection.BATCH), selection.BATCH) for batch in found)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "pk_events"),
        ({"target": "#a"}, "idx_events_target"),
        ({"actor": "server"}, "idx_events_actor"),
        ({"event_type": "user.away"}, "idx_events_type"),
        ({"types": ["user.away", "channel.part"]}, "idx_events_type"),
        ({"event_type": "oper.kline", "target": "#a"}, "idx_events_type"),
        ({"event_type": "channel.join", "target": "#rare"}, "idx_events_target"),
        ({"event_type": "channel.join", "target": "#a"}, "idx_events_target"),
        ({"actor": "rare", "types": ["channel.join", "channel.part"]}, "idx_events_actor"),
        ({"actor": "server", "target": "#rare"}, "idx_events_target"),
    ],
)
@pytest.mark.parametrize("newest", [False, True])
def test_walks_one_index(
    connection: Connection, wanted: selection.Selection, index: str, newest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sorting of what may be millions of rows, no scan, and the index that has the fewest rows for it."""
    monkeypatch.setattr(selection, "PROBE", 200)
    conditions = selection._walked(connection, selection._conditions(wanted), 9_000, 1 << 40)
    query = selection._query(conditions, newest=newest, size=100, sqlite=connection.dialect.name == "sqlite")
    statement = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
    query = query.params(after=9_000, before=1 << 40)
    words = str(query.compile(connection, compile_kwargs={"literal_binds": True, "render_postcompile": True}))
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(selection._KEEP_TO_THE_INDEX)
    plan = "\n".join(str(row[-1]) for row in connection.exec_driver_sql(statement + words.replace("%", "%%")))
    connection.rollback()
    if connection.dialect.name == "sqlite":
        assert index.replace("pk_events", "INTEGER PRIMARY KEY") in plan
        assert ("=? AND id>? AND id<?)" if wanted else "(rowid>? AND rowid<?)") in plan
        assert "SCAN events" not in plan
        assert "TEMP B-TREE" not in plan or "types" in wanted
    else:
        assert index in plan, plan
        assert "Seq Scan" not in plan, plan
        assert not re.search(r"\bSort\b", plan) or "types" in wanted, plan
