"""The HTTP server below the routes: limits on bodies before anything is stored, and one log line for each request."""

from __future__ import annotations

from typing import Any, Final

import txaio
from twisted.web.server import Request, Site

from slircd.admin.app import MAX_BODY_BYTES

txaio.use_twisted()
log = txaio.make_logger()

IDLE_S: Final = 60
"""Seconds that a connection may be idle between requests."""


class AdminRequest(Request):
    """A request whose body is never larger than the limit, whatever is sent."""

    too_large = False
    _taken = 0

    def handleContentChunk(self, data: bytes) -> None:
        """Keep what is allowed; far beyond it the connection is closed."""
        self._taken += len(data)
        if self._taken <= MAX_BODY_BYTES:
            super().handleContentChunk(data)
        elif not self.too_large:
            self.too_large = True
        elif self._taken > 16 * MAX_BODY_BYTES and self.channel is not None:
            self.channel.forceAbortClient()


class AdminSite(Site):
    """The site of the admin API."""

    displayTracebacks = False  # noqa: N815  # Twisted's name
    noisy = False

    def __init__(self, resource: Any, reactor: Any) -> None:
        super().__init__(resource, requestFactory=AdminRequest, timeout=IDLE_S, reactor=reactor)

    def startFactory(self) -> None:
        """Nothing: there is no log file of requests."""

    def stopFactory(self) -> None:
        """Nothing."""

    def log(self, request: Any) -> None:
        """One line in the server's log, without the query string."""
        log.info(
            "{method} {path} {status} ({id})",
            method=request.method.decode("ascii", "replace"),
            path=request.path.decode("ascii", "replace")[:200],
            status=request.code,
            id=getattr(request, "slircd_id", "-"),
        )
