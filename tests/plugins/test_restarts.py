"""Faults, restarts and giving up, with children that run here and time that is the test's."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.error import ProcessTerminated
from twisted.python.failure import Failure

from slircd.commands.extensions import ManagerError
from slircd.events.types import PluginFault, PluginUnload
from slircd.plugins import native
from slircd.plugins.interface import Plugin, PluginFailed
from slircd.plugins.manager import PluginManager
from slircd.plugins.tester import InlineProcess
from tests.harness import FakeClient, ServerTestCase, make_config

PLUGIN = """
local p = { version = "%s" }
function p.on_load(api)
  api.register_command("HI", function(ctx) ctx.reply("hi %s") end)
  api.register_command("BREAK", function() error("broken") end)
  api.register_service("Bot", function(ctx, text) ctx.reply(text) end)
  api.every(1, function() print("tick") end)
  api.register_event_listener("user.away", function(event) api.send_notice(event.nick, "away %s") end)
end
return p
"""


class MortalProcess(InlineProcess):
    """A child that dies when it is killed."""

    def kill(self, why: PluginFailed) -> None:
        super().kill(why)
        if not self._gone:
            self.processEnded(Failure(ProcessTerminated(signal=9)))


class Restarts(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.world.server.use_config(
            make_config({"plugins": {"folders": [folder.name], "limits": {"restarts": 2, "restart_window_s": 100}}})
        )
        self.manager = PluginManager(self.world.server, process=MortalProcess)
        self.manager.startService()
        self.write("1")
        self.root = self.oper("root")
        self.root.sends("MODE root +s p", "PLUGIN LOAD bot")
        self.settle()
        self.root.lines()

    def write(self, version: str, code: str = PLUGIN) -> None:
        (self.folder / "bot").mkdir(exist_ok=True)
        (self.folder / "bot" / "init.lua").write_text(code.replace("%s", version))

    def settle(self, seconds: float = 0.2) -> None:
        for _ in range(10):
            self.world.clock.advance(seconds / 10)

    def process(self) -> Any:
        instance = self.manager.entries["bot"].instance
        assert instance is not None
        return instance.plugin.process  # type: ignore[attr-defined]

    def dies(self, kind: str = "timeout") -> None:
        self.process().kill(PluginFailed(kind, "it hangs", fatal=True))
        self.settle(0.01)

    def test_restart(self) -> None:
        """A dead plugin is unavailable for a moment, then there again with the code that it had; its service stays."""
        ann: FakeClient = self.client("ann", caps="standard-replies")
        self.write("2")
        self.dies()
        self.assertEqual(
            ann.asks("HI"),
            [":irc.test FAIL HI TEMPORARILY_UNAVAILABLE :The plugin bot is being restarted"],
        )
        self.assertIn("311", ann.codes("WHOIS Bot"))
        self.settle(1.5)
        self.assertEqual(ann.asks("HI"), [":irc.test NOTICE ann :hi 1"])
        self.assertEqual(ann.asks("PRIVMSG Bot :echo"), [":Bot!Bot@services NOTICE ann :echo"])
        ann.sends("AWAY :x")
        self.settle()
        self.assertIn(":irc.test NOTICE ann :away 1", ann.lines())
        told = self.root.lines()
        self.assertIn(":irc.test NOTICE root :*** The plugin bot failed (timeout): it hangs", told)
        self.assertIn(":irc.test NOTICE root :*** The plugin bot is running again", told)
        [fault] = self.events_of("plugin.fault")
        assert isinstance(fault, PluginFault)
        self.assertEqual((fault.actor_uid, fault.kind, fault.fatal), ("plugin:bot", "timeout", True))
        self.assertIn("restarts: 1", " ".join(self.manager.info_lines("bot")))

    def test_pauses_double_and_it_gives_up(self) -> None:
        """After 1 and 2 seconds it is started again; the third fault within the window is the last."""
        for pause in (1.0, 2.0):
            self.dies()
            self.settle(pause - 0.1)
            self.assertEqual(self.manager.entries["bot"].state, "restarting")
            self.settle(0.3)
            self.assertEqual(self.manager.entries["bot"].state, "running")
        self.root.lines()
        self.dies()
        self.assertEqual(self.manager.entries["bot"].state, "stopped")
        [unload] = self.events_of("plugin.unload")
        assert isinstance(unload, PluginUnload)
        self.assertIn("3 faults within 100 s, it stays down", unload.reason)
        self.assertIn("it stays down", " ".join(self.root.lines()))
        self.assertEqual(self.root.codes("HI"), ["421"])
        self.assertIsNone(self.world.state.user_by_nick("Bot"))
        self.settle(60)
        self.assertEqual(self.manager.entries["bot"].state, "stopped")
        self.root.sends("PLUGIN LOAD bot")
        self.settle()
        self.assertEqual(self.manager.entries["bot"].state, "running")
        self.assertIn(":irc.test NOTICE root :hi 1", self.root.asks("HI"))

    def test_faults_long_ago_do_not_count(self) -> None:
        """The window moves on."""
        for _ in range(5):
            self.dies()
            self.settle(101)
            self.assertEqual(self.manager.entries["bot"].state, "running")

    def test_unload_while_it_is_down(self) -> None:
        """An unload ends the wait for a restart."""
        self.dies()
        self.root.sends("PLUGIN UNLOAD bot")
        self.settle(5)
        self.assertNotIn("bot", self.manager.entries)
        self.assertEqual(self.root.codes("HI"), ["421"])

    def test_errors_are_recorded_once_a_minute(self) -> None:
        """The same error is one event a minute, with how often it came; too many of them are a fault of their own."""
        for _ in range(50):
            self.root.sends("BREAK")
        self.assertEqual(len(self.events_of("plugin.fault")), 1)
        self.settle(61)
        self.root.sends("BREAK")
        [_, again] = self.events_of("plugin.fault")
        assert isinstance(again, PluginFault)
        self.assertEqual((again.kind, again.fatal, again.repeated), ("error", False, 49))
        for _ in range(250):
            self.root.sends("BREAK")
        self.assertEqual(self.manager.entries["bot"].statistics.faults["error"], 50 + 1 + 200)
        self.assertEqual(self.manager.entries["bot"].state, "restarting")

    def test_reload(self) -> None:
        """The new code takes over; one that fails does not, and its process is gone."""
        self.write("2")
        self.root.sends("PLUGIN RELOAD bot")
        self.settle()
        self.assertIn(":irc.test NOTICE root :hi 2", self.root.asks("HI"))
        for broken in ("return {", "return { on_load = function() error('no') end }", "error({})"):
            self.write("3", broken)
            self.root.sends("PLUGIN RELOAD bot")
            self.settle()
            self.assertIn("the one that runs stays", " ".join(self.root.lines()))
            self.assertEqual(self.root.asks("HI")[-1], ":irc.test NOTICE root :hi 2")
        self.assertEqual(self.manager.entries["bot"].state, "running")

    def test_stop(self) -> None:
        """When the server stops, plugins are unloaded and their services leave, in the log."""
        results: list[Any] = []
        self.manager.stopService().addBoth(results.append)
        self.settle()
        self.assertEqual(results, [None])
        self.assertEqual(self.manager.entries, {})
        [unload] = self.events_of("plugin.unload")
        assert isinstance(unload, PluginUnload)
        self.assertEqual(unload.reason, "the server stops")


class Hello(Plugin):
    """A native plugin as a distribution has it."""

    version = "3"

    def on_load(self, api: Any) -> None:
        api.register_command("HELLO", lambda ctx, args: ctx.reply("hello"))


class NotAPlugin:
    """Something else."""


class Native(ServerTestCase):
    """Native plugins: entry points that the configuration names, and no others."""

    def setUp(self) -> None:
        super().setUp()
        here = __name__
        points = [
            EntryPoint("hello", f"{here}:Hello", native.GROUP),
            EntryPoint("other", f"{here}:NotAPlugin", native.GROUP),
            EntryPoint("broken", "no.such.module:X", native.GROUP),
        ]
        before = native.entry_points
        native.entry_points = lambda group, name: [each for each in points if each.name == name]  # type: ignore[attr-defined, assignment]
        self.addCleanup(setattr, native, "entry_points", before)
        self.manager = PluginManager(self.world.server)
        self.manager.startService()

    def load(self, name: str, *allowed: str) -> Any:
        self.world.server.use_config(make_config({"plugins": {"native": list(allowed), "folders": []}}))
        results: list[Any] = []
        ensureDeferred(self.manager.load(name, "server", "")).addBoth(results.append)
        self.world.turn()
        return results[0]

    def test_off_by_default(self) -> None:
        """Without the configuration's word there is no such plugin."""
        refused = self.load("hello").value
        assert isinstance(refused, ManagerError)
        self.assertIn("there is no hello/init.lua", str(refused))

    def test_named(self) -> None:
        """With it, it is loaded like any other."""
        self.assertEqual(self.load("hello", "hello")[0], "hello 3 is loaded")
        self.assertEqual(self.client("ann").asks("HELLO"), [":irc.test NOTICE ann :hello"])
        self.assertEqual(self.manager.info("hello")["kind"], "native")

    def test_mistakes(self) -> None:
        """What is no plugin, cannot be imported, or is not installed, is said."""
        for name, text in (
            ("other", "is no slircd.plugins.interface.Plugin"),
            ("broken", "cannot be imported: ModuleNotFoundError"),
            ("missing", "no installed package has it"),
        ):
            failure = self.load(name, name)
            with pytest.raises(ManagerError, match=text):
                failure.raiseException()
