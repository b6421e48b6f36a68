"""What a plugin may be granted: a closed set, so that a misspelt capability is an error and no silent nothing."""

from __future__ import annotations

from typing import Final

CAPABILITIES: Final[dict[str, str]] = {
    "send": "send messages and notices to users and channels",
    "kick": "remove members from channels",
    "modes": "change modes of channels and members' prefixes",
    "bans": "set and remove bans, quiets, exceptions and invite exceptions of channels",
    "topics": "set topics",
    "accounts": "look accounts up, and hear of events of accounts and registered channels",
    "storage": "keep keys and values of its own, in the log",
    "http": "ask the hosts that its config.toml names, over HTTP",
    "messages": "hear what is said on channels",
    "see-hidden": "see secret and private channels, and what operators do",
    "see-hosts": "see real hosts, addresses and certificate fingerprints",
}
"""Capability to what it allows."""

DEFAULT_CAPABILITIES: Final = ("send",)
"""What a plugin asks for without a config.toml, and what one is granted that the configuration does not name."""
