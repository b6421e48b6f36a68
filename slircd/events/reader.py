"""Reading a log without touching it: a running server's, a copy, a file without write permission, PostgreSQL's."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from sqlalchemy import Connection, Engine, Executable, Select, create_engine, func, inspect, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from slircd.events import checkpoints, runs, selection
from slircd.events.checkpoints import Checkpoint
from slircd.events.database import parse_url, words_of
from slircd.events.interface import Start
from slircd.events.row import Head, Row
from slircd.events.schema import EVENTS, HEAD_REVISION
from slircd.events.selection import Selection
from slircd.state.model import ServerState


class LogError(Exception):
    """A log cannot be read; the text says why."""


class NoLog(LogError):
    """There is no such database."""


class ForeignSchema(LogError):
    """The database is no log of slircd, or one of a newer version."""


def log_url(text: str) -> URL:
    """The URL of a log that is given as a path or as SQLAlchemy's URL.  Raises NoLog."""
    if "://" not in text:
        return URL.create("sqlite", database=text)
    try:
        return parse_url(text)
    except ValueError as error:
        raise NoLog(f"the log cannot be read: {error}") from None


class LogReader:
    """A log, opened for reading only.  Use it as a context manager."""

    def __init__(self, location: str) -> None:
        """`location` is a path or a URL."""
        self._url = log_url(location)
        self._engine: Engine | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> LogReader:
        """Open it.  Raises NoLog or ForeignSchema."""
        shown = self._url.render_as_string(hide_password=True)
        if self._url.get_backend_name() == "sqlite" and not Path(self._url.database or "").is_file():
            raise NoLog(f"{self._url.database}: no such file")
        try:
            self._connection = self._connect()
            self._check_schema(self._connection, shown)
        except (SQLAlchemyError, OSError, ImportError) as error:
            self.close()
            raise NoLog(f"{shown} cannot be read: {words_of(error)}") from None
        except LogError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._engine is not None:
            self._engine.dispose()
        if self._copy is not None:
            self._copy.cleanup()

    def _connect(self) -> Connection:
        if self._url.get_backend_name() != "sqlite":
            self._engine = create_engine(self._url, execution_options={"postgresql_readonly": True})
            return self._engine.connect()
        path = Path(self._url.database or "").resolve()
        # A log in WAL mode can be read only by who may write its -shm file, or where a reader has made it; where that
        # is not so, a copy with its WAL is read, because `immutable` would leave out what only the WAL has.
        if not os.access(path.parent, os.W_OK) or not os.access(path, os.W_OK):
            self._copy = tempfile.TemporaryDirectory(prefix="slircd-replay-")
            for suffix in ("", "-wal"):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{suffix}", f"{self._copy.name}/log.db{suffix}")
            path = Path(self._copy.name, "log.db")
        mode = "ro" if self._copy is None else "rw"
        self._engine = create_engine(f"sqlite:///file:{_quoted(path)}?mode={mode}&uri=true")
        return self._engine.connect()

    @staticmethod
    def _check_schema(connection: Connection, shown: str) -> None:
        tables = inspect(connection)
        if not tables.has_table("events") or not tables.has_table("alembic_version"):
            raise ForeignSchema(f"{shown} is not a log of slircd")
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if str(revision) > HEAD_REVISION:
            raise ForeignSchema(
                f"{shown} has schema revision {revision}, this slircd knows {HEAD_REVISION}: use the newer version"
            )

    @property
    def is_copy(self) -> bool:
        """Whether it is a copy of the moment when it was opened, because nothing may be written where the log is."""
        return self._copy is not None

    @property
    def is_sqlite(self) -> bool:
        """Whether the log is a file."""
        return self._url.get_backend_name() == "sqlite"

    @property
    def _opened(self) -> Connection:
        if self._connection is None:
            raise RuntimeError("the log is not open")
        return self._connection

    @contextmanager
    def _asking(self) -> Iterator[Connection]:
        """The connection, for one question; afterwards nothing of the database is held.  Raises NoLog."""
        connection = self._opened
        driver: Any = connection.dialect.loaded_dbapi
        try:
            yield connection
            connection.rollback()
        except (SQLAlchemyError, driver.Error) as error:
            with suppress(SQLAlchemyError, driver.Error):
                connection.rollback()
            shown = self._url.render_as_string(hide_password=True)
            raise NoLog(f"{shown} cannot be read: {words_of(error)}") from None

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def checkpoints(self) -> list[Checkpoint]:
        """The log's checkpoints, its base among them, the oldest first."""
        with self._asking() as connection:
            return list(checkpoints.find(connection))[::-1] if checkpoints.exist(connection) else []

    def start(
        self,
        *,
        until_id: int | None = None,
        until: str | None = None,
        only_base: bool = False,
        ignored: list[str] | None = None,
    ) -> Start:
        """Where a replay that leads to `until_id` or `until` begins (events.checkpoints.newest)."""
        with self._asking() as connection:
            return checkpoints.newest(connection, until_id=until_id, until=until, only_base=only_base, ignored=ignored)

    def base(self) -> Checkpoint | None:
        """The base, if the beginning of the log was removed by retention."""
        with self._asking() as connection:
            return checkpoints.find_base(connection) if checkpoints.exist(connection) else None

    def load(self, checkpoint: Checkpoint) -> ServerState:
        """The state of a checkpoint.  Raises DamagedCheckpoint."""
        with self._asking() as connection:
            return checkpoints.load(connection, checkpoint)

    def generation(self) -> runs.Generation:
        """How retention stands; whoever replays compares it before and after."""
        try:
            return runs.generation(self._opened)
        finally:
            self._opened.rollback()

    # --- reading --------------------------------------------------------------------------------------------------

    def end(self) -> Head:
        """Where the log ends: its newest row, or its base where there is none behind that."""
        base = self.base()
        return self.head() if base is None else max(self.head(), base.position)

    def head(self) -> Head:
        """The newest row."""
        return self._one(select(EVENTS).order_by(EVENTS.c.id.desc()).limit(1))

    def head_at(self, timestamp: str) -> Head:
        """The newest row that is not later than `timestamp`."""
        ordered = select(EVENTS).order_by(EVENTS.c.timestamp.desc(), EVENTS.c.id.desc())
        return self._one(ordered.where(EVENTS.c.timestamp <= timestamp).limit(1))

    def first(self) -> Head:
        """The oldest row."""
        return self._one(select(EVENTS).order_by(EVENTS.c.id).limit(1))

    def _one(self, query: Select[Any]) -> Head:
        with self._asking() as connection:
            row = connection.execute(query).first()
        return Head(0, 0, "") if row is None else Head(row.id, row.sequence, row.timestamp)

    def rewritten(self) -> int:
        """The id of the event that says that rows were last deleted or changed; what was read before may be wrong."""
        kinds = ("server.prune", "server.redact")
        [(found,)] = self.select(select(func.max(EVENTS.c.id)).where(EVENTS.c.event_type.in_(kinds)))
        return found or 0

    @property
    def location(self) -> str:
        """Its URL, which tells it from other logs; with the password, so not for people."""
        return self._url.render_as_string(hide_password=False)

    def select(self, query: Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Any]:
        """What a query of the caller's own finds, all at once: it has to set limits itself."""
        with self._asking() as connection:
            return connection.execute(query, dict(parameters or {})).fetchall()

    def last_id(self, until: str, *, inclusive: bool = True) -> int:
        """The id of the newest row that is not later than `until`, or (not `inclusive`) earlier; 0 if there is none."""
        with self._asking() as connection:
            return selection.last_id(connection, until, inclusive=inclusive)

    def rows(self, **wanted: Unpack[Selection]) -> Iterator[Row]:
        """The selected rows, in order; read in batches, so the caller may stop whenever it has enough."""
        return map(Row._make, self.raw_rows(**wanted))

    def raw_rows(self, **wanted: Unpack[Selection]) -> Iterator[tuple[Any, ...]]:
        """As `rows`, as the driver's own tuples: for replay, where making a Row of each would cost a third more."""
        return chain.from_iterable(self.batches(**wanted))

    def batches(self, **wanted: Unpack[Selection]) -> Iterator[list[tuple[Any, ...]]]:
        """As `raw_rows`, a batch at a time; between two batches nothing of the database is held."""
        with self._asking() as connection:
            yield from selection.batches(connection, wanted)


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
