"""The live side of channels: one service per channel, with the sessions that hear it.

What is allowed on a channel the rules know; what a channel is the state knows.  A ChannelService knows who of it is
connected here, and is the door through which the channel's events are emitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, cast

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred

from slircd.events.types import Event
from slircd.state.model import Channel, ServerState
from slircd.wire.line import Line
from slircd.wire.numerics import ERR_NOSUCHCHANNEL, NumericError

if TYPE_CHECKING:
    from slircd.events.bus import EventBus, Record
    from slircd.network.session import Session
    from slircd.network.users import UserRegistry


MAX_COUNTED: Final = 1000
"""Moments of one counter: as many as +f and +j can name, and one."""

MAX_COUNTERS: Final = 1000
"""Counters of one channel, of which the quiet ones are forgotten."""


def send_to_all(sessions: Iterable[Session], line: Line, *, but: Session | None = None, free: bool = False) -> None:
    """Send `line` to each of `sessions`, except one; `free` as in Session.send."""
    # The one loop that runs for every delivery: most clients see the same bytes as the one before them.
    encoded_for = -1
    data = b""
    for session in sessions:
        if session is not but:
            caps = session.caps
            if caps != encoded_for:
                encoded_for = caps
                data = line.encoded(caps)
            session.outbox.append(data, free=free)


class ChannelService(Service):
    """A live channel.  `sessions` are those of its members on this node, in order of joining."""

    def __init__(self, state: ServerState, bus: EventBus, key: str) -> None:
        self.setName(key)
        self.key = key
        self.sessions: dict[Session, None] = {}
        self.deaf: set[Session] = set()
        """Those of its sessions whose users hear no messages of channels (user mode D)."""
        self.joined_at: dict[str, str] = {}
        """When members joined, by UID, as far as this run of the server knows; for what they may see of the past."""
        self.counters: dict[str, list[float]] = {}
        """Recent moments (seconds) per counter of +f and +j; session facts, not state."""
        self._state = state
        self._bus = bus

    @property
    def channel(self) -> Channel:
        """What the state says of it."""
        return self._state.channels[self.key]

    def emit(self, events: Iterable[Event], origin: object | None = None) -> Deferred[tuple[Record, ...]]:
        """Emit a decision about this channel; see EventBus.emit."""
        return self._bus.emit(events, origin)

    def tell(self, line: Line, *, but: Session | None, free: bool = False) -> None:
        """Deliver a message to every session that listens, except the sender's; `free` as in Session.send."""
        deaf = self.deaf
        listening = [session for session in self.sessions if session not in deaf] if deaf else self.sessions
        send_to_all(listening, line, but=but, free=free)

    def within(self, counter: str, now: float, seconds: float) -> int:
        """Count one more occurrence of `counter` at `now`; returns how many fell into the last `seconds`."""
        recent = [moment for moment in self.counters.get(counter, ()) if moment > now - seconds]
        recent.append(now)
        count = len(recent)
        # Under a flood the oldest are left out: more than these are too many for every limit that there can be.
        self.counters[counter] = recent[-MAX_COUNTED:]
        if len(self.counters) > MAX_COUNTERS:
            self._forget_quiet(now)
        return count

    def _forget_quiet(self, now: float) -> None:
        """Forget the half of the counters that has been quiet for longest: most of them are of users who have gone."""
        ages = sorted(self.counters, key=lambda counter: self.counters[counter][-1])
        for counter in ages[: len(ages) // 2]:
            del self.counters[counter]


class ChannelsService(MultiService):
    """The live channels, each a child service named by its casefolded name."""

    def __init__(self, state: ServerState, users: UserRegistry) -> None:
        super().__init__()
        self.setName("channels")
        self._state = state
        self._users = users
        self._bus: EventBus | None = None

    def use(self, bus: EventBus) -> None:
        """Emit through `bus`; make a service for each channel that the state has."""
        self._bus = bus
        for key, channel in self._state.channels.items():
            if key not in self.namedServices:
                self.created(key).joined_at.update(dict.fromkeys(channel.members, self._state.timestamp))

    # MultiService keeps its children in a list, where removing one of 20,000 costs a scan; named children suffice.

    def addService(self, service: IService) -> None:
        """Add a channel; RuntimeError if one of its name is here."""
        name = cast("str", service.name)
        if name in self.namedServices:
            raise RuntimeError(f"a channel {name!r} is here already")
        self.namedServices[name] = service
        if self.running:
            service.privilegedStartService()
            service.startService()

    def removeService(self, service: IService) -> Deferred[None] | None:
        """Remove a channel."""
        del self.namedServices[cast("str", service.name)]
        if self.running:
            return cast("Deferred[None] | None", service.stopService())
        return None

    def __iter__(self) -> Iterator[ChannelService]:
        return iter(list(self.namedServices.values()))

    def get(self, key: str) -> ChannelService | None:
        """The live channel with this casefolded name, or None."""
        return cast("ChannelService | None", self.namedServices.get(key))

    def named(self, name: str) -> ChannelService:
        """The live channel of this name; raises ERR_NOSUCHCHANNEL."""
        service = self.get(self._state.fold(name))
        if service is None:
            raise NumericError(ERR_NOSUCHCHANNEL, name)
        return service

    # --- kept in step with the state by the renderer ----------------------------------------------------------------

    def created(self, key: str) -> ChannelService:
        """The channel came into being."""
        if self._bus is None:
            raise RuntimeError("channels need their bus first")
        service = ChannelService(self._state, self._bus, key)
        service.setServiceParent(self)
        return service

    def destroyed(self, key: str) -> None:
        """The channel is gone."""
        service = self.get(key)
        if service is not None:
            service.disownServiceParent()

    def renamed(self, key: str, new_key: str) -> ChannelService | None:
        """The channel has another name."""
        service = self.get(key)
        if service is not None and key != new_key:
            del self.namedServices[key]
            service.key = service.name = new_key
            self.namedServices[new_key] = service
        return service

    def joined(self, key: str, uid: str, timestamp: str) -> ChannelService | None:
        """The user is on the channel: its sessions hear it from now on."""
        service = self.get(key)
        if service is not None:
            service.joined_at[uid] = timestamp
            sessions = self._users.sessions_of(uid)
            service.sessions.update(dict.fromkeys(sessions))
            if "D" in self._state.users[uid].modes:
                service.deaf.update(sessions)
        return service

    def attached(self, uid: str, session: Session) -> None:
        """Another client of the user is there: it hears all its channels."""
        for key in self._state.memberships[uid]:
            service = self.get(key)
            if service is not None:
                service.sessions[session] = None
        self.hears(uid)

    def detached(self, uid: str, session: Session) -> None:
        """A client of the user is gone: it hears nothing any more."""
        for key in self._state.memberships.get(uid, ()):
            service = self.get(key)
            if service is not None:
                service.sessions.pop(session, None)
                service.deaf.discard(session)

    def hears(self, uid: str) -> None:
        """The user's mode D has changed: keep step on all its channels."""
        deaf = "D" in self._state.users[uid].modes
        sessions = self._users.sessions_of(uid)
        for key in self._state.memberships[uid]:
            service = self.get(key)
            if service is not None and deaf:
                service.deaf.update(sessions)
            elif service is not None:
                service.deaf.difference_update(sessions)

    def left(self, key: str, uid: str, sessions: Iterable[Session]) -> None:
        """The user has left the channel: its sessions hear it no longer."""
        service = self.get(key)
        if service is not None:
            service.joined_at.pop(uid, None)
            for session in sessions:
                service.sessions.pop(session, None)
                service.deaf.discard(session)
