"""Metadata (IRCv3 draft/metadata-2 and its revision draft/metadata-3)."""

from slircd.events.types import MetadataSet
from slircd.wire.message import Message, parse
from tests.harness import FakeClient, ServerTestCase, make_config

CAPS = "batch draft/metadata-3"
OLD = "batch draft/metadata-2"


class MetadataTestCase(ServerTestCase):
    def answer(self, client: FakeClient, line: str) -> list[list[str]]:
        """Command and parameters of what is answered."""
        return [[message.command, *message.params] for message in self.messages(client, line)]

    def messages(self, client: FakeClient, *lines: str) -> list[Message]:
        return [parse(line.encode()) for line in client.asks(*lines)]

    def batched(self, client: FakeClient, line: str) -> list[list[str]]:
        """What is in the one batch that is answered; its parameter is checked to be the target."""
        first, *inside, last = self.messages(client, line)
        reference = first.params[0][1:]
        self.assertEqual((first.command, first.params[1]), ("BATCH", "metadata"))
        self.assertEqual((last.command, last.params), ("BATCH", (f"-{reference}",)))
        self.assertTrue(all(message.tags["batch"] == reference for message in inside))
        return [[message.command, *message.params[1:]] for message in inside]


class Users(MetadataTestCase):
    def test_set_get_list_clear(self) -> None:
        """SET answers 761 or 766; GET keeps the order of the keys; LIST and CLEAR go through all."""
        ann = self.client("ann", caps=CAPS)
        self.assertEqual(
            self.answer(ann, "METADATA * SET url :http://x/"), [["761", "ann", "ann", "url", "*", "http://x/"]]
        )
        self.assertEqual(self.answer(ann, "METADATA ann SET url :http://y/")[0][-1], "http://y/")
        ann.sends("METADATA * SET avatar :a b")
        self.assertEqual(
            self.batched(ann, "METADATA * GET avatar none $x url"),
            [
                ["761", "ann", "avatar", "*", "a b"],
                ["766", "ann", "none", "Key not set"],
                ["WARN", "INVALID_KEY", "$x", "This is no key"],
                ["761", "ann", "url", "*", "http://y/"],
            ],
        )
        self.assertEqual([words[2] for words in self.batched(ann, "METADATA ann LIST")], ["avatar", "url"])
        self.assertEqual(self.answer(ann, "METADATA * SET url"), [["766", "ann", "ann", "url", "Key not set"]])
        self.assertEqual([words[0] for words in self.batched(ann, "METADATA * CLEAR")], ["766"])
        self.assertEqual(self.batched(ann, "METADATA * LIST"), [])
        events = [event for event in self.world.events() if isinstance(event, MetadataSet)]
        self.assertEqual(
            [(event.key, event.value, event.previous) for event in events],
            [
                ("url", "http://x/", ""),
                ("url", "http://y/", "http://x/"),
                ("avatar", "a b", ""),
                ("url", "", "http://y/"),
                ("avatar", "", "a b"),
            ],
        )

    def test_others(self) -> None:
        """Others may read it, and WHOIS shows it to those who know it; only operators with the privilege may set it."""
        ann, bob, old = self.client("ann", caps=CAPS), self.client("bob", caps=CAPS), self.client("old")
        ann.sends("METADATA * SET color :#fff")
        self.assertEqual(self.batched(bob, "METADATA ann GET color"), [["761", "ann", "color", "*", "#fff"]])
        self.assertIn(["760", "bob", "ann", "color", "*", "#fff"], self.answer(bob, "WHOIS ann"))
        self.assertNotIn("760", old.codes("WHOIS ann"))
        for line, key in (("SET color :x", "color"), ("CLEAR", "*")):
            refused = self.answer(bob, f"METADATA ann {line}")
            self.assertEqual([words[:5] for words in refused], [["FAIL", "METADATA", "KEY_NO_PERMISSION", "ann", key]])
        root = self.oper("root", caps=CAPS)
        self.assertEqual(self.answer(root, "METADATA ann SET color :red")[0][0], "761")
        self.assertEqual(self.world.state.user_by_nick("ann").metadata, {"color": "red"})

    def test_errors(self) -> None:
        """Targets, keys, subcommands and parameters that are none."""
        ann = self.client("ann", caps=CAPS)
        for line, expected in (
            ("METADATA nobody LIST", ["FAIL", "METADATA", "INVALID_TARGET", "nobody"]),
            ("METADATA $x:y SET a :b", ["FAIL", "METADATA", "INVALID_TARGET", "$x:y"]),
            ("METADATA * SET Big :x", ["FAIL", "METADATA", "INVALID_KEY", "Big"]),
            ("METADATA * SNEEZE", ["FAIL", "METADATA", "INVALID_PARAMS", "SNEEZE"]),
            ("METADATA *", ["FAIL", "METADATA", "INVALID_PARAMS", "*"]),
            ("METADATA * GET", ["461", "ann", "METADATA"]),
            ("METADATA", ["461", "ann", "METADATA"]),
            ("METADATA bob SUB x", ["FAIL", "METADATA", "INVALID_TARGET", "bob"]),
        ):
            with self.subTest(line=line):
                [words] = self.answer(ann, line)
                self.assertEqual(words[: len(expected)], expected)
        self.assertRefused(self.world.connect(), "METADATA * SET a :b", "451")

    def test_limits_are_those_that_are_shown(self) -> None:
        """Keys, bytes of keys and values, subscriptions: the capability's value names what is enforced."""
        ann = self.client("ann", caps=CAPS)
        shown = " ".join(self.world.connect().asks("CAP LS 302"))
        limits = self.world.server.config.limits
        value = (
            f"before-connect,max-subs={limits.metadata_subs},max-keys={limits.metadata_keys},"
            f"max-key-bytes=32,max-value-bytes={limits.metadata_value_bytes}"
        )
        self.assertIn(f"draft/metadata-2={value}", shown)
        self.assertIn(f"draft/metadata-3={value}", shown)
        long = limits.metadata_value_bytes
        self.assertEqual(self.answer(ann, f"METADATA * SET k0 :{'é' * (long // 2)}")[0][0], "761")
        self.assertEqual(self.answer(ann, f"METADATA * SET k0 :{'x' * (long + 1)}")[0][2], "INVALID_VALUE")
        self.assertEqual(self.answer(ann, f"METADATA * SET {'k' * 32} :x")[0][0], "761")
        self.assertEqual(self.answer(ann, f"METADATA * SET {'k' * 33} :x")[0][2], "INVALID_KEY")
        for number in range(limits.metadata_keys - 2):
            ann.sends(f"METADATA * SET n{number} :x")
        self.assertEqual(len(self.world.state.user_by_nick("ann").metadata), limits.metadata_keys)
        refused = self.answer(ann, "METADATA * SET more :x")[0]
        self.assertEqual(refused[2:5], ["LIMIT_REACHED", "ann", str(limits.metadata_keys)])
        self.assertEqual(self.answer(ann, "METADATA * SET n1 :y")[0][0], "761")

    def test_values_fit_into_lines(self) -> None:
        """The longest key and value, on the longest names, are not cut."""
        ann = self.client("a" * 30, caps=CAPS)
        name = "#" + "c" * 63
        ann.sends(f"JOIN {name}")
        value = "v" * self.world.server.config.limits.metadata_value_bytes
        [words] = self.answer(ann, f"METADATA {name} SET {'k' * 32} :{value}")
        self.assertEqual(words[-1], value)

    def test_too_many_changes(self) -> None:
        """One change more than limits.metadata_changes in a minute is refused with the seconds to wait, which are enough."""
        self.world.server.use_config(make_config({"limits": {"metadata_changes": 3, "metadata_keys": 5}}))
        ann, bob = self.client("ann", caps=CAPS), self.client("bob", caps=OLD)
        for number in range(3):
            self.assertEqual(self.answer(ann, f"METADATA * SET k :{number}")[0][0], "761")
            self.world.clock.advance(10)
        # What is refused, or changes nothing, does not count.
        self.assertEqual(self.answer(ann, "METADATA * SET $ :x")[0][2], "INVALID_KEY")
        self.assertEqual(self.answer(ann, "METADATA * SET k :2")[0][0], "761")
        refused = self.answer(ann, "METADATA * SET k :3")[0]
        self.assertEqual(refused[:6], ["FAIL", "METADATA", "RATE_LIMITED", "ann", "k", "30"])
        self.world.clock.advance(29)
        self.assertEqual(self.answer(ann, "METADATA * SET k")[0][2:6], ["RATE_LIMITED", "ann", "k", "1"])
        self.world.clock.advance(1)
        self.assertEqual(self.answer(ann, "METADATA * SET k")[0][0], "766")
        self.assertEqual(self.answer(ann, "METADATA * SET k :4")[0][2], "RATE_LIMITED")
        for number in range(3):
            self.answer(bob, f"METADATA * SET k :{number}")
        self.assertEqual(self.answer(bob, "METADATA * SET k :3")[0][2:6], ["RATE_LIMITED", "bob", "k", "60"])
        root = self.oper("root", caps=CAPS)
        for number in range(9):
            self.assertEqual(self.answer(root, f"METADATA * SET k :{number}")[0][0], "761")
        client = self.world.connect()
        client.sends("CAP LS 302", f"CAP REQ :{CAPS}")
        client.lines()
        for number in range(3):
            self.answer(client, f"METADATA * SET k :{number}")
        self.assertEqual(self.answer(client, "METADATA * SET k :3")[0][2:6], ["RATE_LIMITED", "*", "k", "60"])

    def test_the_words_of_the_first_draft(self) -> None:
        """Clients of metadata-2 get its codes, with its parameters and no others."""
        self.world.server.use_config(make_config({"limits": {"metadata_keys": 1, "metadata_subs": 1}}))
        bob = self.client("bob", caps=OLD)
        bob.sends("METADATA * SET a :x", "METADATA * SUB a")
        bob.lines()
        for line, words in (
            ("SET b :x", ["LIMIT_REACHED", "bob"]),
            (f"SET a :{'x' * 400}", ["VALUE_INVALID"]),
            ("SET $ :x", ["KEY_INVALID", "$"]),
            ("SET none", ["KEY_NOT_SET", "bob", "none"]),
            ("SUB b", ["TOO_MANY_SUBS", "b"]),
            ("SNEEZE", ["SUBCOMMAND_INVALID", "SNEEZE"]),
        ):
            with self.subTest(line=line):
                [answer] = self.answer(bob, f"METADATA * {line}")
                self.assertEqual(answer[2:-1], words)


class Channels(MetadataTestCase):
    def test_operators_set_members_read(self) -> None:
        """A channel's operators set, its members read; strangers too, where anybody may join."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps=CAPS)
        stranger = self.client("stranger", caps=CAPS)
        self.assertEqual(self.answer(ann, "METADATA #c SET url :x"), [["761", "ann", "#c", "url", "*", "x"]])
        refused = self.answer(bob, "METADATA #c SET url :y")[0]
        self.assertEqual(refused[2:5], ["KEY_NO_PERMISSION", "#c", "url"])
        for client in (bob, stranger):
            self.assertEqual(self.batched(client, "METADATA #c GET url"), [["761", "#c", "url", "*", "x"]])

    def test_strangers_of_closed_channels_read_nothing(self) -> None:
        """A secret channel is as if it were not there; one that asks for an invitation or a key tells nothing."""
        [ann] = self.on_channel("#c", "@ann", caps=CAPS)
        ann.sends("METADATA #c SET url :hidden")
        stranger = self.client("stranger", caps=CAPS)
        stranger.sends("METADATA * SUB url")
        for mode, code in (
            ("s", "INVALID_TARGET"),
            ("p", "INVALID_TARGET"),
            ("i", "KEY_NO_PERMISSION"),
            ("k x", "KEY_NO_PERMISSION"),
        ):
            ann.sends(f"MODE #c +{mode}")
            for subcommand in ("GET url", "LIST", "SYNC", "SET url :y", "CLEAR"):
                with self.subTest(mode=mode, subcommand=subcommand):
                    [line] = stranger.asks(f"METADATA #c {subcommand}")
                    self.assertIn(code, line)
                    self.assertNotIn("hidden", line)
            self.assertNotIn("hidden", " ".join(stranger.asks("METADATA *ALL SYNC")))
            ann.sends(f"MODE #c -{mode}")
        root = self.oper("root", caps=CAPS)
        ann.sends("MODE #c +s")
        self.assertEqual(len(self.batched(root, "METADATA #c LIST")), 1)

    def test_rename_keeps_it(self) -> None:
        """Metadata belongs to the channel, not to its name; a channel that ends takes it along."""
        [ann] = self.on_channel("#c", "@ann", caps=CAPS)
        ann.sends("METADATA #c SET url :x", "RENAME #c #d")
        self.assertEqual(self.world.state.channels["#d"].metadata, {"url": "x"})
        ann.sends("PART #d", "JOIN #d")
        self.assertEqual(self.world.state.channels["#d"].metadata, {})


class Following(MetadataTestCase):
    def test_subscriptions(self) -> None:
        """SUB, UNSUB and SUBS; more than the limit is refused at the first key that does not fit."""
        self.world.server.use_config(self.world.server.config)
        ann = self.client("ann", caps=CAPS)
        self.assertEqual(
            self.answer(ann, "METADATA * SUB avatar $x url avatar"),
            [
                ["WARN", "METADATA", "INVALID_KEY", "$x", "This is no key"],
                ["770", "ann", "avatar", "url", "avatar"],
                ["774", "ann", "*ALL", "0", "Synchronise later"],
            ],
        )
        self.assertEqual(self.answer(ann, "METADATA * SUB url"), [["770", "ann", "url"]])
        self.assertEqual(self.answer(ann, "METADATA * UNSUB avatar none"), [["771", "ann", "avatar", "none"]])
        self.assertEqual([words[0] for words in self.answer(ann, "METADATA * SUBS")], ["BATCH", "772", "BATCH"])
        for start in range(0, self.world.server.config.limits.metadata_subs, 10):
            ann.sends("METADATA * SUB " + " ".join(f"k{start + number}" for number in range(10)))
        self.assertEqual(len(ann.session.followed), self.world.server.config.limits.metadata_subs)
        for words in (
            ["770", "ann", "url"],
            ["FAIL", "METADATA", "LIMIT_REACHED", "more", "50"],
        ):
            # What is followed already is none too many; behind the first that is nothing is looked at.
            answers = self.answer(ann, "METADATA * SUB url more k1")
            self.assertIn(words, [answer[: len(words)] for answer in answers])
        ann.sends("CAP REQ :-draft/metadata-3")
        self.assertEqual(ann.session.followed, {})

    def test_changes_are_told(self) -> None:
        """To members of the channel, to those who share one, to watchers; not to who made it, not for other keys."""
        ann, bob, cat = self.on_channel("#c", "@ann", "bob", "cat", caps=CAPS)
        watcher, stranger = self.client("watcher", caps=CAPS), self.client("stranger", caps=CAPS)
        watcher.sends("MONITOR + ann")
        for client in (ann, bob, watcher, stranger):
            client.sends("METADATA * SUB url")
        cat.sends("METADATA * SUB avatar")
        for client in (ann, bob, cat, watcher, stranger):
            client.lines()
        ann.sends("METADATA * SET url :x", "METADATA #c SET url :y", "METADATA * SET url")
        told = [
            ":irc.test 761 {} ann url * :x",
            ":irc.test 761 {} #c url * :y",
            ":irc.test 766 {} ann url :Key removed",
        ]
        self.assertReceives(bob, *(line.format("bob") for line in told))
        self.assertReceives(watcher, told[0].format("watcher"), told[2].format("watcher"))
        self.assertReceives(cat)
        self.assertReceives(stranger)
        self.assertEqual([message.command for message in ann.messages()], ["761", "761", "766"])

    def test_first_draft(self) -> None:
        """Clients of metadata-2 are told by METADATA lines, and in the older words."""
        ann = self.on_channel("#c", "@ann", caps=CAPS)[0]
        ann.sends("METADATA * SET url :x")
        bob = self.client("bob", caps=OLD)
        lines = self.messages(bob, "JOIN #c", "METADATA * SUB url")
        self.assertEqual([line.params for line in lines if line.command == "METADATA"], [("ann", "url", "*", "x")])
        ann.sends("METADATA * SET url :y", "METADATA * SET url")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 METADATA ann url * :y", ":ann!~ann@192.0.2.1 METADATA ann url *")
        for line, code in (
            ("SET $ :x", "KEY_INVALID"),
            ("SET none", "KEY_NOT_SET"),
            ("SNEEZE", "SUBCOMMAND_INVALID"),
            (f"SET a :{'x' * 400}", "VALUE_INVALID"),
            ("SUB " + " ".join(f"k{number}" for number in range(12)), "770"),
        ):
            self.assertIn(code, bob.asks(f"METADATA * {line}")[0])

    def test_synchronised(self) -> None:
        """On joining, on SYNC, and when a watched user comes online, what is followed is told in a batch."""
        ann = self.on_channel("#c", "@ann", caps=CAPS)[0]
        ann.sends("METADATA * SET url :x", "METADATA #c SET url :y", "METADATA * SET other :z")
        bob = self.client("bob", caps=CAPS)
        bob.sends("METADATA * SUB url")
        joined = [words for words in self.answer(bob, "JOIN #c") if words[0] in ("761", "BATCH")]
        self.assertEqual([words[2:] for words in joined[1:-1]], [["#c", "url", "*", "y"], ["ann", "url", "*", "x"]])
        self.assertEqual([words[1] for words in self.batched(bob, "METADATA #c SYNC")], ["#c", "ann"])
        self.assertEqual([words[1] for words in self.batched(bob, "METADATA ann SYNC")], ["ann"])
        self.assertEqual([words[1] for words in self.batched(bob, "METADATA *ALL SYNC")], ["#c", "ann"])
        self.assertEqual([words[0] for words in self.answer(bob, "MONITOR + ann")], ["730", "BATCH", "761", "BATCH"])
        bob.sends("MONITOR + late")
        bob.lines()
        self.client("late")
        self.assertEqual([message.command for message in bob.messages()], ["730", "BATCH", "BATCH"])

    def test_many_values_have_to_be_asked_for(self) -> None:
        """Who joins a channel with very much metadata is told to synchronise later."""
        import slircd.commands.metadata as module

        ann = self.on_channel("#c", "@ann", caps=CAPS)[0]
        ann.sends("METADATA * SET url :x", "METADATA #c SET url :y")
        bob = self.client("bob", caps=CAPS)
        bob.sends("METADATA * SUB url")
        before, module.AT_ONCE = module.AT_ONCE, 1
        try:
            self.assertIn(["774", "bob", "#c", "1", "Synchronise later"], self.answer(bob, "JOIN #c"))
        finally:
            module.AT_ONCE = before
        self.assertEqual(len(self.batched(bob, "METADATA #c SYNC")), 2)


class BeforeConnect(MetadataTestCase):
    def test_set_while_registering(self) -> None:
        """What is set before registration counts from the first moment, and the welcome tells it before the MOTD ends."""
        client = self.world.connect()
        client.sends("CAP LS 302", f"CAP REQ :{CAPS}")
        client.lines()
        self.assertEqual(self.answer(client, "METADATA * SET url :x")[0], ["761", "*", "*", "url", "*", "x"])
        self.assertEqual(self.answer(client, "METADATA * SUB url"), [["770", "*", "url"]])
        self.assertEqual([words[0] for words in self.answer(client, "METADATA * LIST")], ["BATCH", "761", "BATCH"])
        self.assertEqual(self.answer(client, "METADATA bob GET url")[0][2], "KEY_NO_PERMISSION")
        welcome = self.answer_after_registration(client)
        codes = [words[0] for words in welcome]
        self.assertLess(codes.index("BATCH"), codes.index("422"))
        self.assertIn(["761", "ann", "ann", "url", "*", "x"], welcome)
        self.assertEqual(self.world.state.user_by_nick("ann").metadata, {"url": "x"})

    def answer_after_registration(self, client: FakeClient) -> list[list[str]]:
        return [[m.command, *m.params] for m in self.messages(client, "NICK ann", "USER a 0 * :a", "CAP END")]
