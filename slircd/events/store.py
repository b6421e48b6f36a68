"""The log in a database, through SQLAlchemy Core.

One thread owns the writing connection.  It takes whatever was appended while its last commit ran and commits that as
one transaction (group commit), so the busier the server, the fewer the commits for each event.  Readers have
connections of their own and never block it.

When a write fails, the thread goes on trying with a fresh connection and reports the trouble; nothing is dropped.
After a failure it first asks how far the log really is: a commit can have happened although its answer was lost.  A
row there that it did not write itself means that somebody else writes this log, and then it never writes again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from queue import Empty, SimpleQueue
from typing import IO, Any, Final, NamedTuple, TypeVar

import txaio
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Select,
    bindparam,
    create_engine,
    delete,
    event,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.threads import deferToThread

from slircd.events import checkpoints
from slircd.events.database import lock_file, make_private, parse_url, words_of
from slircd.events.history import SQLHistoryReader
from slircd.events.interface import Start, StoreUnavailable, ignore_commit, ignore_text
from slircd.events.migrate import SchemaError, ensure_schema
from slircd.events.pages import MESSAGE_TYPES, HistoryReader, is_direct, sides_of
from slircd.events.row import REPLAYED, Credential, Head, Rewrite, Row
from slircd.events.schema import CREDENTIALS, EVENTS
from slircd.events.selection import fetch_all

T = TypeVar("T")

txaio.use_twisted()
log = txaio.make_logger()

MAX_BATCH: Final = 5_000
"""Rows of one transaction, roughly: a decision is never split."""

READ_BATCH: Final = 2_000
ADVISORY_LOCK: Final = int.from_bytes(b"slircd", "big")
"""The key of the advisory lock that keeps a second daemon off a PostgreSQL log."""

READERS: Final = 4
"""Questions of clients that are answered at one time, so that threads are left for everything else; others wait."""

FIRST_RETRY_S: Final = 0.05
LAST_RETRY_S: Final = 2.0
CLOSE_PATIENCE_S: Final = 10.0
"""How long `close` goes on trying to write to a database that fails."""

Call = Callable[..., object]
Amend = Callable[[Connection], None]


class StoreError(Exception):
    """The log cannot be opened; the text says why."""


class SQLStore:
    """An EventStore in a SQL database."""

    def __init__(self, url: str, *, call_in_reactor: Call, seconds: Callable[[], float], upgrade: bool = True) -> None:
        """`url` is SQLAlchemy's; `call_in_reactor(function, *arguments)` is `reactor.callFromThread`.

        `seconds` is the reactor's clock; `upgrade` allows to upgrade an old schema.
        """
        self.on_commit: Callable[[int, int, float], None] = ignore_commit
        self.on_trouble: Callable[[str | None], None] = ignore_text
        self.on_fatal: Callable[[str], None] = ignore_text
        self.oldest_pending_since: float | None = None
        self._url = _parse_url(url)
        self._call_in_reactor = call_in_reactor
        self._seconds = seconds
        self._upgrade = upgrade
        self._queue: SimpleQueue[_Unit | None] = SimpleQueue()
        self._appended: deque[tuple[int, float]] = deque()
        self._engine: Engine | None = None
        self._lock_file: IO[bytes] | None = None
        self._writer: Connection | None = None
        self._watchers: list[Callable[[int, int, float], None]] = []
        self._readers = DeferredSemaphore(READERS)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._head = Head(0, 0, "")

    # --- open and close -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Lock the log, bring its schema up to date, start the writer.  Raises StoreError or SchemaError."""
        try:
            self._lock()
            self._engine = _make_engine(self._url)
            self._writer = self._connect_writer()
            with self._engine.begin() as connection:
                ensure_schema(connection, upgrade=self._upgrade)
            self._head = self.head()
        except _InUse:
            self._release()
            raise StoreError(f"the log {self._shown_url} is in use by another slircd") from None
        except (StoreError, SchemaError):
            self._release()
            raise
        except self._troubles(OSError, ImportError) as error:
            self._release()
            raise StoreError(f"the database {self._shown_url} cannot be used: {words_of(error)}") from error
        except Exception:
            self._release()
            raise
        self._thread = threading.Thread(target=self._write, name="event-log-writer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what was appended, then let go of the log; blocks."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closing.set()
            self._queue.put(None)
            thread.join()
        self._release()

    def _connect_writer(self) -> Connection:
        """A connection for writing; on PostgreSQL it holds the log's advisory lock for as long as it is open."""
        connection = self._opened.connect()
        if self._url.get_backend_name() == "postgresql":
            encoding = connection.execute(text("SHOW server_encoding")).scalar()
            if encoding != "UTF8":
                _discard(connection)
                raise StoreError(f"the database {self._shown_url} has the encoding {encoding}, a log needs UTF8")
            locked = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK}).scalar()
            connection.commit()
            if not locked:
                _discard(connection)
                raise _InUse
        return connection

    def _troubles(self, *others: type[Exception]) -> tuple[type[Exception], ...]:
        """What a database that does not do as it is told raises: SQLAlchemy's errors, or the driver's own."""
        driver: Any = None if self._engine is None else self._engine.dialect.loaded_dbapi
        return (SQLAlchemyError, *others) if driver is None else (SQLAlchemyError, driver.Error, *others)

    def _release(self) -> None:
        _discard(self._writer)
        self._writer = None
        if self._engine is not None:
            self._engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def _lock(self) -> None:
        """One daemon for each log: a lock that the system frees, however the daemon ends."""
        path = self._url.database
        if self._url.get_backend_name() != "sqlite" or not path:
            return
        try:
            self._lock_file = lock_file(f"{path}.lock")
        except BlockingIOError:
            raise StoreError(f"the log {path} is in use by another slircd (it holds {path}.lock)") from None
        make_private(path)

    @property
    def _shown_url(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def watch_commits(self, watch: Callable[[int, int, float], None]) -> None:
        """Have `watch` told of each commit, as `on_commit` is."""
        self._watchers.append(watch)

    # --- in the reactor -------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many decisions wait for their commit."""
        return len(self._appended)

    def append(
        self,
        rows: Sequence[Row],
        credentials: Sequence[Credential] = (),
        rewrites: Sequence[Rewrite] = (),
        amend: Amend | None = None,
    ) -> None:
        """Take the rows of one decision, and what changes with it."""
        now = self._seconds()
        if not self._appended:
            self.oldest_pending_since = now
        self._appended.append((rows[-1].id, now))
        self._queue.put(_Unit(rows, credentials, rewrites, amend))

    def _committed(self, last_id: int, rows: int, seconds: float) -> None:
        appended = self._appended
        while appended and appended[0][0] <= last_id:
            appended.popleft()
        self.oldest_pending_since = appended[0][1] if appended else None
        for watch in self._watchers:
            watch(last_id, rows, seconds)
        self.on_commit(last_id, rows, seconds)

    def _trouble(self, text: str | None) -> None:
        self.on_trouble(text)

    def _fatal(self, text: str) -> None:
        self.on_fatal(text)

    # --- reading, blocking ----------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection to read with.  Raises StoreError where the database is damaged or away."""
        try:
            with self._opened.connect() as connection:
                yield connection
        except self._troubles() as error:
            raise StoreError(f"the log {self._shown_url} cannot be read: {words_of(error)}") from error

    def head(self) -> Head:
        """The newest committed row."""
        with self._reading() as connection:
            return _read_head(connection)

    def start(self) -> Start:
        """Where a replay of the log begins: its newest good checkpoint.  Raises DamagedBase."""
        ignored: list[str] = []
        with self._reading() as connection:
            start = checkpoints.newest(connection, ignored=ignored)
        for why in ignored:
            log.warn("{why}", why=why)
        return start

    def read(self, after_id: int = 0) -> Iterator[Row]:
        """The committed rows with a higher id, in order, a few thousand in memory at a time."""
        return map(Row._make, chain.from_iterable(self._batches(EVENTS.c, after_id)))

    def batches(self, after_id: int = 0) -> Iterator[Sequence[tuple[Any, ...]]]:
        """As `read`, a batch of the driver's own tuples at a time, of the columns REPLAYED."""
        return self._batches([EVENTS.c[name] for name in REPLAYED], after_id)

    def _batches(self, columns: Iterable[Column[Any]], after_id: int) -> Iterator[Sequence[tuple[Any, ...]]]:
        query = select(*columns).where(EVENTS.c.id > bindparam("after_id")).order_by(EVENTS.c.id).limit(READ_BATCH)
        with self._reading() as connection:
            while True:
                rows = fetch_all(connection, query, {"after_id": after_id})
                connection.rollback()
                if rows:
                    yield rows
                if len(rows) < READ_BATCH:
                    return
                after_id = rows[-1][0]

    def read_credentials(self) -> list[Credential]:
        """All committed credentials."""
        with self._reading() as connection:
            return [Credential(*row) for row in connection.execute(select(CREDENTIALS))]

    def query_by_target(
        self,
        target: str,
        *,
        after_id: int = 0,
        until: str | None = None,
        limit: int = 1000,
        newest: bool = False,
        messages: bool = True,
    ) -> Deferred[list[Row]]:
        """The committed rows of one target with a higher id and no later timestamp, in order, read in a thread."""
        query = select(EVENTS).where(EVENTS.c.target == target, EVENTS.c.id > after_id)
        if until is not None:
            # As an id, so that what came later is not walked through; time never runs backwards in a log.
            late = select(EVENTS.c.id).where(EVENTS.c.timestamp <= until)
            late = late.order_by(EVENTS.c.timestamp.desc(), EVENTS.c.id.desc()).limit(1)
            query = query.where(EVENTS.c.id <= late.scalar_subquery())
        if not messages:
            query = query.where(EVENTS.c.event_type.not_in(MESSAGE_TYPES))
        ordered = query.order_by(EVENTS.c.id.desc() if newest else EVENTS.c.id)
        return self._readers.run(deferToThread, self._fetch, ordered.limit(limit), newest)

    def ask_history(self, question: Callable[[HistoryReader], T]) -> Deferred[T]:
        """What `question` makes of the committed log, in a thread."""
        return self._readers.run(deferToThread, self._ask, question)

    def _ask(self, question: Callable[[HistoryReader], T]) -> T:
        with self._available() as connection:
            return question(SQLHistoryReader(connection))

    def _fetch(self, query: Select[Any], turn: bool) -> list[Row]:
        with self._available() as connection:
            rows = [Row(*row) for row in connection.execute(query)]
        return rows[::-1] if turn else rows

    @contextmanager
    def _available(self) -> Iterator[Connection]:
        """A connection to read with while the server serves.  Raises StoreUnavailable where the database is away."""
        try:
            with self._opened.connect() as connection:
                yield connection
        except self._troubles() as error:
            log.warn("the log cannot be read: {why}", why=words_of(error))
            raise StoreUnavailable from error

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            raise StoreError("the log is not open")
        return self._engine

    # --- the writer's thread --------------------------------------------------------------------------------------

    def _write(self) -> None:
        connection, self._writer = self._writer, None
        leftovers = False
        try:
            while (batch := self._next_batch()) is not None:
                rows = [row for unit in batch for row in unit.rows]
                credentials = [credential for unit in batch for credential in unit.credentials]
                rewrites = [rewrite for unit in batch for rewrite in unit.rewrites]
                started = time.monotonic()
                amends = [unit.amend for unit in batch if unit.amend is not None]
                connection = self._commit(connection, rows, credentials, rewrites, amends)
                if connection is None:
                    return
                last = rows[-1]
                self._head = Head(last.id, last.sequence, last.timestamp)
                self._call_in_reactor(self._committed, last.id, len(rows), time.monotonic() - started)
                if rewrites or leftovers:
                    leftovers = not _forget_old_pages(connection)
        except Exception as error:
            log.failure("the event log's writer stopped")
            self._call_in_reactor(self._fatal, f"the event log's writer stopped: {error!r}")
        finally:
            _discard(connection)

    def _next_batch(self) -> list[_Unit] | None:
        """All that waits, at most about MAX_BATCH rows; None when the store is closed and nothing waits."""
        first = self._queue.get()
        if first is None:
            return None
        batch = [first]
        count = len(first.rows)
        while count < MAX_BATCH:
            try:
                decision = self._queue.get_nowait()
            except Empty:
                break
            if decision is None:
                self._queue.put(None)
                break
            batch.append(decision)
            count += len(decision.rows)
        return batch

    def _commit(
        self,
        connection: Connection | None,
        rows: Sequence[Row],
        credentials: Sequence[Credential],
        rewrites: Sequence[Rewrite],
        amends: Sequence[Amend],
    ) -> Connection | None:
        """Write one transaction, for as long as it takes; None if it never will be written."""
        delay = FIRST_RETRY_S
        deadline: float | None = None
        troubled = False
        while True:
            try:
                if connection is None:
                    connection = self._connect_writer()
                    if self._is_written(connection, rows):
                        break
                with connection.begin():
                    insert_rows(connection, rows)
                    for credential in credentials:
                        _write_credential(connection, credential)
                    if talk := [row for row in rows if is_direct(row)]:
                        connection.execute(_NOTE_CONVERSATION, list(_notes(talk)))
                    for rewrite in rewrites:
                        rewrite_row(connection, rewrite)
                    for amend in amends:
                        amend(connection)
                break
            except _ForeignRows as error:
                _discard(connection)
                self._call_in_reactor(self._fatal, str(error))
                return None
            except self._troubles(_InUse) as error:
                # Behind _InUse stands, most likely, our own session of before, whose end the server has not seen yet.
                _discard(connection)
                connection = None
                if not troubled:
                    troubled = True
                    self._call_in_reactor(self._trouble, words_of(error))
                if self._closing.is_set():
                    deadline = deadline or time.monotonic() + CLOSE_PATIENCE_S
                    if time.monotonic() > deadline:
                        log.error("{rows} events could not be written before the end", rows=len(rows))
                        return None
                time.sleep(delay)
                delay = min(delay * 2, LAST_RETRY_S)
        if troubled:
            self._call_in_reactor(self._trouble, None)
        return connection

    def _is_written(self, connection: Connection, rows: Sequence[Row]) -> bool:
        """Whether the log has `rows` already; raises _ForeignRows if it has what this server did not write."""
        head = _read_head(connection)
        connection.rollback()
        if head == self._head:
            return False
        last = rows[-1]
        if head == Head(last.id, last.sequence, last.timestamp):
            return True
        raise _ForeignRows(f"the log was written to by somebody else: it ends with id {head.id}, not {self._head.id}")


class _Unit(NamedTuple):
    """What is never split over two transactions."""

    rows: Sequence[Row]
    credentials: Sequence[Credential]
    rewrites: Sequence[Rewrite]
    amend: Amend | None = None


def rewrite_row(connection: Connection, rewrite: Rewrite) -> None:
    """Give a row of the log another payload, and actor and target where they are rewritten, too."""
    values: dict[str, str | None] = {"payload": rewrite.payload}
    if rewrite.columns is not None:
        values["actor_uid"], values["target"] = rewrite.columns
    connection.execute(update(EVENTS).where(EVENTS.c.id == rewrite.id).values(values))


def _forget_old_pages(connection: Connection) -> bool:
    """Empty SQLite's write-ahead log, which still has what rows were before they were rewritten; False: try again.

    Nothing to do for PostgreSQL, whose VACUUM removes what is not seen any more.
    """
    if connection.dialect.name != "sqlite":
        return True
    try:
        # Readers can be in the way; the writer must not wait long for them.
        connection.exec_driver_sql("PRAGMA busy_timeout=50")
        busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
        connection.exec_driver_sql("PRAGMA busy_timeout=1000")
        connection.rollback()
    except SQLAlchemyError:
        return False
    return not busy


_NOTE_CONVERSATION: Final = text(
    "INSERT INTO conversations (side, other, last_id) VALUES (:side, :other, :id) "
    "ON CONFLICT (side, other) DO UPDATE SET last_id = excluded.last_id"
)


def _notes(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """What direct messages add to the table of conversations."""
    for row in rows:
        for side, other in sides_of(row.target or ""):
            yield {"side": side, "other": other, "id": row.id}


def _write_credential(connection: Connection, credential: Credential) -> None:
    account, kind, value = credential
    wanted = CREDENTIALS.c.account == account
    connection.execute(delete(CREDENTIALS).where(wanted & (CREDENTIALS.c.kind == kind) if kind else wanted))
    if value is not None:
        connection.execute(insert(CREDENTIALS).values(account=account, kind=kind, value=value))


def insert_rows(connection: Connection, rows: Sequence[Row]) -> None:
    """Add rows to the log in the way that is fastest for its database, in the transaction of `connection`."""
    if connection.dialect.name == "sqlite":
        _insert_values(connection, rows)
    else:
        _insert_copy(connection, rows)


def _insert_values(connection: Connection, rows: Sequence[Row]) -> None:
    """Insert with as few statements as can be: each gives the interpreter's lock away and has to get it back.

    With a statement a row, as `executemany` does it, the thread would stand in line behind a busy reactor at every row.
    """
    start = 0
    for size, statement in _INSERTS:
        while len(rows) - start >= size:
            values = tuple(chain.from_iterable(rows[start : start + size]))
            connection.exec_driver_sql(statement, values)
            start += size


_INTO: Final = f"events ({', '.join(Row._fields)})"
_VALUES: Final = f"({', '.join('?' * len(Row._fields))})"
_INSERTS: Final = [(size, f"INSERT INTO {_INTO} VALUES {', '.join([_VALUES] * size)}") for size in (128, 16, 4, 1)]  # noqa: S608  # names only
"""Numbers of rows, and the statement for so many."""


def _insert_copy(connection: Connection, rows: Sequence[Row]) -> None:
    """COPY is what PostgreSQL takes fastest; it is part of the transaction like any other statement."""
    if not connection.in_transaction():
        connection.begin()  # as any statement through SQLAlchemy would: it does not see this one
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            copy.write_row(row)


_COPY: Final = f"COPY {_INTO} FROM STDIN"


class _ForeignRows(Exception):
    pass


class _InUse(Exception):
    def __str__(self) -> str:
        return "another session holds the lock of this log"


def _parse_url(text: str) -> URL:
    try:
        url = parse_url(text)
    except ValueError as error:
        raise StoreError(f"database.url: {error}") from None
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise StoreError("database.url: a log needs a file, such as sqlite:///slircd.db")
    return url


def _make_engine(url: URL) -> Engine:
    engine = create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite", hide_parameters=True)
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=1000", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _read_head(connection: Connection) -> Head:
    columns = (EVENTS.c.id, EVENTS.c.sequence, EVENTS.c.timestamp)
    row = connection.execute(select(*columns).order_by(EVENTS.c.id.desc()).limit(1)).first()
    return Head(0, 0, "") if row is None else Head(*row)


def _discard(connection: Connection | None) -> None:
    """Close a writing connection for good, not back into the pool: its session, and its lock, are to end."""
    if connection is not None:
        try:
            connection.invalidate()
            connection.close()
        except SQLAlchemyError:
            pass
