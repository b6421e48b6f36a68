"""Server notices: what operators may listen to (user mode s)."""

from __future__ import annotations

from typing import Final

SNOMASKS: Final[dict[str, str]] = {
    "b": "network bans and filters that are set and removed",
    "c": "users who come and go",
    "f": "connections that are refused, clients that are cut",
    "k": "kills",
    "n": "nick changes",
    "o": "operators, and who fails to become one",
    "p": "plugins that are loaded, unloaded, or fail",
    "s": "messages that meet a filter",
}
"""Letter to what it is about."""
