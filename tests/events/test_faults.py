"""What can happen to a log, each with its real cause: what was reported as written is there, once, in order."""

from __future__ import annotations

import select
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner
from sqlalchemy.engine import make_url
from twisted.internet.task import Clock

from slircd.events.bus import EventBus
from slircd.events.interface import StoreUnavailable
from slircd.events.reader import LogReader, NoLog
from slircd.events.row import Credential
from slircd.events.schema import EVENTS
from slircd.events.store import SQLStore, StoreError
from slircd.replay.cli import main as slircd_replay
from slircd.state.feed import Damaged
from slircd.state.model import ServerState
from tests.events.test_bus import OpenGate
from tests.events.test_store import Calls, row
from tests.postgres import Postgres


def opened(url: str) -> tuple[SQLStore, Calls]:
    """A store, and what it reports."""
    calls = Calls()
    store = SQLStore(url, call_in_reactor=lambda function, *words: function(*words), seconds=float)
    calls.attach(store)
    store.open()
    return store, calls


def append(store: SQLStore, first: int, last: int) -> None:
    """Decisions of one row each."""
    for number in range(first, last + 1):
        store.append([row(number, payload='{"v":1,"nick":"a","message":"' + "x" * 500 + '"}')])


def wait_until_written(calls: Calls, last: int) -> None:
    calls.wait(lambda: bool(calls.commits) and calls.commits[-1][0] == last)
    assert sum(rows for _, rows in calls.commits) == last
    calls.wait(lambda: not calls.trouble or calls.trouble[-1] is None)


def ids(url: str) -> list[int]:
    with LogReader(url) as reader:
        return [row[0] for row in reader.raw_rows()]


# --- SQLite -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


def test_disk_full(small_disk: Path) -> None:
    """While the disk is full there is trouble; when there is room again, everything is written."""
    url = f"sqlite:///{small_disk}/log.db"
    store, calls = opened(url)
    append(store, 1, 10)
    wait_until_written(calls, 10)
    fill(small_disk / "ballast")
    append(store, 11, 200)
    calls.wait(lambda: bool(calls.trouble))
    assert "full" in str(calls.trouble[0])
    assert calls.commits[-1][0] < 200
    (small_disk / "ballast").unlink()
    wait_until_written(calls, 200)
    store.close()
    assert ids(url) == list(range(1, 201))


def test_read_only_disk(small_disk: Path) -> None:
    """A log that must not be written cannot be served, but it can be read."""
    url = f"sqlite:///{small_disk}/log.db"
    store, calls = opened(url)
    append(store, 1, 10)
    wait_until_written(calls, 10)
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises((StoreError, OSError), match=r"[Rr]ead-?only"):
        opened(url)
    assert ids(url) == list(range(1, 11))
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    store, calls = opened(url)
    store.append([row(11)])
    store.close()
    assert ids(url) == list(range(1, 12))


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_locked_by_another_process(tmp_path: Path) -> None:
    """What another program's transaction holds up is written when it ends, however that ends: here it is killed."""
    url = f"sqlite:///{tmp_path}/log.db"
    store, calls = opened(url)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "log.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin is not None
    assert other.stdout is not None
    with other, other.stdin:
        other.stdout.readline()
        append(store, 1, 50)
        calls.wait(lambda: bool(calls.trouble))
        assert "locked" in str(calls.trouble[0])
        assert calls.commits == []
        other.kill()
    wait_until_written(calls, 50)
    store.close()
    assert ids(url) == list(range(1, 51))


@pytest.mark.parametrize("damage", ["pages", "cut", "header"])
def test_damaged_file(tmp_path: Path, damage: str) -> None:
    """A log whose last pages are garbage, or missing, or that is no database at all, gets a line, not a traceback."""
    path = tmp_path / "log.db"
    url = f"sqlite:///{path}"
    store, _ = opened(url)
    store.append([row(number, payload="x" * 300) for number in range(1, 3_001)])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    pages = 4096 * 10
    with path.open("r+b") as file:
        if damage == "cut":
            file.truncate(path.stat().st_size - pages)
        else:
            file.seek(path.stat().st_size - pages if damage == "pages" else 0)
            file.write(Random(1).randbytes(pages))

    def start() -> None:
        state = ServerState()
        store, _ = opened(url)
        try:
            EventBus(
                state, store, reactor=Clock(), session_id="run", gate=OpenGate(), renderer=lambda *_: None
            ).recover(allow_future=True)
        finally:
            store.close()

    def read() -> None:
        with LogReader(url) as reader:
            for _ in reader.rows():
                pass

    for attempt, errors in ((start, (StoreError, Damaged)), (read, (NoLog,))):
        with pytest.raises(errors) as caught:
            attempt()
        assert str(path) in str(caught.value) or isinstance(caught.value, Damaged)
        assert "\n" not in str(caught.value)
    shown = CliRunner().invoke(slircd_replay, ["--db", str(path)])
    assert shown.exit_code in (3, 5)
    assert shown.stdout == ""
    assert len(shown.stderr.splitlines()) == 1, shown.stderr


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


class Proxy:
    """Stands between a client and PostgreSQL, and cuts the connection at a COMMIT when it is told to."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: str | None = None
        """`before`: the server never gets the COMMIT; `after`: the client never gets its answer."""
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Both ways, until one side ends or the connection is cut."""
        with client, server:
            while True:
                readable, _, _ = select.select([client, server], [], [])
                source, other = (client, server) if client in readable else (server, client)
                try:
                    data = source.recv(1 << 16)
                    cut = self.cut if source is client and b"COMMIT" in data else None
                    if cut is not None:
                        self.cut = None
                        self.cuts += 1
                    if cut == "after":
                        server.sendall(data)
                        server.recv(1 << 16)  # its answer: the transaction is done
                    if cut is not None or not data:
                        return
                    other.sendall(data)
                except OSError:
                    return


@pytest.mark.parametrize("when", ["before", "after"])
def test_connection_cut_at_commit(postgres: Postgres, when: str) -> None:
    """Whether a COMMIT arrived or only its answer was lost: nothing is written twice, and nothing is missing."""
    url = postgres.new_database()
    proxy = Proxy(postgres.port)
    store, calls = opened(str(make_url(url).set(port=proxy.port)))
    for round_ in range(5):
        proxy.cut = when
        first = round_ * 20 + 1
        append(store, first, first + 19)
        store.append([row(first + 20)], [Credential("ann", "argon2", str(round_))]) if round_ == 4 else None
        last = first + (20 if round_ == 4 else 19)
        calls.wait(lambda last=last: bool(calls.commits) and calls.commits[-1][0] == last)  # type: ignore[misc]
    store.close()
    proxy.close()
    assert proxy.cuts == 5
    assert len([reason for reason in calls.trouble if reason is not None]) == 5
    assert ids(url) == list(range(1, 102))


def test_server_goes_away_under_load(postgres: Postgres) -> None:
    """Sessions are ended and the server is stopped as by a crash, while rows keep coming: each is written once."""
    url = postgres.new_database()
    database = make_url(url).database
    store, calls = opened(url)
    done = threading.Event()
    rng = Random(5)

    def load() -> None:
        for number in range(1, 4_001):
            store.append([row(number)])
            if number % 20 == 0:
                done.wait(0.01)

    thread = threading.Thread(target=load)
    thread.start()
    for _ in range(6):
        seen = len(calls.commits) + rng.randrange(4)
        calls.wait(lambda seen=seen: len(calls.commits) > seen)  # type: ignore[misc]
        postgres.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    postgres.stop()
    postgres.start()
    thread.join()
    calls.wait(lambda: bool(calls.commits) and calls.commits[-1][0] == 4_000)
    store.close()
    assert ids(url) == list(range(1, 4_001))


def test_reading_while_the_server_is_away(postgres: Postgres) -> None:
    """Who asks for the history meanwhile is told to come again; no error of the driver's comes through."""
    store, calls = opened(postgres.new_database())
    append(store, 1, 3)
    wait_until_written(calls, 3)
    postgres.stop()
    try:
        for ask in (lambda: store._ask(lambda reader: reader.find("1")), lambda: store._fetch(EVENTS.select(), False)):
            with pytest.raises(StoreUnavailable, match="cannot be used"):
                ask()
    finally:
        postgres.start()
    assert len(store._fetch(EVENTS.select(), False)) == 3
    store.close()


def test_database_of_another_encoding(postgres: Postgres) -> None:
    """A database that cannot hold every text is refused at the start, not when somebody writes such a text."""
    postgres.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match="UTF8"):
        opened(postgres.url("latin"))
