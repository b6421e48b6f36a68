"""Health and metrics, for machines that watch; without log-in."""

from __future__ import annotations

import msgspec

from slircd.about import version
from slircd.admin.answers import Encoded
from slircd.admin.call import Call
from slircd.admin.errors import HTTPError
from slircd.admin.routes import route


class Health(msgspec.Struct, kw_only=True):
    """The process answers."""

    status: str
    version: str


class Readiness(msgspec.Struct, kw_only=True):
    """The server takes clients, and its log can be written."""

    status: str


@route("GET", "/healthz", tag="health", role=None)
async def healthz(call: Call) -> Health:
    """Whether the process answers."""
    return Health(status="ok", version=version())


@route("GET", "/readyz", tag="health", role=None, problems=(503,))
async def readyz(call: Call) -> Readiness:
    """Whether the server takes clients and its log can be written; 503 if not."""
    if call.server.bus.degraded:
        raise HTTPError(503, "The event log cannot be written")
    return Readiness(status="ready")


@route("GET", "/metrics", tag="health", role=None, returns=str, kinds=("text/plain",))
async def metrics(call: Call) -> Encoded:
    """All metrics, in Prometheus' text format."""
    return Encoded(call.backend.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
