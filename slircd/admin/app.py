"""The Klein application: every route of the table, with what happens around each request.

`/healthz`, `/readyz` and `/metrics` need no log-in; everything under `/admin` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from secrets import token_hex
from typing import Any, Final

import txaio
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from werkzeug.exceptions import HTTPException

from slircd.admin import groups as groups  # fills the table of routes
from slircd.admin.answers import PROBLEM, Handover, encode, send, set_headers, with_charset
from slircd.admin.call import Backend, Call
from slircd.admin.errors import HTTPError
from slircd.admin.query import parse_body, parse_query
from slircd.admin.routes import ROUTES, Route
from slircd.events.bus import StoreUnavailable
from slircd.events.codec import EncodeError
from slircd.replay.reconstructor import BeforeTheLog, Damaged
from slircd.wire.numerics import ERR_NOSUCHCHANNEL, ERR_NOSUCHNICK, NumericError, StandardReply

txaio.use_twisted()
log = txaio.make_logger()

MAX_URI_BYTES: Final = 8192
MAX_HEADER_BYTES: Final = 12_288
MAX_BODY_BYTES: Final = 65_536

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class AdminAPI:
    """Klein's application over the table of routes; `resource` is what a Site serves."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.app = Klein()
        # A name of a channel may have slashes, and no path is anybody else's under another spelling.
        self.app.url_map.merge_slashes = False
        for route in ROUTES.values():
            self.app.route(route.path, methods=[route.method], endpoint=route.endpoint)(self._endpoint(route))
        self.app.handle_errors(Exception)(self._failed)

    def resource(self) -> Any:
        """The root resource."""
        return self.app.resource()

    def _endpoint(self, route: Route) -> Callable[..., Deferred[Any]]:
        def run(request: Any, **parts: str) -> Deferred[Any]:
            request.slircd_route = (route, self._backend.server.reactor.seconds())
            return ensureDeferred(self._run(route, request, parts))

        return run

    async def _run(self, route: Route, request: Any, parts: dict[str, str]) -> Any:
        request_id(request)
        check_limits(request)
        backend = self._backend
        caller = None if route.role is None else await backend.authenticator.require(request, route.role)
        call = Call(backend, request, caller)
        arguments: dict[str, Any] = dict(parts)
        query = parse_query(request.args, route.query, call.now_s)
        if query is not None:
            arguments["query"] = query
        if route.body is not None:
            data = request.content.read(MAX_BODY_BYTES + 1)
            arguments["body"] = parse_body(data, route.body, request.getHeader("content-type") or "")
        answer = await route.handler(call, **arguments)
        if isinstance(answer, Handover):
            request.channel.leave()
            return answer.resource
        await send(request, route.status, answer, call.headers, backend.run)
        self._measure(request, request.code)
        return None

    def _failed(self, request: Any, failure: Any) -> bytes | None:
        request_id(request)
        if failure.check(CancelledError):  # whoever asked is gone
            return None
        error = _as_http_error(request, failure)
        self._measure(request, error.status)
        request.setResponseCode(error.status)
        set_headers(request, with_charset(PROBLEM), error.headers)
        return encode({"type": "about:blank", **error.document, "request_id": request_id(request)})

    def _measure(self, request: Any, status: int) -> None:
        """Count an answer; what is no route of ours is one row, whatever its path."""
        route, started_s = getattr(request, "slircd_route", (None, 0.0))
        seconds = self._backend.server.reactor.seconds() - started_s
        endless = route is None or route.tag == "live"
        self._backend.metrics.request("none" if route is None else route.endpoint, status, None if endless else seconds)


def _as_http_error(request: Any, failure: Any) -> HTTPError:
    """What is told of a failure."""
    error = failure.value
    if isinstance(error, HTTPError):
        return error
    if isinstance(error, BeforeTheLog):
        return HTTPError(404, str(error))
    if isinstance(error, NumericError):
        status = 404 if error.numeric in (ERR_NOSUCHNICK, ERR_NOSUCHCHANNEL) else 409
        return HTTPError(status, error.text or error.numeric.code, code=error.numeric.code, context=list(error.params))
    if isinstance(error, StandardReply):
        status = 400 if error.code in ("INVALID_MASK", "INVALID_PARAMS") else 409
        return HTTPError(status, error.text, code=error.code, context=list(error.context))
    if isinstance(error, EncodeError):
        return HTTPError(400, str(error))
    if isinstance(error, StoreUnavailable):
        return HTTPError(503, "The event log cannot be used now", headers={"Retry-After": "5"})
    if isinstance(error, Damaged):
        log.error("{reason}", reason=str(error))
        return HTTPError(500, str(error))
    if isinstance(error, HTTPException):
        methods = getattr(error, "valid_methods", None)
        headers = {"Allow": ", ".join(sorted(methods))} if methods else {}
        return HTTPError(error.code or 500, error.name, headers=headers)
    log.failure(
        "{method} {path} failed ({id})",
        failure=failure,
        method=request.method.decode(errors="replace"),
        path=request.path.decode(errors="replace"),
        id=request_id(request),
    )
    return HTTPError(500, "Internal error")


def request_id(request: Any) -> str:
    """The id of a request: the caller's own (X-Request-ID), or a new one; it is in the answer and in the log."""
    known: str | None = getattr(request, "slircd_id", None)
    if known is None:
        given = request.getHeader("x-request-id") or ""
        known = given if _REQUEST_ID.fullmatch(given) else token_hex(8)
        request.slircd_id = known
        request.setHeader(b"x-request-id", known.encode())
    return known


def check_limits(request: Any) -> None:
    """Raise HTTPError 413, 414 or 431 for a request that is too large."""
    if len(request.uri) > MAX_URI_BYTES:
        raise HTTPError(414, f"The address is longer than {MAX_URI_BYTES} bytes")
    size = sum(len(name) + len(value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values)
    if size > MAX_HEADER_BYTES:
        raise HTTPError(431, f"The headers have more than {MAX_HEADER_BYTES} bytes")
    length = request.getHeader("content-length") or "0"
    if getattr(request, "too_large", False) or (length.isdigit() and int(length[:12]) > MAX_BODY_BYTES):
        raise HTTPError(413, f"The body has more than {MAX_BODY_BYTES} bytes")
