"""Plugins for tests: native ones, which run on the in-memory server, and what they hear and say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, ensureDeferred

from slircd.plugins.api import PluginApi
from slircd.plugins.interface import Plugin
from slircd.plugins.manager import GATHER_S, PluginManager
from slircd.rules.capabilities import CAPABILITIES
from tests.harness import ServerTestCase


class Probe(Plugin):
    """A native plugin whose on_load is a function of the test."""

    version = "1.2"
    capabilities: ClassVar[tuple[str, ...]] = tuple(CAPABILITIES)

    def __init__(self, name: str, begin: Callable[[PluginApi], Any]) -> None:
        self.name = name
        self.begin = begin
        self.unloaded = False

    def on_load(self, api: PluginApi) -> Any:
        return self.begin(api)

    def on_unload(self) -> None:
        self.unloaded = True


@contextmanager
def patch_class(cls: type, name: str, value: object) -> Iterator[None]:
    """Give a class of the tests another attribute for a while."""
    before = getattr(cls, name)
    setattr(cls, name, value)
    try:
        yield
    finally:
        setattr(cls, name, before)


class PluginTestCase(ServerTestCase):
    """A server in memory with a plugin manager; `probes` are the native plugins that can be loaded."""

    grants: Mapping[str, list[str]] = {}

    def setUp(self) -> None:
        self.config = {**self.config, "plugins": {"grants": dict(self.grants), **self.config.get("plugins", {})}}
        super().setUp()
        self.probes: dict[str, Probe] = {}
        self.manager = PluginManager(self.world.server, native=lambda name, _: self.probes.get(name))
        self.manager.startService()

    def settle(self) -> None:
        """Let events reach the plugins."""
        self.world.clock.advance(GATHER_S)

    def load(self, name: str, begin: Callable[[PluginApi], Any] = lambda api: None, *, action: str = "load") -> Any:
        """Load a native plugin with this on_load; its api, or the failure's exception."""
        self.probes[name] = Probe(name, begin)
        done: Deferred[Any] = ensureDeferred(getattr(self.manager, action)(name, "server", ""))
        results: list[Any] = []
        done.addBoth(results.append)
        self.world.turn()
        assert results, f"{action} of {name} did not finish"
        if not isinstance(results[0], list):
            return results[0].value
        instance = self.manager.entries[name].instance
        assert instance is not None
        return instance.api
