"""The plugins of a server: loaded, fed with events, restarted after faults, unloaded.

Rules that hold here.  A plugin is a name with at most one running instance; a reload makes a second one, and only when
that has loaded does it take the place of the first.  What an instance registers counts from that moment on.  A fault
that ended a process starts another after a pause that doubles; too many within the window, and the plugin stays down
until somebody loads it again.  Which plugins run after a restart of the server is what the configuration says
(plugins.autoload), not what was loaded by hand.  Events come from the bus after their commit; what is said on channels
comes from the message commands directly, and only while a plugin listens.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator
from inspect import isawaitable
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import txaio
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall

from slircd.commands.extensions import ManagerError
from slircd.events import types as ev
from slircd.events.bus import Record, Subscription
from slircd.events.msgid import message_id
from slircd.events.types import SERVER, Event
from slircd.plugins.api import Identity, PluginApi, Sink
from slircd.plugins.http import PluginHttp
from slircd.plugins.interface import Plugin, PluginBusy, PluginError, PluginFailed, PluginRefused
from slircd.plugins.lua_plugin import LuaPlugin
from slircd.plugins.manifest import Manifest, Source, available, read_plugin
from slircd.plugins.native import native_plugin
from slircd.plugins.process import ChildProcess
from slircd.plugins.storage import Storage
from slircd.plugins.views import NEVER, Batch, EventView, capability_for, is_hidden, matches, view_event, view_message
from slircd.rules.capabilities import DEFAULT_CAPABILITIES
from slircd.rules.user import disconnect_event

if TYPE_CHECKING:
    from slircd.commands.registry import Context
    from slircd.network.server import IRCServer
    from slircd.security.outgoing import Outgoing
    from slircd.state.apply import Stamp
    from slircd.state.model import Channel, User
    from slircd.wire.line import Line

txaio.use_twisted()
log = txaio.make_logger()

GATHER_S: Final = 0.1
"""Seconds that events wait for others, so that a busy channel costs a plugin few frames."""

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
REPEAT_S: Final = 60.0
"""Seconds within which the same fault, if it ended nothing, is counted and not recorded again."""

MAX_ERRORS: Final = 200
"""Failing calls within a minute after which a plugin is restarted: it is broken."""

BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Upper bounds of the latency histogram."""


class Statistics:
    """What is counted of a plugin since the server started."""

    def __init__(self) -> None:
        self.calls = 0
        """Commands, service messages and timers."""
        self.events = 0
        self.errors = 0
        """Handlers that failed."""
        self.faults: dict[str, int] = {}
        self.restarts = 0
        self.dropped_lines = 0
        self.seconds = 0.0
        self.slowest = 0.0
        self.buckets = [0] * (len(BUCKETS_S) + 1)

    def observe(self, seconds: float) -> None:
        """A job took this long."""
        self.seconds += seconds
        self.slowest = max(self.slowest, seconds)
        index = next((index for index, bound in enumerate(BUCKETS_S) if seconds <= bound), len(BUCKETS_S))
        self.buckets[index] += 1


class Instance:
    """One run of a plugin."""

    __slots__ = ("api", "capabilities", "manifest", "plugin")

    def __init__(self, plugin: Plugin, api: PluginApi, manifest: Manifest) -> None:
        self.plugin = plugin
        self.api = api
        self.manifest = manifest


class Entry:
    """A plugin by name: its running instance, and what is remembered of the others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = "loading"
        """loading, running, restarting, stopped."""
        self.instance: Instance | None = None
        self.source: Source | None = None
        self.native = False
        self.statistics = Statistics()
        self.faults: deque[float] = deque()
        """When fatal faults happened, within the window."""
        self.last_fault = ""
        self.loaded_at = ""
        self.loaded_by = ""
        self.lock = DeferredLock()
        self.restart: IDelayedCall | None = None
        self.repeated: dict[str, tuple[float, int]] = {}
        """Text of a fault to when it was recorded, and how often it came since."""
        self.errors: deque[float] = deque(maxlen=MAX_ERRORS)
        self.storage: Storage | None = None
        self.online: set[str] = set()
        """UIDs of its services."""


class Listener(NamedTuple):
    """Somebody who is to be told of events of one type."""

    api: PluginApi
    sink: Sink
    hidden: bool
    """Whether it may hear of secret channels."""
    hosts: bool
    """Whether it may see real hosts."""


class PluginManager(Service):
    """Loads, unloads and watches plugins.

    `in_thread` runs a blocking function in a thread; `outgoing` makes an HTTP client, which reaches private addresses
    where its argument says so.  Tests give other children (`argv`, `process`) and native plugins (`native`).
    """

    def __init__(
        self,
        server: IRCServer,
        *,
        in_thread: Callable[..., Deferred[Any]] = maybeDeferred,
        argv: list[str] | None = None,
        process: Callable[..., ChildProcess] = ChildProcess,
        native: Callable[[str, Collection[str]], Plugin | None] = native_plugin,
        outgoing: Callable[[bool], Outgoing] | None = None,
    ) -> None:
        self.setName("plugins")
        self.entries: dict[str, Entry] = {}
        self._server = server
        self._in_thread = in_thread
        self._argv = argv
        self._process = process
        self._native = native
        self._outgoing = outgoing
        self._subscription: Subscription | None = None
        self._sinks: dict[str, list[Listener]] = {}
        """Type of an event to who listens and may; made when it is asked for."""
        self._granting: object = None
        """The section of the configuration that `_sinks` goes by; REHASH makes another."""
        self._hidden: set[str] = set()
        """Keys of channels that were secret or private at the moment up to which events were handed out."""
        self._pending: list[Record | EventView] = []
        self._gathering: IDelayedCall | None = None
        self._stopping = False
        server.extensions.manager = self

    # --- start and stop -------------------------------------------------------------------------------------------

    def startService(self) -> None:  # noqa: N802  # Twisted's name
        """End what a crash has left of plugins, and load those of the configuration."""
        super().startService()
        state = self._server.state
        for user in [user for user in state.users.values() if user.uid.startswith("plugin:")]:
            self._emit([disconnect_event(user, SERVER, "The server has started again")])
        for name in self._server.config.plugins.autoload:
            self._later(self.load(name, SERVER, ""), f"autoload of {name}")

    def stopService(self) -> Deferred[None]:  # noqa: N802  # Twisted's name
        """Unload every plugin; none is given more than its time."""
        super().stopService()
        self._stopping = True
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        for entry in list(self.entries.values()):
            try:
                await self.unload(entry.name, SERVER, "", reason="the server stops")
            except ManagerError as error:
                log.debug("{name}: {error}", name=entry.name, error=str(error))

    def _later(self, work: Any, what: str) -> None:
        done = ensureDeferred(work)
        done.addErrback(self._not_done, what)

    def _not_done(self, failure: Any, what: str) -> None:
        if failure.check(ManagerError):
            log.error("{what}: {reason}", what=what, reason=failure.value)
            self._server.bans.notify("p", f"{what}: {failure.value}")
        else:
            log.failure("{what} failed", what=what, failure=failure)

    def _emit(self, events: list[Event]) -> None:
        emitted = self._server.bus.emit(events)
        emitted.addErrback(lambda failure: log.warn("a plugin's event: {why}", why=failure.value))

    # --- load, unload, reload -------------------------------------------------------------------------------------

    async def load(self, name: str, actor: str, nick: str) -> list[str]:
        """Load a plugin.  Raises ManagerError."""
        entry = self.entries.get(name)
        if entry is not None and entry.state != "stopped":
            raise ManagerError(f"{name} is loaded already: PLUGIN RELOAD {name}")
        known = entry is not None
        entry = entry or Entry(name)
        self.entries[name] = entry
        entry.state = "loading"
        entry.faults.clear()
        await entry.lock.acquire()
        try:
            instance = await self._start(entry)
        except (ManagerError, PluginFailed) as error:
            entry.state = "stopped"
            if not known:
                self.entries.pop(name, None)
            self._load_failed(entry, error)
            raise ManagerError(str(error)) from None
        finally:
            entry.lock.release()
        return self._loaded(entry, instance, actor, nick)

    async def unload(self, name: str, actor: str, nick: str, reason: str = "") -> list[str]:
        """Unload a plugin.  Raises ManagerError."""
        entry = self._entry(name)
        await entry.lock.acquire()
        try:
            if entry.restart is not None:
                entry.restart.cancel()
                entry.restart = None
            instance, entry.instance = entry.instance, None
            self.entries.pop(name, None)
            entry.state = "stopped"
            if instance is not None:
                await self._end(instance)
                instance.api.disconnect()
            if entry.storage is not None:
                entry.storage.flush()
        finally:
            entry.lock.release()
        self._registrations_changed()
        reason = reason or "asked by an operator"
        self._emit([ev.PluginUnload(actor_uid=actor, target=name, nick=nick, reason=reason)])
        log.info("plugin {name} is unloaded: {reason}", name=name, reason=reason)
        return [f"{name} is unloaded"]

    async def reload(self, name: str, actor: str, nick: str) -> list[str]:
        """Load a plugin's code again; the old one serves until the new one has loaded, and goes on if it does not.

        Raises ManagerError.
        """
        entry = self._entry(name)
        await entry.lock.acquire()
        try:
            if self.entries.get(name) is not entry:
                raise ManagerError(f"{name} is not loaded")
            try:
                instance = await self._start(entry)
            except (ManagerError, PluginFailed) as error:
                self._load_failed(entry, error)
                kept = "; the one that runs stays" if entry.instance is not None else ""
                raise ManagerError(f"{error}{kept}") from None
        finally:
            entry.lock.release()
        entry.faults.clear()
        return self._loaded(entry, instance, actor, nick)

    def _entry(self, name: str) -> Entry:
        entry = self.entries.get(name)
        if entry is None:
            raise ManagerError(f"{name} is not loaded")
        return entry

    async def _start(self, entry: Entry, source: Source | None = None) -> Instance:
        """Make an instance and bring it to the end of its on_load.  Raises ManagerError and PluginFailed."""
        config = self._server.config.plugins
        plugin = self._native(entry.name, config.native) if source is None else None
        entry.native = plugin is not None
        if plugin is not None:
            manifest = Manifest(capabilities=list(plugin.capabilities), send_as=plugin.send_as)
        else:
            if source is None:
                source = await self._in_thread(read_plugin, entry.name, config.folders)
            manifest = source.manifest
            plugin = self._lua(entry, source)
        api = self._api(entry, manifest)
        instance = Instance(plugin, api, manifest)
        try:
            api.open()
            await _finish(plugin.on_load(api))
        except PluginFailed:
            self._discard(instance)
            raise
        except (PluginError, PluginRefused) as error:
            self._discard(instance)
            raise PluginFailed("load", str(error)) from None
        except Exception as error:
            self._discard(instance)
            if isinstance(plugin, LuaPlugin):
                raise
            log.failure("the native plugin {name} cannot be loaded", name=entry.name)
            raise PluginFailed("load", f"{type(error).__name__}: {error}") from None
        old, entry.instance = entry.instance, instance
        entry.source = source
        entry.state = "running"
        api.changed = self._registrations_changed
        api.publish()
        self._registrations_changed()
        if old is not None:
            self._later(self._end(old), f"end of the old {entry.name}")
        return instance

    def _lua(self, entry: Entry, source: Source) -> LuaPlugin:
        def ended(why: PluginFailed) -> None:
            self._ended(entry, plugin, why)

        plugin = LuaPlugin(
            source,
            self._server.reactor,
            self._server.config.plugins.limits,
            output=lambda text: self._log(entry.name, text),
            ended=ended,
            argv=self._argv,
            process=self._process,
        )
        plugin.process.job_done = lambda seconds, job, done: self._job_done(entry, plugin, seconds, job, done)
        return plugin

    def _api(self, entry: Entry, manifest: Manifest) -> PluginApi:
        server = self._server
        limits = server.config.plugins.limits
        if entry.storage is None:
            entry.storage = Storage(entry.name, server.state, server.reactor, limits, server.bus.emit)
        asked = frozenset(manifest.capabilities)

        def capabilities() -> frozenset[str]:
            return asked & self.granted(entry.name)

        identity = Identity(
            (manifest.nick or entry.name) if manifest.send_as == "client" else None,
            manifest.description or f"Plugin {entry.name}",
        )
        api = PluginApi(
            server,
            entry.name,
            identity=identity,
            limits=limits,
            capabilities=capabilities,
            claims=lambda kind, key: self._claimed(entry, kind, key),
            storage=entry.storage,
            online=entry.online,
            log=lambda text: self._log(entry.name, text),
            settings=manifest.settings,
            http=self._http(entry, manifest),
        )
        api.before_call = self._hand_out_pending
        api.failed = lambda failed: self.fault(entry, failed)
        return api

    def _http(self, entry: Entry, manifest: Manifest) -> PluginHttp | None:
        if "http" not in manifest.capabilities or self._outgoing is None:
            return None
        plugins = self._server.config.plugins
        outgoing = self._outgoing(entry.name in plugins.http_private)
        return PluginHttp(outgoing, manifest.http_hosts, plugins.limits.http_per_minute, self._server.reactor.seconds)

    def granted(self, name: str) -> frozenset[str]:
        """What the configuration in force grants a plugin."""
        return frozenset(self._server.config.plugins.grants.get(name, DEFAULT_CAPABILITIES))

    def _claimed(self, entry: Entry, kind: str, key: str) -> str | None:
        """The other plugin that has a command or service of this name."""
        for other in self.entries.values():
            if other is not entry and other.instance is not None:
                taken = other.instance.api.commands if kind == "command" else other.instance.api.services
                if key in taken:
                    return other.name
        return None

    def _discard(self, instance: Instance) -> None:
        instance.api.end()
        if isinstance(instance.plugin, LuaPlugin):
            instance.plugin.kill()

    async def _end(self, instance: Instance) -> None:
        """Let an instance say goodbye; nothing that it does then can fail anybody."""
        try:
            await _finish(instance.plugin.on_unload())
        except PluginFailed as error:
            log.warn("{name}: on_unload: {error}", name=instance.api.name, error=str(error))
        except Exception:
            log.failure("{name}: on_unload failed", name=instance.api.name)
        instance.api.end()

    def _loaded(self, entry: Entry, instance: Instance, actor: str, nick: str) -> list[str]:
        version = instance.plugin.version
        has = instance.api.capabilities
        entry.loaded_at = self._server.timestamp()
        entry.loaded_by = nick or "the server"
        self._emit(
            [ev.PluginLoad(actor_uid=actor, target=entry.name, nick=nick, version=version, capabilities=sorted(has))]
        )
        log.info("plugin {name} {version} is loaded", name=entry.name, version=version)
        told = [f"{entry.name} {version} is loaded"]
        missing = [item for item in instance.manifest.capabilities if item not in has]
        if missing:
            told.append(f"It asks for {', '.join(missing)}, which is not granted: plugins.grants.{entry.name}")
            log.warn("{name}: {text}", name=entry.name, text=told[-1])
        if entry.name not in self._server.config.plugins.autoload and actor != SERVER:
            told.append("It stays until the server stops; plugins.autoload loads it at each start")
        return told

    def _load_failed(self, entry: Entry, error: ManagerError | PluginFailed) -> None:
        if isinstance(error, PluginFailed):
            failed = PluginFailed(error.kind if error.kind != "error" else "load", error.text, fatal=True)
            self.fault(entry, failed)

    def _log(self, name: str, text: str) -> None:
        for line in text.splitlines()[:20] or [""]:
            log.info("[{plugin}] {text}", plugin=name, text=line[:1000])

    # --- faults ---------------------------------------------------------------------------------------------------

    def fault(self, entry: Entry, failed: PluginFailed) -> None:
        """Record a fault: in the log, as an event, and for operators; the same small one once a minute."""
        statistics = entry.statistics
        statistics.faults[failed.kind] = statistics.faults.get(failed.kind, 0) + 1
        entry.last_fault = f"{failed.kind}: {failed.text}"
        now = self._server.reactor.seconds()
        repeated = 0
        if not failed.fatal:
            at, repeated = entry.repeated.get(failed.text, (-REPEAT_S, 0))
            if now - at < REPEAT_S:
                entry.repeated[failed.text] = (at, repeated + 1)
                return
            if len(entry.repeated) >= 100:
                entry.repeated.clear()
            entry.repeated[failed.text] = (now, 0)
        log.warn("plugin {name} failed ({kind}): {text}", name=entry.name, kind=failed.kind, text=failed.text)
        self._emit(
            [
                ev.PluginFault(
                    actor_uid=f"plugin:{entry.name}",
                    target=entry.name,
                    kind=failed.kind,
                    text=failed.text,
                    fatal=failed.fatal,
                    repeated=repeated,
                )
            ]
        )

    def _job_done(
        self, entry: Entry, plugin: LuaPlugin, seconds: float, job: dict[str, Any], done: dict[str, Any]
    ) -> None:
        statistics = entry.statistics
        statistics.observe(seconds)
        if "count" in job:
            statistics.events += job["count"]
        elif job["op"] == "call":
            statistics.calls += 1
        statistics.dropped_lines += _number(done.get("dropped"))
        error = done.get("error")
        if error is None or done.get("short") or job["op"] in ("load", "on_load"):
            return
        errors = max(1, _number(done.get("errors")))
        statistics.errors += errors
        kind = "timeout" if error == "timeout" else "error"
        text = "a call took too long" if kind == "timeout" else str(error)[:400]
        self.fault(entry, PluginFailed(kind, text))
        now = self._server.reactor.seconds()
        entry.errors.append(now)
        if len(entry.errors) == MAX_ERRORS and now - entry.errors[0] < 60:
            entry.errors.clear()
            plugin.process.kill(PluginFailed("error", f"{MAX_ERRORS} failing calls within a minute", fatal=True))

    def _ended(self, entry: Entry, plugin: LuaPlugin, why: PluginFailed) -> None:
        """The process of a plugin is gone, and nobody asked it to go."""
        instance = entry.instance
        if instance is None or instance.plugin is not plugin:
            # It was still loading: whoever loads it is told.
            return
        self.fault(entry, why)
        instance.api.pause(PluginBusy(f"The plugin {entry.name} is being restarted"))
        limits = self._server.config.plugins.limits
        now = self._server.reactor.seconds()
        entry.faults.append(now)
        while entry.faults[0] < now - limits.restart_window_s:
            entry.faults.popleft()
        if len(entry.faults) > limits.restarts or self._stopping:
            self._give_up(entry, f"{len(entry.faults)} faults within {limits.restart_window_s} s, it stays down")
            return
        entry.state = "restarting"
        pause = min(FIRST_PAUSE_S * 2 ** (len(entry.faults) - 1), LONGEST_PAUSE_S)
        entry.restart = self._server.reactor.callLater(pause, self._restart, entry)

    def _restart(self, entry: Entry) -> None:
        entry.restart = None
        self._later(self._start_again(entry), f"restart of {entry.name}")

    async def _start_again(self, entry: Entry) -> None:
        await entry.lock.acquire()
        try:
            if self.entries.get(entry.name) is not entry or entry.state != "restarting":
                return
            entry.statistics.restarts += 1
            try:
                await self._start(entry, entry.source)
            except (ManagerError, PluginFailed) as error:
                self._load_failed(entry, error)
                self._give_up(entry, f"it could not be started again: {error}")
                return
        finally:
            entry.lock.release()
        log.info("plugin {name} is running again", name=entry.name)
        self._server.bans.notify("p", f"The plugin {entry.name} is running again")

    def _give_up(self, entry: Entry, reason: str) -> None:
        entry.state = "stopped"
        instance, entry.instance = entry.instance, None
        if instance is not None:
            instance.api.end()
            instance.api.disconnect()
        self._registrations_changed()
        log.error("plugin {name} is stopped: {reason}", name=entry.name, reason=reason)
        self._emit([ev.PluginUnload(actor_uid=SERVER, target=entry.name, nick="", reason=reason)])

    # --- commands and services ------------------------------------------------------------------------------------

    def _running(self) -> list[tuple[Entry, PluginApi]]:
        return [(entry, entry.instance.api) for entry in self.entries.values() if entry.instance is not None]

    def _registrations_changed(self) -> None:
        """Make the tables anew that sessions and the bus look into."""
        extensions = self._server.extensions
        extensions.commands = {key: row for _, api in self._running() for key, row in api.commands.items()}
        extensions.services = {key: self._service(api, key) for _, api in self._running() for key in api.services}
        for _, api in self._running():
            api.publish()
        self._sinks.clear()
        patterns = [pattern for _, api in self._running() for pattern, _ in api.listeners]
        hears = any(matches(pattern, f"message.{verb}") for pattern in patterns for verb in ("privmsg", "notice"))
        extensions.feed = self._said if hears else None
        if patterns and self._subscription is None:
            self._hidden = {channel.key for channel in self._server.state.channels.values() if is_hidden(channel)}
            self._subscription = self._server.bus.subscribe("plugins", self._committed)
        elif not patterns and self._subscription is not None:
            self._server.bus.unsubscribe(self._subscription)
            self._subscription = None

    @staticmethod
    def _service(api: PluginApi, key: str) -> Any:
        async def handle(ctx: Context, text: str) -> None:
            await api.serve(key, ctx, text)

        return handle

    # --- events ---------------------------------------------------------------------------------------------------

    def _listeners(self, event_type: str) -> list[Listener]:
        if self._server.config.plugins is not self._granting:
            self._granting = self._server.config.plugins
            self._sinks.clear()
        found = self._sinks.get(event_type)
        if found is None:
            found = self._sinks[event_type] = list(self._find_listeners(event_type))
        return found

    def _find_listeners(self, event_type: str) -> Iterator[Listener]:
        needs = capability_for(event_type)
        for _, api in self._running():
            has = api.capabilities
            if needs is None or needs in has:
                # A Lua plugin has one sink for all its patterns, and is to be given an event once.
                for sink in dict.fromkeys(sink for pattern, sink in api.listeners if matches(pattern, event_type)):
                    yield Listener(api, sink, "see-hidden" in has, "see-hosts" in has)

    def _committed(self, record: Record) -> None:
        self._enqueue(record)

    def _enqueue(self, item: Record | EventView) -> None:
        """Hand an event out in a moment, with others; until then plugins know which ones they have caused themselves."""
        self._pending.append(item)
        if self._gathering is None:
            self._gathering = self._server.reactor.callLater(GATHER_S, self._hand_out_pending)

    def _hand_out_pending(self) -> None:
        if self._gathering is not None and self._gathering.active():
            self._gathering.cancel()
        self._gathering = None
        pending, self._pending = self._pending, []
        views: list[EventView] = []
        for item in pending:
            try:
                view = item if isinstance(item, EventView) else self._record(item)
            except Exception:
                log.failure("an event could not be shown to plugins")
                continue
            if view is not None:
                views.append(view)
        for (event_type, hidden), run in groupby(views, key=_sort):
            self._hand_out(Batch(list(run)), self._listeners(event_type), hidden=hidden)

    def _record(self, record: Record) -> EventView | None:
        """What plugins are shown of an event; None if nobody listens, or may."""
        event = record.event
        name = event.event_type
        hidden_before = event.target in self._hidden
        self._track(event)
        if name in NEVER or not self._listeners(name):
            return None
        if isinstance(event, ev.Message) and not self._is_for_plugins(event):
            return None
        view = self._view(event, record.stamp)
        view.hidden = view.hidden or hidden_before
        return view

    def _is_for_plugins(self, event: ev.Message) -> bool:
        """What people say on channels; direct messages are nobody else's business, and plugins do not hear plugins."""
        user = self._server.state.users.get(event.actor_uid or "")
        return event.target in self._server.state.channels and user is not None and not user.is_service

    def _view(self, event: Event, stamp: Stamp) -> EventView:
        state = self._server.state
        if isinstance(event, ev.Message):
            user, channel = state.users[event.actor_uid or ""], state.channels[event.target or ""]
            verb = event.event_type.partition(".")[2]
            return view_message(
                verb, user, channel, event.text, message_id(stamp.id, stamp.session_id), stamp.timestamp
            )
        return view_event(state, event, stamp, self._hidden)

    def _track(self, event: Event) -> None:
        """Keep step with which channels are hidden, at the moment of the event and not at that of its delivery."""
        key = event.target or ""
        if isinstance(event, ev.ChannelCreate):
            (self._hidden.add if set(event.modes) & {"s", "p"} else self._hidden.discard)(key)
        elif isinstance(event, ev.ChannelModeChange):
            if any(change.mode in "sp" for change in event.changes):
                channel = self._server.state.channels.get(key)
                gone = channel is None or not is_hidden(channel)
                added = any(change.mode in "sp" and change.sign == "+" for change in event.changes)
                (self._hidden.discard if gone and not added else self._hidden.add)(key)
        elif isinstance(event, ev.ChannelDestroy):
            self._hidden.discard(key)

    def _said(self, verb: str, user: User, channel: Channel, text: str, line: Line) -> None:
        """Somebody said something on a channel."""
        if self._listeners("message.privmsg" if verb == "PRIVMSG" else f"message.{verb.lower()}"):
            self._enqueue(view_message(verb, user, channel, text, line.msgid or "", line.timestamp))

    @staticmethod
    def _hand_out(batch: Batch, listeners: list[Listener], *, hidden: bool) -> None:
        for api, sink, sees_hidden, hosts in listeners:
            if sees_hidden or not hidden:
                try:
                    sink(batch.without(api.own), hosts)
                except Exception:
                    log.failure("events could not be handed to {name}", name=api.name)

    # --- what there is --------------------------------------------------------------------------------------------

    def info(self, name: str) -> dict[str, Any]:
        """All that is known of one plugin, as plain values.  Raises ManagerError."""
        entry = self._entry(name)
        instance = entry.instance
        statistics = entry.statistics
        plugin = instance.plugin if instance is not None else None
        process = plugin.process if isinstance(plugin, LuaPlugin) else None
        jobs = sum(statistics.buckets)
        keys, size = entry.storage.usage() if entry.storage is not None else (0, 0)
        asks = list(instance.manifest.capabilities) if instance is not None else []
        return {
            "name": entry.name,
            "version": plugin.version if plugin is not None else "",
            "kind": "native" if entry.native else "lua",
            "state": entry.state,
            "loaded_at": entry.loaded_at,
            "loaded_by": entry.loaded_by,
            "capabilities": sorted(instance.api.capabilities) if instance is not None else [],
            "asks": asks,
            "http_hosts": list(instance.manifest.http_hosts) if instance is not None else [],
            "denied": instance.api.denied if instance is not None else 0,
            "commands": sorted(instance.api.commands) if instance is not None else [],
            "services": sorted(instance.api.services) if instance is not None else [],
            "listeners": len(instance.api.listeners) if instance is not None else 0,
            "calls": statistics.calls,
            "events": statistics.events,
            "errors": statistics.errors,
            "faults": dict(sorted(statistics.faults.items())),
            "last_fault": entry.last_fault,
            "restarts": statistics.restarts,
            "dropped_lines": statistics.dropped_lines,
            "average_ms": round(1000 * statistics.seconds / jobs, 3) if jobs else 0.0,
            "slowest_ms": round(1000 * statistics.slowest, 3),
            "lua_bytes": process.memory_bytes if process is not None else 0,
            "resident_bytes": resident_bytes(process.pid) if process is not None else 0,
            "pid": process.pid if process is not None and not process.is_dying else None,
            "holds": process.holds if process is not None else [],
            "start_ms": round(1000 * (process.started_s or 0.0), 1) if process is not None else 0.0,
            "storage_keys": keys,
            "storage_bytes": size,
        }

    def infos(self) -> list[dict[str, Any]]:
        """All that is known of every plugin, by name."""
        return [self.info(name) for name in sorted(self.entries)]

    def latency(self, name: str) -> tuple[list[tuple[str, float]], float]:
        """The histogram of a plugin's jobs: cumulative buckets, and the sum of seconds."""
        statistics = self._entry(name).statistics
        names = [*map(str, BUCKETS_S), "+Inf"]
        return list(zip(names, map(float, accumulate(statistics.buckets)), strict=True)), statistics.seconds

    def list_lines(self) -> list[str]:
        """One line for each plugin, and what else could be loaded."""
        lines = [
            f"{info['name']} {info['version'] or '-'}: {info['state']}, {info['calls']} calls, {info['events']} events, "
            f"{sum(info['faults'].values())} faults, {info['lua_bytes'] // 1024} kB of Lua"
            for info in self.infos()
        ]
        others = [name for name in available(self._server.config.plugins.folders) if name not in self.entries]
        lines.append(f"{len(lines)} plugins are loaded" if lines else "No plugin is loaded")
        if others:
            lines.append(f"Not loaded: {', '.join(others[:40])}")
        return lines

    def info_lines(self, name: str) -> list[str]:
        """All that is known of one plugin, in words.  Raises ManagerError."""
        info = self.info(name)
        faults = ", ".join(f"{count} {kind}" for kind, count in info["faults"].items()) or "none"
        missing = [item for item in info["asks"] if item not in info["capabilities"]]
        lines = [
            f"{info['name']} {info['version']} ({info['kind']}): {info['state']}",
            f"loaded at {info['loaded_at']} by {info['loaded_by']}",
            f"capabilities: {', '.join(info['capabilities']) or 'none'}"
            + (f"; asked for and not granted: {', '.join(missing)}" if missing else "")
            + (f"; {info['denied']} calls without" if info["denied"] else ""),
            f"commands: {', '.join(info['commands']) or 'none'}; services: {', '.join(info['services']) or 'none'}; "
            f"listeners: {info['listeners']}",
            f"calls: {info['calls']}, events: {info['events']}, errors: {info['errors']}, restarts: {info['restarts']}",
            f"faults: {faults}" + (f"; the last: {info['last_fault']}" if info["last_fault"] else ""),
            f"latency: {info['average_ms']} ms on average, {info['slowest_ms']} ms at most",
            *([f"asks over HTTP: {', '.join(info['http_hosts'])}"] if info["http_hosts"] else []),
            f"storage: {info['storage_keys']} keys, {info['storage_bytes']} bytes",
        ]
        if info["pid"] is not None:
            lines.append(
                f"process {info['pid']}: {info['lua_bytes'] // 1024} kB of Lua, {info['resident_bytes'] // 1024} kB "
                f"resident, started in {info['start_ms']} ms, confined by {', '.join(info['holds'])}"
            )
        return lines


def _sort(view: EventView) -> tuple[str, bool]:
    return view.event_type, view.hidden


async def _finish(result: Any) -> None:
    if isawaitable(result):
        await result


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else 0


def resident_bytes(pid: int | None) -> int:
    """The resident memory of a process; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
