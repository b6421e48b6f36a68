"""Every revision goes up and down on both databases, and a log of every earlier revision keeps its events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import Engine

from slircd.events.migrate import current_revision, migrations_folder
from slircd.events.schema import HEAD_REVISION, METADATA
from slircd.events.store import SQLStore
from tests.postgres import Postgres

REVISIONS = sorted(path.stem.split("_")[0] for path in (migrations_folder() / "versions").glob("*.py"))
EVENT = (
    7,
    "2025-01-01T00:00:00.000000Z",
    7,
    "channel.topic_change",
    None,
    "#c",
    '{"v":1,"nick":"é😀","topic":"x"}',
    "run",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.new_database()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The same, opened."""
    opened = create_engine(url)
    yield opened
    opened.dispose()


def migrate(connection: Connection, revision: str, *, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    (command.downgrade if down else command.upgrade)(config, revision)


def insert_event(connection: Connection) -> None:
    names = ("id", "timestamp", "sequence", "event_type", "actor_uid", "target", "payload", "session_id")
    values = ", ".join(f":{name}" for name in names)
    connection.execute(text(f"INSERT INTO events VALUES ({values})"), dict(zip(names, EVENT, strict=True)))


def events(connection: Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text("SELECT * FROM events ORDER BY id"))]


def differences(connection: Connection) -> list[Any]:
    """What `alembic check` would say."""
    return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA)


def test_up_and_down(engine: Engine) -> None:
    """Each step up and down again leaves the events alone, and at the top the tables are those of the code."""
    with engine.begin() as connection:
        migrate(connection, REVISIONS[0])
        insert_event(connection)
        for revision in REVISIONS[1:]:
            migrate(connection, revision)
            migrate(connection, "-1", down=True)
            migrate(connection, revision)
            assert current_revision(connection) == revision
            assert events(connection) == [EVENT]
        assert differences(connection) == []
        for revision in REVISIONS[-2::-1]:
            migrate(connection, revision, down=True)
            assert events(connection) == [EVENT]
        migrate(connection, "base", down=True)
        assert set(inspect(connection).get_table_names()) == {"alembic_version"}


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_log_of_every_revision_is_upgraded(url: str, engine: Engine, revision: str) -> None:
    """The store brings it up to date when it opens it; its events are what they were."""
    with engine.begin() as connection:
        migrate(connection, revision)
        insert_event(connection)
    store = SQLStore(url, call_in_reactor=print, seconds=float)
    store.open()
    try:
        assert [tuple(row) for row in store.read()] == [EVENT]
        assert store.head().id == EVENT[0]
    finally:
        store.close()
    with engine.connect() as connection:
        assert current_revision(connection) == HEAD_REVISION
        assert differences(connection) == []
