"""The databases that a log can be in: their URLs, their drivers, and what they say when something is wrong."""

from __future__ import annotations

from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS: Final = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


def parse_url(text: str) -> URL:
    """SQLAlchemy's URL, with the driver that is used.  Raises ValueError, with what is allowed."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ValueError(str(error)) from None
    wanted = _DRIVERS.get(url.get_backend_name())
    if wanted is None or url.drivername not in (wanted, url.get_backend_name(), f"{wanted}+pysqlite"):
        raise ValueError(
            f"{url.drivername!r} is no database for a log: sqlite:///PATH, or postgresql+psycopg://USER@HOST/NAME"
        )
    return url.set(drivername=wanted)


def words_of(error: BaseException) -> str:
    """What a database says, on one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
