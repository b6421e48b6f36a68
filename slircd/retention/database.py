"""The connection that works on a log beside the server which writes it: small transactions, pauses, one worker.

The server goes on writing meanwhile.  On SQLite its writer waits for ours, so a transaction here takes some
milliseconds, and after each comes a pause that is longer than the transaction was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from slircd.events.database import lock_file
from slircd.events.migrate import current_revision
from slircd.events.reader import ForeignSchema, LogError, NoLog, log_url
from slircd.events.schema import HEAD_REVISION

ADVISORY_LOCK: Final = int.from_bytes(b"slircd-r", "big", signed=True)
"""The key of the advisory lock that keeps a second worker off a PostgreSQL log."""

TARGET_S: Final = 0.02
"""How long a transaction beside a running server is to take."""

LOCK_PATIENCE_S: Final = 2.0
"""How long a PostgreSQL log that another worker holds is asked for again."""

FIRST_BATCH: Final = 100
MOST: Final = 5_000


class Busy(LogError):
    """Somebody else works on the log; the text says who."""


def _nowhere(step: str) -> None:
    """A `reached` of nobody."""


class Pace:
    """How many rows the next transaction takes, so that it takes about TARGET_S, and the pause behind it."""

    def __init__(self) -> None:
        self.rows = FIRST_BATCH
        self.pause = True

    def took(self, seconds: float, rows: int) -> None:
        """A transaction of `rows` rows took so long."""
        if rows >= self.rows and seconds < TARGET_S / 2:
            self.rows = min(self.rows * 2, MOST)
        elif seconds > TARGET_S:
            self.rows = max(self.rows // 2, 10)
        if self.pause:
            time.sleep(min(2 * seconds, 0.5))


class Workplace:
    """A log that is worked on.  Use it as a context manager; while it is open no other worker is let in.

    `location` is a path or a URL.  Entering raises NoLog, ForeignSchema or Busy.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.url: URL = log_url(location)
        self.pace = Pace()
        self.reached: Callable[[str], None] = _nowhere
        """Told of each step, so that tests can end the work there."""
        self._engine: Engine | None = None
        self._lock_file: IO[bytes] | None = None
        self._lock: Connection | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether the log is a file."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def shown(self) -> str:
        """The log's place, without a password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path:
        """The file of a log in SQLite."""
        return Path(self.url.database or "")

    @property
    def engine(self) -> Engine:
        """For reading, in as many connections as it takes."""
        if self._engine is None:
            raise RuntimeError("the log is not open")
        return self._engine

    def __enter__(self) -> Workplace:
        if self.is_sqlite and not self.path.is_file():
            raise NoLog(f"{self.url.database}: no such file")
        try:
            self._engine = make_engine(self.url)
            self._take_lock()
            with self.engine.connect() as connection:
                self._check_schema(connection)
        except (SQLAlchemyError, OSError, ImportError) as error:
            self._close()
            raise NoLog(f"{self.shown} cannot be used: {getattr(error, 'orig', None) or error}") from None
        except LogError:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._lock is not None:
            self._lock.invalidate()
            self._lock.close()
            self._lock = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def _take_lock(self) -> None:
        if self.is_sqlite:
            try:
                self._lock_file = lock_file(f"{self.path}.retention.lock")
            except BlockingIOError:
                raise Busy(
                    f"another `slircd events` works on {self.path} (it holds {self.path}.retention.lock)"
                ) from None
            return
        self._lock = self.engine.connect()
        # The server frees a lock a moment after the session that held it has gone.
        until = time.monotonic() + LOCK_PATIENCE_S
        while not self._lock.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK}).scalar():
            self._lock.commit()
            if time.monotonic() > until:
                raise Busy(f"another `slircd events` works on {self.shown}")
            time.sleep(0.05)
        self._lock.commit()

    def _check_schema(self, connection: Connection) -> None:
        revision = current_revision(connection)
        if revision is None:
            raise ForeignSchema(f"{self.shown} is not a log of slircd")
        if revision != HEAD_REVISION:
            what = (
                "use the newer version"
                if revision > HEAD_REVISION
                else "start the server, or run `alembic upgrade head`"
            )
            raise ForeignSchema(
                f"{self.shown} has schema revision {revision}, this slircd needs {HEAD_REVISION}: {what}"
            )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for questions."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """A transaction; on SQLite it takes the write lock at once, so that it never has to give up half-way."""
        with self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()


def make_engine(url: URL) -> Engine:
    """An engine with the settings of work beside a server: patient, and deleted bytes are overwritten."""
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    engine = create_engine(url, hide_parameters=True)
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Transactions are begun by `changing` itself: the driver's implicit BEGIN takes the write lock too late.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
