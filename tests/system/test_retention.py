"""Retention beside a daemon that is under load: pruning, erasure, export, and a right restart."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

from slircd.replay.cli import main as replay_main
from tests.system.daemon import Daemon, SocketClient

pytestmark = pytest.mark.system

MORE = """
[history]
channels = true
direct = true

[retention.state]
keep_events = 60

[retention.families."message.*"]
keep_events = 20
"""


def slircd(daemon: Daemon, *words: str) -> str:
    """Run the command beside the daemon; what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "slircd.retention", *words, "-c", str(daemon.config)],
        cwd=daemon.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Busy(threading.Thread):
    """A client that does not stop: each line that it waits for has to come."""

    def __init__(self, client: SocketClient) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.ended = threading.Event()
        self.turns = 0
        self.longest_s = 0.0

    def run(self) -> None:
        while not self.ended.is_set():
            number = self.turns
            started = time.monotonic()
            self.client.sends(f"TOPIC #busy :topic {number}", f"PRIVMSG #busy :message {number}", f"PING :p{number}")
            self.client.until(rf" TOPIC #busy :topic {number}$")
            self.client.until(rf" PONG \S+ :p{number}$")
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            self.turns += 1

    def stop(self) -> None:
        self.ended.set()
        self.join(60)
        assert not self.is_alive()


def verify(daemon: Daemon) -> dict[str, object]:
    """Whether the daemon's live state is its log."""
    request = urllib.request.Request(f"http://127.0.0.1:{daemon.ports['admin']}/admin/replay/verify")
    request.add_header("Authorization", "Basic " + b64encode(b"admin:sesame").decode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def test_beside_a_daemon_under_load(tmp_path: Path) -> None:
    """Clients go on, nothing is lost, the person is gone from every file, and the restart is right."""
    with Daemon(tmp_path, more=MORE) as daemon:
        ann, bob = SocketClient(daemon).register("ann"), SocketClient(daemon).register("bob")
        ann.sends("JOIN #busy", "JOIN #kept")
        ann.until(" 366 ann #kept ")
        bob.sends("JOIN #kept", "MODE #kept +b zarquon!*@*")
        zarquon = SocketClient(daemon, tls=True).register("zarquon")
        zarquon.sends("NS REGISTER slartibartfast", "JOIN #kept", "JOIN #zone")
        zarquon.until(" 900 ")
        ann.sends("MODE #kept +b zarquon!*@*", "TOPIC #kept :zarquon is late")
        ann.until(" TOPIC #kept ")
        zarquon.sends("PRIVMSG #kept :I am Zarquon", "AWAY :zarquonising", "TOPIC #zone :zone of zarquon")
        zarquon.until(" TOPIC #zone ")
        load = Busy(ann)
        load.start()
        while load.turns < 45:
            time.sleep(0.01)
        pruned = slircd(daemon, "events", "prune")
        assert "message.privmsg: " in pruned
        assert "the log begins at" in pruned
        done = slircd(daemon, "events", "redact", "--account", "zarquon", "--by", "trillian")
        assert "rewritten" in done
        # The person was told, and is gone; everybody else is where they were.
        with pytest.raises(EOFError):
            zarquon.until("nothing more comes")
        turns = load.turns
        while load.turns < turns + 10:
            time.sleep(0.01)
        load.stop()
        assert load.longest_s < 5
        bob.sends("TOPIC #kept", "MODE #kept b")
        assert "erased-" in bob.until(" 332 ")
        assert "erased-" in bob.until(" 367 ")
        bob.sends("WHOWAS zarquon")
        bob.until(" 406 ")
        assert verify(daemon)["equal"]
        assert f"topic {load.turns - 1}" in slircd(daemon, "events", "export", "--no-proof", "-")
        daemon.stop()
        rest = b"".join(path.read_bytes().lower() for path in tmp_path.iterdir() if path.name.startswith("slircd.db"))
        assert b"zarquon" not in rest
        assert b"slarti" not in rest
        from click.testing import CliRunner

        verified = CliRunner().invoke(replay_main, ["--db", str(daemon.database), "--verify"])
        assert verified.exit_code == 0, verified.output
    with Daemon(tmp_path) as daemon:
        bob = SocketClient(daemon).register("bob")
        bob.sends("NS INFO zarquon")
        bob.until("(?i)no such account|not registered")
        assert verify(daemon)["equal"]
        daemon.stop()


def test_the_daemon_goes_by_its_rules(tmp_path: Path) -> None:
    """Without anybody's asking the server prunes, and says so in its log and in its metrics."""
    more = MORE.replace("[retention.state]", "[retention]\ncheck_hours = 0.0003\n\n[retention.state]")
    with Daemon(tmp_path, more=more) as daemon:
        ann = SocketClient(daemon).register("ann")
        ann.sends("JOIN #busy")
        load = Busy(ann)
        load.start()
        daemon.wait_for_output("retention: the log begins at")
        load.stop()
        with urllib.request.urlopen(f"http://127.0.0.1:{daemon.ports['admin']}/metrics", timeout=60) as answer:
            metrics = answer.read().decode()
        assert "slircd_pruned_events_total" in metrics
        daemon.stop()
        stats = json.loads(slircd(daemon, "events", "stats", "--json"))
        assert stats["horizon"] is not None
        assert any(each["name"] == "server.prune" for each in stats["types"])
