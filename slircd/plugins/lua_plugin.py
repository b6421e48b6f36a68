"""A plugin in Lua, as the server sees it: a Plugin whose handlers are calls into its process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from slircd.plugins.interface import CallContext, Plugin, PluginFailed
from slircd.plugins.process import ChildProcess, command, first_frame
from slircd.plugins.views import Batch
from slircd.wire.formatting import one_line

if TYPE_CHECKING:
    from slircd.config.sections import PluginLimits
    from slircd.plugins.api import PluginApi
    from slircd.plugins.manifest import Source


MAX_VERSION: Final = 32
"""Characters of a plugin's version."""


class LuaPlugin(Plugin):
    """One process with one plugin; a reload or a restart makes another.

    `ended` is called when the process is gone without having been asked to go.
    """

    def __init__(
        self,
        source: Source,
        reactor: Any,
        limits: PluginLimits,
        *,
        output: Callable[[str], None],
        ended: Callable[[PluginFailed], None],
        argv: list[str] | None = None,
        process: Callable[..., ChildProcess] = ChildProcess,
    ) -> None:
        self.name = source.name
        self.version = "0"
        self._source = source
        self._api: PluginApi | None = None
        self._ended = ended
        self._leaving = False
        self._argv = argv
        self._cpu_s = max(1.0, 4 * limits.deadline_ms / 1000)
        asked = source.manifest.limits
        self.deadline_s = min(limits.deadline_ms, asked.deadline_ms or limits.deadline_ms) / 1000
        self.start_s = limits.start_ms / 1000
        self.memory_bytes = min(limits.memory_mb, asked.memory_mb or limits.memory_mb) << 20
        self._handlers: dict[int, Callable[..., Any]] = {}
        self.process = process(
            reactor,
            deadline_s=self.deadline_s,
            start_s=self.start_s,
            queue_events=limits.queue_events,
            memory_bytes=self.memory_bytes,
            invoke=self._invoke,
            output=output,
            ended=self._gone,
        )

    async def on_load(self, api: PluginApi) -> None:
        """Start the process, give it the code, and run the plugin's on_load.  Raises PluginFailed."""
        self._api = api
        process = self.process
        argv = self._argv or command(self.memory_bytes, self._cpu_s)
        process.start(argv, first_frame(self.deadline_s))
        await process.ready
        chunk = f"{self.name}/init.lua"
        loaded = await process.run(
            {"op": "load", "source": self._source.code, "chunk": chunk, "cpu": self.start_s}, self.start_s
        )
        self.version = one_line(str(loaded.get("version") or ""), MAX_VERSION) or "0"
        settings = {"op": "on_load", "settings": self._source.manifest.settings, "cpu": self.start_s}
        await process.run(settings, self.start_s)

    async def on_unload(self) -> None:
        """Run the plugin's on_unload and end the process."""
        self._leaving = True
        if not self.process.is_dying:
            try:
                await self.process.run({"op": "on_unload", "cpu": self.start_s}, min(self.start_s, 1.0))
            finally:
                self.kill()

    def kill(self) -> None:
        """End the process, expected."""
        self._leaving = True
        if self.process.pid is not None:
            self.process.kill(PluginFailed("exit", "unloaded", fatal=True))

    def _gone(self, why: PluginFailed) -> None:
        if not self._leaving:
            self._ended(why)

    def _invoke(self, name: str, arguments: list[Any]) -> Any:
        api = self._api
        if api is None:
            raise PluginFailed("protocol", "a call before on_load")
        if name == "register_event_listener":
            # The child knows which of its handlers are meant: it is given each event once.
            api.subscribe(arguments, self._deliver)
            return True
        api.current = self.process.call
        return api.invoke(name, [self._handler(name, argument) for argument in arguments])

    def _deliver(self, batch: Batch, hosts: bool) -> None:
        self.process.deliver(*batch.encoded(hosts=hosts))

    def _handler(self, name: str, argument: Any) -> Any:
        """A handler of Lua, which is a number, as a function that calls it."""
        if not (isinstance(argument, dict) and argument.keys() == {"$handler"}):
            return argument
        number = argument["$handler"]

        def call(subject: Any = None, words: Any = None) -> Deferred[Any]:
            context = subject if isinstance(subject, CallContext) else None
            fields = {
                "op": "call",
                "handler": number,
                "subject": context.fields() if context is not None else subject,
                "argument": words,
            }
            return self.process.run(fields, self.deadline_s, context)

        return call
