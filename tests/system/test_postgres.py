"""The daemon, the migrations and slircd-replay on PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
