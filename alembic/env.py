"""Alembic's environment: the database is the connection that the daemon hands in, or the one of a URL."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection, create_engine

from slircd.events.schema import METADATA

DEFAULT_URL = "sqlite:///slircd.db"


def run(connection: Connection) -> None:
    """Run the migrations on `connection`."""
    context.configure(
        connection=connection,
        target_metadata=METADATA,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def url() -> str:
    """The database's URL: -x url=, SLIRCD_DATABASE_URL, or the default."""
    return context.get_x_argument(as_dictionary=True).get("url") or os.environ.get("SLIRCD_DATABASE_URL") or DEFAULT_URL


def main() -> None:
    """Offline: print SQL; online: run it."""
    handed_in = context.config.attributes.get("connection")
    if handed_in is not None:
        run(handed_in)
    elif context.is_offline_mode():
        context.configure(url=url(), target_metadata=METADATA, literal_binds=True)
        with context.begin_transaction():
            context.run_migrations()
    else:
        engine = create_engine(url())
        with engine.begin() as connection:
            run(connection)
        engine.dispose()


main()
