"""Capability negotiation, and the extensions that change when or how much a client is told."""

from slircd.commands.capability import offered
from slircd.wire.capabilities import CAPABILITIES
from slircd.wire.message import parse
from tests.harness import ServerTestCase, make_config, words_of


class Negotiation(ServerTestCase):
    def test_oversized_request(self) -> None:
        """A request whose answer does not fit into one line is acknowledged in several, never cut in a name."""
        ann = self.client("ann")
        names = [name for name in offered(self.world.server, ann.session) if name in CAPABILITIES] * 2
        argument = " ".join(names)[:480].rsplit(" ", 1)[0]
        lines = ann.asks(f"CAP REQ :{argument}")
        self.assertGreater(len(lines), 1)
        self.assertTrue(all(len(parse(line.encode()).params[-1]) < 440 for line in lines))
        acknowledged = " ".join(words[-1] for words in words_of(lines, "CAP"))
        self.assertEqual(acknowledged, argument)

    def test_oversized_request_that_is_refused(self) -> None:
        """A long request for what is not there is refused in one line that fits, and changes nothing."""
        ann = self.client("ann")
        [line] = ann.asks("CAP REQ :" + "batch " * 70 + "nosuch")
        self.assertTrue(line.startswith(":irc.test CAP ann NAK :batch "))
        self.assertLess(len(line), 200)
        self.assertEqual(ann.session.caps, 0)

    def test_values_are_for_those_who_know_them(self) -> None:
        """CAP LS without a version shows names only."""
        old, new = self.world.connect(), self.world.connect()
        old.sends("CAP LS")
        [line] = old.lines()
        self.assertNotIn("=", line)
        self.assertLessEqual(len(line), 510)
        self.assertTrue(set(line.rpartition(":")[2].split()) <= set(CAPABILITIES), "a name is cut")
        self.assertIn("sasl=", "".join(new.asks("CAP LS 302")))

    def test_changes_are_announced(self) -> None:
        """What REHASH changes in a value is told with CAP NEW; clients without cap-notify hear nothing."""
        modern, old = self.client("modern", caps=""), self.client("old")
        modern.sends("CAP LS 302")
        modern.lines()
        self.world.server.use_config(make_config({"accounts": {"before_connect": False}}))
        self.assertReceives(modern, ":irc.test CAP modern NEW :draft/account-registration=custom-account-name")
        self.assertReceives(old)


class NoImplicitNames(ServerTestCase):
    def test_join_shows_no_names(self) -> None:
        """Topic yes, names no; NAMES still answers."""
        self.on_channel("#c", "@ann")[0].sends("TOPIC #c :hi")
        bob = self.client("bob", caps="no-implicit-names")
        self.assertEqual(bob.codes("JOIN #c"), ["JOIN", "332", "333"])
        self.assertEqual(bob.codes("NAMES #c"), ["353", "366"])


class ExtendedISupport(ServerTestCase):
    def test_before_registration(self) -> None:
        """With the capability ISUPPORT works at once, in a batch; without it, after registration and plain."""
        client = self.world.connect()
        self.assertEqual(client.codes("ISUPPORT"), ["451"])
        client.sends("CAP REQ :batch draft/extended-isupport")
        lines = client.asks("ISUPPORT")
        first, last = parse(lines[0].encode()), parse(lines[-1].encode())
        self.assertEqual((first.command, first.params[1]), ("BATCH", "draft/isupport"))
        self.assertEqual(last.params, ("-" + first.params[0][1:],))
        inside = [parse(line.encode()) for line in lines[1:-1]]
        self.assertEqual(
            {(message.command, message.tags["batch"]) for message in inside}, {("005", first.params[0][1:])}
        )
        self.assertEqual(set(self.client("ann").codes("ISUPPORT")), {"005"})

    def test_welcome_is_batched(self) -> None:
        """The 005 lines of the welcome are in a batch, too."""
        client = self.world.connect()
        client.sends("CAP REQ :batch draft/extended-isupport", "NICK ann", "USER a 0 * :a", "CAP END")
        messages = [message for message in client.messages() if message.command == "005"]
        self.assertTrue(messages)
        self.assertTrue(all("batch" in message.tags for message in messages))

    def test_label(self) -> None:
        """A label stands on the line that opens the batch."""
        ann = self.client("ann", caps="batch draft/extended-isupport labeled-response message-tags")
        lines = [parse(line.encode()) for line in ann.asks("@label=x ISUPPORT")]
        self.assertEqual(lines[0].params[1], "draft/isupport")
        self.assertEqual([line.tags.get("label") for line in lines], ["x"] + [None] * (len(lines) - 1))


class PreAway(ServerTestCase):
    def test_away_from_the_start(self) -> None:
        """AWAY before registration needs the capability, and counts from the first moment."""
        client = self.world.connect()
        self.assertEqual(client.codes("AWAY :x"), ["451"])
        client.sends("CAP REQ :draft/pre-away")
        self.assertEqual(client.codes("AWAY :on the train"), ["306"])
        client.sends("NICK ann", "USER a 0 * :a", "CAP END")
        self.assertEqual(self.world.state.user_by_nick("ann").away, "on the train")
        self.assertEqual([event.event_type for event in self.world.events()][-2:], ["user.connect", "user.away"])

    def test_back_before_registration(self) -> None:
        """AWAY without a message takes it back."""
        client = self.world.connect()
        client.sends("CAP REQ :draft/pre-away", "AWAY *", "AWAY", "NICK ann", "USER a 0 * :a", "CAP END")
        self.assertIsNone(self.world.state.user_by_nick("ann").away)


class ExtendedMonitor(ServerTestCase):
    def test_watchers_hear_more(self) -> None:
        """AWAY, ACCOUNT, CHGHOST and SETNAME of a watched nick come without a common channel, each with its capability."""
        bob = self.client("bob", caps="extended-monitor away-notify setname chghost account-notify")
        some = self.client("some", caps="extended-monitor setname")
        plain = self.client("plain", caps="away-notify setname")
        ann = self.client("ann")
        for watcher in (bob, some, plain):
            watcher.asks("MONITOR + ann")
        root = self.oper("root")
        ann.sends("AWAY :x", "SETNAME :New Name", "NS REGISTER sesame1")
        root.sends("CHGHOST ann other new.example.org")
        verbs = [parse(line.encode()).command for line in bob.lines()]
        self.assertEqual(verbs, ["AWAY", "SETNAME", "ACCOUNT", "CHGHOST"])
        self.assertEqual([parse(line.encode()).command for line in some.lines()], ["SETNAME"])
        self.assertReceives(plain)

    def test_nothing_twice(self) -> None:
        """A watcher who also shares a channel hears it once."""
        ann, bob = self.on_channel("#c", "ann", "bob", caps="extended-monitor away-notify")
        bob.asks("MONITOR + ann")
        ann.sends("AWAY :x")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 AWAY :x")
