"""Checkpoints on the real daemon: written beside it, used by its next start and by slircd-replay, checked by itself."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.postgres import Postgres
from tests.system.daemon import DEADLINE_S, Daemon, SocketClient, twistd
from tests.system.test_admin import get

pytestmark = pytest.mark.system

OFTEN = "[checkpoints]\nevery = 100\nkeep = 2\n"


def wait_until(condition: object, what: str) -> None:
    """Ask until the answer is yes."""
    assert callable(condition)
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def metric(daemon: Daemon, name: str) -> float:
    text = get(daemon, "/metrics", None).body.decode()
    return next(each for each in text_string_to_metric_families(text) if each.name == name).samples[0].value


def busy(client: SocketClient, changes: int) -> None:
    for number in range(changes):
        client.sends(f"AWAY :{number}")
    client.synchronise()


def replay(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("slircd-replay")
    return subprocess.run([str(command), *arguments], capture_output=True, text=True, check=False)


def test_checkpoints_of_a_daemon(tmp_path: Path) -> None:
    """It writes them, finds no drift, starts from the newest after a kill, and every moment is what it was."""
    with Daemon(tmp_path, more=OFTEN) as daemon:
        ann = SocketClient(daemon).register("ann")
        ann.sends("JOIN #c", "TOPIC #c :before", "NS REGISTER password", "CS REGISTER #c")
        busy(ann, 150)
        wait_until(lambda: metric(daemon, "slircd_checkpoints") >= 1, "no checkpoint")
        ann.sends("TOPIC #c :after")
        busy(ann, 150)
        wait_until(lambda: metric(daemon, "slircd_checkpoints") >= 2, "no second checkpoint")
        busy(ann, 20)
        assert metric(daemon, "slircd_replay_drift") == 0
        assert metric(daemon, "slircd_replay_check_timestamp_seconds") > 1e9
        verified = get(daemon, "/admin/replay/verify").json
        assert verified["equal"] is True
        assert verified["events"] == verified["event_id"]
        assert get(daemon, "/admin/replay/verify?from=checkpoint").json["events"] < 100
        ann.sends("CS RESTORE #c 2020-01-01")
        ann.until("There was no channel")
        daemon.kill()
    whole = replay("--db", str(tmp_path / "slircd.db"))
    assert json.loads(replay("--db", str(tmp_path / "slircd.db"), "--verify").stdout)["verified"] is True
    with Daemon(tmp_path) as daemon:
        started = next(line for line in daemon.output if "the state is replayed" in line)
        assert int(re.search(r"(\d+) events", started)[1]) < 150  # type: ignore[index]
        bob = SocketClient(daemon).register("bob")
        bob.sends("JOIN #c")
        bob.until(" 332 bob #c :after")
    with sqlite3.connect(tmp_path / "slircd.db") as connection:
        last = connection.execute("SELECT max(event_id), count(*) FROM checkpoints").fetchone()
        assert last[1] >= 2
        connection.execute("DELETE FROM checkpoints")
    connection.close()
    again = replay("--db", str(tmp_path / "slircd.db"), "--at", json.loads(whole.stdout)["at"])
    assert again.stdout == whole.stdout


def test_damaged_base_stops_the_start(tmp_path: Path) -> None:
    """Without its base a log is not the log; a damaged checkpoint is only ignored."""
    with Daemon(tmp_path, more=OFTEN) as daemon:
        busy(SocketClient(daemon).register("ann"), 150)
        wait_until(lambda: metric(daemon, "slircd_checkpoints") >= 1, "no checkpoint")
        daemon.stop()
    with sqlite3.connect(tmp_path / "slircd.db") as connection:
        connection.execute("UPDATE checkpoints SET state = x'00'")
    with Daemon(tmp_path) as daemon:
        assert any("is ignored" in line for line in daemon.output)
        daemon.stop()
    with sqlite3.connect(tmp_path / "slircd.db") as connection:
        connection.execute("UPDATE checkpoints SET kind = 'base'")
    connection.close()
    ended = subprocess.run(
        [*twistd(), "-n", "--pidfile=", "slircd", "--config", str(daemon.config)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    assert ended.returncode == 1
    said = ended.stdout + ended.stderr
    assert "is damaged" in said
    assert "backup" in said
    assert "Traceback" not in said


def test_on_postgresql(tmp_path: Path, postgres: Postgres) -> None:
    """The same on PostgreSQL."""
    with Daemon(tmp_path, more=f'{OFTEN}[database]\nurl = "{postgres.new_database()}"\n') as daemon:
        busy(SocketClient(daemon).register("ann"), 150)
        wait_until(lambda: metric(daemon, "slircd_checkpoints") >= 1, "no checkpoint")
        assert get(daemon, "/admin/replay/verify?from=checkpoint").json["equal"] is True
