"""Importing this module fills the registry: one module for each family of commands."""

from slircd.commands import (
    account,
    capability,
    channel,
    history,
    messaging,
    metadata,
    modes,
    multiline,
    netbans,
    oper,
    query,
    registration,
    relay,
    server_info,
    user,
)

__all__ = [
    "account",
    "capability",
    "channel",
    "history",
    "messaging",
    "metadata",
    "modes",
    "multiline",
    "netbans",
    "oper",
    "query",
    "registration",
    "relay",
    "server_info",
    "user",
]
