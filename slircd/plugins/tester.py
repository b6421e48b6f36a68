"""`slircd plugin test`: runs a plugin's own tests, in Lua, against a server in memory.

The server is the real one, on a log in memory, a clock that tests move, and clients without sockets; the plugin runs in
this process, behind the same pipe protocol as in a process of its own.  Each test begins with a server of its own.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import msgspec
import txaio
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, ensureDeferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from slircd.commands.extensions import ManagerError
from slircd.config.load import parse
from slircd.events.memory import MemoryStore
from slircd.events.types import SERVER, NickRegister, UserAccount
from slircd.network.listeners import ListenerInfo
from slircd.network.protocol import IRCProtocol
from slircd.network.server import IRCServer
from slircd.plugins.interface import PluginError
from slircd.plugins.lua.child import Child, Interpreter
from slircd.plugins.manager import PluginManager
from slircd.plugins.manifest import Source, read_manifest
from slircd.plugins.process import LUA, ChildProcess
from slircd.rules.capabilities import CAPABILITIES
from slircd.security.cloak import Cloak
from slircd.security.passwords import Passwords

START_S: Final = 1_750_000_000.0
SETTLE_S: Final = 0.11
"""Seconds of the test's clock between one thing and what follows from it; more than events wait for others."""

MOMENT_S: Final = 0.5
MAX_STEPS: Final = 2000

SECONDS: Final = 60.0
MEMORY_BYTES: Final = 256 << 20


class Result(NamedTuple):
    """One test: its name, and what went wrong or None."""

    name: str
    problem: str | None


class InlineChild(Child):
    """A child in this process: its pipes are two queues."""

    def __init__(self, out: Callable[[bytes], None]) -> None:
        super().__init__(memory_bytes=MEMORY_BYTES, cpu_s=0)
        self.inbox: deque[bytes] = deque()
        self._out = out
        self._busy = False
        self._started = False

    def take(self, data: bytes) -> None:
        """Frames from the parent: jobs, and replies to a call that is under way."""
        self.inbox.extend(line for line in data.split(b"\n") if line)
        if self._busy:
            return
        self._busy = True
        try:
            while self.inbox:
                frame = self._read()
                if self._started:
                    self.handle(frame)
                else:
                    self._started = True
                    self.begin(frame)
                    self.write({"op": "ready", "holds": ["nothing"]})
        finally:
            self._busy = False

    def _read(self) -> Mapping[str, Any]:
        frame: Mapping[str, Any] = json.loads(self.inbox.popleft().decode("latin-1"))
        return frame

    def _write_text(self, text: str) -> None:
        self._out(text.encode("latin-1", "replace") + b"\n")

    def _limit_cpu(self, seconds: float) -> None:
        pass


class InlineTransport:
    """What stands for the process: writing to it runs the child."""

    pid = None

    def __init__(self, protocol: ChildProcess) -> None:
        self._child = InlineChild(protocol.outReceived)

    def write(self, data: bytes) -> None:
        """Give the child its frames."""
        self._child.take(data)

    def signalProcess(self, name: str) -> None:  # noqa: N802  # Twisted's name
        """There is no process to kill."""

    def loseConnection(self) -> None:  # noqa: N802  # Twisted's name
        """There is no pipe to close."""

    pauseProducing = resumeProducing = loseConnection  # noqa: N815  # Twisted's names


class InlineProcess(ChildProcess):
    """A ChildProcess whose child runs here."""

    def start(self, argv: list[str], first: dict[str, Any]) -> None:
        """Start the child, and give it its first frame."""
        self._spawned_at = self._reactor.seconds()
        self.transport = InlineTransport(self)
        self._write(msgspec.json.encode({**first, "seconds": SECONDS}) + b"\n")


class Client:
    """A client without a socket."""

    def __init__(self, world: FakeServer, nick: str) -> None:
        self.protocol = IRCProtocol(world.server)
        self.protocol.listener = ListenerInfo("test", True)
        self.transport = StringTransport(peerAddress=IPv4Address("TCP", f"192.0.2.{len(world.clients) + 1}", 50000))
        self.protocol.makeConnection(self.transport)
        self.unread: list[str] = []

    def send(self, line: str) -> None:
        """Send a line."""
        self.protocol.dataReceived(line.encode() + b"\r\n")

    def collect(self) -> list[str]:
        """The lines that were not looked at."""
        data = self.transport.value().decode("utf-8", "replace")
        self.transport.clear()
        self.unread += [line for line in data.split("\r\n") if line]
        return self.unread


class FakeServer:
    """A server in memory, with one plugin."""

    def __init__(self, source: Source, answers: dict[str, tuple[int, str]]) -> None:
        self.clock = Clock()
        self.clock.advance(START_S)
        txaio.config.loop = self.clock
        self.clients: dict[str, Client] = {}
        self.printed: list[str] = []
        config = parse(
            {
                "server": {"name": "irc.test", "network": "Test"},
                "flood": {"enabled": False},
                "cloak": {"enabled": False},
                "timeouts": {"ping_interval_s": 86_400},
                "plugins": {"grants": {source.name: list(CAPABILITIES)}, "limits": {"deadline_ms": 60_000}},
            },
            "test",
        )
        self.server = IRCServer(
            config,
            MemoryStore(seconds=self.clock.seconds),
            reactor=self.clock,
            cloak=Cloak(b"k" * 32, "cloak"),
            passwords=Passwords(maybeDeferred, "minimum"),
            session_id="test",
            rng=Random(0),  # noqa: S311  # a test is to be the same each time
        )
        self.server.startService()
        self.manager = PluginManager(
            self.server,
            in_thread=lambda read, name, folders: succeed(source),
            process=InlineProcess,
            outgoing=lambda private: _Answering(answers),  # type: ignore[arg-type, return-value]
        )
        self.manager.startService()
        self.failure = ""
        loading = ensureDeferred(self.manager.load(source.name, SERVER, ""))
        loading.addErrback(self._not_loaded)
        self.settle()

    def _not_loaded(self, failure: Any) -> None:
        failure.trap(ManagerError)
        self.failure = str(failure.value)

    def settle(self, seconds: float = 0.0) -> None:
        """Let so much time pass, in steps, and a little more, so that what follows reaches the plugin and back."""
        steps = max(1, int(seconds / MOMENT_S))
        for _ in range(min(steps, MAX_STEPS) if seconds else 0):
            self.clock.advance(seconds / min(steps, MAX_STEPS))
        for _ in range(4):
            self.clock.advance(SETTLE_S)


class _Answering:
    """HTTP that answers what the test has said."""

    def __init__(self, answers: dict[str, tuple[int, str]]) -> None:
        self._answers = answers

    def request(self, method: str, url: str, **_: Any) -> Deferred[Any]:
        from slircd.security.outgoing import Answer, OutgoingError

        found = self._answers.get(url)
        if found is None:
            return fail(OutgoingError(f"the test has no answer for {url}"))
        return succeed(Answer(found[0], {}, found[1].encode()))


class Tester:
    """What a plugin's tests call as `server`, one method for each function."""

    def __init__(self, source: Source, report: Callable[[Result], None]) -> None:
        self._source = source
        self._report = report
        self._name = ""
        self._server: FakeServer | None = None
        self._settings: dict[str, Any] = {}
        self._answers: dict[str, tuple[int, str]] = {}

    def run(self, tests: str, chunk: str) -> str | None:
        """Run a file of tests; what is wrong with the file, or None."""
        names = [name for name in HELPERS if name not in ("begin", "finish")]
        prelude = (LUA / "prelude.lua").read_text(encoding="utf-8")
        runner = Interpreter(prelude, [], self._exchange, print, memory_bytes=MEMORY_BYTES, seconds=SECONDS)
        # Latin-1's clothes, as in the child.
        result = runner.run("run_tests", _dressed(tests), chunk, runner.to_lua(names))
        return None if result[0] is None else str(result[0])

    def _exchange(self, name: str, arguments: str) -> tuple[Any, ...]:
        helper = HELPERS.get(name)
        if helper is None:
            return "error", f"server.{name} does not exist"
        try:
            value = helper(self, *json.loads(arguments.encode("latin-1")))
        except (PluginError, TypeError) as error:
            return "error", _dressed(f"server.{name}: {error}")
        return "ok", json.loads(_dressed(json.dumps(value, ensure_ascii=False)))

    @property
    def _here(self) -> FakeServer:
        if self._server is None:
            source = self._source
            if self._settings:
                settings = {**source.manifest.settings, **self._settings}
                manifest = msgspec.structs.replace(source.manifest, settings=settings)
                source = msgspec.structs.replace(source, manifest=manifest)
            self._server = FakeServer(source, self._answers)
            if self._server.failure:
                raise PluginError(f"the plugin cannot be loaded: {self._server.failure}")
        return self._server

    def _client(self, nick: str) -> Client:
        client = self._here.clients.get(nick.lower())
        if client is None:
            raise PluginError(f"there is no client {nick}: server.connect it first")
        return client

    # --- what tests call ------------------------------------------------------------------------------------------

    def begin(self, name: str) -> None:
        """A test begins."""
        self._name = name
        self._server = None
        self._settings, self._answers = {}, {}

    def finish(self, problem: str | None = None) -> None:
        """A test is over."""
        entry = None if self._server is None else self._server.manager.entries.get(self._source.name)
        if entry is not None and entry.last_fault:
            problem = "\n".join(filter(None, [problem, f"the plugin failed: {entry.last_fault}"]))
        self._report(Result(self._name, problem))

    def settings(self, settings: dict[str, Any]) -> None:
        """Settings of config.toml for this test; to be called first."""
        if self._server is not None:
            raise PluginError("settings come before everything else of a test")
        self._settings = settings if isinstance(settings, dict) else {}

    def answer(self, url: str, status: int, body: str = "") -> None:
        """What an HTTP request of the plugin to this URL gets."""
        self._answers[url] = (int(status), body)

    def connect(self, nick: str, account: str | None = None) -> None:
        """Connects a client, logged in to an account where one is named."""
        here = self._here
        client = Client(here, nick)
        here.clients[nick.lower()] = client
        client.send(f"NICK {nick}")
        client.send(f"USER {nick} 0 * :{nick}")
        here.clock.advance(0)
        session: Any = client.protocol.session
        if session is None or not session.uid:
            raise PluginError(f"{nick} could not connect: {client.collect()}")
        client.collect()
        client.unread.clear()
        if account is not None:
            key = here.server.state.fold(account)
            bus = here.server.bus
            if key not in here.server.state.accounts:
                bus.emit([NickRegister(actor_uid=session.uid, target=key, nick=nick, account=account, verified=True)])
            bus.emit([UserAccount(actor_uid=session.uid, target=session.uid, nick=nick, account=account)])
        here.settle()

    def send(self, nick: str, line: str) -> None:
        """Sends a line as this client."""
        client = self._client(nick)
        client.send(line)
        self._here.settle()

    def lines(self, nick: str) -> list[str]:
        """The lines that this client got since they were last looked at."""
        client = self._client(nick)
        lines = list(client.collect())
        client.unread.clear()
        return lines

    def expects(self, nick: str, text: str) -> None:
        """An error unless one of the client's lines holds this text; it and those before it are done with."""
        client = self._client(nick)
        lines = client.collect()
        for index, line in enumerate(lines):
            if text in line:
                del lines[: index + 1]
                return
        got = "".join(f"\n    {line}" for line in lines) or " nothing"
        raise PluginError(f"{nick} did not get {text!r}, but{got}")

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self._here.settle(float(seconds))


HELPERS: Final[dict[str, Callable[..., Any]]] = {
    name: getattr(Tester, name)
    for name in ("begin", "finish", "settings", "answer", "connect", "send", "lines", "expects", "advance")
}


def _dressed(text: str) -> str:
    """Text as the Lua side has it: its UTF-8 bytes as characters of Latin-1."""
    return text.encode().decode("latin-1")


def read_folder(folder: Path) -> Source:
    """The plugin of a folder, wherever it is.  Raises ManagerError."""
    init = folder / "init.lua"
    if not init.is_file():
        raise ManagerError(f"{init} is not there")
    return Source(
        name=folder.name, folder=str(folder), code=init.read_text(encoding="utf-8"), manifest=read_manifest(folder)
    )


def run_tests(folder: Path, report: Callable[[Result], None]) -> None:
    """Run every `test*.lua` of a plugin's folder.  Raises ManagerError if there is none, or one cannot be run."""
    source = read_folder(folder.resolve())
    files = sorted(folder.glob("test*.lua"))
    if not files:
        raise ManagerError(f"there is no test.lua in {folder}")
    for file in files:
        problem = Tester(source, report).run(file.read_text(encoding="utf-8"), f"{source.name}/{file.name}")
        if problem is not None:
            raise ManagerError(problem)
