"""Giving a channel back as it was: looked at first, done on confirmation; for ChanServ and for the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slircd.events.clock import format_timestamp
from slircd.rules.restore import Restorer, decide_restore
from slircd.state.describe import describe

if TYPE_CHECKING:
    from slircd.events.types import Event
    from slircd.network.server import IRCServer


class CannotRestore(Exception):
    """A channel cannot be given back as it was; the text says why."""


class Restoration(NamedTuple):
    """What would be, or was, given back."""

    channel: str
    at: str
    events: list[Event]
    """The batch: `services.chan_restore`, and the events that do it; empty if the channel is as it was."""

    @property
    def changes(self) -> list[str]:
        """The changes in words; keys (+k) are masked."""
        return [words for event in self.events[1:] if (words := describe(event)) is not None]


async def restore_channel(
    server: IRCServer, name: str, at: str, actor: Restorer, *, do: bool, origin: object | None = None
) -> Restoration:
    """How a channel differs from what it was at the moment `at`; with `do` it is given back in one decision.

    `at` is a timestamp of the log's format; `origin` is the command that asks, for the bus.  Raises CannotRestore if
    there was no such channel, or nobody is there to give it back to; and what `EventBus.emit` raises.
    """
    state = server.state
    key = state.fold(name)
    there = state.channels.get(key)
    past = await server.channel_at(key if there is None else there.key_at(at), at)
    if past is None:
        raise CannotRestore(f"There was no channel {name} at {at}.")
    # While the log was read everything may have changed: the present is looked at only now.
    if key not in state.channels and not (actor.staff and past.registration is not None):
        raise CannotRestore(f"{past.name} is empty, and was not registered." if actor.staff else f"{name} is empty.")
    moment = format_timestamp(server.epoch_s())
    shown = state.channels[key].name if key in state.channels else past.name
    found = Restoration(shown, at, decide_restore(state, actor, key, past, at, moment))
    if do and found.events:
        await server.bus.emit(found.events, origin)
    return found
