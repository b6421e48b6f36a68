"""Plugins over HTTP: what PLUGIN LIST and INFO show, and its actions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from slircd.admin.actions import ActionDone, action, record
from slircd.admin.call import Call
from slircd.admin.errors import HTTPError
from slircd.admin.query import Body
from slircd.admin.routes import route
from slircd.commands.extensions import Manager, ManagerError

PluginName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}(?![\s\S])", description="The plugin's name")]


class PluginView(msgspec.Struct, kw_only=True):
    """A plugin that is loaded, or was and has stopped."""

    name: str
    version: str
    kind: str
    """lua or native."""
    state: str
    """loading, running, restarting or stopped."""
    loaded_at: str
    loaded_by: str
    capabilities: list[str]
    """What it asks for and is granted."""
    asks: list[str]
    denied: int
    """Calls without the capability."""
    http_hosts: list[str]
    commands: list[str]
    services: list[str]
    listeners: int
    calls: int
    events: int
    errors: int
    faults: dict[str, int]
    """Faults by kind."""
    last_fault: str
    restarts: int
    dropped_lines: int
    """Lines that it printed and nobody wrote down."""
    average_ms: float
    slowest_ms: float
    lua_bytes: int
    resident_bytes: int
    pid: int | None
    holds: list[str]
    """What confines its process on this system."""
    start_ms: float
    storage_keys: int
    storage_bytes: int


class PluginBody(Body, frozen=True, kw_only=True):
    """Which plugin."""

    name: PluginName


def _manager(call: Call) -> Manager:
    manager = call.server.extensions.manager
    if manager is None:
        raise HTTPError(404, "This server has no plugins")
    return manager


@route("GET", "/admin/plugins", tag="now")
async def plugins(call: Call) -> list[PluginView]:
    """The plugins, by name, with capabilities, calls, faults, latency and memory."""
    manager = call.server.extensions.manager
    return [] if manager is None else [msgspec.convert(info, PluginView) for info in manager.infos()]


@route("GET", "/admin/plugins/<name>", tag="now", problems=(404,))
async def plugin(call: Call, name: str) -> PluginView:
    """One plugin."""
    try:
        return msgspec.convert(_manager(call).info(name), PluginView)
    except ManagerError as error:
        raise HTTPError(404, str(error)) from None


async def _act(call: Call, what: str, name: str, act: Callable[[str, str, str], Awaitable[list[str]]]) -> ActionDone:
    """Write down what was asked, and do it: a plugin's process takes its time, so it cannot be one decision."""
    done = await record(call, what, name, {"name": name}, [])
    try:
        told = await act(name, call.actor, call.known_caller.name)
    except ManagerError as error:
        raise HTTPError(409, str(error)) from None
    await call.server.bus.publish([])
    return msgspec.structs.replace(done, refused=told[1:])


@action("plugin-load")
async def plugin_load(call: Call, body: PluginBody) -> ActionDone:
    """Load a plugin; `refused` says what it asks for and is not granted."""
    return await _act(call, "plugin-load", body.name, _manager(call).load)


@action("plugin-unload")
async def plugin_unload(call: Call, body: PluginBody) -> ActionDone:
    """Unload a plugin; what it keeps stays."""
    return await _act(call, "plugin-unload", body.name, _manager(call).unload)


@action("plugin-reload")
async def plugin_reload(call: Call, body: PluginBody) -> ActionDone:
    """Load a plugin's code again; the old one goes on if that fails."""
    return await _act(call, "plugin-reload", body.name, _manager(call).reload)
