"""The schema at start: made where there is none, upgraded where it is old, refused where it is from the future.

Alembic costs a fifth of a second to import, so a database that is empty or up to date is dealt with without it.  That
the tables made here equal those of the migrations is what a test is for.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from slircd.events.schema import EVENTS, HEAD_REVISION, METADATA


class SchemaError(Exception):
    """The database's schema cannot be used; the text says what to do."""


def ensure_schema(connection: Connection, *, upgrade: bool) -> None:
    """Bring the database to this version's schema, in the transaction of `connection`.

    Raises SchemaError if it is old and `upgrade` is False, if it is newer than this program, or if it is another's.
    """
    revision = current_revision(connection)
    if revision == HEAD_REVISION:
        return
    if revision is None:
        if inspect(connection).has_table(EVENTS.name):
            raise SchemaError("the database has a table `events` but no alembic_version: it is not a log of slircd")
        METADATA.create_all(connection)
        _stamp(connection)
        return
    known = [path.stem.split("_")[0] for path in (migrations_folder() / "versions").glob("*.py")]
    if revision not in known:
        raise SchemaError(
            f"the database has schema revision {revision}, which this slircd does not know: "
            "it was written by a newer version, so run that one"
        )
    if not upgrade:
        raise SchemaError(
            f"the database has schema revision {revision}, this slircd needs {HEAD_REVISION}: "
            "run `alembic upgrade head`, or set database.upgrade = true"
        )
    upgrade_with_alembic(connection)


def current_revision(connection: Connection) -> str | None:
    """The revision that the database is stamped with; None if it is not."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _stamp(connection: Connection) -> None:
    connection.execute(
        text(
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
            "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
        )
    )
    connection.execute(
        text("INSERT INTO alembic_version (version_num) VALUES (:revision)"), {"revision": HEAD_REVISION}
    )


def upgrade_with_alembic(connection: Connection) -> None:
    """Run the migrations that the database has not had."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def migrations_folder() -> Path:
    """Where the migrations are: beside the package in a checkout, else where the distribution put them."""
    beside = Path(__file__).resolve().parents[2] / "alembic"
    if (beside / "env.py").is_file():
        return beside
    try:
        for file in files("slircd") or ():
            if file.parts[-2:] == ("alembic", "env.py"):
                return Path(str(file.locate())).resolve().parent
    except PackageNotFoundError:
        pass
    raise SchemaError("the migrations of slircd are not installed")
