"""The store contract: one class, one subclass for each kind of store."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from slircd.events.memory import MemoryStore
from slircd.events.migrate import SchemaError, migrations_folder, upgrade_with_alembic
from slircd.events.pages import HAPPENINGS, TEXTS, HistoryReader, Page
from slircd.events.reader import LogReader
from slircd.events.row import Credential, Head, Rewrite, Row
from slircd.events.schema import EVENTS, HEAD_REVISION
from slircd.events.store import SQLStore, StoreError
from tests.postgres import Postgres


def row(number: int, **fields: Any) -> Row:
    """A row as the bus makes it."""
    stamp = f"2025-01-01T00:00:{number % 60:02d}.000000Z"
    made = Row(number, stamp, number, "user.away", "001000001", "001000001", '{"v":1}', "run")
    return made._replace(**fields)


class Calls:
    """Collects what a store reports, and lets a test wait for it."""

    def __init__(self) -> None:
        self.commits: list[tuple[int, int]] = []
        self.trouble: list[str | None] = []
        self.fatal: list[str] = []
        self._changed = threading.Condition()

    def attach(self, store: Any) -> None:
        def note(kind: list[Any], value: Any) -> None:
            with self._changed:
                kind.append(value)
                self._changed.notify_all()

        store.on_commit = lambda last, rows, seconds: note(self.commits, (last, rows))
        store.on_trouble = lambda reason: note(self.trouble, reason)
        store.on_fatal = lambda reason: note(self.fatal, reason)

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 30), (self.commits, self.trouble, self.fatal)


class StoreContract:
    """What every store promises."""

    def open(self) -> Any:
        raise NotImplementedError

    def ask(self, question: Callable[[HistoryReader], list[Row]]) -> list[Row]:
        """What the thread of `ask_history` does, in this one."""
        found: list[Row] = self.store._ask(question)
        return found

    def setUp(self) -> None:
        self.calls = Calls()
        self.store = self.open()

    def test_empty(self) -> None:
        """An empty log has no head and no rows."""
        assert self.store.head() == Head(0, 0, "")
        assert list(self.store.read()) == []

    def test_what_is_appended_is_read(self) -> None:
        """Rows come back as they were, in order, after any id, Unicode and NULL included."""
        rows = [row(1, target=None, actor_uid=None), row(2, payload='{"v":1,"x":"é😀\\u0001"}'), row(3)]
        self.store.append(rows[:2])
        self.store.append(rows[2:])
        self.calls.wait(lambda: bool(self.calls.commits) and self.calls.commits[-1][0] == 3)
        assert list(self.store.read()) == rows
        assert list(self.store.read(2)) == rows[2:]
        assert self.store.head() == Head(3, 3, rows[2].timestamp)
        assert sum(count for _, count in self.calls.commits) == 3

    def test_rewrites_come_after_what_they_rewrite(self) -> None:
        """A row that is rewritten before it is committed is committed as it was rewritten."""
        self.store.append([row(1, payload='{"v":1,"text":"first"}')])
        self.store.append([row(2)], (), [Rewrite(1, '{"v":1}')])
        self.calls.wait(lambda: bool(self.calls.commits) and self.calls.commits[-1][0] == 2)
        assert [item.payload for item in self.store.read()] == ['{"v":1}', '{"v":1}']

    def test_conversations(self) -> None:
        """The newest message of each conversation is found by either side."""
        said = [("ann,bob", 1), ("ann,ann", 2), ("ann,bob", 3), ("bob,eve", 4), ("#c", 5)]
        self.store.append([row(number, event_type="message.privmsg", target=target) for target, number in said])
        self.calls.wait(lambda: bool(self.calls.commits) and self.calls.commits[-1][0] == 5)
        page = Page("", TEXTS, 10)
        found: list[list[int]] = []
        for side in ("ann", "bob", "eve", "joe"):
            found.append([each.id for each in self.ask(lambda reader, side=side: reader.conversations(side, page))])
        assert found == [[2, 3], [3, 4], [4], []]
        together = Page("ann,bob", TEXTS, 10)
        assert [each.id for each in self.ask(lambda reader: reader.page(together))] == [1, 3]
        assert [each.id for each in self.ask(lambda reader: reader.page(together._replace(limit=1)))] == [3]
        oldest = together._replace(limit=1, newest=False)
        assert [each.id for each in self.ask(lambda reader: reader.page(oldest))] == [1]
        later = together._replace(target="#c", types=TEXTS | HAPPENINGS, after_id=4)
        assert [each.id for each in self.ask(lambda reader: reader.page(later))] == [5]
        assert self.ask(lambda reader: [reader.first_id_at(row(3).timestamp)]) == [3]

    def test_creations(self) -> None:
        """A channel's creation at a moment is the last one before some event, if there is any."""
        for number, target in ((1, "#a"), (2, "#b"), (3, "#a"), (4, "#a")):
            self.store.append([row(number, timestamp=row(1).timestamp, event_type="channel.create", target=target)])
        self.store.append([row(5, event_type="channel.create", target="#a")])
        self.calls.wait(lambda: bool(self.calls.commits) and self.calls.commits[-1][0] == 5)
        for target, before_id, found in (("#a", 9, 4), ("#a", 4, 3), ("#b", 9, 2), ("#c", 9, 0), ("#a", 1, 0)):
            timestamp = row(1).timestamp
            asked = self.ask(lambda reader, about=(target, timestamp, before_id): [reader.creation_at(*about)])
            assert asked == [found]

    def test_many(self) -> None:
        """More rows than one batch are committed in order, each once."""
        for start in range(1, 12_001, 3):
            self.store.append([row(start), row(start + 1), row(start + 2)])
        self.calls.wait(lambda: bool(self.calls.commits) and self.calls.commits[-1][0] == 12_000)
        assert [item.id for item in self.store.read()] == list(range(1, 12_001))
        assert self.store.oldest_pending_since is None


class MemoryStoreTests(StoreContract, unittest.TestCase):
    def open(self) -> MemoryStore:
        store = MemoryStore()
        self.calls.attach(store)
        return store

    def ask(self, question: Callable[[HistoryReader], list[Row]]) -> list[Row]:
        found: list[Row] = []
        self.store.ask_history(question).addCallback(found.extend)
        return found


class SQLiteTests(StoreContract, unittest.TestCase):
    def open(self) -> SQLStore:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "log.db"
        return self.opened()

    def opened(self, **options: Any) -> SQLStore:
        # The writer's thread calls the callbacks itself here: `Calls` is made for that.
        store = SQLStore(
            f"sqlite:///{self.path}",
            call_in_reactor=lambda function, *arguments: function(*arguments),
            seconds=lambda: 0.0,
            **options,
        )
        self.calls.attach(store)
        store.open()
        self.addCleanup(store.close)
        return store

    def test_survives_reopening(self) -> None:
        """Closing writes what was appended; the next run goes on from there."""
        self.store.append([row(1)])
        self.store.close()
        assert [item.id for item in self.opened().read()] == [1]

    def test_durable_settings(self) -> None:
        """WAL with a full sync on commit: what was reported is on the disk."""
        with self.store._opened.connect() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 2

    def test_is_private(self) -> None:
        """A new database, and its WAL, is for its owner alone, whatever the umask is."""
        self.store.append([row(1)])
        self.store.close()
        self.opened()
        for suffix in ("", "-wal", "-shm"):
            assert stat.S_IMODE(Path(f"{self.path}{suffix}").stat().st_mode) == 0o600

    def test_errors_have_no_values(self) -> None:
        """What a statement was given (hashes, e-mail addresses) is not in the error that reaches the process log."""
        with self.store._opened.connect() as connection, pytest.raises(SQLAlchemyError) as caught:
            connection.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "ann@example.org"})
        assert "ann@example.org" not in str(caught.value)

    def test_one_daemon_per_log(self) -> None:
        """A second store on the same file is refused, in this process and in another."""
        with pytest.raises(StoreError, match="in use by another slircd"):
            SQLStore(f"sqlite:///{self.path}", call_in_reactor=print, seconds=float).open()
        code = (
            "import sys; from slircd.events.store import SQLStore, StoreError\n"
            "try: SQLStore(sys.argv[1], call_in_reactor=print, seconds=float).open()\n"
            "except StoreError as error: print(error); sys.exit(7)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, f"sqlite:///{self.path}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 7, done.stderr

    def test_locked_database(self) -> None:
        """A lock held by another program is trouble for as long as it lasts; then everything is written."""
        other = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        self.store.append([row(1)])
        self.store.append([row(2)])
        self.calls.wait(lambda: bool(self.calls.trouble))
        assert "locked" in str(self.calls.trouble[0])
        other.execute("ROLLBACK")
        self.calls.wait(lambda: bool(self.calls.commits) and self.calls.commits[-1][0] == 2)
        self.calls.wait(lambda: self.calls.trouble[-1] is None)
        assert [item.id for item in self.store.read()] == [1, 2]

    def test_foreign_rows(self) -> None:
        """Rows that this server did not write stop its writing for good."""
        other = sqlite3.connect(self.path)
        self.addCleanup(other.close)
        other.execute("INSERT INTO events VALUES (1,'2025-01-01T00:00:00.000000Z',1,'x',NULL,NULL,'{}','other')")
        other.commit()
        self.store.append([row(1)])
        self.calls.wait(lambda: bool(self.calls.fatal))
        assert "somebody else" in self.calls.fatal[0]

    def test_columns(self) -> None:
        """The table has exactly the eight columns and the three indexes that are promised, and one over messages."""
        inspector = inspect(self.store._opened)
        assert [column["name"] for column in inspector.get_columns("events")] == list(Row._fields)
        assert {index["name"] for index in inspector.get_indexes("events")} == {
            "idx_events_timestamp",
            "idx_events_type",
            "idx_events_target",
            "idx_events_actor",
            "idx_events_words",
        }

    def test_a_rewritten_row_leaves_nothing_behind(self) -> None:
        """What a payload was before it was rewritten is neither in the database nor in its write-ahead log."""
        secret = "unspeakable" * 500
        self.store.append([row(1), row(2, payload=f'{{"v":1,"text":"{secret}"}}'), row(3)])
        self.calls.wait(lambda: bool(self.calls.commits) and self.calls.commits[-1][0] == 3)
        assert any(b"unspeakable" in file.read_bytes() for file in self.path.parent.glob("log.db*"))
        self.store.append([row(4)], (), [Rewrite(2, '{"v":1,"text":""}')])
        self.calls.wait(lambda: self.calls.commits[-1][0] == 4)
        self.store.close()
        assert not any(b"unspeakable" in file.read_bytes() for file in self.path.parent.glob("log.db*"))
        self.store = self.opened()
        assert [item.payload for item in self.store.read()] == ['{"v":1}', '{"v":1,"text":""}', '{"v":1}', '{"v":1}']


@pytest.mark.usefixtures("cluster")
class PostgresTests(StoreContract, unittest.TestCase):
    """The same contract on PostgreSQL, and what only a server can do to its clients."""

    @pytest.fixture
    def cluster(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.url = postgres.new_database()

    def setUp(self) -> None:
        """Not yet: the fixture comes first."""

    @pytest.fixture(autouse=True)
    def _begin(self, cluster: None) -> None:
        super().setUp()

    def open(self) -> SQLStore:
        return self.opened()

    def opened(self) -> SQLStore:
        store = SQLStore(
            self.url, call_in_reactor=lambda function, *arguments: function(*arguments), seconds=lambda: 0.0
        )
        self.calls.attach(store)
        store.open()
        self.addCleanup(store.close)
        return store

    def written(self) -> int:
        return self.calls.commits[-1][0] if self.calls.commits else 0

    def test_survives_reopening(self) -> None:
        """Closing writes what was appended; the next run goes on from there."""
        self.store.append([row(1)], [Credential("ann", "argon2", "x")])
        self.store.close()
        store = self.opened()
        assert [item.id for item in store.read()] == [1]
        assert store.read_credentials() == [Credential("ann", "argon2", "x")]

    def test_one_daemon_per_log(self) -> None:
        """A second store on the same database is refused; it may come when the first has gone."""
        with pytest.raises(StoreError, match="in use by another slircd"):
            SQLStore(self.url, call_in_reactor=print, seconds=float).open()
        self.store.close()
        self.opened()

    def test_killed_connection(self) -> None:
        """A session that the server ends is replaced; what was to be written is written, once."""
        self.store.append([row(1)])
        self.calls.wait(lambda: self.written() == 1)
        database = self.url.rpartition("/")[2]
        self.postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        for number in range(2, 30):
            self.store.append([row(number)])
        self.calls.wait(lambda: self.written() == 29)
        assert [item.id for item in self.store.read()] == list(range(1, 30))

    def test_foreign_rows(self) -> None:
        """Rows that this server did not write are found after a lost connection, and stop it for good."""
        self.store.append([row(1)])
        self.calls.wait(lambda: self.written() == 1)
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO events VALUES (2,'2025-01-01',2,'x',NULL,NULL,'{}','other')"))
        engine.dispose()
        database = self.url.rpartition("/")[2]
        self.postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        self.store.append([row(2)])
        self.calls.wait(lambda: bool(self.calls.fatal))
        assert "somebody else" in self.calls.fatal[0]

    def test_the_past_of_a_target(self) -> None:
        """Rows of one target, forwards and the newest, up to a time."""
        self.store.append([row(number, target="#c" if number % 2 else "#d") for number in range(1, 20)])
        self.calls.wait(lambda: self.written() == 19)
        with LogReader(self.url) as reader:
            assert [item.id for item in reader.rows(target="#c", after_id=3)] == list(range(5, 20, 2))
            assert reader.head().id == 19
            assert len(list(reader.raw_rows(until=row(7).timestamp))) == 7


def test_schema_made_directly_equals_the_migrations(tmp_path: Path) -> None:
    """An empty database is created without Alembic; that must give what the migrations give."""

    def schema(path: Path) -> set[tuple[str, str]]:
        with sqlite3.connect(path) as connection:
            return set(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))

    store = SQLStore(f"sqlite:///{tmp_path / 'direct.db'}", call_in_reactor=print, seconds=float)
    store.open()
    store.close()
    engine = create_engine(f"sqlite:///{tmp_path / 'migrated.db'}")
    with engine.begin() as connection:
        upgrade_with_alembic(connection)
    engine.dispose()

    def normal(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
        return {(name, re.sub(r"\s*([(),])\s*", r"\1", " ".join(sql.split()))) for name, sql in pairs}

    assert normal(schema(tmp_path / "direct.db")) == normal(schema(tmp_path / "migrated.db"))


def stamped(tmp_path: Path, revision: str) -> str:
    """The URL of a log that is stamped with a revision."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    store = SQLStore(url, call_in_reactor=print, seconds=float)
    store.open()
    store.close()
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    return url


def test_schema_from_the_future(tmp_path: Path) -> None:
    """A log of a newer slircd is refused, with words."""
    with pytest.raises(SchemaError, match="newer version"):
        SQLStore(stamped(tmp_path, "9999"), call_in_reactor=print, seconds=float).open()


def test_foreign_database(tmp_path: Path) -> None:
    """A database with a table `events` that is not ours is left alone."""
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("CREATE TABLE events (x)")
    with pytest.raises(SchemaError, match="not a log of slircd"):
        SQLStore(f"sqlite:///{tmp_path / 'log.db'}", call_in_reactor=print, seconds=float).open()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "nonsense", "nosuch://x", "mysql://x/y", "postgresql+pg8000://x"]
)
def test_useless_urls(url: str) -> None:
    """A URL that can hold no log is refused with words."""
    with pytest.raises(StoreError):
        SQLStore(url, call_in_reactor=print, seconds=float).open()


def test_unwritable_folder(tmp_path: Path) -> None:
    """A path that cannot be opened is an error with its name."""
    with pytest.raises(StoreError, match=r"none/log\.db"):
        SQLStore(f"sqlite:///{tmp_path}/none/log.db", call_in_reactor=print, seconds=float).open()


def test_head_revision_is_the_newest_migration() -> None:
    """The revision that the code stamps is the one that Alembic would."""
    revisions = sorted(path.stem.split("_")[0] for path in (migrations_folder() / "versions").glob("*.py"))
    assert revisions[-1] == HEAD_REVISION
    assert EVENTS.name == "events"
