"""An empty log to import into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import Connection, select, text
from sqlalchemy.exc import SQLAlchemyError

from slircd.events.database import lock_file, make_private
from slircd.events.migrate import SchemaError, ensure_schema
from slircd.events.reader import ForeignSchema, NoLog, log_url
from slircd.events.schema import CHECKPOINTS, CREDENTIALS, EVENTS
from slircd.events.store import ADVISORY_LOCK
from slircd.retention.database import Busy, make_engine


@contextmanager
def new_log(location: str) -> Iterator[Connection]:
    """A transaction in an empty log, made where there is none, that no server uses meanwhile.

    What the transaction did is kept if the body ends well; else a database that was not there before is gone again.
    Raises Busy if a server uses it or if it has events, NoLog if it cannot be used.
    """
    url = log_url(location)
    path = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    made = path is not None and not path.exists()
    engine = make_engine(url)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        try:
            if path is not None:
                stack.enter_context(lock_file(f"{path}.lock"))
                make_private(path)
            connection = stack.enter_context(engine.connect())
            if path is None:
                free = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": ADVISORY_LOCK}).scalar()
                connection.commit()
                if not free:
                    raise BlockingIOError
            else:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            ensure_schema(connection, upgrade=True)
            for table in (EVENTS, CREDENTIALS, CHECKPOINTS):
                if connection.execute(select(table).limit(1)).first() is not None:
                    raise Busy(f"{url.render_as_string(hide_password=True)} is not empty: import into a new database")
        except BlockingIOError:
            raise Busy(f"a server uses {url.render_as_string(hide_password=True)}") from None
        except SchemaError as error:
            raise ForeignSchema(str(error)) from None
        except (SQLAlchemyError, OSError, ImportError) as error:
            raise NoLog(f"{location} cannot be used: {getattr(error, 'orig', None) or error}") from None
        try:
            yield connection
        except BaseException:
            connection.rollback()
            if path is not None and made:
                stack.close()
                for suffix in ("", "-wal", "-shm", ".lock"):
                    Path(f"{path}{suffix}").unlink(missing_ok=True)
            raise
        connection.commit()
