"""How much happened when: counted once, exact at any zoom, and honest while it is not counted yet."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slircd.admin import timeline as module
from slircd.admin.families import FAMILIES, family_of, types_by_family
from slircd.admin.timeline import BLOCK, Activity, Timeline
from slircd.events.clock import format_timestamp, parse_timestamp
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.store import SQLStore
from slircd.events.types import EVENT_TYPES
from tests.admin.harness import ADMIN, AdminTestCase
from tests.postgres import Postgres
from tests.retention.logs import write

START = 1_750_000_000.0
TYPES = ("user.connect", "channel.join", "channel.topic_change", "message.privmsg", "oper.kline", "from.the.future")


def make_log(path: Path, times: list[float], *, first_id: int = 1, seed: int = 1) -> list[Row]:
    """A log with an event at each of `times`."""
    rng = Random(seed)
    rows = [
        Row(first_id + index, format_timestamp(at), first_id + index, rng.choice(TYPES), None, None, '{"v":1}', "s")
        for index, at in enumerate(times)
    ]
    store = SQLStore(f"sqlite:///{path}", call_in_reactor=lambda *_: None, seconds=float)
    store.open()
    for start in range(0, len(rows), 4000):
        store.append(rows[start : start + 4000])
    store.close()
    return rows


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    """Ten thousand events in bursts, with nothing in between."""
    rng = Random(7)
    at = START
    times: list[float] = []
    for _ in range(10_000):
        at += rng.choice((0.0, 0.001, 0.2, 3.0)) if rng.random() < 0.995 else 40_000.0
        times.append(at)
    path = tmp_path_factory.mktemp("timeline") / "log.db"
    return path, make_log(path, times)


def complete(activity: Activity, reader: LogReader, *span: str | None, buckets: int = 100) -> Timeline:
    """Look until the log is counted."""
    since, until = span or (None, None)
    while (found := activity.look(reader, since, until, buckets)).counted < 1:
        pass
    return found


def counted_by_hand(rows: list[Row], found: Timeline) -> dict[str, list[int]]:
    start, end = parse_timestamp(found.start), parse_timestamp(found.end)
    buckets = round((end - start) / found.width_s)
    edges = [format_timestamp(start + index * found.width_s) for index in range(buckets + 1)]
    counts: Counter[tuple[str, int]] = Counter()
    for row in rows:
        for index in range(buckets):
            if edges[index] <= row.timestamp < edges[index + 1]:
                counts[family_of(row.event_type), index] += 1
    columns = {family: [counts[family, index] for index in range(buckets)] for family in FAMILIES}
    return {family: column for family, column in columns.items() if any(column)}


def test_the_whole_log(log: tuple[Path, list[Row]]) -> None:
    """Every event is in one bucket of its family, unknown types among them; the ends are those of the log."""
    path, rows = log
    with LogReader(str(path)) as reader:
        found = complete(Activity(), reader)
    assert found.total == len(rows)
    assert found.counts == counted_by_hand(rows, found)
    assert (found.first.id, found.last.id) == (1, len(rows))
    assert found.start <= rows[0].timestamp
    assert found.end > rows[-1].timestamp
    assert len(next(iter(found.counts.values()))) <= 102


def test_postgresql(log: tuple[Path, list[Row]], postgres: Postgres) -> None:
    """Blocks are whole numbers there, too: the same log gives the same timeline."""
    path, rows = log
    url = postgres.new_database()
    write(url, rows)
    with LogReader(str(path)) as here, LogReader(url) as there:
        assert complete(Activity(), there) == complete(Activity(), here)


def test_any_window_is_exact(log: tuple[Path, list[Row]]) -> None:
    """However far one zooms in, and wherever, the counts are those of the rows."""
    path, rows = log
    activity = Activity()
    with LogReader(str(path)) as reader:
        complete(activity, reader)

        @settings(max_examples=40, deadline=None)
        @given(st.integers(0, len(rows) - 1), st.floats(0.001, 500_000), st.integers(1, 60))
        def check(index: int, span_s: float, buckets: int) -> None:
            begin = parse_timestamp(rows[index].timestamp)
            found = activity.look(reader, format_timestamp(begin), format_timestamp(begin + span_s), buckets)
            assert found.counts == counted_by_hand(rows, found)
            assert len(next(iter(found.counts.values()), [])) <= buckets + 2

        check()


def test_what_is_not_counted_yet_is_said(log: tuple[Path, list[Row]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A question counts for a bounded time; it answers how far it is, and the next goes on from there."""
    path, rows = log
    monkeypatch.setattr(module, "CHUNK", 1)
    monkeypatch.setattr(module, "BUDGET_S", 0.0)
    activity = Activity()
    with LogReader(str(path)) as reader:
        first = activity.look(reader, None, None, 50)
        assert first.counted == 0
        assert first.total < len(rows)
        monkeypatch.setattr(module, "BUDGET_S", 60.0)
        assert activity.look(reader, None, None, 50).counted == 1


def test_new_events_are_counted_too(tmp_path: Path) -> None:
    """A look after more events have come shows them, without counting the old ones again."""
    rows = make_log(tmp_path / "log.db", [START + index for index in range(3 * BLOCK)])
    activity = Activity()
    with LogReader(str(tmp_path / "log.db")) as reader:
        assert complete(activity, reader).total == len(rows)
    make_log(tmp_path / "log.db", [START + 9000 + index for index in range(BLOCK + 5)], first_id=len(rows) + 1)
    with LogReader(str(tmp_path / "log.db")) as reader:
        assert complete(activity, reader).total == len(rows) + BLOCK + 5


def test_a_pruned_log(tmp_path: Path) -> None:
    """A log from whose middle rows are gone is counted again, and one whose first rows are gone from where it begins."""
    path = tmp_path / "log.db"
    rows = make_log(path, [START + index for index in range(3 * BLOCK)], first_id=5 * BLOCK + 17)
    activity = Activity()
    with LogReader(str(path)) as reader:
        assert complete(activity, reader).total == len(rows)
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM events WHERE event_type = 'message.privmsg'")
        last = rows[-1]
        prune = last._replace(id=last.id + 1, sequence=last.sequence + 1, event_type="server.prune")
        database.execute("INSERT INTO events VALUES (?,?,?,?,?,?,?,?)", prune)
    database.close()
    left = [*(row for row in rows if row.event_type != "message.privmsg"), prune]
    with LogReader(str(path)) as reader:
        found = complete(activity, reader)
        assert found.counts == counted_by_hand(left, found)
        assert found.total == len(left)


def test_an_empty_log(tmp_path: Path) -> None:
    """Nothing happened, and that is no error."""
    make_log(tmp_path / "log.db", [])
    with LogReader(str(tmp_path / "log.db")) as reader:
        found = Activity().look(reader, None, None, 100)
    assert (found.total, found.counts, found.counted) == (0, {}, 1.0)


def test_from_many_threads(log: tuple[Path, list[Row]]) -> None:
    """Whoever asks while another one counts waits, and gets the same answer."""
    path, rows = log
    activity = Activity()
    totals: list[int] = []

    def ask() -> None:
        with LogReader(str(path)) as reader:
            totals.append(complete(activity, reader).total)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [len(rows)] * 4


def test_every_type_has_one_family() -> None:
    """The catalogue that the page gets has every type once."""
    types = [name for names in types_by_family().values() for name in names]
    assert sorted(types) == sorted(EVENT_TYPES)
    assert family_of("channel.kick") == "channel"
    assert family_of("channel.ban_add") == "state"
    assert family_of("plugin.fault") == family_of("nonsense") == "other"


class Routes(AdminTestCase):
    def test_timeline(self) -> None:
        """The route answers with the figures of the log, and refuses a span that ends before it begins."""
        self.on_channel("#c", "@ann", "bob")
        found = self.ask("/admin/timeline?buckets=10", ADMIN).json
        self.assertEqual(found["total"], len(self.world.store.rows))
        self.assertEqual(found["counts"]["channel"][0], 3)
        refused = self.ask("/admin/timeline?from=2025-01-02&to=2025-01-01", ADMIN)
        self.assertEqual((refused.status, refused.json["parameter"]), (400, "to"))
        self.assertEqual(self.ask("/admin/timeline?buckets=0", ADMIN).status, 400)
        self.assertEqual(self.ask("/admin/timeline", None).status, 401)

    def test_catalogue(self) -> None:
        """The page learns the server's name and the types."""
        found = self.ask("/admin/catalogue", ADMIN).json
        self.assertEqual((found["server"], found["network"]), ("irc.test", "TestNet"))
        self.assertIn("channel.join", found["families"]["channel"])
