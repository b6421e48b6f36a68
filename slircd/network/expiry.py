"""Timed list entries and network bans: removed when their time has come, while the server runs or when it starts."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import txaio
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from slircd.events.clock import format_timestamp, parse_timestamp
from slircd.events.types import Event
from slircd.rules.modes import expiry_event
from slircd.rules.netbans import line_expiry

if TYPE_CHECKING:
    from slircd.network.server import IRCServer

txaio.use_twisted()
log = txaio.make_logger()

RETRY_S = 5
"""Seconds until another try where the log could not be written."""

LOOK_S = 60.0
"""How often it looks at the clock, which may be set."""


class Expiries:
    """The entries that have an end, soonest first, and one timer for the first of them."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server
        # When; key of a channel, or nothing for a network ban; list mode, or kind of ban; mask.
        self._heap: list[tuple[str, str, str, str]] = []
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Write what came due while the server was down, and watch the rest."""
        for channel in self._server.state.channels.values():
            for mode, entries in channel.lists.items():
                for entry in entries.values():
                    if entry.expires is not None:
                        heappush(self._heap, (entry.expires, channel.key, mode, entry.mask))
        for kind, bans in self._server.state.bans.items():
            for ban in bans.values():
                if ban.expires is not None:
                    heappush(self._heap, (ban.expires, "", kind, ban.mask))
        self._due()

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def add(self, expires: str, key: str, mode: str, mask: str) -> None:
        """An entry with an end was set."""
        heappush(self._heap, (expires, key, mode, mask))
        self._arm()

    def restart(self) -> None:
        """Watch what the state has now: masks were rewritten."""
        self.stop()
        self._heap.clear()
        self.start()

    def renamed(self, key: str, new_key: str) -> None:
        """A channel has another name; its entries keep their ends."""
        self._heap = [(when, new_key if name == key else name, mode, mask) for when, name, mode, mask in self._heap]
        heapify(self._heap)

    def _arm(self, least_s: float = 0.0) -> None:
        self.stop()
        if self._heap:
            delay = parse_timestamp(self._heap[0][0]) - self._server.epoch_s()
            # The end is a time of the clock, which may be set meanwhile: so it is looked at again and again.
            delay = min(max(delay, least_s, 0.0), LOOK_S)
            self._timer = self._server.reactor.callLater(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        state = self._server.state
        now = format_timestamp(self._server.epoch_s())
        events: list[Event] = []
        while self._heap and self._heap[0][0] <= now:
            expires, key, mode, mask = heappop(self._heap)
            if not key:
                ban = state.bans.get(mode, {}).get(state.fold(mask))
                if ban is not None and ban.expires == expires:
                    events.append(line_expiry(state, mode, mask))
                continue
            channel = state.channels.get(key)
            entry = channel.entries(mode).get(state.fold(mask)) if channel is not None else None
            # It may have been taken off by somebody, or set again with another end.
            if channel is not None and entry is not None and entry.expires == expires:
                events.append(expiry_event(channel, mode, mask))
        self._server.bus.emit(events).addErrback(self._again)
        self._arm()

    def _again(self, failure: Failure) -> None:
        self._failed(failure)
        self._heap.clear()
        self._timer = self._server.reactor.callLater(RETRY_S, self._restart)

    def _restart(self) -> None:
        self._timer = None
        self.start()

    @staticmethod
    def _failed(failure: Failure) -> None:
        log.warn("list entries whose time has come could not be removed: {reason}", reason=failure.value)
