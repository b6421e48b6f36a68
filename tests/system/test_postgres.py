"""The daemon, the migrations and slircd-replay on PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slircd.events.schema import HEAD_REVISION
from tests.postgres import Postgres
from tests.system.daemon import Daemon, SocketClient, twistd

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


def replay(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("slircd-replay")
    return subprocess.run([str(command), *arguments], capture_output=True, text=True, check=False)


def test_daemon(tmp_path: Path, postgres: Postgres) -> None:
    """State survives a kill, the server lives through a restart of the database, and the past can be read."""
    url = postgres.new_database()
    with Daemon(tmp_path, more=f'[database]\nurl = "{url}"\n') as daemon:
        ann = SocketClient(daemon, tls=True).register("ann")
        ann.sends("OPER admin sesame", "JOIN #c", "MODE #c +P", "TOPIC #c :in postgres")
        ann.until("TOPIC #c")
        postgres.stop()
        ann.sends("TOPIC #c :held back")
        postgres.start()
        ann.until("TOPIC #c :held back")
        daemon.kill()
    with daemon:
        bob = SocketClient(daemon).register("bob")
        bob.sends("JOIN #c")
        bob.until(" 332 bob #c :held back")
        shown = replay("--db", url, "--channel", "#c")
        assert json.loads(shown.stdout)["channels"][0]["topic"]["text"] == "held back"
        second = subprocess.run(
            [*twistd(), "-n", "--pidfile=", "slircd", "--config", str(daemon.config)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert "in use by another slircd" in second.stdout + second.stderr
        daemon.stop()
    assert json.loads(replay("--db", url, "--verify").stdout)["verified"] is True


def test_migrations(postgres: Postgres) -> None:
    """Up, checked, down and up again."""
    url = postgres.new_database()
    script = Path(sys.executable).with_name("alembic")
    for command in (["upgrade", "head"], ["check"], ["downgrade", "base"], ["upgrade", "head"]):
        done = subprocess.run(
            [str(script), "-x", f"url={url}", *command], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_upgrade_keeps_events(tmp_path: Path, postgres: Postgres) -> None:
    """A log made by the first revision is upgraded by the daemon, its events intact; on SQLite, too."""
    from sqlalchemy import create_engine, text

    script = Path(sys.executable).with_name("alembic")
    for number, url in enumerate((postgres.new_database(), f"sqlite:///{tmp_path / 'old.db'}")):
        subprocess.run([str(script), "-x", f"url={url}", "upgrade", "0001"], cwd=ROOT, capture_output=True, check=True)
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO events VALUES (1, '2025-01-01T00:00:00.000000Z', 1, 'server.stop', 'server', '001', :payload, 'old')"
                ),
                {"payload": '{"v":1,"node":"001","name":"a.b","reason":"x"}'},
            )
        folder = tmp_path / str(number)
        folder.mkdir()
        with Daemon(folder, more=f'[database]\nurl = "{url}"\n') as daemon:
            daemon.stop()
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT id, session_id FROM events ORDER BY id")).fetchall()
            revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        engine.dispose()
        assert tuple(rows[0]) == (1, "old")
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
        assert revision == HEAD_REVISION
