"""What a route is given: who asks, and what it may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from twisted.internet.defer import Deferred

from slircd.admin.auth import Authenticator, Caller, address_of
from slircd.admin.errors import BadRequest, HTTPError
from slircd.events.clock import format_timestamp

if TYPE_CHECKING:
    from slircd.admin.feed import Feed
    from slircd.admin.past import Past
    from slircd.metrics import Metrics
    from slircd.network.server import IRCServer
    from slircd.state.model import ServerState


class Backend(NamedTuple):
    """What all routes use."""

    server: IRCServer
    past: Past
    metrics: Metrics
    authenticator: Authenticator
    feed: Feed
    run: Callable[..., Deferred[Any]]
    """Calls a function in a thread."""


class Call:
    """One request.  `caller` is who asks, None on routes without log-in."""

    __slots__ = ("address", "backend", "caller", "header", "headers", "request")

    def __init__(self, backend: Backend, request: Any, caller: Caller | None) -> None:
        self.backend = backend
        self.request = request
        self.caller = caller
        self.header: str = request.getHeader("authorization") or ""
        """What the caller proved itself with."""
        self.address = address_of(request)
        self.headers: dict[str, str] = {}
        """Headers of the answer, beside those that every answer has."""

    @property
    def server(self) -> IRCServer:
        """The IRC server."""
        return self.backend.server

    @property
    def state(self) -> ServerState:
        """The state of the network, now, to read."""
        return self.backend.server.state

    @property
    def now_s(self) -> float:
        """Seconds since the epoch."""
        now: float = self.backend.server.epoch_s()
        return now

    @property
    def now(self) -> str:
        """The present as a timestamp of the log."""
        return format_timestamp(self.now_s)

    @property
    def known_caller(self) -> Caller:
        """Who asks, on a route with log-in."""
        if self.caller is None:
            raise RuntimeError("this route has no log-in")
        return self.caller

    @property
    def actor(self) -> str:
        """Who the caller is in the log."""
        return f"admin:{self.known_caller.name}"

    def uid_of(self, nick: str) -> str | None:
        """The UID of the user with this nick, if there is one."""
        user = self.state.user_by_nick(nick)
        return None if user is None else user.uid

    @property
    def is_admin(self) -> bool:
        """Whether the caller has the role admin."""
        return self.caller is not None and self.caller.role == "admin"

    async def still_good(self) -> bool:
        """Whether the caller could log in again, with the role that it has."""
        try:
            again = await self.backend.authenticator.identify(self.header, self.address)
        except HTTPError:
            return False
        return again == self.caller

    def past(self, question: Callable[..., Any], **arguments: Any) -> Deferred[bytes]:
        """Ask the log: `question(reader, **arguments)` runs away from the reactor; see slircd.admin.past."""
        return self.backend.past.ask(question, **arguments)

    async def turn(self) -> None:
        """Let the reactor do something else."""
        waiting: Deferred[None] = Deferred()
        self.server.reactor.callLater(0, waiting.callback, None)
        await waiting

    def require_admin_for_keys(self, keys: str) -> None:
        """Raise HTTPError 403 if keys of channels are to be shown to somebody who is no admin."""
        if keys == "show" and not self.is_admin:
            raise HTTPError(403, "You need the role admin to see keys")

    def check(self, parameter: str, value: int, least: int, most: int) -> None:
        """Raise BadRequest unless a number lies between two others."""
        if not least <= value <= most:
            raise BadRequest(parameter, str(value), f"an integer from {least} to {most}")

    def accepts(self, kind: str) -> bool:
        """Whether the request names this media type in Accept."""
        accepted: str = self.request.getHeader("accept") or ""
        return kind in accepted.lower()

    def link_next(self, **parameters: object) -> None:
        """Add a Link header to the next page: this request with some parameters replaced."""
        given: Mapping[bytes, list[bytes]] = self.request.args
        kept = {key.decode(errors="replace"): values[0] for key, values in given.items()}
        path: bytes = self.request.path
        self.headers["link"] = f'<{path.decode("ascii", "replace")}?{urlencode({**kept, **parameters})}>; rel="next"'
