"""A PostgreSQL of the tests' own, on loopback, in a folder that goes with it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from glob import glob
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

_numbers = count(1)


class Postgres:
    """A running cluster."""

    def __init__(self, programs: str) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="slircd-pg-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8")
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        words = [f"{self._programs}/{program}", "-D", f"{self.folder}/data", *arguments]
        if os.getuid() == 0:
            words = ["runuser", "-u", "postgres", "--", *words]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self._run("pg_ctl", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self) -> None:
        """Stop it as a crash would."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def sql(self, statement: str) -> None:
        """Run a statement as its owner."""
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"log{next(_numbers)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def running() -> Iterator[Postgres]:
    """A cluster for as long as tests want it; skips where PostgreSQL is not installed, except in CI."""
    found = sorted(glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found and "CI" in os.environ:
        pytest.fail("CI has to install PostgreSQL")
    if not found:
        pytest.skip("needs PostgreSQL")
    cluster = Postgres(str(Path(found[-1]).parent))
    try:
        yield cluster
    finally:
        cluster.close()
