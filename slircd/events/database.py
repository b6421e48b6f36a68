"""The databases that a log can be in: their URLs, their drivers, and what they say when something is wrong."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

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


def make_private(path: str | Path) -> None:
    """Make the file of a new SQLite database, for its owner's eyes: it has hashes of passwords, addresses and e-mail.

    Its WAL gets the same mode.  One that is there already keeps the mode that its operator gave it.
    """
    with suppress(FileExistsError):
        os.close(private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def private(path: str | Path, flags: int) -> int:
    """What `open` takes as `opener` for a file that, if it is new, is for its owner's eyes."""
    return os.open(path, flags, 0o600)


def lock_file(path: str) -> IO[bytes]:
    """The file `path`, locked until it is closed: the system frees it, however its holder ends.

    Raises BlockingIOError if somebody else holds it.
    """
    file = open(path, "ab", opener=private)  # noqa: SIM115  # it is the lock for as long as it is open
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file


def words_of(error: BaseException) -> str:
    """What a database says, on one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())
