"""What a plugin is to the server, whatever it is written in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from slircd.wire.formatting import one_line

if TYPE_CHECKING:
    from slircd.plugins.api import PluginApi

MAX_TEXT: Final = 400
"""Characters of what is told of a failure."""


class PluginError(Exception):
    """The plugin did something wrong: wrong arguments, no capability, too much.  In Lua it is an error."""


class PluginRefused(Exception):
    """The server does not do it, as it would not for a user; the text says why.  In Lua it is nil and the reason."""


class PluginFailed(Exception):
    """A handler failed: `kind` and text as in the event `plugin.fault`; a `fatal` one ended the plugin's process.

    The text may be the plugin's own words, and is shown to operators: it is made one line.
    """

    def __init__(self, kind: str, text: str, *, fatal: bool = False) -> None:
        text = one_line(text, MAX_TEXT)
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.fatal = fatal


class PluginBusy(Exception):
    """The plugin cannot take a call now: it is being restarted, or has too much to do."""


class Plugin(ABC):
    """A plugin.  Native ones (Python) derive from this class; Lua ones are LuaPlugin.

    `name` and `version` are what PLUGIN LIST shows; `capabilities` what it asks for, of
    slircd.rules.capabilities.CAPABILITIES; `send_as` whether it speaks as the server or as a pseudo-client of its name.
    """

    name: str = ""
    version: str = "0"
    capabilities: ClassVar[tuple[str, ...]] = ("send",)
    send_as: ClassVar[Literal["server", "client"]] = "server"

    @abstractmethod
    def on_load(self, api: PluginApi) -> Awaitable[None] | None:
        """The plugin starts: register commands, listeners, services and timers at `api`.  What it raises ends it."""

    def on_unload(self) -> Awaitable[None] | None:
        """The plugin ends; what it has registered is taken back by the server."""
        return None


class CallContext:
    """Who runs a command or speaks to a service, and how to answer; the same fields as `ctx` in Lua."""

    __slots__ = ("account", "channel", "is_oper", "nick", "reply", "service", "uid")

    def __init__(
        self,
        *,
        nick: str,
        uid: str,
        account: str | None,
        is_oper: bool,
        channel: str | None,
        service: str | None,
        reply: Callable[[str], None],
    ) -> None:
        self.nick = nick
        self.uid = uid
        self.account = account
        self.is_oper = is_oper
        self.channel = channel
        """The channel that the command is about: named first, or the caller's only one; else the caller's nick."""
        self.service = service
        self.reply = reply
        """Answers the caller with a NOTICE; does nothing once the call is over."""

    def fields(self) -> dict[str, Any]:
        """All but `reply`, for Lua."""
        names = ("nick", "uid", "account", "is_oper", "channel", "service")
        return {name: value for name in names if (value := getattr(self, name)) is not None}
