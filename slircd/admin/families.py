"""The families of events, as charts and filters group them."""

from __future__ import annotations

from typing import Final

from slircd.events.types import EVENT_TYPES

FAMILIES: Final = ("user", "channel", "state", "message", "services", "oper", "server", "other")
"""Users come and go · channels, who is on them · topics, modes, lists · messages · accounts and registrations ·
operators and network bans · starts and stops · plugins, the API, whatever has no family of its own."""

_STATE: Final = frozenset(
    {"channel.topic_change", "channel.mode_change", "channel.ban_add", "channel.ban_remove", "channel.rename"}
)
_BY_PREFIX: Final = {
    "user": "user",
    "channel": "channel",
    "message": "message",
    "services": "services",
    "account": "services",
    "metadata": "services",
    "oper": "oper",
    "server": "server",
}


def family_of(event_type: str) -> str:
    """The family of a type of event; a type that this version does not know has one, too."""
    if event_type in _STATE:
        return "state"
    return _BY_PREFIX.get(event_type.partition(".")[0], "other")


def types_by_family() -> dict[str, list[str]]:
    """The types of the catalogue by family, empty families left out."""
    found: dict[str, list[str]] = {}
    for family in FAMILIES:
        types = [name for name in EVENT_TYPES if family_of(name) == family]
        if types:
            found[family] = types
    return found
