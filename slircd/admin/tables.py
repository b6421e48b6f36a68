"""What the admin side keeps beside the log: tokens, and how far webhooks have come.

Small tables, small transactions; everything here blocks, so the server calls it in threads.  `slircd admin token` uses
it beside a running server.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine, create_engine, delete, event, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from slircd.events.migrate import current_revision
from slircd.events.reader import ForeignSchema, NoLog, log_url
from slircd.events.schema import ADMIN_TOKENS, HEAD_REVISION, WEBHOOK_CURSORS


class TokenRow(NamedTuple):
    """A token: `digest` is the SHA-256 of its secret; times are timestamps of the log's form."""

    id: str
    name: str
    role: str
    digest: str
    created_at: str
    expires_at: str
    last_used_at: str | None


class SideTables:
    """The tables in the database of the log."""

    def __init__(self, location: str) -> None:
        """`location` is a path or a URL.  Raises NoLog for what is neither."""
        self._url = log_url(location)
        self._engine: Engine | None = None

    def check(self) -> None:
        """Raise NoLog or ForeignSchema unless the database is a log of this version."""
        shown = self._url.render_as_string(hide_password=True)
        if self._url.get_backend_name() == "sqlite" and not Path(self._url.database or "").is_file():
            raise NoLog(f"{self._url.database}: no such file; start the server once, it makes it")
        try:
            with self._opened.connect() as connection:
                revision = current_revision(connection)
        except (SQLAlchemyError, OSError, ImportError) as error:
            raise NoLog(f"{shown} cannot be used: {getattr(error, 'orig', None) or error}") from None
        if revision != HEAD_REVISION:
            raise ForeignSchema(
                f"{shown} has schema revision {revision}, this slircd needs {HEAD_REVISION}: "
                "start the server of this version, which upgrades it"
            )

    def close(self) -> None:
        """Let go of the database."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @property
    def _opened(self) -> Engine:
        if self._engine is None:
            self._engine = create_engine(
                self._url, pool_pre_ping=self._url.get_backend_name() != "sqlite", hide_parameters=True
            )
            if self._url.get_backend_name() == "sqlite":
                event.listen(self._engine, "connect", _set_up_sqlite)
        return self._engine

    # --- tokens -------------------------------------------------------------------------------------------------------

    def add_token(self, row: TokenRow) -> bool:
        """Keep a token; False if there is one of that name."""
        with self._opened.begin() as connection:
            if connection.execute(select(ADMIN_TOKENS.c.id).where(ADMIN_TOKENS.c.name == row.name)).first():
                return False
            connection.execute(insert(ADMIN_TOKENS).values(**row._asdict()))
        return True

    def token(self, token_id: str) -> TokenRow | None:
        """The token with this id."""
        with self._opened.connect() as connection:
            row = connection.execute(select(ADMIN_TOKENS).where(ADMIN_TOKENS.c.id == token_id)).first()
        return None if row is None else TokenRow(*row)

    def tokens(self) -> list[TokenRow]:
        """All tokens, by name."""
        with self._opened.connect() as connection:
            return [TokenRow(*row) for row in connection.execute(select(ADMIN_TOKENS).order_by(ADMIN_TOKENS.c.name))]

    def remove_token(self, name: str) -> bool:
        """Remove the token of this name, or id; False if there is none."""
        wanted = (ADMIN_TOKENS.c.name == name) | (ADMIN_TOKENS.c.id == name)
        with self._opened.begin() as connection:
            return bool(connection.execute(delete(ADMIN_TOKENS).where(wanted)).rowcount)

    def token_used(self, token_id: str, at: str) -> None:
        """Note when a token was used last; how often is nobody's business."""
        # The log may be busy or unwritable; that must not keep anybody out.
        with suppress(SQLAlchemyError), self._opened.begin() as connection:
            connection.execute(update(ADMIN_TOKENS).where(ADMIN_TOKENS.c.id == token_id).values(last_used_at=at))

    # --- webhooks -----------------------------------------------------------------------------------------------------

    def cursor(self, name: str) -> int | None:
        """The sequence up to which a webhook has been told; None if it never was."""
        with self._opened.connect() as connection:
            query = select(WEBHOOK_CURSORS.c.sequence).where(WEBHOOK_CURSORS.c.name == name)
            found: int | None = connection.execute(query).scalar()
        return found

    def set_cursor(self, name: str, sequence: int, at: str) -> None:
        """A webhook has been told up to `sequence`."""
        with self._opened.begin() as connection:
            connection.execute(delete(WEBHOOK_CURSORS).where(WEBHOOK_CURSORS.c.name == name))
            connection.execute(insert(WEBHOOK_CURSORS).values(name=name, sequence=sequence, updated_at=at))


def _set_up_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
