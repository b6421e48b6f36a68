"""The IRC server: what sessions and commands find everything else through.

It is the service `network` of the tree; its children are `users` and `channels`.  It decides nothing itself.  Starting
it replays the log; stopping it closes the clients and writes `server.stop`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

import txaio
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from slircd.about import version
from slircd.commands.capability import announce_changes, offers
from slircd.commands.extensions import Extensions
from slircd.commands.features import isupport_lines
from slircd.events.bus import EventBus, Order
from slircd.events.clock import WallClock, format_timestamp
from slircd.events.interface import EventStore
from slircd.events.types import SERVER, ServerStart, ServerStop
from slircd.network.accepts import AcceptLists
from slircd.network.always_on import AlwaysOn
from slircd.network.announce import Teller
from slircd.network.channels import ChannelsService
from slircd.network.expiry import Expiries
from slircd.network.measures import Measures
from slircd.network.monitor import Monitor
from slircd.network.netbans import NetworkBans
from slircd.network.outbox import Flusher, OutputGate
from slircd.network.patience import Patience
from slircd.network.render import Renderer
from slircd.network.turns import Turns
from slircd.network.users import UserRegistry
from slircd.security.cloak import Cloak
from slircd.security.confusables import LookAlikes
from slircd.security.flood import Bucket
from slircd.security.gateways import Gateways
from slircd.security.lobby import Lobby
from slircd.security.passwords import Passwords
from slircd.security.throttle import ConnectionThrottle
from slircd.services.accounts import Accounts
from slircd.services.directory import SERVICES
from slircd.services.enforcement import Enforcement
from slircd.state.model import ServerState
from slircd.state.refold import check_casemapping
from slircd.wire.casemap import CASEMAPS, in_log
from slircd.wire.client_tags import ClientTags
from slircd.wire.encoding import Encoding

if TYPE_CHECKING:
    from slircd.config.sections import Config
    from slircd.housekeeping import Housekeeping
    from slircd.network.listeners import ListenerInfo
    from slircd.network.session import Session
    from slircd.security.dnsbl import BlockLists
    from slircd.state.model import Channel, User

txaio.use_twisted()
log = txaio.make_logger()

REFUSALS: Final = 20
"""Connections over TLS that are told why they are turned away, at once, and in ten seconds."""

DRAIN_S: Final = 2.0
"""Seconds that clients have to read their last lines when the server stops."""

Rehash = Callable[[str], "Deferred[list[str]]"]
ChannelAt = Callable[[str, str], "Deferred[Channel | None]"]


def _cannot_rehash(actor: str) -> Deferred[list[str]]:
    return succeed(["There is no configuration file to read again"])


def _no_past(key: str, at: str) -> Deferred[Channel | None]:
    return succeed(None)


class Stranger(Protocol):
    """A connection that is no user yet."""

    def make_room(self) -> None:
        """End it, because there are too many."""


class IRCServer(MultiService):
    """One node of an IRC network.

    `channel_at` gives the channel of a key as it was at a timestamp of the log, None if there was none, or raises
    StoreUnavailable; `rehash` is what REHASH and SIGHUP run, with the actor as argument, and resolves to what is to be told of it; `stop`
    is what DIE runs.  app provides all of them.
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
        epoch_s: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self.epoch_s: Callable[[], float] = epoch_s or reactor.seconds
        """Seconds since the epoch, as the machine's clock says: for what is written down, or compared with that.

        How long something takes, or may take, is a matter of `reactor.seconds`, which nobody sets.
        """
        self.setName("network")
        self.config_file = "slircd.toml"
        self.motd: list[str] = []
        self.listeners: list[ListenerInfo] = []
        self.measures = Measures()
        self.command_counts: dict[str, int] = {}
        """How often each command was run since the start."""
        self.connections = 0
        """How many connections were made since the start."""
        self.reactor = reactor
        self.cloak = cloak
        self.passwords = passwords
        self.rng = rng
        self.state = ServerState()
        self.gate = OutputGate(reactor, strict=config.database.durability == "strict")
        self.flusher = Flusher(reactor)
        self.turns = Turns(reactor)
        """How long work is divided."""
        self.teller = Teller(self.turns)
        self.patience = Patience(reactor)
        self.room_for_clients = config.limits.clients
        """How many connections the system allows; app provides it."""
        self.throttle = ConnectionThrottle(config.throttle, reactor, config.limits.clients)
        self.sessions: dict[Session, None] = {}
        self.strangers: Lobby[Stranger] = Lobby(
            lambda: self.config.limits.unregistered, lambda stranger: stranger.make_room()
        )
        """The connections that are no users yet."""
        self.refusals = Bucket(REFUSALS, REFUSALS / 10, reactor.seconds())
        """How many of those who are turned away are worth a TLS handshake, in which they are told why."""
        self.users = UserRegistry(self.state, node=config.server.sid, whowas=config.limits.whowas)
        self.channels = ChannelsService(self.state, self.users)
        self.monitor = Monitor(self)
        self.accepts = AcceptLists()
        self.bus = EventBus(
            self.state,
            store,
            reactor=reactor,
            session_id=session_id,
            gate=self.gate,
            renderer=Renderer(self),
            order=order,
            stall_s=config.database.stall_ms / 1000,
            epoch_s=self.epoch_s,
        )
        self.bus.on_full = self._log_full
        self.log_full = False
        """Whether so much waits for the log that nobody is admitted, and no client is read."""
        self.started_s = reactor.seconds()
        self.started_at = format_timestamp(self.epoch_s())
        """When that was, in the log's form."""
        self._wall = WallClock(self.epoch_s)
        # Random for each run, so that ids are unique across runs, too.
        self._msgid_prefix = f"{rng.getrandbits(80):020x}"
        self._msgids = 0
        self.expiries = Expiries(self)
        self.always_on = AlwaysOn(self)
        self.accounts = Accounts(self, config.accounts, passwords.run)
        self.enforcement = Enforcement(self)
        self.bans = NetworkBans(self)
        self.extensions = Extensions()
        self.lookalikes = LookAlikes() if config.server.confusables else None
        """Nicks that look alike, where they are refused."""
        self.blocklists: BlockLists | None = None
        """DNS block lists; app provides them."""
        self.store = store
        self.pending_restores: dict[tuple[str, str, str], tuple[str, float]] = {}
        """What was shown and waits to be confirmed: who, channel and time to moment and end."""
        self.channel_at: ChannelAt = _no_past
        self.housekeeping: Housekeeping | None = None
        """Checkpoints, and the check that the state is the log; app provides it."""
        self.rehash: Rehash = _cannot_rehash
        self.stop: Callable[[str], None] = log.error
        self.stop_reason = "Server shutting down"
        self.stopping = False
        """Whether every client is being told to go."""
        self._emptied: Deferred[None] | None = None
        self.use_config(config)
        self.users.setServiceParent(self)
        self.channels.setServiceParent(self)

    # --- start and stop -------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Bring the state up to the end of the log, and write that the server has started.

        Raises what EventBus.recover raises.
        """
        count = self.bus.recover(allow_future=self.config.database.allow_future_clock)
        log.info("the log has {count} events, the state is replayed", count=count)
        server = self.config.server
        check_casemapping(self.state, CASEMAPS[in_log(server.casemapping)])
        start = ServerStart(
            actor_uid=SERVER,
            target=server.sid,
            node=server.sid,
            name=server.name,
            version=version(),
            casemapping=in_log(server.casemapping),
            channel_modes=server.default_channel_modes,
        )
        self.bus.emit([start]).addErrback(Failure.raiseException)
        for service in SERVICES.values():
            if service.uid not in self.state.users:
                self.bus.emit([service.connect_event()]).addErrback(Failure.raiseException)
        if self.lookalikes is not None:
            for user in self.state.users.values():
                self.lookalikes.came(user.nick, user.uid)
        self.accounts.load(self.store.read_credentials())
        self.bans.load()
        self.channels.use(self.bus)
        self.expiries.start()
        self.always_on.start()
        super().startService()

    def stopService(self) -> Deferred[Any]:
        """Close every client and write that the server stops.

        Fires when the clients are gone; those that do not read their last lines in time are cut.
        """
        self.stopping = True
        self.expiries.stop()
        self.always_on.stop()
        self.enforcement.stop()
        for session in list(self.sessions):
            session.close(self.stop_reason)
        server = self.config.server
        stop = ServerStop(
            actor_uid=SERVER, target=server.sid, node=server.sid, name=server.name, reason=self.stop_reason
        )
        # Not waited for: the store writes what it was given before it closes.
        self.bus.emit([stop]).addErrback(lambda failure: log.warn("server.stop: {why}", why=failure.value))
        emptied: Deferred[None] = Deferred()
        self._emptied = emptied
        timer = self.reactor.callLater(DRAIN_S, self._abort_all)
        self._check_emptied()

        def done(_: None) -> Deferred[Any]:
            if timer.active():
                timer.cancel()
            return maybeDeferred(super(IRCServer, self).stopService)

        return emptied.addCallback(done)

    def _abort_all(self) -> None:
        for session in list(self.sessions):
            session.abort()
        emptied, self._emptied = self._emptied, None
        if emptied is not None:
            emptied.callback(None)

    def _check_emptied(self) -> None:
        if self._emptied is not None and not self.sessions:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    # --- configuration --------------------------------------------------------------------------------------------

    def use_config(self, config: Config) -> None:
        """Go by `config` from now on, and tell clients of capabilities that have changed with it."""
        before = offers(self)
        self.config = config
        self.isupport = list(isupport_lines(config))
        """The tokens of each RPL_ISUPPORT line."""
        self.encoding = Encoding(config.server.encoding)
        """What clients' lines may be in."""
        self.client_tags = ClientTags(config.limits.client_tags_denied)
        """Which client-only tags are passed on."""
        self._privileges: dict[str, frozenset[str]] = {}
        self.throttle.configure(config.throttle, min(config.limits.clients, self.room_for_clients))
        self.accounts.configure(config.accounts)
        self.gateways = Gateways(config.webirc)
        """Who may say by WEBIRC who its clients are."""
        announce_changes(self, before)

    # --- who we are -----------------------------------------------------------------------------------------------

    @property
    def server_name(self) -> str:
        """The server's name, the source of its numerics."""
        return self.config.server.name

    def server_of(self, user: User) -> str:
        """The name of the server that a user is on."""
        return (self.config.server.services_name if user.is_service else "") or self.config.server.name

    def timestamp(self) -> str:
        """The current moment in the log's form; for lines that come from no event."""
        return self._wall.stamp()

    def new_msgid(self) -> str:
        """A message id, unique on this network (IRCv3 msgid)."""
        self._msgids += 1
        return f"{self._msgid_prefix}{self._msgids:x}"

    # --- sessions -------------------------------------------------------------------------------------------------

    def session_ended(self, session: Session) -> None:
        """The connection of `session` is gone."""
        if session in self.sessions:
            del self.sessions[session]
            self.measures.ended(session)
            self.strangers.discard(session)
            if session.is_admitted:
                self.throttle.release(session.address)
            self._check_emptied()
        self.monitor.clear(session)

    def _log_full(self, full: bool) -> None:
        self.log_full = full
        for session in list(self.sessions):
            session.pause(full)

    # --- operators ------------------------------------------------------------------------------------------------

    def listeners_to(self, letter: str) -> list[User]:
        """The operators who hear this sort of server notice."""
        users = self.state.users
        return [users[uid] for uid in self.users.hearing if letter in users[uid].snomask]

    def has_privilege(self, session: Session, privilege: str) -> bool:
        """Whether the client is an operator whose class, as configured now, grants `privilege`."""
        oper = session.oper
        if not oper:
            return False
        privileges = self._privileges.get(oper)
        if privileges is None:
            privileges = self._privileges[oper] = self.config.privileges_of(oper)
        return privilege in privileges
