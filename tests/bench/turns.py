"""How long turns of the reactor are with ten thousand clients on real sockets: `python -m tests.bench.turns`.

A child process runs the whole server, with its log in SQLite and the cycle collector as ever, and measures each turn:
its wall time, and the CPU of its thread, which is what counts on a machine that does other things, too.  This process
is the clients: all on loopback, all on one channel, doing one thing after the other.  Prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

CONNECTING: Final = 200
"""Clients that connect at one time."""
OTHERS_FROM: Final = "127.0.0.2"
"""Where those come from whom a network ban will hit."""
HIT: Final = 500
GROUP: Final = 50
GOAL_MS: Final = 20.0


# --- the server ---------------------------------------------------------------------------------------------------

CONFIG: Final = """
secrets_file = "{folder}/secrets.toml"
[server]
name = "irc.test"
network = "TestNet"
[database]
url = "sqlite:///{folder}/log.db"
[admin]
enabled = false
[flood]
enabled = false
[throttle]
enabled = false
[limits]
clients = 100000
unregistered = 10000
channels_per_user = 200
[[listen]]
address = "127.0.0.1"
port = {port}
tls = false
[opers.root]
password_hash = "{hash}"
class = "netadmin"
"""


class Probe:
    """Stands in for the reactor's epoll object, as slircd.network.meter does, and measures CPU as well."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.turns: list[tuple[float, float]] = []
        self.pauses: list[float] = []
        self._wall = time.perf_counter()
        self._cpu = time.thread_time()
        self._pause = 0.0

    def poll(self, timeout: float, maxevents: int) -> Any:
        self.turns.append((time.perf_counter() - self._wall, time.thread_time() - self._cpu))
        try:
            return self.inner.poll(timeout, maxevents)
        finally:
            self._wall, self._cpu = time.perf_counter(), time.thread_time()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def collecting(self, phase: str, _info: object) -> None:
        if phase == "start":
            self._pause = time.thread_time()
        else:
            self.pauses.append(time.thread_time() - self._pause)

    def report(self) -> dict[str, float]:
        """What there was since the last report, in milliseconds."""
        turns, self.turns = self.turns or [(0.0, 0.0)], []
        pauses, self.pauses = self.pauses, []
        wall, cpu = sorted(turn[0] for turn in turns), sorted(turn[1] for turn in turns)
        return {
            "turns": len(turns),
            "cpu_s": sum(cpu),
            "p99": cpu[len(cpu) * 99 // 100] * 1000,
            "most": cpu[-1] * 1000,
            "wall": wall[-1] * 1000,
            "over": sum(each * 1000 > GOAL_MS for each in cpu),
            "gc": max(pauses, default=0.0) * 1000,
        }


def serve(file: str) -> None:
    """Be the server, until the end of standard input; each line there asks for a report."""
    import gc
    import threading

    from twisted.internet import reactor as installed  # noqa: TID251  # this is the process of the server

    from slircd.app import Options, makeService

    reactor: Any = installed
    raise_limit()
    options = Options()
    options["config"] = file
    service = makeService(options)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    probe = Probe(reactor._poller)
    reactor._poller = probe
    gc.callbacks.append(probe.collecting)

    def report() -> None:
        print(json.dumps(probe.report()), flush=True)  # noqa: T201  # its answer

    def listen() -> None:
        for _ in sys.stdin:
            reactor.callFromThread(report)
        reactor.callFromThread(reactor.stop)

    threading.Thread(target=listen, daemon=True).start()
    reactor.callWhenRunning(report)
    reactor.run()


def raise_limit() -> None:
    """As many open files as the system allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# --- the clients --------------------------------------------------------------------------------------------------


class Client:
    """One connection, which forgets what it reads but the words that somebody waits for."""

    def __init__(self, crowd: Crowd, number: int, nick: str, source: str) -> None:
        self.nick = nick
        self.crowd = crowd
        self.number = number
        self.tail = b""
        self.waits_for = b""
        self.socket = socket.socket()
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", crowd.port))
        self.socket.setblocking(False)
        crowd.selector.register(self.socket, selectors.EVENT_READ, self)

    def sends(self, *lines: str) -> None:
        self.socket.setblocking(True)
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())
        self.socket.setblocking(False)

    def reads(self) -> None:
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self.crowd.gone(self)
            return
        # All are read as one stream: a word may be cut in two.
        text = self.tail + data
        if b"PING :irc" in text:
            self.sends("PONG :irc.test")
        if self.waits_for and self.waits_for in text:
            self.waits_for = b""
            self.crowd.waiting -= 1
        self.tail = text[-64:]

    def waits(self, word: str) -> None:
        self.tail = b""
        if not self.waits_for:
            self.crowd.waiting += 1
        self.waits_for = word.encode()


class Crowd:
    """All the clients."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.selector = selectors.EpollSelector()
        self.clients: list[Client] = []
        self.waiting = 0
        self.alive = 0

    def come(self, count: int, source: str = "127.0.0.1", prefix: str = "u") -> None:
        """Have so many clients connect and register, some at a time."""
        for start in range(0, count, CONNECTING):
            new: list[Client] = []
            for number in range(start, min(start + CONNECTING, count)):
                client = Client(self, number, f"{prefix}{number}", source)
                self.alive += 1
                client.waits(" 422 ")
                client.sends(f"NICK {client.nick}", f"USER {client.nick} 0 * :Real {client.nick}")
                new.append(client)
            self.clients += new
            self.until(lambda: self.waiting == 0)

    def all_do(self, clients: list[Client], line: Callable[[Client], str], word: str) -> None:
        """Have each send a line, some at a time, and wait until each has read a word."""
        for start in range(0, len(clients), CONNECTING):
            for client in clients[start : start + CONNECTING]:
                client.waits(word)
                client.sends(line(client))
            self.until(lambda: self.waiting == 0)

    def gone(self, client: Client) -> None:
        self.selector.unregister(client.socket)
        client.socket.close()
        self.alive -= 1
        if client.waits_for:
            client.waits_for = b""
            self.waiting -= 1

    def until(self, done: Callable[[], bool], seconds: float = 300.0) -> None:
        """Read until something is so."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise TimeoutError("the server does not answer")
            for key, _ in self.selector.select(0.05):
                key.data.reads()

    def settle(self, seconds: float = 0.3) -> None:
        """Read until nothing has come for a moment."""
        last = time.monotonic()
        while time.monotonic() - last < seconds:
            for key, _ in self.selector.select(0.05):
                key.data.reads()
                last = time.monotonic()


def phases(crowd: Crowd, count: int) -> Iterator[tuple[str, Callable[[], None]]]:
    """What happens, one after the other."""
    clients = crowd.clients

    def one(number: int, *lines: str, word: str, times: int = 5) -> Callable[[], None]:
        def run() -> None:
            for each in range(times):
                client = clients[number + each]
                client.waits(word)
                client.sends(*lines)
                crowd.until(lambda: crowd.waiting == 0)
            crowd.settle()

        return run

    def at_once(amount: int, line: str, word: str) -> Callable[[], None]:
        return lambda: crowd.all_do(clients[100 : 100 + amount], lambda _: line, word)

    def comes() -> None:
        crowd.come(count)

    def groups() -> None:
        crowd.all_do(clients, lambda client: f"JOIN #g{client.number // GROUP}", " 366 ")
        clients[0].waits("MODE #big +")
        clients[0].sends("OPER root sesame", "JOIN #big", "MODE #big +u")
        crowd.until(lambda: crowd.waiting == 0)

    def all_on_one() -> None:
        # An auditorium: not everybody is told of everybody, which would be fifty million lines.
        crowd.all_do(clients[1:], lambda _: "JOIN #big", " 366 ")
        clients[0].sends("MODE #big -u")
        crowd.settle()

    def goes() -> None:
        for client in clients[-20:]:
            client.sends("QUIT :bye")
        crowd.settle()

    def storm() -> None:
        for client in clients[50 : 50 + 2_000]:
            client.waits("PONG")
            client.sends("PING 1")
        crowd.until(lambda: crowd.waiting == 0)

    def others() -> None:
        crowd.come(HIT, OTHERS_FROM, "x")
        crowd.all_do(clients[-HIT:], lambda _: "JOIN #big", " 366 ")

    def banned() -> None:
        before = crowd.alive
        clients[0].sends(f"GLINE FORCE *@{OTHERS_FROM} spam")
        crowd.until(lambda: crowd.alive <= before - HIT)
        crowd.settle()

    yield "all connect and register", comes
    yield "all join a channel of 50", groups
    yield "all join one channel (+u)", all_on_one
    yield "message to all, 5 times", one(1, "PRIVMSG #big :hello", "PING 9", word=":9")
    yield "2,000 PINGs at one time", storm
    yield "JOIN and PART of that channel, 5 times", one(10, "PART #big", "JOIN #big", word=" 366 ")
    yield "NICK, seen by all, 5 times", one(20, "NICK other", "NICK another", "PING 9", word=":9", times=1)
    yield "LIST by 20 at one time", at_once(20, "LIST", " 323 ")
    yield "WHO of all by 20 at one time", at_once(20, "WHO #big", " 315 ")
    yield "WHO * by 5 at one time", at_once(5, "WHO *", " 315 ")
    yield "NAMES of all by 20 at one time", at_once(20, "NAMES #big", " 366 ")
    yield "AWAY, 5 times", one(30, "AWAY :out", "AWAY", "PING 9", word=":9")
    yield "20 QUIT at one time, seen by all", goes
    yield "STATS l and TRACE", one(0, "STATS l", "TRACE", "PING 9", word=":9", times=1)
    yield "REHASH", one(0, "REHASH", "PING 9", word=":9", times=1)
    yield f"{HIT} more come, seen by all", others
    yield f"GLINE that hits {HIT}, seen by all", banned


def show(line: str) -> None:
    """A line of the table."""
    print(line, flush=True)  # noqa: T201  # its answer


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--serve", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    raise_limit()
    from tests.harness import OPER_HASH

    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        file = Path(folder, "slircd.toml")
        file.write_text(CONFIG.format(port=port, folder=folder, hash=OPER_HASH))
        with Path(folder, "server.log").open("w") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.turns", "--serve", str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=os.getcwd(),
            )
            assert child.stdin is not None
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith("{"):
                    break
            try:
                crowd = Crowd(port)
                show(
                    "| ms | turns | CPU s | p99 | longest, CPU | longest, wall | over 20 ms | longest search for cycles |"
                )
                show("|---|---|---|---|---|---|---|---|")
                for name, phase in phases(crowd, options.clients):
                    phase()
                    child.stdin.write("\n")
                    child.stdin.flush()
                    found = json.loads(child.stdout.readline())
                    show(
                        f"| {name} | {found['turns']:,} | {found['cpu_s']:.1f} | {found['p99']:.1f} | {found['most']:.1f} "
                        f"| {found['wall']:.1f} | {found['over']} | {found['gc']:.1f} |"
                    )
            finally:
                child.stdin.close()
                child.wait(60)
                sys.stderr.write(Path(folder, "server.log").read_text()[-3000:])


if __name__ == "__main__":
    main()
