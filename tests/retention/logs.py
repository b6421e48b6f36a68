"""Logs in real databases, with what a lively network writes, for every test of retention."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slircd.cli import main
from slircd.events.reader import LogReader
from slircd.events.row import Credential, Row
from slircd.events.store import SQLStore
from slircd.replay.reconstructor import Replayed, replay
from slircd.state.snapshot import digest
from tests.harness import World
from tests.postgres import Postgres

DAY_S = 86_400


def write(url: str, rows: Sequence[Row], credentials: Sequence[Credential] = ()) -> None:
    """Make a log of rows."""
    store = SQLStore(url, call_in_reactor=lambda *_: None, seconds=float)
    store.open()
    if rows:
        store.append(list(rows), list(credentials))
    store.close()


def read(url: str) -> list[Row]:
    """All rows."""
    with LogReader(url) as reader:
        return list(reader.rows())


def slircd(*words: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def lively() -> World:
    """Some days of a small network: accounts, a registered channel, bans, operators, people who come and go."""
    world = World()
    ann = world.client("ann", address="192.0.2.10")
    bob = world.client("bob", address="192.0.2.20")
    ann.sends("NS REGISTER password1", "JOIN #help", "TOPIC #help :ask here", "CS REGISTER #help")
    bob.sends("JOIN #help", "AWAY :lunch")
    for day in range(10):
        world.clock.advance(DAY_S)
        eve = world.oper(f"eve{day}", address=f"198.51.100.{day}")
        eve.sends("JOIN #help", f"JOIN #day{day}", f"KLINE 1440 *@203.0.113.{day} :spam")
        ann.sends(f"MODE #help +b *!*@203.0.113.{day}", f"TOPIC #help :day {day}")
        if day % 2:
            ann.sends(f"MODE #help -b *!*@203.0.113.{day}")
        eve.sends("QUIT :bye")
    return world


class Databases:
    """A mix-in for tests that run on every kind of database: `new_url` gives an empty one."""

    def new_url(self) -> str:
        raise NotImplementedError

    def digest(self, url: str, until: str | None = None) -> str:
        """The digest of the state at the end of a log, or at a moment."""
        into = Replayed()
        with LogReader(url) as reader:
            replay(reader.raw_rows(until=until), into)
        return digest(into.state)


class OnSQLite(Databases):
    """In a file."""

    def new_url(self) -> str:
        folder: Any = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)  # type: ignore[attr-defined]
        return f"sqlite:///{Path(folder.name) / 'log.db'}"


@pytest.mark.usefixtures("cluster")
class OnPostgres(Databases):
    """In PostgreSQL."""

    @pytest.fixture
    def cluster(self, postgres: Postgres) -> None:
        self.postgres = postgres

    def new_url(self) -> str:
        return self.postgres.new_database()
