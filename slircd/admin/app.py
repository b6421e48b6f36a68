"""The Klein resource tree.

`/healthz`, `/readyz` and `/metrics` need no log-in; everything under `/admin` does.  Whatever reads the log runs in a
thread with a reader of its own, so that no question about the past holds up a client.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import msgspec
import txaio
from klein import Klein
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from werkzeug.exceptions import HTTPException

from slircd.about import version
from slircd.admin.auth import Authenticator
from slircd.admin.errors import BadRequest, HTTPError, answer
from slircd.events.clock import parse_moment
from slircd.events.reader import LogReader
from slircd.events.row import Row
from slircd.events.types import EVENT_TYPES
from slircd.metrics import Metrics
from slircd.replay.blame import blame
from slircd.replay.diff import diff_states
from slircd.replay.document import ServerSnapshot, to_document
from slircd.replay.reconstructor import BeforeTheLog, Damaged, Replayed, StateReconstructor, replay
from slircd.state.snapshot import digest

if TYPE_CHECKING:
    from slircd.network.server import IRCServer

txaio.use_twisted()
log = txaio.make_logger()

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
STREAM_BATCH: Final = 500

Handler = Callable[..., Coroutine[Any, Any, Any]]


class AdminAPI:
    """The routes."""

    app = Klein()

    def __init__(self, server: IRCServer, location: str, metrics: Metrics, authenticator: Authenticator) -> None:
        """`location` is the URL of the log."""
        self._server = server
        self._location = location
        self._metrics = metrics
        self._authenticator = authenticator

    # --- health -----------------------------------------------------------------------------------------------------

    @app.route("/healthz", methods=["GET"])
    def healthz(self, request: Any) -> bytes:
        """The process answers."""
        return answer(request, {"status": "ok", "version": version()})

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: Any) -> bytes:
        """The server takes clients, and its log can be written."""
        if self._server.bus.degraded:
            return answer(request, {"status": "degraded", "reason": "the event log cannot be written"}, 503)
        return answer(request, {"status": "ready"})

    @app.route("/metrics", methods=["GET"])
    def metrics(self, request: Any) -> bytes:
        """Prometheus' text format."""
        request.setHeader(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
        return self._metrics.text()

    # --- the log ----------------------------------------------------------------------------------------------------

    @app.route("/admin/events", methods=["GET"])
    def events(self, request: Any) -> Deferred[Any]:
        """Events by time, type, target and actor; an array, or a stream of lines (application/x-ndjson)."""
        return self._run(request, "read", self._events)

    async def _events(self, request: Any) -> bytes | None:
        query = _Query(request)
        since, until = query.moment("from", self._now()), query.moment("to", self._now())
        kind = query.choice("type", EVENT_TYPES)
        target, actor = query.text("target"), query.text("actor")
        after = query.number("after", 0, 2**62, 0)
        streams = "application/x-ndjson" in (request.getHeader("accept") or "")
        limit = query.number("limit", 1, 2**62 if streams else MAX_LIMIT, 2**62 if streams else DEFAULT_LIMIT)
        query.end()

        def read(start: int, most: int) -> list[Row]:
            found: list[Row] = []
            with LogReader(self._location) as reader:
                rows = reader.rows(
                    after_id=start, since=since, until=until, target=target, event_type=kind, actor=actor, limit=most
                )
                for row in rows:
                    found.append(row)
                    if len(found) == most:
                        break
            return found

        if not streams:
            rows = await deferToThread(read, after, limit)
            if len(rows) == limit:
                request.setHeader(b"link", self._next(request, rows[-1].id))
            return answer(request, [_event(row) for row in rows])
        request.setHeader(b"content-type", b"application/x-ndjson; charset=utf-8")
        flow = _Flow(request)
        while limit > 0 and not flow.gone:
            rows = await deferToThread(read, after, min(limit, STREAM_BATCH))
            request.write(b"".join(msgspec.json.encode(_event(row)) + b"\n" for row in rows))
            if len(rows) < min(limit, STREAM_BATCH):
                break
            after, limit = rows[-1].id, limit - len(rows)
            await flow.ready()
        flow.end()
        return b"" if not flow.gone else None

    @staticmethod
    def _next(request: Any, after: int) -> bytes:
        pairs = [(key, value) for key, values in request.args.items() for value in values if key != b"after"]
        words = [b"=".join((key, _quoted(value))) for key, value in pairs]
        path: bytes = request.path
        return b"<" + path + b"?" + b"&".join([*words, b"after=%d" % after]) + b'>; rel="next"'

    @app.route("/admin/replay", methods=["GET"])
    def replay(self, request: Any) -> Deferred[Any]:
        """The server at a moment: the document of slircd-replay."""
        return self._run(request, "read", self._replay)

    async def _replay(self, request: Any) -> bytes:
        query = _Query(request)
        at = query.moment("at", self._now()) or parse_moment("-0s", self._now())
        keys = query.choice("keys", ("show", "mask")) == "show"
        query.end()
        if keys:
            await self._authenticator.require(request, "admin")
        return answer(request, await deferToThread(self._snapshot, at, keys))

    def _snapshot(self, at: str, show_keys: bool = False) -> ServerSnapshot:
        with LogReader(self._location) as reader:
            return StateReconstructor(reader).reconstruct_at(at, show_keys=show_keys)

    @app.route("/admin/diff", methods=["GET"])
    def diff(self, request: Any) -> Deferred[Any]:
        """What differs between two moments."""
        return self._run(request, "read", self._diff)

    async def _diff(self, request: Any) -> bytes:
        query = _Query(request)
        start = query.required("from", query.moment("from", self._now()))
        end = query.moment("to", self._now()) or parse_moment("-0s", self._now())
        query.end()
        if end < start:
            raise BadRequest("to", end, f"a time after {start}")

        def compare() -> Any:
            return diff_states(self._snapshot(start), self._snapshot(end))

        return answer(request, await deferToThread(compare))

    @app.route("/admin/blame", methods=["GET"])
    def blame(self, request: Any) -> Deferred[Any]:
        """Who set each mode, ban, topic and flag of a channel."""
        return self._run(request, "read", self._blame)

    async def _blame(self, request: Any) -> bytes:
        query = _Query(request)
        channel = query.required("channel", query.text("channel"))
        at = query.moment("at", self._now())
        query.end()

        def read() -> Any:
            with LogReader(self._location) as reader:
                return blame(reader.rows(target=channel.lower(), until=at))

        return answer(request, await deferToThread(read))

    @app.route("/admin/replay/verify", methods=["GET"])
    def verify(self, request: Any) -> Deferred[Any]:
        """Whether the state that is served is the log, applied."""
        return self._run(request, "read", self._verify)

    async def _verify(self, request: Any) -> bytes:
        _Query(request).end()
        await self._server.bus.publish([])
        live, sequence = digest(self._server.state), self._server.state.sequence

        def again() -> str:
            into = Replayed()
            with LogReader(self._location) as reader:
                replay((row for row in reader.raw_rows() if row[2] <= sequence), into)
            return digest(into.state)

        replayed = await deferToThread(again)
        document = {"sequence": sequence, "live": live, "replayed": replayed, "equal": live == replayed}
        return answer(request, document, 200 if live == replayed else 500)

    # --- now ----------------------------------------------------------------------------------------------------------

    @app.route("/admin/channels", methods=["GET"])
    def channels(self, request: Any) -> Deferred[Any]:
        """The channels, now."""
        return self._run(request, "read", self._channels)

    async def _channels(self, request: Any) -> bytes:
        _Query(request).end()
        return answer(request, self._document().channels)

    @app.route("/admin/users", methods=["GET"])
    def users(self, request: Any) -> Deferred[Any]:
        """The users, now."""
        return self._run(request, "read", self._users)

    async def _users(self, request: Any) -> bytes:
        _Query(request).end()
        return answer(request, self._document().users)

    def _document(self) -> ServerSnapshot:
        state = self._server.state
        return to_document(state, self._server.timestamp(), state.sequence)

    def _now(self) -> float:
        now: float = self._server.reactor.seconds()
        return now

    # --- around every request -----------------------------------------------------------------------------------------

    def _run(self, request: Any, role: str, handler: Handler) -> Deferred[Any]:
        async def run() -> Any:
            await self._authenticator.require(request, role)
            return await handler(request)

        return ensureDeferred(run())

    @app.handle_errors(HTTPError)
    def refused(self, request: Any, failure: Any) -> bytes:
        """A request that is wrong."""
        error: HTTPError = failure.value
        if error.status == 401:
            request.setHeader(b"www-authenticate", b'Basic realm="slircd", charset="UTF-8"')
        return answer(request, error.document, error.status, "application/problem+json")

    @app.handle_errors(BeforeTheLog)
    def before_the_log(self, request: Any, failure: Any) -> bytes:
        """A moment that the log does not have."""
        return answer(request, {"status": 404, "title": str(failure.value)}, 404, "application/problem+json")

    @app.handle_errors(Damaged)
    def damaged(self, request: Any, failure: Any) -> bytes:
        """An event that cannot be read."""
        log.error("{reason}", reason=str(failure.value))
        return answer(request, {"status": 500, "title": str(failure.value)}, 500, "application/problem+json")

    @app.handle_errors(HTTPException)
    def unknown(self, request: Any, failure: Any) -> bytes:
        """No such path, or not with this method."""
        error = failure.value
        return answer(request, {"status": error.code, "title": error.name}, error.code, "application/problem+json")

    @app.handle_errors(Exception)
    def bug(self, request: Any, failure: Any) -> bytes:
        """Anything else is ours."""
        log.failure("{path} failed", failure=failure, path=request.path.decode(errors="replace"))
        return answer(request, {"status": 500, "title": "Internal error"}, 500, "application/problem+json")


def _quoted(value: bytes) -> bytes:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(value).encode()


def _event(row: Row) -> dict[str, Any]:
    return {**row._asdict(), "payload": msgspec.Raw(row.payload.encode())}


class _Query:
    """The parameters of a request: each once, all known."""

    def __init__(self, request: Any) -> None:
        self._given: dict[str, str] = {}
        for key, values in request.args.items():
            name = key.decode(errors="replace")
            if len(values) != 1:
                raise BadRequest(name, f"{len(values)} times", "once")
            try:
                self._given[name] = values[0].decode()
            except UnicodeDecodeError:
                raise BadRequest(name, repr(values[0]), "UTF-8") from None
        self._asked: list[str] = []

    def text(self, name: str) -> str | None:
        """A text, or None if it is not given."""
        self._asked.append(name)
        return self._given.get(name)

    def required(self, name: str, value: str | None) -> str:
        """`value`, which must have been given."""
        if not value:
            raise BadRequest(name, "nothing", "a value")
        return value

    def moment(self, name: str, now_s: float) -> str | None:
        """A time as a timestamp of the log."""
        text = self.text(name)
        if text is None:
            return None
        try:
            # A + in a query string is a space; nobody writes an offset as %2B by hand.
            return parse_moment(text.replace(" ", "+") if "T" in text else text, now_s)
        except ValueError:
            raise BadRequest(name, text, "2025-01-01, 2025-01-01T14:05:00Z, or -15m (s, m, h, d, w)") from None

    def number(self, name: str, least: int, most: int, default: int) -> int:
        """A whole number."""
        text = self.text(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
            raise BadRequest(name, text[:40], f"a number from {least} to {most}")
        return int(text)

    def choice(self, name: str, allowed: Any) -> str | None:
        """One of some words."""
        text = self.text(name)
        if text is not None and text not in allowed:
            raise BadRequest(name, text[:80], ", ".join(allowed))
        return text

    def end(self) -> None:
        """Everything was asked for: what is left is unknown."""
        for name in self._given:
            if name not in self._asked:
                raise BadRequest(name, "an unknown parameter", ", ".join(self._asked) or "none")


class _Flow:
    """Back-pressure of a streamed answer: the reader sets the pace, so that it never fills the memory."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._waiting: Deferred[None] | None = None
        self._paused = False
        self.gone = False
        request.notifyFinish().addErrback(self._lost)
        request.registerProducer(self, True)

    async def ready(self) -> None:
        """Wait until the reader has taken enough."""
        if self._paused and not self.gone:
            self._waiting = Deferred()
            await self._waiting

    def end(self) -> None:
        """Nothing more will be written."""
        if not self.gone:
            self._request.unregisterProducer()

    def _lost(self, _: object) -> None:
        self.gone = True
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        self._lost(None)
