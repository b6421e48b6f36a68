"""The admin API in memory: the real application over a World, asked through Klein's resource without a socket.

Questions about the past read the committed rows, written to a file of SQLite for each question.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from slircd.admin.app import AdminAPI
from slircd.admin.auth import Authenticator
from slircd.admin.call import Backend
from slircd.admin.feed import Feed
from slircd.admin.site import AdminSite
from slircd.admin.tables import SideTables
from slircd.admin.tokens import Tokens
from slircd.config.sections import AdminUser
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.store import SQLStore
from slircd.metrics import Metrics
from slircd.security.passwords import hash_now
from tests.harness import ServerTestCase, World

USERS = {
    "admin": AdminUser(password_hash=hash_now("sesame", "minimum"), role="admin"),
    "eve": AdminUser(password_hash=hash_now("reading", "minimum"), role="read"),
}
ADMIN = "admin:sesame"
READER = "eve:reading"


class InlinePast:
    """Answers questions about the past at once, from the committed rows of a World."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = folder
        self._written = 0

    @property
    def path(self) -> Path:
        return self._folder / "log.db"

    def write(self) -> None:
        """Bring the file up to the committed rows."""
        store = SQLStore(f"sqlite:///{self.path}", call_in_reactor=lambda *_: None, seconds=float)
        store.open()
        rows = self._world.store.rows[self._written :]
        if rows:
            store.append([Row(*row) for row in rows])
        self._written += len(rows)
        store.close()

    def ask(self, question: Callable[..., bytes], **arguments: Any) -> Deferred[bytes]:
        def run() -> bytes:
            self._world.store.commit()
            self.write()
            with LogReader(str(self.path)) as reader:
                return question(reader, **json.loads(json.dumps(arguments)))

        return maybeDeferred(run)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class AdminTestCase(ServerTestCase):
    """A test of the admin API over a whole server in memory."""

    users = USERS

    def setUp(self) -> None:
        super().setUp()
        self.channels: list[HTTPChannel] = []
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        world = self.world
        self.past = InlinePast(world, Path(folder.name))
        self.past.write()
        self.tables = SideTables(str(self.past.path))
        self.addCleanup(self.tables.close)
        tokens = Tokens(self.tables, world.clock.seconds, maybeDeferred)
        self.metrics = Metrics(world.server)
        self.authenticator = Authenticator(lambda: self.users, world.server.passwords, world.clock, tokens)
        self.backend = self.make_backend()
        self.api = AdminAPI(self.backend)
        self.site = AdminSite(self.api.resource(), world.clock)

    def make_backend(self) -> Backend:
        server = self.world.server
        feed = Feed(server.bus, self.past, self.world.clock, lambda: server.gate.committed_sequence)
        return Backend(server, self.past, self.metrics, self.authenticator, feed, maybeDeferred)

    def connect(self) -> tuple[HTTPChannel, StringTransport]:
        """A connection to the site."""
        transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.9", 4711))
        channel = self.site.buildProtocol(IPv4Address("TCP", "192.0.2.9", 4711))
        channel.makeConnection(transport)
        self.channels.append(channel)
        return channel, transport

    def tearDown(self) -> None:
        for channel in self.channels:
            channel.connectionLost(Failure(ConnectionDone()))
        super().tearDown()

    def ask(
        self,
        path: str,
        who: str | None = ADMIN,
        *,
        method: str = "GET",
        body: Any = None,
        raw: bytes | None = None,
        **headers: str,
    ) -> Answer:
        """The answer to one request; `who` is NAME:PASSWORD, or a token."""
        channel, transport = self.connect()
        given = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if who is not None:
            basic = "Basic " + b64encode(who.encode()).decode()
            given["Authorization"] = basic if ":" in who else f"Bearer {who}"
        if body is not None:
            raw = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        if raw is not None or method == "POST":
            given.setdefault("Content-Length", str(len(raw or b"")))
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        channel.dataReceived(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + (raw or b""))
        self.world.turn()
        self.flush(transport)
        return parse(transport.value())

    def flush(self, transport: StringTransport) -> None:
        """Let a streaming producer write to its end."""
        for _ in range(1000):
            if transport.producer is None or transport.disconnecting:
                return
            transport.producer.resumeProducing()
            self.world.turn()


def parse(data: bytes) -> Answer:
    """An HTTP answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunk(body)
    return Answer(int(lines[0].split(" ")[1]), headers, body)


def _unchunk(data: bytes) -> bytes:
    found = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        found += data[:length]
        data = data[length + 2 :]
    return found
