"""What RPL_ISUPPORT says is what is enforced: limits that nobody would choose are read from it, and tried."""

from typing import Any, ClassVar

from slircd.wire.message import parse
from tests.harness import FakeClient, ServerTestCase, words_of

NUMBERS = {
    "nicklen": 11,
    "userlen": 7,
    "reallen": 33,
    "channellen": 19,
    "topiclen": 81,
    "kicklen": 82,
    "awaylen": 83,
    "keylen": 9,
    "channels_per_user": 3,
    "list_entries": 11,
    "modes": 5,
    "monitor": 12,
    "silence": 2,
    "accept": 2,
}
TARGETS = {"join": 2, "kick": 3, "names": 4, "notice": 2, "part": 3, "privmsg": 5, "tagmsg": 2, "whois": 3}


class Limits(ServerTestCase):
    config: ClassVar[dict[str, Any]] = {"limits": {**NUMBERS, "targets": TARGETS}}

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.client("ann", caps="message-tags setname standard-replies")
        tokens = [word for words in words_of(self.ann.asks("VERSION"), "005") for word in words[1:-1]]
        self.shown = dict(token.partition("=")[::2] for token in tokens)

    def number(self, token: str) -> int:
        return int(self.shown[token])

    def channels(self, count: int) -> None:
        """Ann is alone on so many channels, as operator."""
        for index in range(count):
            self.ann.sends(f"JOIN #c{index}")
        self.ann.lines()

    def text_of(self, client: FakeClient, verb: str) -> str:
        """The last parameter of the one line with this command that the client has been sent."""
        [message] = [message for message in client.messages() if message.command == verb]
        return message.params[-1]

    def test_lengths_of_names(self) -> None:
        """NICKLEN, USERLEN, CHANNELLEN, NAMELEN, KEYLEN."""
        most = self.number("NICKLEN")
        self.assertRefused(self.ann, f"NICK {'n' * (most + 1)}", "432")
        self.assertEqual(self.ann.codes(f"NICK {'n' * most}"), ["NICK"])
        client = self.world.connect()
        client.sends("NICK bob", f"USER {'u' * 20} 0 * :{'r' * 100}")
        user = self.world.state.user_by_nick("bob")
        self.assertEqual(len(user.username), self.number("USERLEN"))
        self.assertEqual(len(user.realname), self.number("NAMELEN"))
        most = self.number("CHANNELLEN")
        self.assertRefused(self.ann, f"JOIN #{'c' * most}", "476")
        self.assertIn("JOIN", self.ann.codes(f"JOIN #{'c' * (most - 1)}"))
        most = self.number("NAMELEN")
        self.assertIn("INVALID_REALNAME", self.ann.asks(f"SETNAME :{'x' * (most + 1)}")[0])
        self.assertEqual(self.ann.codes(f"SETNAME :{'x' * most}"), ["SETNAME"])
        self.channels(1)
        self.ann.sends(f"MODE #c0 +k {'k' * 60}")
        self.assertLessEqual(len(self.world.state.channels["#c0"].params.get("k", "")), self.number("KEYLEN"))

    def test_lengths_of_texts(self) -> None:
        """TOPICLEN, KICKLEN, AWAYLEN."""
        self.channels(1)
        bob = self.client("bob")
        bob.sends("JOIN #c0")
        bob.lines()
        self.ann.sends("TOPIC #c0 :" + "t" * 300)
        self.assertEqual(len(self.text_of(bob, "TOPIC")), self.number("TOPICLEN"))
        self.ann.sends("AWAY :" + "a" * 300)
        self.assertEqual(len(self.world.state.users[self.ann.uid].away), self.number("AWAYLEN"))
        self.ann.sends("KICK #c0 bob :" + "k" * 300)
        self.assertEqual(len(self.text_of(bob, "KICK")), self.number("KICKLEN"))

    def test_counts(self) -> None:
        """CHANLIMIT, MAXLIST, MONITOR, SILENCE, ACCEPT."""
        most = int(self.shown["CHANLIMIT"].removeprefix("#:"))
        self.channels(most)
        self.assertRefused(self.ann, "JOIN #more", "405")
        letters, _, number = self.shown["MAXLIST"].partition(":")
        for index in range(int(number)):
            self.ann.sends(f"MODE #c0 +{letters[index % len(letters)]} m{index}!*@*")
        self.ann.lines()
        self.assertEqual(sum(map(len, self.world.state.channels["#c0"].lists.values())), int(number))
        self.assertRefused(self.ann, f"MODE #c0 +{letters[0]} more!*@*", "478")
        most = self.number("MONITOR")
        self.ann.sends("MONITOR + " + ",".join(f"m{index}" for index in range(most)))
        self.ann.lines()
        self.assertEqual(self.ann.codes("MONITOR + more"), ["734"])
        for index in range(self.number("SILENCE")):
            self.ann.sends(f"SILENCE +s{index}!*@*")
        self.ann.lines()
        self.assertEqual(self.ann.codes("SILENCE +more!*@*"), ["511"])
        names = [self.client(f"n{index}").nick for index in range(self.number("ACCEPT") + 2)]
        self.ann.sends("MODE ann +g", f"PRIVMSG {names[-1]} :may answer")
        self.ann.lines()
        # Whom one only wrote to gives way.
        self.assertEqual(self.ann.codes("ACCEPT " + ",".join(names[:-2])), [])
        self.assertEqual(self.ann.codes(f"ACCEPT {names[-2]}"), ["456"])
        self.assertEqual(self.ann.codes("ACCEPT *"), ["281"] * self.number("ACCEPT") + ["282"])

    def test_modes_of_one_command(self) -> None:
        """MODES: so many modes with a parameter are taken, the rest is left."""
        self.channels(1)
        most = self.number("MODES")
        masks = " ".join(f"m{index}!*@*" for index in range(most + 1))
        self.ann.sends(f"MODE #c0 +{'b' * (most + 1)} {masks}")
        self.assertEqual(len(self.world.state.channels["#c0"].lists["b"]), most)

    def test_targets(self) -> None:
        """TARGMAX: one more than so many targets is 407, and for NOTICE nothing."""
        shown = dict(item.split(":") for item in self.shown["TARGMAX"].split(","))
        self.assertEqual({name.lower(): int(number) for name, number in shown.items()}, TARGETS)
        lines = {
            "JOIN": ("#x", "JOIN {}"),
            "PART": ("#x", "PART {}"),
            "NAMES": ("#x", "NAMES {}"),
            "PRIVMSG": ("ann", "PRIVMSG {} :x"),
            "NOTICE": ("ann", "NOTICE {} :x"),
            "TAGMSG": ("ann", "@+a=b TAGMSG {}"),
            "WHOIS": ("n", "WHOIS {}"),
            "KICK": ("n", "KICK #c0 {}"),
        }
        self.channels(1)
        for name, (word, line) in lines.items():
            most = int(shown[name])
            for count in (most, most + 1):
                targets = ",".join(f"{word}{index}" for index in range(count))
                codes = [parse(text.encode()).command for text in self.ann.asks(line.format(targets))]
                with self.subTest(command=name, count=count):
                    self.assertEqual("407" in codes, count > most and name != "NOTICE")
                self.ann.asks("JOIN 0")
                self.channels(1)
