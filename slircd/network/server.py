"""The IRC server: what sessions and commands find everything else through.

It is the service `network` of the tree; its children are `users` and `channels`.  It decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final

import txaio
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime

from slircd.about import version
from slircd.events.bus import EventBus, Order
from slircd.events.clock import format_timestamp
from slircd.events.interface import EventStore
from slircd.events.types import SERVER, ServerStart, ServerStop
from slircd.network.channels import ChannelsService
from slircd.network.monitor import Monitor
from slircd.network.outbox import Flusher, OutputGate
from slircd.network.render import Renderer
from slircd.network.users import UserRegistry
from slircd.security.cloak import Cloak
from slircd.security.passwords import Passwords
from slircd.security.throttle import ConnectionThrottle
from slircd.state.model import ServerState

if TYPE_CHECKING:
    from slircd.config.sections import Config
    from slircd.network.session import Session

PING_BUCKET_S: Final = 5
"""Seconds that a ping timer may be early or late: timers of one bucket share one delayed call."""


class IRCServer(MultiService):
    """One node of an IRC network.

    `rehash` is what REHASH and SIGHUP run (app provides it); `stop` what DIE runs.
    """

    def __init__(
        self,
        config: Config,
        store: EventStore,
        *,
        reactor: Any,
        cloak: Cloak,
        passwords: Passwords,
        session_id: str,
        rng: Random,
        order: Order | None = None,
    ) -> None:
        super().__init__()
        self.setName("network")
        self.config = config
        self.reactor = reactor
        self.cloak = cloak
        self.passwords = passwords
        self.rng = rng
        self.state = ServerState()
        self.gate = OutputGate(strict=config.database.durability == "strict")
        self.flusher = Flusher(reactor)
        self.timers = txaio.with_config(loop=reactor).make_batched_timer(PING_BUCKET_S)
        self.throttle = ConnectionThrottle(config.throttle, reactor)
        self.sessions: dict[Session, None] = {}
        self.users = UserRegistry(self.state, node=config.server.sid, whowas=config.limits.whowas)
        self.channels = ChannelsService(self.state, self.users)
        self.monitor = Monitor(self)
        self.bus = EventBus(
            self.state,
            store,
            reactor=reactor,
            session_id=session_id,
            gate=self.gate,
            renderer=Renderer(self),
            order=order,
            stall_s=config.database.stall_ms / 1000,
        )
        self.started_s = reactor.seconds()
        self.rehash: Callable[[], Deferred[list[str]]] | None = None
        self.stop: Callable[[str], None] | None = None
        self.users.setServiceParent(self)
        self.channels.setServiceParent(self)

    # --- start and stop -------------------------------------------------------------------------------------------

    def recover(self) -> int:
        """Bring the state up to the end of the log, and write that the server has started.

        Returns the number of events that were replayed; raises what EventBus.recover raises.
        """
        count = self.bus.recover()
        server = self.config.server
        start = ServerStart(
            actor_uid=SERVER,
            target=server.sid,
            node=server.sid,
            name=server.name,
            version=version(),
            casemapping=server.casemapping,
            channel_modes=server.default_channel_modes,
        )
        self.bus.emit([start]).addErrback(self._cannot_start)
        self.channels.use(self.bus)
        return count

    @staticmethod
    def _cannot_start(failure: Any) -> None:
        failure.raiseException()

    def drain(self, reason: str) -> Deferred[Any]:
        """Close every client and write that the server stops; fires when all of that is committed."""
        for session in list(self.sessions):
            session.close(reason)
        server = self.config.server
        stop = ServerStop(
            actor_uid=SERVER, target=server.sid, node=server.sid, name=server.name, reason=reason
        )
        return DeferredList([self.bus.publish([stop])], consumeErrors=True)

    # --- who we are -----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The server's name, the source of its numerics."""
        return self.config.server.name

    def timestamp(self) -> str:
        """The current moment in the log's form; for lines that come from no event."""
        return format_timestamp(self.reactor.seconds())

    def new_msgid(self) -> str:
        """A message id, unique on this network (IRCv3 msgid)."""
        return f"{self.rng.getrandbits(96):024x}"

    # --- sessions -------------------------------------------------------------------------------------------------

    def session_ended(self, session: Session) -> None:
        """The connection of `session` is gone."""
        if session in self.sessions:
            del self.sessions[session]
            self.throttle.release(session.address)
        self.monitor.clear(session)

    # --- operators ------------------------------------------------------------------------------------------------

    def has_privilege(self, uid: str, privilege: str) -> bool:
        """Whether the user is an operator whose class, as configured now, grants `privilege`."""
        user = self.state.users.get(uid)
        if user is None or user.oper is None:
            return False
        return privilege in self.config.privileges_of(user.oper)
