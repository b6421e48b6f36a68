"""What a new configuration may change while the server runs.

Some keys are fixed for the life of a process, because clients, files or the log already go by them.  A new file that
changes them is accepted all the same: they keep their value, and whoever asked is told which need a restart.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from slircd.config.sections import Config

FIXED: Final = (
    "server.name",
    "server.network",
    "server.sid",
    "server.casemapping",
    "server.confusables",
    "server.encoding",
    "server.default_channel_modes",
    "listen",
    "tls",
    "database",
    "log",
    "secrets_file",
    "limits.nicklen",
    "limits.userlen",
    "limits.channellen",
    "limits.whowas",
    "cloak",
    "admin.enabled",
    "admin.address",
    "admin.port",
    "admin.tls",
    "admin.certificate",
    "admin.private_key",
)
"""Keys, or whole sections, that a running server keeps."""


def merge(old: Config, new: Config) -> tuple[Config, list[str]]:
    """`new` with the fixed keys of `old`, and those of them that would have changed."""
    kept: list[str] = []
    merged = new
    for key in FIXED:
        section, _, name = key.partition(".")
        before, after = _get(old, key), _get(new, key)
        if before == after:
            continue
        kept.append(key)
        if name:
            inner = msgspec.structs.replace(getattr(merged, section), **{name: before})
            merged = msgspec.structs.replace(merged, **{section: inner})
        else:
            merged = msgspec.structs.replace(merged, **{section: before})
    return merged, kept


def _get(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value
