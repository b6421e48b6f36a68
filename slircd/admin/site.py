"""The HTTP server below the routes: how many may come, how long a request may take to arrive and an answer to be read,
limits on bodies before anything is stored, and one log line for each request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import txaio
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site

from slircd.admin.app import MAX_BODY_BYTES
from slircd.config.sections import Admin, Timeouts
from slircd.security.lobby import Lobby

txaio.use_twisted()
log = txaio.make_logger()

IDLE_S: Final = 60
"""Seconds that a connection may be idle between requests, or that its client may read nothing of an answer."""


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


class AdminChannel(HTTPChannel):
    """One connection.  Twisted's timeout starts anew with each byte; a request has one that does not."""

    maxHeaders = 100  # noqa: N815  # this and what follows are Twisted's names

    site: AdminSite
    callLater: Callable[..., IDelayedCall]  # noqa: N815
    _handlingRequest: bool  # noqa: N815
    _is_here = False
    _late: IDelayedCall | None = None
    _stalled: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Come in, and ask in time; TLS is part of that time."""
        super().connectionMade()
        self._is_here = True
        self.site.channels += 1
        self._await_request()
        self.site.waiting.add(self)

    def _await_request(self) -> None:
        if self._late is None:
            self._late = self.callLater(self.site.request_s(), self.forceAbortClient)

    def dataReceived(self, data: bytes) -> None:
        """A request begins, or goes on."""
        if not self._handlingRequest:
            self._await_request()
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        """The request is here."""
        self._cancel_late()
        self.site.waiting.discard(self)
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """The answer is written; another request may come."""
        if self.persistent:
            self.site.waiting.add(self)
        super().requestDone(request)

    def pauseProducing(self) -> None:
        """The client reads more slowly than the answer is made, or not at all."""
        if self._stalled is None:
            self._stalled = self.callLater(IDLE_S, self.forceAbortClient)
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """It has read what it was sent."""
        self._cancel_stalled()
        super().resumeProducing()

    def loseConnection(self) -> None:
        """Close when the answer is read, or not in time."""
        if self._stalled is None:
            self._stalled = self.callLater(self.abortTimeout, self.forceAbortClient)
        super().loseConnection()

    def make_room(self) -> None:
        """Too many are here, and this one has asked nothing for the longest time."""
        self.leave()  # it counts no longer, though the reactor tells of its end in a later turn
        self.forceAbortClient()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted gives no default here
        """The connection is gone."""
        self.leave()
        super().connectionLost(reason)

    def leave(self) -> None:
        """The connection is gone, or is a WebSocket from now on, which has limits of its own."""
        self._cancel_late()
        self._cancel_stalled()
        self.site.waiting.discard(self)
        if self._is_here:
            self._is_here = False
            self.site.channels -= 1

    def _cancel_late(self) -> None:
        late, self._late = self._late, None
        if late is not None and late.active():
            late.cancel()

    def _cancel_stalled(self) -> None:
        stalled, self._stalled = self._stalled, None
        if stalled is not None and stalled.active():
            stalled.cancel()


class AdminSite(Site):
    """The site of the admin API."""

    displayTracebacks = False  # noqa: N815  # Twisted's name
    noisy = False
    protocol = AdminChannel  # type: ignore[assignment]  # no HTTP/2: the channel itself

    def __init__(
        self,
        resource: Any,
        reactor: Any,
        *,
        connections: Callable[[], int] = lambda: Admin().connections,
        request_s: Callable[[], int] = lambda: Timeouts().handshake_s,
    ) -> None:
        """`connections` and `request_s` give the limits of now: how many at one time, seconds for a request to arrive."""
        super().__init__(resource, requestFactory=AdminRequest, timeout=IDLE_S, reactor=reactor)
        self.channels = 0
        """Connections that are here."""
        self.request_s = request_s
        self.waiting: Lobby[AdminChannel] = Lobby(
            lambda: connections() - (self.channels - len(self.waiting)), AdminChannel.make_room
        )
        """Those that have no request that is being answered: they make room for others."""

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
