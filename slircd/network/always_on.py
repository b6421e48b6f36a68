"""Users who stay without a client: who may still, after a restart, and when the time of each is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import txaio
from twisted.internet.interfaces import IDelayedCall

from slircd.events.bus import StoreUnavailable
from slircd.events.clock import parse_timestamp
from slircd.rules.bouncer import allows, decide_end
from slircd.wire.numerics import NumericError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from slircd.network.server import IRCServer
    from slircd.state.model import User

txaio.use_twisted()
log = txaio.make_logger()

LOOK_EVERY_S: Final = 3600


class AlwaysOn:
    """Ends users without a client who may not stay, or have stayed too long."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """After a start: the users that it left are known again, and away; then look every hour."""
        server = self._server
        for user in list(server.state.users.values()):
            if user.node == server.users.node:
                server.users.note(user)
                server.users.settle_away(server, user.uid)
        self._look()

    def stop(self) -> None:
        """Look no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def reconsider(self, uid: str) -> None:
        """The user may not stay any more: if it has no client it ends, after what is going on."""
        self._server.reactor.callLater(0, self._reconsider, uid)

    def _reconsider(self, uid: str) -> None:
        user = self._server.state.users.get(uid)
        if user is not None:
            self._end_if_over(user)

    def _look(self) -> None:
        self._timer = self._server.reactor.callLater(LOOK_EVERY_S, self._look)
        for user in list(self._server.state.users.values()):
            self._end_if_over(user)

    def _end_if_over(self, user: User) -> None:
        server = self._server
        if user.node == server.users.node and not user.clients:
            reason = self._why_ends(user)
            if reason:
                server.bus.emit(decide_end(user, reason)).addErrback(_later)

    def _why_ends(self, user: User) -> str:
        server = self._server
        account = server.state.account_of(user)
        if account is None or not user.always_on or not allows(server.config.bouncer.always_on, account, "always-on"):
            return "Not always on any more"
        days = server.config.bouncer.expire_days
        since_s = parse_timestamp(user.detached_at) if user.detached_at else server.epoch_s()
        if days and server.epoch_s() - since_s > 86_400 * days:
            return f"Not connected for {days} days"
        return ""


def _later(failure: Failure) -> None:
    """What cannot be written now is tried again at the next look."""
    failure.trap(StoreUnavailable, NumericError)
    log.info("a user who stays could not be ended: {why}", why=failure.value)
