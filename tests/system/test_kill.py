"""SIGKILL at random moments under load: what any client has seen is in the log, and the server starts from it.

SLIRCD_KILLS sets the number of kills; 200 by default.  What varies is the moment; what is checked never depends on it.
The daemons are forked (tests.system.forking), and each processor has one under load, so that so many kills take a minute.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from slircd.events.row import Row
from tests.facts import Fact, facts_of, facts_of_line
from tests.harness import World
from tests.system.daemon import Daemon, SocketClient
from tests.system.forking import ForkedDaemon, Nursery

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("SLIRCD_KILLS", "200"))
LANES = 2
CLIENTS = 6
SEEN = {"JOIN", "NICK", "TOPIC", "MODE", "KICK"}


class Load:
    """Clients that do what changes the state as fast as the server takes it, and keep every line."""

    def __init__(self, daemon: Daemon, rng: Random, run: int) -> None:
        self.rng = rng
        self.run = run
        self.serial = 0
        self.clients = [SocketClient(daemon).register(f"r{run}c{number}") for number in range(CLIENTS)]
        for client in self.clients:
            client.sends("JOIN #a,#b")
            client.until(" 366 .* #b ")
        self.selector = selectors.DefaultSelector()
        self.buffers = dict.fromkeys(self.clients, b"")
        for client in self.clients:
            client.socket.setblocking(False)
            self.selector.register(client.socket, selectors.EVENT_READ, client)

    def lines(self) -> list[str]:
        self.serial += 1
        rng, mark = self.rng, f"r{self.run}n{self.serial}"
        channel = rng.choice(["#a", "#b"])
        victim = f"r{self.run}c{rng.randrange(CLIENTS)}"
        return [
            rng.choice(
                [
                    f"TOPIC {channel} :{mark}",
                    f"NICK {mark}",
                    f"NICK {victim}",
                    f"MODE {channel} +b {mark}!*@*",
                    f"MODE {channel} +l {self.serial}",
                    f"MODE {channel} +o {victim}",
                    f"KICK {channel} {victim} :{mark}",
                    f"JOIN {channel}",
                    f"JOIN #{mark}",
                    f"PART {channel}",
                ]
            )
            for _ in range(rng.randint(1, 4))
        ]

    def work(self, received_lines: int) -> None:
        """Keep the server busy until the clients together have got so many lines more."""
        while received_lines > 0:
            for client in self.clients:
                if self.rng.random() < 0.5:
                    with contextlib.suppress(BlockingIOError):
                        client.sends(*self.lines())
            received_lines -= self.read(0.01)

    def read(self, timeout_s: float) -> int:
        """Take what has come; the number of lines."""
        count = 0
        for key, _ in self.selector.select(timeout_s):
            client = key.data
            try:
                data = client.socket.recv(1 << 20)
            except (BlockingIOError, ConnectionResetError):
                data = b""
            if not data:
                self.selector.unregister(client.socket)
                continue
            *lines, self.buffers[client] = (self.buffers[client] + data).split(b"\r\n")
            client.lines.extend(line.decode() for line in lines)
            count += len(lines)
        return count

    def read_to_the_end(self) -> None:
        """After the kill: what the kernel still had for the clients, they have seen."""
        while self.selector.get_map():
            self.read(5.0)


def seen(load: Load) -> set[Fact]:
    return {fact for client in load.clients for line in client.lines for fact in facts_of_line(line) if fact[0] in SEEN}


def log(database: Path, after: int) -> list[Row]:
    with sqlite3.connect(database) as connection:
        return [Row(*row) for row in connection.execute("SELECT * FROM events WHERE id > ? ORDER BY id", (after,))]


def test_what_clients_saw_is_in_the_log(tmp_path: Path) -> None:
    """Every JOIN, NICK, TOPIC, MODE and KICK that any client had seen at a kill is in the log, and the server starts."""
    with Nursery() as nursery, ThreadPoolExecutor(LANES) as pool:
        lanes = [pool.submit(killing, nursery, tmp_path / str(lane), KILLS // LANES, lane) for lane in range(LANES)]
        assert sum(lane.result() for lane in lanes) > KILLS * 10
    for lane in range(LANES):
        with Daemon(tmp_path / str(lane)) as daemon:
            SocketClient(daemon).register("after")
        ids = [row.id for row in log(daemon.database, 0)]
        assert ids == list(range(1, len(ids) + 1))


def killing(nursery: Nursery, folder: Path, kills: int, seed: int) -> int:
    """Kill a daemon so many times; how many facts clients saw, all of which the log had."""
    folder.mkdir()
    rng = Random(seed)
    last, total = 0, 0
    daemon = ForkedDaemon(nursery, folder, more="[limits]\nlist_entries = 10000")
    daemon.config.write_text(daemon.config.read_text().replace("[admin]", "[admin]\nenabled = false"))
    for run in range(kills):
        with daemon:
            load = Load(daemon, rng, run)
            load.work(rng.randint(1, 1500))
            daemon.kill()
            load.read_to_the_end()
            facts = seen(load)
            load.selector.close()
        rows = log(daemon.database, last)
        last = rows[-1].id
        missing = facts - {fact for row in rows for fact in facts_of(row)}
        assert not missing, f"kill {run}: {sorted(missing)[:5]}"
        total += len(facts)
    return total


def test_the_check_can_fail() -> None:
    """A line whose event is not in the log is found missing."""
    world = World()
    ann = world.client("ann")
    world.store.automatic = False
    world.server.gate.strict = False
    ann.sends("JOIN #lost")
    facts = {fact for line in ann.lines() for fact in facts_of_line(line)}
    assert facts - {fact for row in world.store.rows for fact in facts_of(row)} == {("JOIN", "#lost", "ann")}
