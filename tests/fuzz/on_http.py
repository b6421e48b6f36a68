"""Targets: the admin API, from the parameters of a query to whole requests."""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import msgspec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http import parse_qs

from slircd.admin.app import AdminAPI
from slircd.admin.auth import Authenticator
from slircd.admin.call import Backend
from slircd.admin.errors import BadRequest, HTTPError
from slircd.admin.feed import Feed
from slircd.admin.query import parse_body, parse_query
from slircd.admin.routes import ROUTES
from slircd.admin.site import AdminSite
from slircd.admin.tables import SideTables
from slircd.admin.tokens import Tokens
from slircd.config.sections import Config
from slircd.events.reader import LogReader
from slircd.events.store import SQLStore
from slircd.metrics import Metrics
from slircd.state.snapshot import digest
from tests.admin.harness import ADMIN, READER, USERS, parse
from tests.fuzz import odd
from tests.fuzz.choices import Choices
from tests.fuzz.invariants import check_state
from tests.fuzz.on_log import sample
from tests.fuzz.output import check_output
from tests.fuzz.registry import target
from tests.fuzz.watch import no_failures
from tests.harness import START, World, make_config

QUERIES = [route for route in ROUTES.values() if route.query is not None]
BODIES = [route for route in ROUTES.values() if route.body is not None]
ALL = sorted(ROUTES.values(), key=lambda route: route.endpoint)


@target(
    max_bytes=400,
    seeds=[
        bytes([n]) + b"at=2025-01-01&limit=5&from=-15m&to=&type=channel.*,user.connect&after=1"
        for n in range(len(QUERIES))
    ],
)
def fuzz_query(data: bytes) -> None:
    """A query string is parameters of the types that the route wants, or a 400 that says which, what, and what is allowed."""
    route = QUERIES[data[0] % len(QUERIES)] if data else QUERIES[0]
    try:
        query = parse_query(parse_qs(data[1:], keep_blank_values=True), route.query, START)
    except BadRequest as error:
        document = error.document
        assert document["status"] == 400 and document["allowed"]
        assert set(document) >= {"parameter", "given", "title"}
        json.loads(msgspec.json.encode(document))
        return
    assert isinstance(query, route.query or object)


@target(
    max_bytes=400,
    seeds=[bytes([n]) + b'{"nick":"ann","reason":"x","mask":"*@x","at":"-15m"}' for n in range(len(BODIES))],
)
def fuzz_body(data: bytes) -> None:
    """A body is a document of the type that the route wants, or a 400."""
    route = BODIES[data[0] % len(BODIES)] if data else BODIES[0]
    assert route.body is not None
    try:
        parse_body(data[1:], route.body, "application/json; charset=utf-8")
    except HTTPError as error:
        assert error.status == 400
        json.loads(msgspec.json.encode(error.document))


class SomePast:
    """Answers questions about the past, which is that of another server: one file for all requests."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="slircd-fuzz-")
        self.path = Path(self._folder.name, "log.db")
        store = SQLStore(f"sqlite:///{self.path}", call_in_reactor=lambda *_: None, seconds=float)
        store.open()
        store.append(sample()[:150])
        store.close()

    def ask(self, question: Any, **arguments: Any) -> Deferred[bytes]:
        def run() -> Any:
            with LogReader(str(self.path)) as reader:
                return question(reader, **json.loads(json.dumps(arguments)))

        return maybeDeferred(run)


past = cache(SomePast)


@cache
def config() -> Config:
    return make_config()


class Api:
    """The admin API over a server in memory."""

    _app: AdminAPI | None = None

    def __init__(self) -> None:
        self.world = world = World(config=config())
        ann = world.oper("ann")
        ann.sends("JOIN #c", "NS REGISTER password1", "CS REGISTER #c", "KLINE *@spam.example :x")
        world.client("bob").sends("JOIN #c", "JOIN #d/e")
        tables = SideTables("sqlite://")
        tokens = Tokens(tables, world.clock.seconds, maybeDeferred)
        authenticator = Authenticator(lambda: USERS, world.server.passwords, world.clock, tokens)
        feed = Feed(world.server.bus, past(), world.clock, lambda: world.server.gate.committed_sequence)
        backend = Backend(world.server, past(), Metrics(world.server), authenticator, feed, maybeDeferred)
        if Api._app is None:
            Api._app = AdminAPI(backend)
        # Klein's table of routes costs more to make than all the rest, and is the same for every server.
        Api._app._backend = backend
        self.site = AdminSite(Api._app.resource(), world.clock)

    def answers(self, data: bytes, cut: int) -> bytes:
        """What the site says to some bytes."""
        transport = StringTransport(peerAddress=IPv4Address("TCP", "192.0.2.9", 4711))
        channel = self.site.buildProtocol(IPv4Address("TCP", "192.0.2.9", 4711))
        channel.makeConnection(transport)
        for start in range(0, len(data), cut):
            if not transport.disconnecting:
                channel.dataReceived(data[start : start + cut])
        for _ in range(30):
            self.world.clock.advance(0.1)
            if (
                transport.producer is not None
                and not transport.disconnecting
                and hasattr(transport.producer, "resumeProducing")
            ):
                transport.producer.resumeProducing()
        found = transport.value()
        channel.connectionLost(Failure(ConnectionDone()))
        self.world.clock.advance(0.1)
        return found


def request(choices: Choices) -> tuple[bytes, bool]:
    """A request that may be right, and whether it is whole."""
    route = choices.pick(ALL)
    path = route.path
    for part in route.parts:
        for form in (f"<path:{part}>", f"<{part}>"):
            path = path.replace(form, quote(odd.text(choices).encode()[:300], safe="/" if choices.number(2) else ""))
    names = [field.encode_name for field in msgspec.structs.fields(route.query)] if route.query is not None else []
    words = []
    for _ in range(choices.number(4)):
        name = choices.pick([*names, "nosuch"])
        words.append(f"{quote(name)}={quote(odd.text(choices).encode()[:600])}")
    method = (
        route.method if choices.number(10) else choices.pick(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "X"])
    )
    who = choices.pick([ADMIN, ADMIN, ADMIN, READER, "admin:wrong", "nobody:x"])
    headers = {"Host": "localhost"}
    how = choices.number(8)
    if how < 6:
        headers["Authorization"] = "Basic " + b64encode(who.encode()).decode()
    elif how == 6:
        headers["Authorization"] = odd.text(choices).encode("ascii", "replace").decode().translate(NO_BREAKS)
    body = b""
    if route.body is not None:
        fields = {
            field.encode_name: odd.value(choices) for field in msgspec.structs.fields(route.body) if choices.number(8)
        }
        body = json.dumps(fields).encode() if choices.number(8) else choices.take(60)
        headers["Content-Type"] = "application/json" if choices.number(12) else "text/plain"
        headers["Content-Length"] = str(len(body))
    for _ in range(choices.number(3)):
        name = choices.pick(
            ["Accept", "If-None-Match", "Range", "X-Request-ID", "Last-Event-ID", "Accept-Encoding", "Cookie"]
        )
        headers[name] = odd.text(choices).encode("ascii", "replace").decode().translate(NO_BREAKS)
    if choices.chance(40):
        headers["Accept"] = "application/x-ndjson"
    query = f"?{'&'.join(words)}" if words else ""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path}{query} HTTP/1.1\r\n{head}\r\n".encode() + body, route.tag != "live" and len(path) < 2000


NO_BREAKS = {ord(mark): " " for mark in "\r\n\0"}


@target(
    max_bytes=400,
    seeds=[
        *(bytes([0, 0, n, 3, 0, 1, n, 0, 2, 1]) for n in range(0, len(ALL), 3)),
        b"\xffGET /healthz HTTP/1.1\r\n\r\n",
        b"\xf0POST /admin/actions/kill HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
def fuzz_http(data: bytes) -> None:
    """Any request gets an answer that is no 500; a refusal says why, in JSON; no action leaves the state at odds."""
    choices = Choices(data)
    how, cut = choices.number(256), choices.number(256)
    with no_failures() as failures:
        api = Api()
        for _ in range(4):
            stream, whole = request(choices) if how < 200 else (choices.rest(), False)
            found = api.answers(stream, 4000 if cut < 200 else cut - 199)
            failures.check()
            if whole:
                assert found, stream
            if found and found.startswith(b"HTTP/1.1") and b"chunked" not in found:
                check_answer(found, stream)
            if not choices.more:
                break
        for client in api.world.clients:
            check_output(client.transport.value())
        check_state(api.world.server)
        api.world.store.commit()
        assert digest(api.world.state) == digest(api.world.replayed())


def check_answer(data: bytes, stream: bytes) -> None:
    answer = parse(data)
    assert 100 <= answer.status < 600 and answer.status not in (500, 501, 502), (
        answer.status,
        answer.body[:300],
        stream[:300],
    )
    if answer.status >= 400 and answer.body and "x-request-id" in answer.headers:
        assert answer.headers["content-type"].startswith("application/problem+json")
        document = json.loads(answer.body)
        assert document["status"] == answer.status and document["title"] and document["request_id"]
        if answer.status == 400 and "parameter" in document:
            assert {"allowed", "detail"} & set(document), document
