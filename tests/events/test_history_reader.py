"""Questions about the past: the database answers what a list does, and by an index."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import create_engine, insert

from slircd.events.history import ListHistoryReader, SQLHistoryReader, creation_query, messages_query
from slircd.events.pages import HAPPENINGS, MESSAGES, TEXTS, Page, channel_page, is_direct, sides_of
from slircd.events.row import Row
from slircd.events.schema import CONVERSATIONS, EVENTS, METADATA


def rows(count: int) -> list[Row]:
    """A random log with everything that history looks at."""
    rng = Random(7)
    made: list[Row] = []
    for row_id in range(1, count + 1):
        kind = rng.choice([*sorted(TEXTS), "message.tagmsg", "channel.join", "channel.create", "user.disconnect"])
        target, payload = rng.choice(["#a", "#b"]), "{}"
        if kind in MESSAGES and rng.random() < 0.4:
            target = rng.choice(["ann,bob", "ann,ann", "bob,eve"])
        if kind == "user.disconnect":
            target = "001000001"
            payload = (
                '{"v":1,"nick":"x","username":"x","host":"x","realname":"x","account":null,"reason":"x",'
                f'"channels":{{"{rng.choice(["#a", "#b"])}":""}}}}'
            )
        timestamp = f"2025-01-01T00:00:{row_id // 7 % 60:02d}.{row_id:06d}Z"
        made.append(Row(row_id, timestamp, row_id, kind, "001000001", target, payload, "run"))
    return made


def test_both_readers_agree(tmp_path: Path) -> None:
    """Random pages, moments and conversations: SQL and the list give the same rows."""
    log = rows(400)
    engine = create_engine(f"sqlite:///{tmp_path}/log.db")
    METADATA.create_all(engine)
    latest = {pair: row.id for row in log if is_direct(row) for pair in sides_of(row.target or "")}
    with engine.begin() as connection:
        connection.execute(insert(EVENTS), [row._asdict() for row in log])
        notes = [{"side": side, "other": other, "last_id": row_id} for (side, other), row_id in latest.items()]
        connection.execute(insert(CONVERSATIONS), notes)
    rng = Random(3)
    with engine.connect() as connection:
        ours, theirs = SQLHistoryReader(connection), ListHistoryReader(log)
        for _ in range(200):
            types = rng.choice([TEXTS, MESSAGES, MESSAGES | HAPPENINGS])
            after = rng.randrange(400)
            page = Page(
                rng.choice(["#a", "ann,bob", "#none"]), types, rng.randrange(1, 30), after, after + rng.randrange(300)
            )
            page = page._replace(newest=rng.random() < 0.5)
            assert ours.page(page) == theirs.page(page)
            assert channel_page(ours, page) == channel_page(theirs, page)
            assert ours.conversations("ann", page) == theirs.conversations("ann", page)
            moment = rng.choice(log).timestamp[:-3] + "500Z"
            assert ours.first_id_at(moment[:27]) == theirs.first_id_at(moment[:27])
            row = rng.choice(log)
            assert ours.creation_at("#a", row.timestamp, page.before_id) == theirs.creation_at(
                "#a", row.timestamp, page.before_id
            )
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            str(messages_query("sqlite", newest=True).bindparams(types=["x"])),
            "idx_events_words (target=? AND id>? AND id<?)",
        ),
        (
            "SELECT * FROM events WHERE target = ? AND event_type IN (?, ?) AND id > ? AND id < ? ORDER BY id LIMIT 50",
            "idx_events_target (target=? AND id>? AND id<?)",
        ),
        (str(creation_query("sqlite")), "idx_events_timestamp (timestamp=? AND rowid<?)"),
        (
            "SELECT * FROM events WHERE event_type = ? AND id > ? AND id < ? ORDER BY id DESC LIMIT 50",
            "idx_events_type (event_type=? AND id>? AND id<?)",
        ),
        (
            "SELECT id FROM events WHERE timestamp >= ? ORDER BY timestamp, id LIMIT 1",
            "idx_events_timestamp (timestamp>?)",
        ),
    ],
)
def test_questions_use_their_index(tmp_path: Path, query: str, index: str) -> None:
    """No question sorts, or reads what it does not need."""
    engine = create_engine(f"sqlite:///{tmp_path}/log.db")
    METADATA.create_all(engine)
    engine.dispose()
    connection = sqlite3.connect(tmp_path / "log.db")
    query = re.sub(r":[a-z_]+|__\[[A-Z_a-z]+\]", "?", query).replace("IN ?", "IN (?)")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", ["x"] * query.count("?"))]
    connection.close()
    assert len(plan) == 1
    assert index in plan[0]
