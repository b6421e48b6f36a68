"""What plugins cost: `python -m tests.bench.plugins [--calls N] [--events N] [--messages N]`; prints JSON.

`command`: round trips of a plugin's command on a real daemon over a socket, beside those of PING, and what the plugin
adds.  `start`: processes from their start until they are ready, and their memory.  `events`: a real reactor emits events
through the real bus to one and to ten plugins that listen to everything; how many a second have been handled by all.
`fanout`: a client says things on a channel with 100 members, at a steady rate and then as fast as it goes, with no
plugin and with ten that listen to everything; the daemon's CPU for a message, and the ratio.  As fast as it goes the
clients of the benchmark share two cores with daemon and plugins, so messages arrive in smaller portions, which costs the
daemon more than the plugins themselves: the steady rate is what says what they cost.  Runs with and without plugins take turns,
because on a machine that does other things, too, only ratios of neighbours mean something.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import txaio
from twisted.internet import reactor as installed_reactor  # noqa: TID251  # this is a program, too
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.task import deferLater

from slircd.config.load import parse
from slircd.events.memory import MemoryStore
from slircd.events.types import UserAway
from slircd.network.server import IRCServer
from slircd.plugins.manager import PluginManager
from slircd.security.cloak import Cloak
from slircd.security.passwords import Passwords
from tests.system.daemon import Daemon, SocketClient

reactor: Any = installed_reactor

LISTENER = """
local p = {}
function p.on_load(api)
  local count = 0
  api.register_event_listener("*", function(event) count = count + 1 end)
  api.register_command("ECHO%d", function(ctx, args) ctx.reply(args[1]) end)
  api.register_command("COUNT%d", function(ctx) ctx.reply("count " .. count) end)
end
return p
"""
ASKS = 'capabilities = ["send", "messages"]\n'
MEMBERS = 100
PLUGINS = 10
RATE = 500
"""Messages a second of the steady part."""


def write_plugins(folder: Path, count: int) -> list[str]:
    """Plugins that listen to everything."""
    names = [f"listener{number}" for number in range(count)]
    for number, name in enumerate(names):
        home = folder / "plugins" / name
        home.mkdir(parents=True, exist_ok=True)
        (home / "init.lua").write_text(LISTENER % (number, number))
        (home / "config.toml").write_text(ASKS)
    return names


def configured(names: Sequence[str]) -> str:
    grants = "\n".join(f'{name} = ["send", "messages"]' for name in names)
    return (
        f"[plugins]\nautoload = {json.dumps(list(names))}\n[plugins.grants]\n{grants}\n"
        "[plugins.limits]\ndeadline_ms = 10000\nqueue_events = 1000000\n[throttle]\nenabled = false\n"
    )


def quantiles(seconds: list[float]) -> dict[str, float]:
    """p50 and p99 in microseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50_us": round(1e6 * cuts[49], 1), "p99_us": round(1e6 * cuts[98], 1)}


# --- a command's round trip, start and memory ---------------------------------------------------------------------


def command(calls: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = write_plugins(folder, PLUGINS)
        with Daemon(folder, more=configured(names)) as daemon:
            for _ in names:
                daemon.wait_for_output("plugin listener[0-9]+ 0 is loaded")
            client = SocketClient(daemon).register("ann")
            figures: dict[str, list[float]] = {"ping": [], "command": []}
            for number in range(calls):
                for kind, line, answer in (
                    ("ping", f"PING {number}", f" PONG irc.test :{number}"),
                    ("command", f"ECHO0 {number}", f"NOTICE ann :{number}"),
                ):
                    before = time.perf_counter()
                    client.sends(line)
                    while not client.line().endswith(answer):
                        pass
                    figures[kind].append(time.perf_counter() - before)
            client.sends("OPER admin sesame")
            client.until(" 381 ")
            starts: list[float] = []
            memory: list[dict[str, int]] = []
            for plugin in names:
                client.sends(f"PLUGIN INFO {plugin}")
                words = client.until("process [0-9]+: ").split()
                starts.append(float(words[words.index("in") + 1]))
                pid = int(words[words.index(":process") + 1].rstrip(":") if ":process" in words else 0)
                memory.append(rollup(pid))
            ping, own = quantiles(figures["ping"]), quantiles(figures["command"])
            return {
                "command": {
                    "calls": calls,
                    "ping": ping,
                    "command": own,
                    "plugin_adds_p50_us": round(own["p50_us"] - ping["p50_us"], 1),
                },
                "start": {
                    "ten_at_once_ms": {"median": statistics.median(starts), "most": max(starts)},
                    "resident_kb": statistics.median(each["Rss"] for each in memory),
                    "private_kb": statistics.median(each["Private"] for each in memory),
                },
            }


def rollup(pid: int) -> dict[str, int]:
    """Kilobytes of a process that are resident, and that are its own."""
    figures = {"Rss": 0, "Private": 0}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "Rss":
            figures["Rss"] += int(rest.split()[0])
        elif name.startswith("Private_"):
            figures["Private"] += int(rest.split()[0])
    return figures


# --- events -------------------------------------------------------------------------------------------------------


async def events(count: int, listeners: int) -> dict[str, Any]:
    """Emit through the bus as fast as it goes; done when every plugin has handled every event."""
    with tempfile.TemporaryDirectory() as name:
        names = write_plugins(Path(name), listeners)
        config = parse(
            {
                "plugins": {
                    "folders": [str(Path(name) / "plugins")],
                    "limits": {"queue_events": 1_000_000, "deadline_ms": 60_000},
                }
            },
            "bench",
        )
        txaio.config.loop = reactor
        server = IRCServer(
            config,
            MemoryStore(seconds=reactor.seconds),
            reactor=reactor,
            cloak=Cloak(b"k" * 32, "cloak"),
            passwords=Passwords(maybeDeferred, "minimum"),
            session_id="bench",
            rng=Random(0),
        )
        server.startService()
        manager = PluginManager(server)
        manager.startService()
        for plugin in names:
            await manager.load(plugin, "server", "")
        await deferLater(reactor, 0.5, lambda: None)

        def handled() -> int:
            return min(manager.entries[each].statistics.events for each in names)

        first = handled()
        started, cpu = time.perf_counter(), time.process_time()
        sent = 0
        while sent < count:
            for _ in range(200):
                server.bus.emit([UserAway(actor_uid="nickserv", target="nickserv", nick="NickServ", message=str(sent))])
                sent += 1
            while sent - (handled() - first) > 4000:
                await deferLater(reactor, 0.001, lambda: None)
            await deferLater(reactor, 0, lambda: None)
        while handled() - first < count:
            await deferLater(reactor, 0.001, lambda: None)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        await maybeDeferred(manager.stopService)
        await maybeDeferred(server.stopService)
        return {
            "listeners": listeners,
            "events": count,
            "events_per_s": round(count / seconds),
            "deliveries_per_s": round(count * listeners / seconds),
            "server_cpu_us_per_event": round(1e6 * cpu / count, 2),
        }


def run_events(count: int) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []

    async def both() -> None:
        for listeners in (1, PLUGINS):
            results.append(await events(count, listeners))

    def start() -> None:
        done: Deferred[None] = ensureDeferred(both())
        done.addErrback(lambda failure: print(failure, file=sys.stderr))  # noqa: T201
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    return results


# --- fan-out ------------------------------------------------------------------------------------------------------


class Crowd:
    """A daemon and a channel full of clients."""

    def __init__(self, folder: Path, plugins: int) -> None:
        names = write_plugins(folder, plugins)
        self.daemon = Daemon(folder, more=configured(names))
        self.daemon.start()
        for _ in names:
            self.daemon.wait_for_output("plugin listener[0-9]+ 0 is loaded")
        self.speaker = SocketClient(self.daemon).register("speaker")
        self.speaker.sends("JOIN #bench")
        self.members = [SocketClient(self.daemon).register(f"member{number}") for number in range(MEMBERS)]
        for member in self.members:
            member.sends("JOIN #bench")
            member.until(" 366 ")
        self.speaker.synchronise()
        time.sleep(1.0)

    def says(self, messages: int) -> tuple[float, float]:
        """Seconds, and seconds of the daemon's CPU, until every member has heard so many messages."""
        selector = selectors.DefaultSelector()
        for member in self.members:
            member.synchronise()
            member._buffer = b""
            member.socket.setblocking(False)
            selector.register(member.socket, selectors.EVENT_READ)
        waiting = {member.socket: messages for member in self.members}
        cpu, started = cpu_seconds(self.daemon.pid), time.perf_counter()
        sent = 0
        line = b"PRIVMSG #bench :" + b"x" * 60 + b"\r\n"
        while waiting:
            least = messages - max(waiting.values())
            if sent < messages and sent - least < 200:
                self.speaker.socket.sendall(line * 50)
                sent += 50
            for key, _ in selector.select(1.0):
                connection: Any = key.fileobj
                data = connection.recv(1 << 16)
                waiting[connection] -= data.count(b"\n")
                if waiting[connection] <= 0:
                    del waiting[connection]
                    selector.unregister(connection)
        result = time.perf_counter() - started, cpu_seconds(self.daemon.pid) - cpu
        for member in self.members:
            member.socket.setblocking(True)
        return result

    def talks(self, messages: int, rate: int) -> float:
        """Seconds of the daemon's CPU for so many messages at so many a second."""
        selector = selectors.DefaultSelector()
        for member in self.members:
            member.synchronise()
            member.socket.setblocking(False)
            selector.register(member.socket, selectors.EVENT_READ)
        line = b"PRIVMSG #bench :" + b"x" * 60 + b"\r\n"
        cpu, started, sent, heard = cpu_seconds(self.daemon.pid), time.perf_counter(), 0, 0
        while heard < messages * MEMBERS:
            due = min(int((time.perf_counter() - started) * rate), messages)
            while sent < due:
                self.speaker.socket.sendall(line)
                sent += 1
            for key, _ in selector.select(0.001):
                connection: Any = key.fileobj
                heard += connection.recv(1 << 16).count(b"\n")
        # What is gathered for the plugins counts, too.
        time.sleep(0.3)
        cpu = cpu_seconds(self.daemon.pid) - cpu
        for member in self.members:
            member.socket.setblocking(True)
        return cpu

    def close(self) -> None:
        for client in self.daemon.clients:
            client.close()
        self.daemon.stop()


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fanout(messages: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as bare, tempfile.TemporaryDirectory() as full:
        crowds = {"none": Crowd(Path(bare), 0), "ten": Crowd(Path(full), PLUGINS)}
        steady: dict[str, list[float]] = {"none": [], "ten": []}
        flat_out: dict[str, list[tuple[float, float]]] = {"none": [], "ten": []}
        for _ in range(rounds):
            for name, crowd in crowds.items():
                steady[name].append(crowd.talks(messages, RATE))
        for _ in range(rounds):
            for name, crowd in crowds.items():
                flat_out[name].append(crowd.says(messages))
                # What plugins still have to do is no part of the other's turn.
                time.sleep(1.0)
        for crowd in crowds.values():
            crowd.close()
    calm = {name: statistics.median(runs) for name, runs in steady.items()}
    cpu = {name: statistics.median(each[1] for each in runs) for name, runs in flat_out.items()}
    wall = {name: statistics.median(each[0] for each in runs) for name, runs in flat_out.items()}
    return {
        "members": MEMBERS,
        "messages": messages,
        "rounds": rounds,
        "steady": {
            "messages_per_s": RATE,
            "cpu_us_per_message": {name: round(1e6 * value / messages, 1) for name, value in calm.items()},
            "cpu_ratio": round(calm["ten"] / calm["none"], 3),
        },
        "flat_out": {
            "cpu_us_per_message": {name: round(1e6 * value / messages, 1) for name, value in cpu.items()},
            "messages_per_s": {name: round(messages / value) for name, value in wall.items()},
            "cpu_ratio": round(cpu["ten"] / cpu["none"], 3),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["command", "events", "fanout"])
    options = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "command": lambda: command(options.calls),
        "events": lambda: {"events": run_events(options.events)},
        "fanout": lambda: {"fanout": fanout(options.messages, options.rounds)},
    }
    results: dict[str, Any] = {}
    for name, part in parts.items():
        if options.only in (None, name):
            results.update(part())
    print(json.dumps(results, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
