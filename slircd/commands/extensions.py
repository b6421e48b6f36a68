"""Where plugins are plugged in: what sessions and commands look into when the server itself knows nothing.

Empty until the plugin manager fills it, so a server without plugins pays one look at an empty table.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from slircd.commands.registry import Command, Context
    from slircd.state.model import Channel, User
    from slircd.wire.line import Line

ServiceHandler = Callable[["Context", str], Coroutine[Any, Any, None]]
ChannelFeed = Callable[[str, "User", "Channel", str, "Line"], None]


class Manager(Protocol):
    """What the PLUGIN command asks for."""

    def list_lines(self) -> list[str]:
        """One line for each plugin."""

    def info_lines(self, name: str) -> list[str]:
        """All that is known of one plugin."""

    def info(self, name: str) -> dict[str, Any]:
        """The same as plain values."""

    def infos(self) -> list[dict[str, Any]]:
        """The same of every plugin."""

    def latency(self, name: str) -> tuple[list[tuple[str, float]], float]:
        """The histogram of a plugin's jobs: cumulative buckets, and the sum of seconds."""

    async def load(self, name: str, actor: str, nick: str) -> list[str]:
        """Load a plugin; what is to be told of it."""

    async def unload(self, name: str, actor: str, nick: str) -> list[str]:
        """Unload a plugin; what is to be told of it."""

    async def reload(self, name: str, actor: str, nick: str) -> list[str]:
        """Load a plugin again; what is to be told of it."""


class Extensions:
    """The tables that plugins fill."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}
        """Commands by upper-case name; those of the server come first."""
        self.services: dict[str, ServiceHandler] = {}
        """Services by casefolded nick."""
        self.feed: ChannelFeed | None = None
        """Told of what is said on channels: verb, who, where, text, and its line; None while nobody listens."""
        self.manager: Manager | None = None


class ManagerError(Exception):
    """A plugin cannot be loaded, unloaded or shown; the text says why."""
