"""The disk of the log fills under the running daemon: changes wait, people talk, and afterwards the log has it all."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from slircd.events.reader import LogReader
from tests.events.test_faults import fill
from tests.system.daemon import DEADLINE_S, Daemon, SocketClient

pytestmark = pytest.mark.system


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def wait_for_readiness(daemon: Daemon, status: int) -> None:
    """Wait until /readyz answers so."""
    url = f"http://127.0.0.1:{daemon.ports['admin']}/readyz"
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
            error.close()
        if found == status:
            return
        time.sleep(0.05)
    raise AssertionError(f"/readyz never was {status}")


def test_full_and_free_again(tmp_path: Path, disk: Path) -> None:
    """Nothing that a client saw is missing, nothing stands twice, and the order is the one that clients saw."""
    with Daemon(tmp_path, more=f'[database]\nurl = "sqlite:///{disk}/slircd.db"') as daemon:
        ann, bob, eve = (SocketClient(daemon).register(nick) for nick in ("ann", "bob", "eve"))
        ann.sends("JOIN #change")
        for client in (bob, eve):
            client.sends("JOIN #talk")
        for client in (ann, bob, eve):
            client.synchronise()
        fill(disk / "ballast")
        for number in range(40):
            ann.sends(f"TOPIC #change :{number} {'x' * 300}")
        wait_for_readiness(daemon, 503)
        daemon.wait_for_output("the event log cannot be written")
        bob.sends("PRIVMSG #talk :still here", "NICK robert")
        eve.until("PRIVMSG #talk :still here")
        wait_for_readiness(daemon, 503)
        (disk / "ballast").unlink()
        wait_for_readiness(daemon, 200)
        daemon.wait_for_output("can be written again")
        assert "TEMPORARILY_UNAVAILABLE" in bob.until("TEMPORARILY_UNAVAILABLE|NICK :robert")
        ann.sends("TOPIC #change :at last")
        ann.until("TOPIC #change :at last")
        bob.sends("NICK robert")
        bob.until("NICK :robert")
        seen = [line.partition(" TOPIC #change :")[2] for line in ann.lines if " TOPIC #change :" in line]
        refused = [line for line in ann.lines if "TEMPORARILY_UNAVAILABLE" in line]
        assert len(seen) + len(refused) == 41
        assert refused
        daemon.stop()
    with LogReader(f"{disk}/slircd.db") as reader:
        rows = list(reader.rows())
    assert [row.id for row in rows] == list(range(1, len(rows) + 1))
    written = [re.search(r'"topic":"([^"]*)"', row.payload) for row in rows if row.event_type == "channel.topic_change"]
    assert [found[1] for found in written if found is not None] == seen
