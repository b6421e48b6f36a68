"""Hostile clients on real sockets: what only a kernel's buffers, TLS and a process's memory can show.

All tests share one daemon, whose limits are small, and its two bystanders.  Memory is what the kernel says of the
process; CPU time is compared with that of well-behaved clients of the same run.  Attackers come from addresses of
127.0.0.0/8, which is not exempt here.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import shutil
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from OpenSSL import SSL

from tests.system.daemon import DEADLINE_S, Daemon, SocketClient, insecure

pytestmark = pytest.mark.system

SENDQ, UNREGISTERED, PER_ADDRESS = 131_072, 100, 20

CONFIG = f"""
[server]
name = "irc.test"

[[listen]]
port = 0

[[listen]]
port = 0
tls = true

[passwords]
cost = "minimum"

[throttle]
exempt = ["127.0.0.1/32"]
connections = {PER_ADDRESS}
attempts = 100000

[timeouts]
handshake_s = 5
registration_s = 5
ping_interval_s = 10
ping_timeout_s = 10

[limits]
sendq_bytes = {SENDQ}
unregistered = {UNREGISTERED}

[admin]
port = 0
connections = 20
"""

MEGABYTE = 1 << 20

CONTEXT = insecure()


class Target(Daemon):
    """The daemon, its memory and CPU time, and two people who talk."""

    def __init__(self, folder: Path) -> None:
        (folder / "slircd.toml").write_text(CONFIG)
        super().__init__(folder)
        self._said = count()
        self._addresses = count(10)
        self.attackers: list[socket.socket] = []

    def meet(self) -> None:
        self.ann, self.bob = (SocketClient(self).register(nick) for nick in ("ann", "bob"))
        self.ann.sends("OPER admin sesame")  # flood-exempt: tests are about others' floods
        self.ann.until(" 381 ")
        for each in (self.ann, self.bob):
            each.sends("JOIN #talk")
            each.until(" 366 ")

    def assert_undisturbed(self) -> None:
        """What ann says comes to bob, on a channel and in private, next and whole, and her PING is answered."""
        number = next(self._said)
        self.ann.sends(f"PRIVMSG #talk :{number}", f"PRIVMSG bob :{number}")
        for target in ("#talk", "bob"):
            line = self.bob.until(r" PRIVMSG ")
            assert line.endswith(f" PRIVMSG {target} :{number}"), line
        self.ann.synchronise()
        self.bob.sends(f"PONG {number}")

    @property
    def rss(self) -> int:
        """Bytes of memory that the process has."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def connections(self) -> int:
        """Sockets that it has open."""
        found = 0
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found += os.readlink(entry).startswith("socket:")
        return found

    def address(self) -> str:
        """An address that nobody has come from."""
        number = next(self._addresses)
        return f"127.{1 + number // 200}.0.{1 + number % 200}"

    def attack(self, kind: str = "plain", source: str = "", *, buffer: int = 0) -> socket.socket:
        """A connection."""
        connection = socket.socket()
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(DEADLINE_S)
        self.attackers.append(connection)
        connection.bind((source or self.address(), 0))
        connection.connect(("127.0.0.1", self.ports[kind]))
        return connection

    def tls(self, source: str = "", *, buffer: int = 0) -> ssl.SSLSocket:
        """A connection whose handshake is done."""
        connection = CONTEXT.wrap_socket(self.attack("tls", source, buffer=buffer), server_hostname="irc.test")
        self.attackers.append(connection)
        return connection

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Until it is so, with the bystanders talking."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, what
            self.assert_undisturbed()
            time.sleep(0.05)


class Few(Target):
    """The same, but for how many files it may have open."""

    def command(self) -> list[str]:
        return ["prlimit", "--nofile=300:300", *super().command()]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    daemon = Target(tmp_path_factory.mktemp("hostile"))
    with daemon:
        daemon.meet()
        yield daemon
        daemon.assert_undisturbed()
        assert not [line for line in daemon.output if "Traceback" in line or "Unhandled" in line]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(autouse=True)
def undisturbed(target: Target) -> Iterator[None]:
    """Before and after each attack the two talk, and afterwards nothing of it is left."""
    target.assert_undisturbed()
    before = target.connections
    yield
    for each in target.attackers:
        each.close()
    target.attackers.clear()
    target.assert_undisturbed()
    target.wait_for(lambda: target.connections <= before, "connections of the attack are left")


def is_over(connection: socket.socket) -> bool:
    """Whether the server has ended a connection; reads nothing."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return any(event & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def client_hello() -> bytes:
    """The first flight of a TLS client."""
    outgoing = ssl.MemoryBIO()
    tls = CONTEXT.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="irc.test")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_connections_that_only_wait(target: Target) -> None:
    """Nothing, half a handshake, a handshake and nothing, half a line, PING for ever: all are cut by their timeouts.

    So is who was told to go and neither reads that nor ends its TLS.
    """
    hello = client_hello()
    waiting = [target.attack("tls") for _ in range(15)]
    for each in waiting[5:10]:
        each.sendall(hello)
    for each in waiting[10:]:
        each.sendall(hello[:20])
    waiting += [target.attack() for _ in range(10)]
    half = [target.tls() for _ in range(5)]
    quitting = [target.tls() for _ in range(5)]
    for each in quitting:
        each.sendall(b"QUIT\r\n")
    chatty = waiting[15:20]
    everybody = [*waiting, *half, *quitting]

    def all_over() -> bool:
        for each in chatty:
            with contextlib.suppress(OSError):
                each.send(b"PING x\r\n")
        for each in waiting[10:15]:
            with contextlib.suppress(OSError):
                each.send(b"\0")
        return all(is_over(each) for each in everybody)

    target.wait_for(all_over, "some wait for ever")


def crowd(target: Target, address: str) -> None:
    """As many users as an address may have."""
    for number in range(PER_ADDRESS):
        connection = target.attack("plain", address)
        connection.sendall(f"NICK c{number}\r\nUSER c 0 * :c\r\n".encode())
        while b" 422 " not in connection.recv(65536):
            pass


def test_refusals_are_told(target: Target) -> None:
    """Who is one too many is told so, over TLS too."""
    one = target.address()
    crowd(target, one)
    for kind in ("plain", "tls"):
        connection = target.tls(one) if kind == "tls" else target.attack(kind, one)
        told = connection.recv(1000).decode()
        assert told == f"ERROR :Closing Link: {one} (Too many connections from your address)\r\n"


def test_floods_of_handshakes(target: Target) -> None:
    """Handshakes that are begun cost no more than those that are finished; connections beyond a limit cost next to none."""
    one = target.address()
    crowd(target, one)
    hello = client_hello()

    def cost(attack: Callable[[], None], times: int) -> float:
        start = target.cpu_s
        for number in range(times):
            attack()
            if number % 50 == 0:
                target.assert_undisturbed()
        return (target.cpu_s - start) / times

    def begins() -> None:
        target.attack("tls").sendall(hello)

    def is_refused() -> None:
        with contextlib.suppress(OSError):
            connection = target.attack("tls", one)
            connection.sendall(hello)
            connection.recv(1)

    whole = cost(lambda: target.tls().close(), 100)
    begun = cost(begins, 200)
    refused = cost(is_refused, 400)
    assert begun <= 1.5 * whole, (begun, whole)
    assert refused <= whole / 2, (refused, whole)


def test_floods_of_connections(target: Target) -> None:
    """Six hundred connections from sixty addresses that say nothing: the slowest go, a newcomer gets in, memory is bounded."""
    before = target.rss
    flood: list[socket.socket] = []
    for _ in range(60):
        source = target.address()
        flood += [target.attack("plain", source) for _ in range(10)]
        target.assert_undisturbed()
    late = SocketClient(target).register("late")
    assert sum(not is_over(each) for each in flood) <= UNREGISTERED
    told = flood[0].recv(1000)
    assert b"(Too many connections are registering, and yours was the slowest)" in told, told
    assert target.rss - before < 16 * MEGABYTE
    late.close()


def test_readers_that_do_not_read(target: Target) -> None:
    """Ten members of a channel who read nothing, small windows: each keeps two send queues at most, then is cut.

    Nothing is lost to the two who read, and whoever is cut sees no end of TCP's patience: the connection is reset.
    """
    deaf: list[socket.socket] = []
    for number in range(10):
        connection = target.tls(buffer=4096) if number % 2 else target.attack(buffer=4096)
        connection.sendall(f"NICK deaf{number}\r\nUSER d 0 * :d\r\nJOIN #talk\r\n".encode())
        target.bob.until(f":deaf{number}!.* JOIN #talk")
        deaf.append(connection)
    before, most, said = target.rss, 0, 0
    text = "x" * 400
    while not all(is_over(each) for each in deaf):
        target.ann.sends(*[f"PRIVMSG #talk :{said + number} {text}" for number in range(50)])
        for number in range(said, said + 50):
            assert f" :{number} x" in target.bob.until(" PRIVMSG ")
        said += 50
        most = max(most, target.rss - before)
        assert said * 450 < 60 * SENDQ, "somebody who does not read is never cut"
    assert most < len(deaf) * 3 * SENDQ + 8 * MEGABYTE, most


def test_asks_much_and_reads_nothing(target: Target) -> None:
    """Who asks and asks and reads nothing is not read either: what it could be told does not pile up."""
    eve = target.attack(buffer=4096)
    eve.sendall(b"NICK eve\r\nUSER e 0 * :e\r\n")
    eve.settimeout(1)
    before, sent = target.rss, 0
    with contextlib.suppress(OSError):
        while sent < 16 * MEGABYTE:
            sent += eve.send(b"PING " + b"x" * 400 + b"\r\n")
            if sent % 100_000 < 407:
                target.assert_undisturbed()
    assert target.rss - before < 4 * MEGABYTE


def test_million_byte_lines(target: Target) -> None:
    """Lines without an end, from fifty at once: told so, cut, and nothing of it stays."""
    before = target.rss
    many = [target.attack() for _ in range(50)]
    for each in many:
        with contextlib.suppress(OSError):
            each.sendall(b"x" * MEGABYTE)
        target.assert_undisturbed()
    assert target.rss - before < 8 * MEGABYTE
    target.wait_for(lambda: all(is_over(each) for each in many), "a line without end is read for ever")


def test_renegotiation(target: Target) -> None:
    """TLS 1.2: who asks for another handshake on the same connection gets none."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    plain = target.attack("tls")
    plain.setblocking(True)
    client = SSL.Connection(context, plain)
    client.set_connect_state()
    client.do_handshake()
    client.sendall(b"NICK rene\r\nUSER r 0 * :r\r\n")
    while b" 376 " not in (data := client.recv(65536)) and b" 422 " not in data:
        pass
    start = target.cpu_s
    client.renegotiate()
    with pytest.raises(SSL.Error) as refused:
        client.do_handshake()
    assert "no renegotiation" in str(refused.value)
    assert target.cpu_s - start < 1
    client.close()
    plain.close()


@pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the command openssl sends key updates, and nothing else does"
)
def test_key_updates(target: Target) -> None:
    """TLS 1.3: two thousand requests for new keys, unread answers included, change nothing for others."""
    before = target.rss
    with subprocess.Popen(
        [
            "openssl",
            "s_client",
            "-tls1_3",
            "-connect",
            f"127.0.0.1:{target.ports['tls']}",
            "-bind",
            f"{target.address()}:0",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as client:
        assert client.stdin is not None
        with contextlib.suppress(OSError):
            for _ in range(2000):
                client.stdin.write(b"K\n")
                client.stdin.flush()
        target.assert_undisturbed()
        assert target.rss - before < 4 * MEGABYTE
        client.kill()


def test_more_connections_than_files(tmp_path: Path) -> None:
    """With 300 files, connections stop before they are all taken: the log goes on, and whoever is one too many is told."""
    few = Few(tmp_path)
    few.config.write_text(CONFIG.replace(f"unregistered = {UNREGISTERED}", "unregistered = 4000"))
    with few:
        assert any("172 of limits.clients = 20000 can connect" in line for line in few.output)
        few.meet()
        flood = [few.attack("plain", "127.0.0.1") for _ in range(250)]
        few.assert_undisturbed()
        few.bob.sends("PART #talk", "JOIN #more")
        few.bob.until(" 366 ")
        told = [each for each in flood if select.select([each], [], [], 0)[0]]
        assert len(told) == 250 - 170
        assert b"(The server is full, try again later)" in told[-1].recv(1000)
        for each in few.attackers:
            each.close()


def test_slow_http(target: Target) -> None:
    """A hundred requests that never end, on a listener that takes twenty: others are answered meanwhile."""
    slow = [target.attack("admin", "127.0.0.1") for _ in range(100)]
    for each in slow:
        with contextlib.suppress(OSError):
            each.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
    for _ in range(5):
        with urllib.request.urlopen(f"http://127.0.0.1:{target.ports['admin']}/healthz", timeout=DEADLINE_S) as answer:
            assert answer.status == 200
        target.assert_undisturbed()
    assert sum(not is_over(each) for each in slow) <= 20
    target.wait_for(lambda: all(is_over(each) for each in slow), "a request takes for ever")
