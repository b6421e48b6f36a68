"""The daemon under a service manager: the test plays systemd, with a notify socket, a watchdog and inherited ports."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slircd.events.reader import LogReader
from slircd.replay.reconstructor import Replayed, replay
from tests.system.daemon import DEADLINE_S, Daemon, SocketClient

pytestmark = pytest.mark.system

STOPPED = -signal.SIGTERM
"""twistd ends by the signal that stopped it, as systemd expects."""

AS_SYSTEMD_DOES = """
import os, sys
for number, given in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(given, number, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Inherited sockets stand from descriptor 3 on, and LISTEN_PID is the process that they are for."""


class Manager:
    """The notify socket of systemd."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(DEADLINE_S)
        self.messages: list[dict[str, str]] = []

    def until(self, name: str) -> dict[str, str]:
        """The next message that has the field `name`."""
        while True:
            lines = self._socket.recv(4096).decode().split("\n")
            self.messages.append(dict(line.split("=", 1) for line in lines))
            if name in self.messages[-1]:
                return self.messages[-1]

    def drain(self, silence_s: float) -> None:
        """Read until nothing has come for so long, which is a TimeoutError."""
        self._socket.settimeout(silence_s)
        try:
            while True:
                self.until("STATUS")
        finally:
            self._socket.settimeout(DEADLINE_S)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


class Supervised(Daemon):
    """`slircd FILE`, with sockets of the manager's."""

    sockets: tuple[socket.socket, ...] = ()

    def command(self) -> list[str]:
        slircd = [str(Path(sys.executable).with_name("slircd")), str(self.config)]
        if not self.sockets:
            return slircd
        numbers = ",".join(str(each.fileno()) for each in self.sockets)
        self.passed = tuple(each.fileno() for each in self.sockets)
        return [sys.executable, "-c", AS_SYSTEMD_DOES, numbers, sys.executable, *slircd]


def test_ready_reload_watchdog_stop(tmp_path: Path, manager: Manager) -> None:
    """READY when clients are served, RELOADING and READY around SIGHUP, WATCHDOG while it runs, STOPPING first."""
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "300000"}
    with Supervised(tmp_path, environ=environ) as daemon:
        ready = manager.until("READY")
        assert ready["STATUS"] == "ready: 0 connections, 0 channels"
        # SIGHUP at the moment of READY must already have its handler: the default would end the process.
        daemon.signal(signal.SIGHUP)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        reloading = manager.until("RELOADING")
        assert abs(int(reloading["MONOTONIC_USEC"]) - before) < DEADLINE_S * 1_000_000
        manager.until("READY")
        SocketClient(daemon).register("ann").sends("JOIN #a")
        while manager.until("WATCHDOG")["STATUS"] != "ready: 1 connections, 1 channels":
            pass
        daemon.signal(signal.SIGTERM)
        manager.until("STOPPING")
        assert daemon.wait() == STOPPED
    kinds = [name for message in manager.messages for name in message if name != "STATUS"]
    assert [kind for kind in kinds if kind not in ("WATCHDOG", "MONOTONIC_USEC")] == [
        "READY",
        "RELOADING",
        "READY",
        "STOPPING",
    ]


def test_reload_of_a_wrong_file_is_over_too(tmp_path: Path, manager: Manager) -> None:
    """A mistake in the file must not leave the manager waiting for READY."""
    with Supervised(tmp_path, environ={"NOTIFY_SOCKET": str(manager.path)}) as daemon:
        manager.until("READY")
        with daemon.config.open("a") as file:
            file.write("\n[nonsense]\n")
        daemon.signal(signal.SIGHUP)
        manager.until("RELOADING")
        manager.until("READY")
        daemon.wait_for_output("nothing is changed")
        assert daemon.stop() == STOPPED


def test_a_reactor_that_hangs_is_silent(tmp_path: Path, manager: Manager) -> None:
    """A stopped process feeds no watchdog, and goes on when it is continued."""
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "200000"}
    with Supervised(tmp_path, environ=environ) as daemon:
        manager.until("WATCHDOG")
        daemon.signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            manager.drain(0.5)
        daemon.signal(signal.SIGCONT)
        manager.until("WATCHDOG")


class Chatter(threading.Thread):
    """A client that comes, joins, changes a topic and goes, again and again; a refused connection ends it."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.number = number
        self.stop = threading.Event()
        self.rounds = 0
        self.topics: list[str] = []
        """Topics that it was shown."""
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self._round()
                self.rounds += 1
        except Exception as error:
            self.error = error

    def _round(self) -> None:
        mark = f"c{self.number}r{self.rounds}"
        # A refusal here is the failure that socket activation is to prevent; a break later is a restart.
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S) as connection:
            connection.sendall(
                f"NICK {mark}\r\nUSER u 0 * :r\r\nJOIN #hall,#{mark}\r\nTOPIC #{mark} :{mark}\r\n".encode()
            )
            data = b""
            try:
                while f"TOPIC #{mark} :{mark}".encode() not in data:
                    more = connection.recv(65536)
                    if not more:
                        return
                    data += more
            except ConnectionResetError:
                return
            self.topics.append(mark)


def test_restarts_under_load_refuse_nobody_and_lose_nothing(tmp_path: Path) -> None:
    """Ten restarts with sockets that the manager holds: every connection is taken, every event is there once."""
    held = socket.create_server(("127.0.0.1", 0), backlog=512)
    config = """
[server]
name = "irc.test"
[[listen]]
endpoint = "systemd:domain=INET:name=irc"
[flood]
enabled = false
[throttle]
enabled = false
[passwords]
cost = "minimum"
[admin]
port = 0
"""
    (tmp_path / "slircd.toml").write_text(config)
    daemon = Supervised(tmp_path, environ={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "irc"})
    daemon.sockets = (held,)
    port = held.getsockname()[1]
    chatters = [Chatter(port, number) for number in range(4)]
    with held, daemon:
        keeper = SocketClient(daemon, port=port).register("keeper")
        keeper.sends("OPER admin sesame", "JOIN #kept", "MODE #kept +P", "MODE #kept +b bad!*@*", "TOPIC #kept :stays")
        keeper.until("TOPIC #kept :stays")
        for chatter in chatters:
            chatter.start()
        for restart in range(10):
            goal = [chatter.rounds + 2 for chatter in chatters]
            while any(each.rounds < least and each.is_alive() for each, least in zip(chatters, goal, strict=True)):
                time.sleep(0.01)
            # Half of them in order, half by a kill, as a manager's watchdog would.
            assert daemon.stop() == STOPPED if restart % 2 else daemon.kill() is None
            daemon.start()
        for chatter in chatters:
            chatter.stop.set()
        for chatter in chatters:
            chatter.join(DEADLINE_S)
        assert [chatter.error for chatter in chatters] == [None] * 4
        again = SocketClient(daemon, port=port).register("again")
        again.sends("JOIN #kept", "MODE #kept b")
        assert again.until(" 332 ").endswith(":stays")
        assert "bad!*@*" in again.until(" 367 ")
        assert daemon.stop() == STOPPED
    with LogReader(str(daemon.database)) as reader:
        rows = list(reader.rows())
        into = Replayed()
        replay(reader.raw_rows(), into)
    assert [row.id for row in rows] == list(range(1, len(rows) + 1))
    assert sum(row.event_type == "server.start" for row in rows) == 11
    topics = [row.payload for row in rows if row.event_type == "channel.topic_change"]
    for mark in [mark for chatter in chatters for mark in chatter.topics]:
        assert sum(f'"topic":"{mark}"' in payload for payload in topics) == 1, mark
    assert into.state.channels["#kept"].topic is not None


def test_file_as_command_line(tmp_path: Path) -> None:
    """`slircd FILE` starts what `twistd -n slircd --config FILE` starts, and says the same of a wrong file."""
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[server]\nname = 1\n")
    slircd = str(Path(sys.executable).with_name("slircd"))
    environ = {**os.environ, "PATH": os.defpath}
    by_file = subprocess.run([slircd, str(wrong)], capture_output=True, text=True, check=False, env=environ)
    twistd = [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "slircd", "--config", str(wrong)]
    by_twistd = subprocess.run(twistd, capture_output=True, text=True, check=False, env=environ)
    assert by_file.returncode == by_twistd.returncode == 1
    assert by_file.stderr == by_twistd.stderr
    assert "server.name" in by_file.stderr


def test_health(tmp_path: Path) -> None:
    """`slircd health` asks the running server, and fails in words where there is none."""
    slircd = str(Path(sys.executable).with_name("slircd"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Supervised(tmp_path) as daemon:
        text = daemon.config.read_text().replace("[admin]\nport = 0", f"[admin]\nport = {daemon.ports['admin']}")
        daemon.config.write_text(text)
        for words in ([], ["--ready"]):
            asked = subprocess.run(
                [slircd, "health", *words, str(daemon.config)], capture_output=True, text=True, check=False
            )
            assert asked.returncode == 0, asked.stderr
    daemon.config.write_text(f"[admin]\nport = {port}\n")
    asked = subprocess.run([slircd, "health", str(daemon.config)], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert "does not answer" in asked.stderr


def test_json_log(tmp_path: Path) -> None:
    """With log.format = "json" every line of the process's log is one JSON object, tracebacks included."""
    import json

    with Daemon(tmp_path, more='[log]\nformat = "json"') as daemon:
        daemon.signal(signal.SIGHUP)
        daemon.wait_for_output("configuration read again")
        daemon.stop()
    lines = [line for line in daemon.output if line.startswith("{")]
    records = [json.loads(line) for line in lines]
    assert all({"time", "level", "logger", "text"} <= record.keys() for record in records)
    assert any(record["logger"] == "slircd.app" and record.get("actor") == "server" for record in records)
    # What stands before the first line of the log are the passwords of the first start.
    assert daemon.output[-len(lines) :] == lines
