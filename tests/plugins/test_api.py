"""What plugins may do, on a server in memory; native plugins use the same API as those in Lua."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from slircd.commands.extensions import ManagerError
from slircd.events.types import PluginFault, PluginLoad, PluginStore, PluginUnload
from slircd.plugins.api import PluginApi
from slircd.plugins.http import PluginHttp
from slircd.plugins.interface import CallContext, PluginError, PluginRefused
from slircd.rules.capabilities import CAPABILITIES
from slircd.security.outgoing import Answer, OutgoingError
from tests.harness import make_config
from tests.plugins.support import PluginTestCase, Probe, patch_class

ALL = list(CAPABILITIES)


class Commands(PluginTestCase):
    """Commands that plugins add."""

    def begin(self, api: PluginApi) -> None:
        self.calls: list[tuple[str | None, list[str]]] = []

        def hear(ctx: CallContext, args: list[str]) -> None:
            self.calls.append((ctx.channel, args))
            ctx.reply(f"{ctx.nick} {ctx.account} {ctx.is_oper}")

        api.invoke("register_command", ["hear", hear, {"help": "Hears.", "min_args": 1}])
        api.invoke("register_command", ["staff", hear, {"oper": True}])

    def test_unknown_until_loaded(self) -> None:
        """A command is there from the end of on_load to the unload; before and after it is unknown."""
        ann = self.client("ann")
        self.assertEqual(ann.codes("HEAR x"), ["421"])
        self.load("probe", self.begin)
        self.assertEqual(ann.asks("HEAR x"), [":irc.test NOTICE ann :ann None False"])
        self.world.oper("root").sends("PLUGIN UNLOAD probe")
        self.assertTrue(self.probes["probe"].unloaded)
        self.assertEqual(ann.codes("HEAR x"), ["421"])
        load, unload = self.events_of("plugin.load", "plugin.unload")
        assert isinstance(load, PluginLoad)
        assert isinstance(unload, PluginUnload)
        self.assertEqual((load.target, load.version, load.capabilities), ("probe", "1.2", ["send"]))
        self.assertEqual(unload.nick, "root")

    def test_checks_before_the_call(self) -> None:
        """Least arguments and operators-only are the server's to check; the answer of a labelled command has its label."""
        self.load("probe", self.begin)
        ann = self.client("ann", caps="labeled-response batch")
        self.assertEqual(ann.codes("HEAR"), ["461"])
        self.assertEqual(ann.codes("STAFF"), ["481"])
        self.assertEqual(self.calls, [])
        self.assertEqual(ann.asks("@label=7 HEAR x"), ["@label=7 :irc.test NOTICE ann :ann None False"])
        self.assertEqual(ann.asks("HELP HEAR")[-2], ":irc.test 705 ann HEAR :Hears.")
        self.assertIn(" HEAR ", " ".join(ann.asks("HELP")))
        root = self.oper("root")
        self.assertEqual(root.asks("STAFF"), [":irc.test NOTICE root :root None True"])

    def test_which_channel_is_meant(self) -> None:
        """A channel in front that the caller is on; else its only channel; else its nick."""
        self.load("probe", self.begin)
        ann = self.client("ann")
        ann.sends("HEAR x", "JOIN #a", "HEAR x", "HEAR #A y", "JOIN #b", "HEAR x", "HEAR #b x", "HEAR #other x")
        self.assertEqual(
            self.calls,
            [
                ("ann", ["x"]),
                ("#a", ["x"]),
                ("#a", ["y"]),
                ("ann", ["x"]),
                ("#b", ["x"]),
                ("ann", ["#other", "x"]),
            ],
        )

    def test_commands_of_the_server_win(self) -> None:
        """Neither the server's commands nor those of another plugin can be taken."""
        refused = self.load("thief", lambda api: api.invoke("register_command", ["privmsg", print]))
        self.assertIsInstance(refused, ManagerError)
        self.assertIn("is a command of the server", str(refused))
        self.load("probe", self.begin)
        refused = self.load("thief", lambda api: api.invoke("register_command", ["HEAR", print]))
        self.assertIn("is a command of the plugin probe", str(refused))
        [fault, _] = self.events_of("plugin.fault")
        assert isinstance(fault, PluginFault)
        self.assertEqual((fault.target, fault.kind, fault.fatal), ("thief", "load", True))

    def test_a_handler_that_fails(self) -> None:
        """The caller is told, operators are told, it is recorded; the caller stays and so does the plugin."""

        def begin(api: PluginApi) -> None:
            api.invoke("register_command", ["BREAK", lambda ctx, args: 1 // 0])

        root = self.oper("root")
        root.sends("MODE root +s p")
        self.load("probe", begin)
        ann = self.client("ann", caps="standard-replies")
        root.lines()
        self.assertEqual(
            ann.asks("BREAK"),
            [":irc.test FAIL BREAK PLUGIN_FAILED :The plugin probe failed; operators are told"],
        )
        self.assertIn("ZeroDivisionError", root.lines()[0])
        [fault] = self.events_of("plugin.fault")
        assert isinstance(fault, PluginFault)
        self.assertEqual((fault.target, fault.kind, fault.fatal), ("probe", "error", False))

    def test_reload_keeps_the_old_on_failure(self) -> None:
        """Until the new code has loaded the old one serves; if it cannot be loaded, it goes on."""
        self.load("probe", lambda api: api.invoke("register_command", ["V", lambda ctx, args: ctx.reply("one")]))
        ann = self.client("ann")

        def broken(api: PluginApi) -> None:
            api.invoke("register_command", ["V", lambda ctx, args: ctx.reply("broken")])
            raise PluginError("no")

        old = self.probes["probe"]
        refused = self.load("probe", broken, action="reload")
        self.assertIn("the one that runs stays", str(refused))
        self.assertEqual(ann.asks("V"), [":irc.test NOTICE ann :one"])
        self.load(
            "probe",
            lambda api: api.invoke("register_command", ["V", lambda ctx, args: ctx.reply("two")]),
            action="reload",
        )
        self.assertEqual(ann.asks("V"), [":irc.test NOTICE ann :two"])
        self.assertTrue(old.unloaded)


class Speaking(PluginTestCase):
    """Messages, services, and as whom a plugin speaks."""

    grants = {"probe": ALL}

    def setUp(self) -> None:
        super().setUp()
        self.api = self.load("probe")

    def test_messages(self) -> None:
        """A plugin without a pseudo-client speaks as the server; channels hear it whatever +n and +m say."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.sends("MODE #c +m")
        ann.lines(), bob.lines()
        self.assertTrue(self.api.invoke("send_privmsg", ["#C", "hi"]))
        self.assertTrue(self.api.invoke("send_message", ["ann", "you"]))
        self.assertTrue(self.api.invoke("send_notice", ["bob", "me"]))
        self.assertReceives(ann, ":irc.test PRIVMSG #c :hi", ":irc.test PRIVMSG ann :you")
        self.assertReceives(bob, ":irc.test PRIVMSG #c :hi", ":irc.test NOTICE bob :me")

    def test_refusals(self) -> None:
        """Who is not there, who has silenced it, what a channel forbids: refused, not an error."""
        ann, _ = self.on_channel("#c", "@ann", "bob")
        ann.sends("MODE #c +c", "MODE ann +R")
        for target, text in (("nobody", "x"), ("#nowhere", "x"), ("#c", "\x02bold"), ("ann", "x"), ("NickServ", "x")):
            with pytest.raises(PluginRefused):
                self.api.invoke("send_privmsg", [target, text])

    def test_nothing_can_be_smuggled_in(self) -> None:
        """CR, LF and NUL are refused in whatever a plugin sends, and in names."""
        self.on_channel("#c", "@ann")
        for name, arguments in (
            ("send_privmsg", ["ann", "x\r\nQUIT"]),
            ("send_notice", ["ann", "x\0"]),
            ("send_privmsg", ["ann\r\nKILL x", "x"]),
            ("kick_user", ["#c", "ann", "a\nb"]),
            ("set_topic", ["#c", "a\r\nb"]),
            ("set_modes", ["#c", "+k a\r\nb"]),
            ("add_ban", ["#c", "a\n!*@*"]),
            ("register_command", ["A\r\nB", print]),
            ("register_service", ["A\r\nB", print]),
        ):
            with pytest.raises(PluginError):
                self.api.invoke(name, arguments)

    def test_wrong_arguments(self) -> None:
        """Wrong types and numbers of arguments are errors that say which."""
        for name, arguments, text in (
            ("send_privmsg", ["ann"], r"argument 2 \(text\) must be a string, not nil"),
            ("send_privmsg", [1, "x"], r"argument 1 \(target\) must be a string, not number"),
            ("send_privmsg", [["a"], "x"], "not table"),
            ("send_privmsg", ["a", "b", "c", "d"], "4 arguments, at most 3"),
            ("after", [True, print], r"argument 1 \(seconds\) must be a number, not boolean"),
            ("after", [1, "x"], r"argument 2 \(handler\) must be a fun, not string"),
            ("register_event_listener", ["user.conect", print], "did you mean user.connect"),
            ("os_execute", ["ls"], "does not exist"),
            ("invoke", ["x", []], "does not exist"),
        ):
            with pytest.raises(PluginError, match=text):
                self.api.invoke(name, arguments)

    def test_services(self) -> None:
        """A service is a user that people message; what they say reaches it alone, and it answers."""
        heard: list[str] = []

        def serve(ctx: CallContext, text: str) -> None:
            heard.append(text)
            ctx.reply(f"{ctx.nick} said {text}")

        api = self.load("bot", lambda api: api.invoke("register_service", ["Helper", serve]))
        ann = self.client("ann", caps="echo-message")
        self.assertEqual(ann.asks("PRIVMSG helper :secret"), [":Helper!Helper@services NOTICE ann :ann said secret"])
        self.assertEqual(heard, ["secret"])
        self.assertIn("311", ann.codes("WHOIS Helper"))
        self.assertEqual(ann.asks("LUSERS")[0], ":irc.test 251 ann :There are 0 users and 1 invisible on 1 servers")
        self.assertEqual(ann.codes("NICK Helper"), ["433"])
        with pytest.raises(PluginError):
            self.api.invoke("register_service", ["HELPER", serve])
        with pytest.raises(PluginRefused):
            self.api.invoke("register_service", ["NickServ", serve])
        with pytest.raises(PluginRefused):
            self.api.invoke("register_service", ["ann", serve])
        self.oper("root").sends("PLUGIN UNLOAD bot")
        self.assertIsNone(self.world.state.user_by_nick("helper"))
        self.assertEqual(api.services, {})

    def test_a_pseudo_client_of_its_own(self) -> None:
        """With send_as = "client" it speaks and acts under its own name, which is free again when it is unloaded."""
        self.world.server.use_config(make_config({"plugins": {"grants": {"bot": ["send", "topics"]}}}))
        [ann] = self.on_channel("#c", "@ann")
        with patch_class(Probe, "send_as", "client"):
            api = self.load("bot", lambda api: api.invoke("register_command", ["HI", print]))
        api.invoke("send_privmsg", ["ann", "hello"])
        api.invoke("set_topic", ["#c", "mine"])
        self.assertReceives(ann, ":bot!bot@services PRIVMSG ann :hello", ":bot!bot@services TOPIC #c :mine")
        self.assertEqual(
            ann.asks("PRIVMSG bot :what are you?"),
            [":bot!bot@services NOTICE ann :Plugin bot", ":bot!bot@services NOTICE ann :Commands: HI"],
        )
        self.assertEqual(self.events_of("channel.topic_change")[0].actor_uid, "plugin:bot")
        self.oper("root").sends("PLUGIN UNLOAD bot")
        self.assertEqual(ann.codes("NICK bot"), ["NICK"])
        with patch_class(Probe, "send_as", "client"):
            refused = self.load("bot")
        self.assertIn("the nick bot is in use", str(refused))

    def test_services_end_with_a_crash(self) -> None:
        """A service that a crash left in the log is ended at the next start."""
        from slircd.plugins.manager import PluginManager

        self.load("bot", lambda api: api.invoke("register_service", ["Helper", print]))
        world = self.world.restart(crash=True)
        self.assertIsNotNone(world.state.user_by_nick("helper"))
        PluginManager(world.server).startService()
        world.turn()
        self.assertIsNone(world.state.user_by_nick("helper"))


class Acting(PluginTestCase):
    """Kicks, modes, bans, topics: by the rules, recorded with the plugin as the actor."""

    grants = {"probe": ALL}

    def setUp(self) -> None:
        super().setUp()
        self.heard: list[dict[str, Any]] = []
        self.api = self.load(
            "probe", lambda api: api.invoke("register_event_listener", ["channel.*", self.heard.append])
        )
        self.ann, self.bob = self.on_channel("#c", "@ann", "bob")
        self.settle()
        self.heard.clear()

    def test_acts(self) -> None:
        """What it does is done, seen and recorded; it does not hear of it itself."""
        results = [
            self.api.invoke("set_topic", ["#c", "new"]),
            self.api.invoke("set_modes", ["#c", "+mv bob"]),
            self.api.invoke("add_ban", ["#c", "x!*@*"]),
            self.api.invoke("remove_ban", ["#c", "x!*@*"]),
            self.api.invoke("kick_user", ["#c", "bob", "why"]),
        ]
        for result in results:
            self.assertIs(self.successResultOf(result), True)
        self.assertReceives(
            self.ann,
            ":irc.test TOPIC #c :new",
            ":irc.test MODE #c +mv bob",
            ":irc.test MODE #c +b x!*@*",
            ":irc.test MODE #c -b x!*@*",
            ":irc.test KICK #c bob :why",
        )
        caused = [event for event in self.world.events() if event.actor_uid == "plugin:probe"]
        self.assertEqual(
            [event.event_type for event in caused if not event.event_type.startswith("plugin.")],
            [
                "channel.topic_change",
                "channel.mode_change",
                "channel.ban_add",
                "channel.ban_remove",
                "channel.kick",
            ],
        )
        self.settle()
        self.assertEqual(self.heard, [])
        self.ann.sends("TOPIC #c :mine")
        self.settle()
        self.assertEqual(
            [(event["type"], event["nick"], event["topic"]) for event in self.heard],
            [("channel.topic_change", "ann", "mine")],
        )

    def successResultOf(self, done: Any) -> Any:
        results: list[Any] = []
        done.addBoth(results.append)
        self.assertEqual(len(results), 1)
        return results[0]

    def test_consequences_are_its_own(self) -> None:
        """A kick of the last member ends the channel: the plugin caused that, too."""
        self.bob.sends("PART #c")
        self.settle()
        self.heard.clear()
        self.successResultOf(self.api.invoke("kick_user", ["#c", "ann"]))
        self.assertEqual(self.types_after(lambda: None), [])
        self.assertNotIn("#c", self.world.state.channels)
        self.settle()
        self.assertEqual(self.heard, [])

    def test_refusals(self) -> None:
        """Services are not kicked, operators' modes not given, nobody invented."""
        for name, arguments in (
            ("kick_user", ["#c", "nobody"]),
            ("kick_user", ["#c", "NickServ"]),
            ("set_modes", ["#c", "+O"]),
            ("set_modes", ["#c", "+o nobody"]),
            ("set_topic", ["#nowhere", "x"]),
            ("add_ban", ["#c", "~x:y"]),
        ):
            with pytest.raises(PluginRefused):
                self.api.invoke(name, arguments)
        with pytest.raises(PluginError):
            self.api.invoke("set_modes", ["#c", "+b x!*@*"])
        with pytest.raises(PluginError):
            self.api.invoke("add_ban", ["#c", "x", "q"])

    def test_a_log_that_cannot_be_written(self) -> None:
        """While the log cannot be written, acts are refused like anybody's."""
        self.world.store.fail("disk full")
        failure = self.successResultOf(self.api.invoke("kick_user", ["#c", "bob"]))
        self.assertIsInstance(failure.value, PluginRefused)
        self.world.store.recover()


class Capabilities(PluginTestCase):
    """Without the capability nothing is done, and nothing shown."""

    grants = {"some": ["send", "messages"], "blind": []}

    def test_denied(self) -> None:
        """Each call names what it lacks, and is counted; a rehash that grants it is in force at once."""
        self.on_channel("#c", "@ann")
        api = self.load("some")
        for name, arguments, capability in (
            ("kick_user", ["#c", "ann"], "kick"),
            ("set_topic", ["#c", "x"], "topics"),
            ("set_modes", ["#c", "+m"], "modes"),
            ("add_ban", ["#c", "x!*@*"], "bans"),
            ("get_account", ["ann"], "accounts"),
            ("storage_set", ["a", 1], "storage"),
        ):
            with pytest.raises(PluginError, match=f'needs the capability "{capability}"'):
                api.invoke(name, arguments)
        self.assertEqual(api.denied, 6)
        self.assertIn("6 calls without", " ".join(self.manager.info_lines("some")))
        self.world.server.use_config(make_config({"plugins": {"grants": {"some": ["topics"]}}}))
        api.invoke("set_topic", ["#c", "x"])
        with pytest.raises(PluginError):
            api.invoke("send_notice", ["ann", "x"])

    def test_what_is_shown(self) -> None:
        """Secret channels, real hosts, keys and operators' doings are hidden from who may not see them."""
        heard: list[dict[str, Any]] = []
        api = self.load("blind", lambda api: api.invoke("register_event_listener", ["*", heard.append]))
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.sends("MODE #c +k sesame", "PRIVMSG #c :not for you", "NS REGISTER password1")
        self.settle()
        key = next(event for event in heard if event["type"] == "channel.mode_change" and event["nick"] == "ann")
        self.assertEqual(key["changes"], [{"sign": "+", "mode": "k", "param": "*"}])
        self.assertEqual(api.invoke("get_channel", ["#c"])["params"], {"k": "*"})
        self.assertFalse({"sesame", "password1"} & set(str(heard).replace("'", " ").split()))
        self.assertNotIn("real_host", str(heard))
        self.assertNotIn("ip", api.invoke("get_user", ["ann"]))
        types = {event["type"] for event in heard}
        self.assertFalse({kind for kind in types if kind.split(".")[0] in ("message", "services", "oper")}, types)
        ann.sends("MODE #c +s")
        self.settle()
        heard.clear()
        ann.sends("TOPIC #c :x", "PART #c", "JOIN #hidden", "MODE #hidden +p")
        bob.sends("PART #c", "QUIT :bye")
        self.settle()
        self.assertEqual([event["type"] for event in heard if event["target"] == "#c"], [])
        self.assertIsNone(api.invoke("get_channel", ["#c"]))
        self.assertEqual(api.invoke("get_user", ["ann"])["channels"], [])
        self.assertEqual(api.invoke("list_channels", []), {"channels": []})
        with pytest.raises(PluginError):
            api.invoke("send_privmsg", ["#hidden", "x"])

    def test_what_is_said_where_it_is_kept(self) -> None:
        """Where messages are kept they are events, and plugins are told of them once; what a plugin says is kept, too."""
        self.world.server.use_config(
            make_config({"history": {"channels": True}, "plugins": {"grants": dict(self.grants)}})
        )
        heard: list[dict[str, Any]] = []
        api = self.load("some", lambda api: api.invoke("register_event_listener", ["message.*", heard.append]))
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.sends("PRIVMSG #c :hello", "PRIVMSG bob :private")
        self.settle()
        self.assertEqual(
            [(event["nick"], event["channel"], event["text"]) for event in heard], [("ann", "#c", "hello")]
        )
        bob.lines()
        api.invoke("send_privmsg", ["#c", "I heard"])
        self.assertReceives(bob, ":irc.test PRIVMSG #c :I heard")
        [_, said] = [event for event in self.events_of("message.privmsg") if event.target == "#c"]
        self.assertEqual(said.actor_uid, "plugin:some")
        self.settle()
        self.assertEqual(len(heard), 1)

    def test_what_is_said(self) -> None:
        """What is said on channels is told to who has the capability, also though nothing logs it; private messages never."""
        heard: list[dict[str, Any]] = []
        self.load("some", lambda api: api.invoke("register_event_listener", ["message.*", heard.append]))
        ann, _ = self.on_channel("#c", "@ann", "bob")
        ann.sends("PRIVMSG #c :hello", "NOTICE #c :note", "PRIVMSG bob :private", "PRIVMSG NickServ :IDENTIFY secret")
        self.settle()
        self.assertEqual(
            [(event["type"], event["nick"], event["channel"], event["text"], event["prefixes"]) for event in heard],
            [("message.privmsg", "ann", "#c", "hello", "o"), ("message.notice", "ann", "#c", "note", "o")],
        )
        self.assertIsNotNone(self.world.server.extensions.feed)
        self.oper("root").sends("PLUGIN UNLOAD some")
        self.assertIsNone(self.world.server.extensions.feed)


class Snapshots(PluginTestCase):
    """What get_user and the others give."""

    grants = {"probe": ALL}

    def test_snapshots(self) -> None:
        """Users, channels, accounts and pages of channels, as plain values."""
        api = self.load("probe")
        ann, _ = self.on_channel("#c", "@ann", "bob")
        ann.sends("TOPIC #c :t", "NS REGISTER password1", "AWAY :gone")
        user = api.invoke("get_user", ["ANN"])
        self.assertEqual(
            (user["nick"], user["account"], user["away"], user["channels"]), ("ann", "ann", "gone", ["#c"])
        )
        self.assertEqual(user["ip"], "192.0.2.1")
        channel = api.invoke("get_channel", ["#C"])
        self.assertEqual((channel["name"], channel["topic"]["text"], channel["modes"]), ("#c", "t", "nt"))
        self.assertEqual([(each["nick"], each["prefixes"]) for each in channel["members"]], [("ann", "o"), ("bob", "")])
        self.assertEqual(
            api.invoke("list_channels", ["#*"]), {"channels": [{"name": "#c", "member_count": 2, "topic": "t"}]}
        )
        self.assertEqual(api.invoke("get_account", ["Ann"])["nicks"], ["ann"])
        self.assertIsNone(api.invoke("get_user", ["nobody"]))


class Keeping(PluginTestCase):
    """Storage: in the log, coalesced, limited."""

    grants = {"probe": ALL}
    config = {"plugins": {"limits": {"storage_keys": 5, "storage_bytes": 10_000, "storage_writes_per_s": 4}}}

    def stored(self) -> list[tuple[dict[str, str], list[str]]]:
        return [
            (event.values, event.removed) for event in self.events_of("plugin.store") if isinstance(event, PluginStore)
        ]

    def test_coalesced(self) -> None:
        """Reads see a write at once; the log gets the newest value of each key, and only so many keys a second."""
        api = self.load("probe")
        for number in range(50):
            api.invoke("storage_set", ["count", number])
        api.invoke("storage_set", ["b", {"list": [1, 2.5, None], "text": "\u00e9"}])
        api.invoke("storage_set", ["c", True])
        self.assertEqual(api.invoke("storage_get", ["count"]), 49)
        self.assertEqual(api.invoke("storage_keys", []), ["b", "c", "count"])
        self.assertEqual(self.stored(), [])
        self.world.clock.advance(0.5)
        self.assertEqual(self.stored(), [({"count": "49", "b": '{"list":[1,2.5,null],"text":"\u00e9"}'}, [])])
        self.world.clock.advance(0.5)
        self.assertEqual(self.stored()[1:], [({"c": "true"}, [])])
        self.assertTrue(api.invoke("storage_delete", ["c"]))
        self.assertFalse(api.invoke("storage_delete", ["c"]))
        self.assertIsNone(api.invoke("storage_get", ["c"]))
        self.oper("root").sends("PLUGIN UNLOAD probe")
        self.assertEqual(self.stored()[2:], [({}, ["c"])])
        self.assertEqual(self.world.state.storage["probe"].keys(), {"count", "b"})
        self.assertEqual({event.actor_uid for event in self.events_of("plugin.store")}, {"plugin:probe"})
        world = self.world.restart()
        self.assertEqual(world.state.storage["probe"]["count"], "49")

    def test_quota(self) -> None:
        """Keys, bytes, and the size of one value."""
        api = self.load("probe")
        for number in range(5):
            api.invoke("storage_set", [f"key{number}", "x"])
        with pytest.raises(PluginRefused, match="5 keys"):
            api.invoke("storage_set", ["one more", "x"])
        api.invoke("storage_set", ["key1", "y" * 4000])
        api.invoke("storage_set", ["key2", "y" * 4000])
        with pytest.raises(PluginRefused, match="10000 bytes"):
            api.invoke("storage_set", ["key3", "y" * 4000])
        for key, value in (("", 1), ("x" * 129, 1), ("a\0", 1), ("key1", "z" * 5000)):
            with pytest.raises(PluginError):
                api.invoke("storage_set", [key, value])
        api.invoke("storage_delete", ["key1"])
        api.invoke("storage_set", ["key3", "y" * 4000])

    def test_a_log_that_cannot_be_written(self) -> None:
        """What cannot be written waits, and is written when the log is back."""
        api = self.load("probe")
        self.world.store.fail("disk full")
        api.invoke("storage_set", ["a", 1])
        self.world.clock.advance(0.5)
        api.invoke("storage_set", ["b", 2])
        self.assertEqual(api.invoke("storage_get", ["a"]), 1)
        self.world.store.recover()
        self.world.clock.advance(5)
        self.assertEqual(self.world.state.storage["probe"], {"a": "1", "b": "2"})

    def test_each_plugin_has_its_own(self) -> None:
        """No plugin sees what another keeps, nor hears of it."""
        heard: list[dict[str, Any]] = []
        api = self.load("probe")
        api.invoke("storage_set", ["a", 1])
        self.world.server.use_config(make_config({"plugins": {"grants": {"probe": ALL, "other": ALL}}}))
        other = self.load("other", lambda api: api.invoke("register_event_listener", ["*", heard.append]))
        self.assertIsNone(other.invoke("storage_get", ["a"]))
        self.world.clock.advance(0.5)
        self.assertNotIn("plugin.store", [event["type"] for event in heard])


class FakeOutgoing:
    """A guarded client that answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.waiting: list[Deferred[Any]] = []

    def request(self, method: str, url: str, **options: Any) -> Deferred[Any]:
        self.asked.append((method, url, options))
        self.waiting.append(Deferred())
        return self.waiting[-1]


class Http(PluginTestCase):
    """Outgoing HTTP."""

    grants = {"probe": ALL}
    config = {"plugins": {"limits": {"http_per_minute": 6}}}

    def setUp(self) -> None:
        super().setUp()
        self.outgoing = FakeOutgoing()
        self.api = self.load("probe")
        client: Any = self.outgoing
        self.api._http = PluginHttp(client, ["api.example.org", "localhost:8000"], 6, self.world.clock.seconds)
        self.answers: list[tuple[Any, Any]] = []

    def ask(self, **options: Any) -> None:
        self.api.invoke("http_request", [options, lambda answer, problem: self.answers.append((answer, problem))])

    def test_answers(self) -> None:
        """The handler gets the answer, or why there is none."""
        self.ask(url="https://api.example.org/x", method="post", body="{}", headers={"accept": "text/plain"})
        self.ask(url="http://localhost:8000/")
        self.assertEqual(
            next((method, url) for method, url, _ in self.outgoing.asked), ("POST", "https://api.example.org/x")
        )
        self.outgoing.waiting[0].callback(Answer(200, {"Content-Type": "text/plain"}, b"\xff ok"))
        self.outgoing.waiting[1].errback(OutgoingError("nobody there"))
        self.assertEqual(
            self.answers,
            [
                ({"status": 200, "headers": {"content-type": "text/plain"}, "body": "\ufffd ok"}, None),
                (None, "nobody there"),
            ],
        )

    def test_only_where_it_may(self) -> None:
        """Other hosts, ports, schemes and log-ins, and headers that belong to the connection, are errors."""
        for options in (
            {},
            {"url": "https://other.example.org/"},
            {"url": "https://api.example.org:8443/"},
            {"url": "http://localhost/"},
            {"url": "ftp://api.example.org/"},
            {"url": "file:///etc/passwd"},
            {"url": "https://ann:pass@api.example.org/"},
            {"url": "https://api.example.org@evil.example/"},
            {"url": "https://api.example.org/ x"},
            {"url": "https://[::1"},
            {"url": "https://api.example.org/", "method": "CONNECT"},
            {"url": "https://api.example.org/", "headers": {"Host": "x"}},
            {"url": "https://api.example.org/", "headers": {"X": "a\r\nb"}},
            {"url": "https://api.example.org/", "timeout_s": 3600},
            {"url": "https://api.example.org/", "follow": True},
        ):
            with pytest.raises(PluginError):
                self.api.invoke("http_request", [options, print])
        self.assertEqual(self.outgoing.asked, [])

    def test_not_too_many(self) -> None:
        """A few at one time, and so many a minute."""
        for _ in range(4):
            self.ask(url="https://api.example.org/")
        with pytest.raises(PluginRefused, match="under way"):
            self.ask(url="https://api.example.org/")
        for waiting in self.outgoing.waiting:
            waiting.callback(Answer(204, {}, b""))
        self.ask(url="https://api.example.org/")
        self.ask(url="https://api.example.org/")
        with pytest.raises(PluginRefused, match="6 requests per minute"):
            self.ask(url="https://api.example.org/")
        self.world.clock.advance(61)
        self.ask(url="https://api.example.org/")


class Timers(PluginTestCase):
    """Timers."""

    def test_timers(self) -> None:
        """Once, repeatedly, until they are cancelled or the plugin is unloaded; never too short."""
        ticks: list[str] = []
        api = self.load("probe")
        api.invoke("after", [5, lambda: ticks.append("once")])
        number = api.invoke("every", [2, lambda: ticks.append("tick")])
        for _ in range(7):
            self.world.clock.advance(1)
        self.assertEqual(ticks, ["tick", "tick", "once", "tick"])
        self.assertTrue(api.invoke("cancel", [number]))
        self.assertFalse(api.invoke("cancel", [number]))
        api.invoke("every", [1, lambda: ticks.append("late")])
        self.oper("root").sends("PLUGIN UNLOAD probe")
        self.world.clock.advance(10)
        self.assertEqual(len(ticks), 4)
        api = self.load("probe")
        for seconds in (0, 0.01, -1, float("nan"), float("inf")):
            with pytest.raises(PluginError):
                api.invoke("after", [seconds, print])

    def test_calls_are_limited(self) -> None:
        """Four thousand calls at once, a thousand a second: what is beyond is an error."""
        api = self.load("probe")
        for _ in range(4000):
            api.invoke("get_user", ["x"])
        with pytest.raises(PluginError, match="more than 1000 calls per second"):
            api.invoke("get_user", ["x"])
        self.world.clock.advance(1)
        api.invoke("get_user", ["x"])


class TheCommand(PluginTestCase):
    """PLUGIN."""

    def test_privilege_and_mistakes(self) -> None:
        """Only operators with the privilege; mistakes are answered in words."""
        ann, root = self.client("ann"), self.oper("root", caps="standard-replies")
        self.assertEqual(ann.codes("PLUGIN LIST"), ["481"])
        self.assertIn("No plugin is loaded", root.asks("PLUGIN list")[0])
        for line, code in (
            ("PLUGIN FROB x", "UNKNOWN_ACTION"),
            ("PLUGIN LOAD", "NEED_MORE_PARAMS"),
            ("PLUGIN INFO nope", "CANNOT_INFO"),
            ("PLUGIN UNLOAD nope", "CANNOT_UNLOAD"),
            ("PLUGIN LOAD ../../etc", "CANNOT_LOAD"),
            ("PLUGIN LOAD nowhere", "CANNOT_LOAD"),
        ):
            [answer] = root.asks(line)
            self.assertTrue(answer.startswith(f":irc.test FAIL PLUGIN {code}"), answer)
        self.load("probe")
        [answer] = root.asks("PLUGIN LOAD probe")
        self.assertIn("loaded already", answer)
        self.assertIn("probe 1.2: running", root.asks("PLUGIN LIST")[0])
