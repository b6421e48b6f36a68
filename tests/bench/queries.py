"""What questions to a large log cost: `python -m tests.bench.queries PATH [--pages N]`; prints JSON.

PATH is a log (tests.bench.generate writes one) or a URL.  For each kind of question it reads pages of 100 rows at random
places of the log, as the admin API does, and says how long a page took, with the plan by which it was found; beside that
the most memory that reading all rows took, the size of table and indexes, and rows by family.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from random import Random
from typing import Any

from sqlalchemy import Connection, create_engine, text

from slircd.events import selection
from slircd.events.database import parse_url
from slircd.events.reader import LogReader
from slircd.events.selection import Selection
from tests.bench.log import spread

PAGE = 100


def questions(connection: Connection) -> dict[str, Selection]:
    """Questions about what this log has much and little of."""

    def common(column: str, place: int) -> str:
        """A value with many rows, or with few: by its rank among those of a sample."""
        sample = f"SELECT {column} AS value FROM events WHERE {column} IS NOT NULL ORDER BY id DESC LIMIT 200000"
        ranked = f"SELECT value FROM ({sample}) AS sample GROUP BY value ORDER BY count(*) DESC"
        values = [row[0] for row in connection.execute(text(ranked))]
        return str(values[min(place, len(values) - 1)])

    big, small = common("target", 1), common("target", 500)
    oper, somebody = "server", common("actor_uid", 3)
    return {
        "range": {},
        "range, newest first": {"newest": True},
        "target, much": {"target": big},
        "target, little": {"target": small},
        "type, much": {"event_type": "channel.join"},
        "type, little": {"event_type": "oper.kline"},
        "types": {"types": ["channel.kick", "channel.ban_add", "oper.kline"]},
        "actor, much": {"actor": oper},
        "actor, little": {"actor": somebody},
        "target and type": {"target": big, "event_type": "channel.kick"},
        "target and types, newest first": {"target": big, "types": ["channel.kick", "channel.part"], "newest": True},
        "type and actor": {"event_type": "channel.topic_change", "actor": somebody},
    }


def measure(location: str, pages: int) -> dict[str, Any]:
    """All figures of one log."""
    url = parse_url(location if "://" in location else f"sqlite:///{location}")
    engine = create_engine(url)
    rng, result = Random(1), {}
    with engine.connect() as connection, LogReader(location) as reader:
        head = reader.head()
        for name, question in questions(connection).items():
            took: dict[str, list[float]] = {"by id": [], "by time": []}
            rows = 0
            for _ in range(pages):
                place = rng.randrange(head.id)
                moment = reader.select(
                    text("SELECT timestamp FROM events WHERE id >= :id ORDER BY id LIMIT 1"), {"id": place}
                )
                if question.get("newest"):
                    places: list[Selection] = [{"before_id": place}, {"until": moment[0][0]}]
                else:
                    places = [{"after_id": place}, {"since": moment[0][0]}]
                for how, where in zip(took, places, strict=True):
                    started = time.perf_counter()
                    rows += len(next(reader.batches(**{**question, **where, "limit": PAGE})))  # type: ignore[typeddict-item]
                    took[how].append(time.perf_counter() - started)
            result[name] = {
                "rows_per_page": round(rows / pages / 2),
                "ms": {how: spread(times) for how, times in took.items()},
                "plan": plan(connection, question),
            }
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, count = time.perf_counter(), 0
        for batch in reader.batches():
            count += len(batch)
        reading = {
            "rows": count,
            "rows_per_s": round(count / (time.perf_counter() - started)),
            "more_memory_mb": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
        }
        figures = {
            "database": engine.dialect.name,
            "pages_of": PAGE,
            "questions": result,
            "reading_all": reading,
            "bytes_per_event": sizes(connection, count),
            "families": families(connection),
        }
    engine.dispose()
    return figures


def plan(connection: Connection, question: Selection) -> list[str]:
    """How the database walks."""
    middle, sqlite = 1 << 20, connection.dialect.name == "sqlite"
    conditions = selection._walked(connection, selection._conditions(question), middle, 1 << 40)
    query = selection._query(conditions, newest=question.get("newest", False), size=PAGE, sqlite=sqlite).params(
        after=middle, before=1 << 40
    )
    words = str(query.compile(connection, compile_kwargs={"literal_binds": True, "render_postcompile": True}))
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(selection._KEEP_TO_THE_INDEX)
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN (COSTS OFF) "
    lines = [str(row[-1]).strip() for row in connection.exec_driver_sql(explain + words.replace("%", "%%"))]
    connection.rollback()
    return lines


def sizes(connection: Connection, rows: int) -> dict[str, float]:
    """Bytes for each event, of the table and of each index."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, sum(pgsize) FROM dbstat WHERE name LIKE '%events%' GROUP BY name"
    else:
        query = "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relname ~ 'events' AND relkind IN ('r', 'i') ORDER BY 1"
    return {name: round(size / rows, 1) for name, size in connection.execute(text(query))}


def families(connection: Connection) -> dict[str, int]:
    """Rows by the family of their type."""
    counts: dict[str, int] = {}
    for name, count in connection.execute(text("SELECT event_type, count(*) FROM events GROUP BY event_type")):
        family = name.partition(".")[0]
        counts[family] = counts.get(family, 0) + count
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="the log: a path, or a URL")
    parser.add_argument("--pages", type=int, default=50, help="of each question")
    options = parser.parse_args()
    json.dump(measure(options.path, options.pages), sys.stdout, indent=2)


if __name__ == "__main__":
    main()
