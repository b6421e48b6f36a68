"""What happens, as it happens: over WebSocket and as server-sent events, both from the feed.

Who follows is asked again for its credentials from time to time, so that a token that was revoked ends its feed, too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import txaio
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from msgspec import Meta
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from slircd.admin.answers import Handover, Stream
from slircd.admin.call import Call
from slircd.admin.errors import BadRequest, HTTPError
from slircd.admin.feed import Filter
from slircd.admin.query import EventTypes, Id, Query, Text
from slircd.admin.routes import route

if TYPE_CHECKING:
    from slircd.admin.feed import Follower

txaio.use_twisted()
log = txaio.make_logger()

EVENT_STREAM: Final = "text/event-stream"
HEARTBEAT_S: Final = 15.0
CHECK_S: Final = 30.0
"""How often credentials are looked at again."""

MAX_FOLLOWERS: Final = 200
POLICY_VIOLATION: Final = 1008
BEARER: Final = "bearer."
SUBPROTOCOL: Final = "slircd"


class LiveQuery(Query, frozen=True, kw_only=True):
    """What to follow."""

    type: Annotated[
        EventTypes | None, Meta(description="Types, or families such as `channel.*`, separated by commas")
    ] = None
    target: Annotated[Text | None, Meta(description="What it happens to, casefolded")] = None
    actor: Annotated[Text | None, Meta(description="Who causes it")] = None
    after: Annotated[
        Id | None,
        Meta(description="The sequence behind which to begin, in the log; without it: what comes from now on"),
    ] = None


def _follow(call: Call, query: LiveQuery, after: int | None) -> Follower:
    feed = call.backend.feed
    if feed.followers >= MAX_FOLLOWERS:
        raise HTTPError(503, f"{MAX_FOLLOWERS} feeds are open, no more are allowed", headers={"Retry-After": "60"})
    messages = call.is_admin and call.server.config.admin.live_messages
    types = frozenset(query.type.names) if query.type is not None else None
    return feed.follow(Filter(types, query.target, query.actor, messages), after)


# --- server-sent events ---------------------------------------------------------------------------------------------


@route("GET", "/admin/stream", tag="live", returns=str, kinds=(EVENT_STREAM,), problems=(503,))
async def stream(call: Call, query: LiveQuery) -> Stream:
    """Events as they are committed, as server-sent events.

    Each has its sequence as `id`; `Last-Event-ID`, or `after`, resumes behind one, from the log and then live, without
    a gap.  A comment every 15 seconds shows that the line is good.
    """
    last = call.request.getHeader("last-event-id") or ""
    if last and not (last.isascii() and last.isdigit() and len(last) < 19):
        raise BadRequest("Last-Event-ID", last, "the id of an event of this stream")
    after = int(last) if last else query.after
    follower = _follow(call, query, after)
    return Stream(_server_sent(call, follower), EVENT_STREAM, live=True)


async def _server_sent(call: Call, follower: Follower) -> AsyncGenerator[bytes, None]:
    checked_s = call.now_s
    try:
        yield b"retry: 2000\n\n"
        while True:
            found = await follower.take(HEARTBEAT_S)
            if call.now_s - checked_s >= CHECK_S:
                checked_s = call.now_s
                if not await call.still_good():
                    return
            yield (
                b"".join(b"id: %d\ndata: %b\n\n" % (each.sequence, each.document) for each in found)
                or b": still here\n\n"
            )
    finally:
        follower.close()


# --- WebSocket ------------------------------------------------------------------------------------------------------


@route("GET", "/admin/live", tag="live", role=None, status=101, returns=str, kinds=(), problems=(401, 426, 503))
async def live(call: Call, query: LiveQuery) -> Handover:
    """Events as they are committed, over WebSocket: one JSON document in each text frame.

    Log in with an Authorization header or, in a browser, with the subprotocol `bearer.TOKEN`.  `after` resumes behind a
    sequence.  What a client sends is ignored.
    """
    request = call.request
    header = request.getHeader("authorization") or ""
    offered = [word.strip() for word in (request.getHeader("sec-websocket-protocol") or "").split(",")]
    for word in offered:
        if word.startswith(BEARER):
            header = f"Bearer {word.removeprefix(BEARER)}"
    call.header = header
    call.caller = await call.backend.authenticator.identify(header, call.address)
    if (request.getHeader("upgrade") or "").lower() != "websocket":
        raise HTTPError(426, "This is a WebSocket", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
    follower = _follow(call, query, query.after)
    factory = WebSocketServerFactory(reactor=call.server.reactor)
    factory.setProtocolOptions(
        maxFramePayloadSize=4096,
        maxMessagePayloadSize=4096,
        openHandshakeTimeout=10,
        closeHandshakeTimeout=5,
        autoPingInterval=HEARTBEAT_S,
        autoPingTimeout=HEARTBEAT_S,
    )
    factory.protocol = partial(LiveProtocol, call, follower)  # type: ignore[assignment]  # anything that makes one
    request.notifyFinish().addErrback(lambda _: follower.close())
    return Handover(WebSocketResource(factory))


class LiveProtocol(WebSocketServerProtocol):
    """One follower over WebSocket."""

    def __init__(self, call: Call, follower: Follower) -> None:
        super().__init__()
        self._call = call
        self._follower = follower
        self._running: Deferred[None] | None = None
        self._paused = False
        self._resumed: Deferred[None] | None = None

    def onConnect(self, request: Any) -> str | None:
        """The subprotocol: ours, or the one with the token, because browsers insist on one that they offered."""
        offered: list[str] = request.protocols
        return next((word for word in offered if word == SUBPROTOCOL or word.startswith(BEARER)), None)

    def onOpen(self) -> None:
        """Begin to follow."""
        transport: Any = self.transport
        transport.unregisterProducer()  # the HTTP channel, whose connection this was
        transport.registerProducer(self, True)
        self._running = ensureDeferred(self._run())
        self._running.addErrback(self._failed)

    async def _run(self) -> None:
        call, follower = self._call, self._follower
        checked_s = call.now_s
        while True:
            found = await follower.take(HEARTBEAT_S)
            if call.now_s - checked_s >= CHECK_S:
                checked_s = call.now_s
                if not await call.still_good():
                    self.sendClose(POLICY_VIOLATION, "Log in again")
                    return
            for each in found:
                self.sendMessage(each.document)
                if self._paused:
                    self._resumed = Deferred()
                    await self._resumed

    def _failed(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            log.failure("a live feed failed", failure=failure)
            self.dropConnection(abort=True)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:  # noqa: N803  # autobahn's name
        """The client is gone."""
        self._follower.close()
        if self._running is not None:
            self._running.cancel()

    def pauseProducing(self) -> None:
        """The client reads slowly."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It has caught up."""
        self._paused = False
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone."""
