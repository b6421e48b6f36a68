"""Events of a channel in words, for people; keys (+k) are masked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from slircd.events import types as ev


def _modes(event: ev.ChannelModeChange) -> str:
    words: list[str] = []
    for change in event.changes:
        param = "*" if change.mode == "k" else change.param
        words.append(change.sign + change.mode + (f" {param}" if param else ""))
    return "mode " + ", ".join(words)


WORDS: Final[dict[type[ev.Event], Callable[[Any], str]]] = {
    ev.ChannelCreate: lambda event: f"created the channel with +{event.modes}",
    ev.ChannelDestroy: lambda event: "the channel ended",
    ev.ChannelTopicChange: lambda event: f"topic: {event.topic}" if event.topic else "removed the topic",
    ev.ChannelModeChange: _modes,
    ev.ChannelBanAdd: lambda event: f"mode +{event.mode} {event.mask}",
    ev.ChannelBanRemove: lambda event: f"mode -{event.mode} {event.mask}",
    ev.ChannelKick: lambda event: f"kicked {event.member}: {event.reason}",
    ev.ChanRegister: lambda event: f"registered the channel to {event.founder}",
    ev.ChanDrop: lambda event: "dropped the channel",
    ev.ChanFlags: lambda event: f"flags of {event.entry}: +{event.previous} to +{event.flags}",
    ev.ChanSet: lambda event: f"set {event.setting.upper()} to {event.value or 'nothing'}",
    ev.ChanRestore: lambda event: f"restored the channel as it was at {event.at}",
}
"""What staff is told of each kind of event of a channel; others are no part of its history."""


def describe(event: ev.Event) -> str | None:
    """An event of a channel in words, without who and when; None if it is no part of a channel's history."""
    words = WORDS.get(type(event))
    return None if words is None else words(event)


def who(event: ev.Event) -> str:
    """Who caused it: the nick of the user, ChanServ for somebody, or the server."""
    nick: str = getattr(event, "nick", "") or "the server"
    return f"{nick} (ChanServ)" if event.actor_uid == "chanserv" and nick != "ChanServ" else nick
