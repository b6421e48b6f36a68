"""What RPL_ISUPPORT and CAP LS say is what is enforced: limits that nobody would choose are read from them, and tried.

Each test says which tokens and which words of capabilities' values it tries on the wire; the last one makes sure that
none is left out, so a new one needs a test here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

import pytest

from slircd.commands.capability import value_of
from slircd.wire.capabilities import CAPABILITIES
from slircd.wire.message import parse
from slircd.wire.modes import CHANNEL_MODES
from tests.conformance.test_basics import plain
from tests.harness import FakeClient, ServerTestCase, World, make_config, words_of

NUMBERS = {
    "accept": 2,
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
    "multiline_lines": 3,
    "multiline_bytes": 512,
    "metadata_keys": 2,
    "metadata_value_bytes": 17,
    "metadata_subs": 3,
}
TARGETS = {"join": 2, "kick": 3, "names": 4, "notice": 2, "part": 3, "privmsg": 5, "tagmsg": 2, "whois": 3}
CAPS = "message-tags setname standard-replies batch server-time draft/chathistory draft/multiline draft/metadata-3"
CONFIG: Final[dict[str, Any]] = {
    "limits": {**NUMBERS, "targets": TARGETS, "client_tags_denied": ["typing", "x/y"]},
    "history": {"channels": True, "limit": 11},
    "relay": {"separator": "%"},
    "accounts": {"sasl_plain_without_tls": True, "password_length": 1},
}
MAIL: Final = {"sendmail": ["true"]}

COVERED: Final[set[str]] = set()
"""Tokens, and `capability word` for each word of a capability's value, that some test below tries."""

T = TypeVar("T", bound=Callable[..., Any])


def covers(*names: str) -> Callable[[T], T]:
    """The decorated test tries these on the wire."""
    COVERED.update(names)
    return lambda test: test


def tokens_of(client: FakeClient) -> dict[str, str]:
    """RPL_ISUPPORT, as a client reads it."""
    tokens = [word for words in words_of(client.asks("VERSION"), "005") for word in words[1:-1]]
    return dict(token.partition("=")[::2] for token in tokens)


def values_of(world: World) -> dict[str, str]:
    """The values of capabilities, as CAP LS 302 shows them; those without one are left out."""
    listed = " ".join(words[-1] for words in words_of(world.connect().asks("CAP LS 302"), "CAP"))
    return {name: value for name, _, value in (word.partition("=") for word in listed.split()) if value}


class LimitsTestCase(ServerTestCase):
    config = CONFIG

    def setUp(self) -> None:
        super().setUp()
        self.ann = self.client("ann", caps=CAPS)
        self.shown = tokens_of(self.ann)

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


class Lengths(LimitsTestCase):
    @covers("NICKLEN", "USERLEN", "CHANNELLEN", "NAMELEN", "KEYLEN")
    def test_names(self) -> None:
        """One more than the longest is refused, or where that cannot be, cut; for nicks also on the way in."""
        most = self.number("NICKLEN")
        self.assertRefused(self.ann, f"NICK {'n' * (most + 1)}", "432")
        self.assertEqual(self.ann.codes(f"NICK {'n' * most}"), ["NICK"])
        client = self.world.connect()
        self.assertIn("432", client.codes(f"NICK {'m' * (most + 1)}"))
        client.sends("NICK bob", f"USER {'u' * 20} 0 * :{'r' * 100}")
        user = self.world.state.user_by_nick("bob")
        self.assertEqual(len(user.username), self.number("USERLEN"))
        self.assertEqual(len(user.realname), self.number("NAMELEN"))
        most = self.number("CHANNELLEN")
        self.assertRefused(self.ann, f"JOIN #{'c' * most}", "476")
        self.assertIn("JOIN", self.ann.codes(f"JOIN #{'c' * (most - 1)}"))
        self.assertIn("CANNOT_RENAME", self.ann.asks(f"RENAME #{'c' * (most - 1)} #{'d' * most}")[0])
        most = self.number("NAMELEN")
        self.assertIn("INVALID_REALNAME", self.ann.asks(f"SETNAME :{'x' * (most + 1)}")[0])
        self.assertEqual(self.ann.codes(f"SETNAME :{'x' * most}"), ["SETNAME"])
        self.channels(1)
        most = self.number("KEYLEN")
        self.assertRefused(self.ann, f"MODE #c0 +k {'k' * (most + 1)}", "525")
        self.assertEqual(self.ann.codes(f"MODE #c0 +k {'k' * most}"), ["MODE"])
        self.assertIn("JOIN", client.codes(f"JOIN #c0 {'k' * most}"))

    @covers("HOSTLEN")
    def test_hosts(self) -> None:
        """No host is longer, not even one that an operator gives."""
        root, most = self.oper("root"), self.number("HOSTLEN")
        host = "h." * (most // 2)
        self.assertIn("INVALID_PARAMS", root.asks(f"CHGHOST ann x.{host}")[0])
        self.assertEqual(root.asks(f"CHGHOST ann {host}x"), [])
        self.assertEqual(len(self.world.state.users[self.ann.uid].host), most)

    @covers("TOPICLEN", "KICKLEN", "AWAYLEN")
    def test_texts(self) -> None:
        """Texts of the longest length stay, longer ones are cut, and never within a character."""
        self.channels(1)
        bob = self.client("bob")
        for token, verb, says in (
            ("TOPICLEN", "TOPIC", lambda text: self.ann.sends(f"TOPIC #c0 :{text}")),
            ("KICKLEN", "KICK", lambda text: self.ann.sends(f"KICK #c0 bob :{text}")),
            ("AWAYLEN", "AWAY", lambda text: self.ann.sends(f"AWAY :{text}")),
        ):
            most = self.number(token)
            for text, kept in (
                ("a" * (most - 1) + "b", most),
                ("a" * (most + 1), most),
                ("a" * (most - 1) + "é", most - 1),
                ("é" * 200, most - most % 2),
            ):
                with self.subTest(token=token, text=text[-3:]):
                    bob.asks("CAP REQ away-notify", "JOIN #c0")
                    says(text)
                    shown = self.text_of(bob, verb)
                    self.assertEqual((len(shown.encode()), text.startswith(shown)), (kept, True))


class Counts(LimitsTestCase):
    @covers("CHANLIMIT", "MAXLIST")
    def test_channels_and_their_lists(self) -> None:
        """As many channels, and as many entries of all lists together, and none more."""
        most = int(self.shown["CHANLIMIT"].removeprefix("#:"))
        self.channels(most)
        self.assertRefused(self.ann, "JOIN #more", "405")
        letters, _, number = self.shown["MAXLIST"].partition(":")
        for index in range(int(number)):
            self.assertEqual(self.ann.codes(f"MODE #c0 +{letters[index % len(letters)]} m{index}!*@*"), ["MODE"])
        self.assertEqual(sum(map(len, self.world.state.channels["#c0"].lists.values())), int(number))
        for letter in letters:
            self.assertRefused(self.ann, f"MODE #c0 +{letter} more!*@*", "478")

    @covers("MONITOR", "SILENCE", "ACCEPT")
    def test_own_lists(self) -> None:
        """A client's own lists: as many entries, and none more."""
        most = self.number("MONITOR")
        self.assertNotIn("734", self.ann.codes("MONITOR + " + ",".join(f"m{index}" for index in range(most))))
        self.assertEqual(self.ann.codes("MONITOR + more"), ["734"])
        for index in range(self.number("SILENCE")):
            self.assertEqual(self.ann.codes(f"SILENCE +s{index}!*@*"), ["SILENCE"])
        self.assertEqual(self.ann.codes("SILENCE +more!*@*"), ["511"])
        names = [self.client(f"n{index}").nick for index in range(self.number("ACCEPT") + 2)]
        self.ann.sends("MODE ann +g", f"PRIVMSG {names[-1]} :may answer")
        self.ann.lines()
        # Whom one only wrote to gives way.
        self.assertEqual(self.ann.codes("ACCEPT " + ",".join(names[:-2])), [])
        self.assertEqual(self.ann.codes(f"ACCEPT {names[-2]}"), ["456"])
        self.assertEqual(self.ann.codes("ACCEPT *"), ["281"] * self.number("ACCEPT") + ["282"])

    @covers("MODES")
    def test_modes_of_one_command(self) -> None:
        """So many modes with a parameter are taken, the rest is left."""
        self.channels(1)
        most = self.number("MODES")
        masks = " ".join(f"m{index}!*@*" for index in range(most + 1))
        self.ann.sends(f"MODE #c0 +{'b' * (most + 1)} {masks}")
        self.assertEqual(len(self.world.state.channels["#c0"].lists["b"]), most)

    @covers("TARGMAX")
    def test_targets(self) -> None:
        """One more than so many targets is 407, and for NOTICE nothing."""
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
        self.assertEqual(lines.keys(), shown.keys())
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

    @covers("CHATHISTORY", "MSGREFTYPES")
    def test_history(self) -> None:
        """No answer has more messages; the types of references are taken, and no others."""
        self.channels(1)
        most = self.number("CHATHISTORY")
        for number in range(most + 1):
            self.world.clock.advance(1)
            self.ann.sends(f"PRIVMSG #c0 :{number}")

        def played(question: str) -> list[str]:
            return [words[-1] for words in words_of(self.ann.asks(f"CHATHISTORY {question}"), "PRIVMSG")]

        self.assertEqual(played(f"LATEST #c0 * {most + 1}"), [str(number) for number in range(1, most + 1)])
        self.assertEqual(len(played(f"LATEST #c0 * {most}")), most)
        row = next(row for row in self.world.store.rows if row.event_type == "message.privmsg")
        words = {"msgid": f"{row.id:x}-{row.session_id[:10]}", "timestamp": f"{row.timestamp[:23]}Z"}
        self.assertEqual(self.shown["MSGREFTYPES"].split(","), list(words))
        for kind, value in words.items():
            self.assertEqual(played(f"AFTER #c0 {kind}={value} 2"), ["1", "2"])
        self.assertIn("INVALID_PARAMS", self.ann.asks("CHATHISTORY AFTER #c0 id=1 2")[0])


class Letters(LimitsTestCase):
    @covers("CHANMODES", "PREFIX", "STATUSMSG")
    def test_channel_modes(self) -> None:
        """Each mode takes what its group says, each prefix its symbol, and a message to a symbol reaches who has it."""
        self.channels(2)
        root, bob = self.oper("root"), self.client("bob")
        root.asks("JOIN #c0")
        parameters = {"k": "key", "l": "5", "f": "5:10", "j": "5:10", "L": "#c1"}
        lists, keys, settings, flags = self.shown["CHANMODES"].split(",")
        root.asks("SAMODE #c0 +q root")
        for group, takes, drops in ((lists, True, True), (keys, True, True), (settings, True, False)):
            for letter in group:
                word = parameters.get(letter, "x!*@*")
                with self.subTest(letter=letter):
                    self.assertEqual(root.codes(f"MODE #c0 +{letter} {word}"), ["MODE"] if takes else [])
                    self.assertEqual(root.codes(f"MODE #c0 -{letter}" + (f" {word}" if drops else "")), ["MODE"])
        for letter in flags:
            with self.subTest(letter=letter):
                on = letter in self.world.state.channels["#c0"].flags
                codes = [code for sign in ("-+" if on else "+-") for code in root.codes(f"MODE #c0 {sign}{letter}")]
                self.assertEqual(codes, ["MODE", "MODE"])
        prefixes, symbols = self.shown["PREFIX"].removeprefix("(").split(")")
        self.assertEqual(self.shown["STATUSMSG"], symbols)
        for letter, symbol in zip(prefixes, symbols, strict=True):
            with self.subTest(letter=letter):
                bob.asks("JOIN #c0")
                self.assertEqual(self.ann.asks(f"PRIVMSG {symbol}#c0 :to some"), [])
                self.assertEqual(bob.lines(), [])
                root.asks(f"SAMODE #c0 +{letter} bob")
                self.assertIn(f"{symbol}bob", " ".join(bob.asks("NAMES #c0")))
                bob.lines()
                self.ann.sends(f"PRIVMSG {symbol}#c0 :to some")
                self.assertEqual([message.params for message in bob.messages()], [(f"{symbol}#c0", "to some")])
                bob.asks("PART #c0")

    @covers("EXCEPTS", "INVEX", "EXTBAN", "ACCOUNTEXTBAN")
    def test_lists(self) -> None:
        """Exceptions let in, extended bans are taken in every form that is named, the one for accounts hits its account."""
        self.channels(1)
        bob = self.client("bob")
        bob.asks("NS REGISTER sesame1")
        self.ann.asks("MODE #c0 +b bob!*@*")
        self.assertRefused(bob, "JOIN #c0", "474")
        self.ann.asks(f"MODE #c0 +{self.shown['EXCEPTS']} bob!*@*")
        self.assertIn("JOIN", bob.codes("JOIN #c0", "PART #c0"))
        self.ann.asks(f"MODE #c0 -b+i-{self.shown['EXCEPTS']} bob!*@* bob!*@*")
        self.assertRefused(bob, "JOIN #c0", "473")
        self.ann.asks(f"MODE #c0 +{self.shown['INVEX']} bob!*@*")
        self.assertIn("JOIN", bob.codes("JOIN #c0", "PART #c0"))
        prefix, letters = self.shown["EXTBAN"].split(",")
        values = {"U": "", "t": ":5:x!*@*"}
        for letter in letters:
            self.assertEqual(
                self.ann.codes(f"MODE #c0 +b {prefix}{letter}{values.get(letter, ':x')}"), ["MODE"], letter
            )
            self.ann.asks(f"MODE #c0 -b {prefix}{letter}{values.get(letter, ':x')}")
        unknown = next(letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in letters)
        self.assertRefused(self.ann, f"MODE #c0 +b {prefix}{unknown}:x", "696")
        self.ann.asks(f"MODE #c0 +b {prefix}{self.shown['ACCOUNTEXTBAN']}:bob")
        self.assertRefused(bob, "JOIN #c0", "474")

    @covers("RPCHAN")
    def test_role_play(self) -> None:
        """Characters speak where the mode is set, and nowhere else."""
        self.channels(1)
        self.assertEqual(self.ann.codes("NPC #c0 bilbo x"), ["573"])
        self.ann.asks(f"MODE #c0 +{self.shown['RPCHAN']}")
        self.assertEqual(self.ann.codes("NPC #c0 bilbo x"), ["PRIVMSG"])

    @covers("BOT", "CALLERID", "DEAF")
    def test_user_modes(self) -> None:
        """A bot is called one, who is deaf hears no channel, and with caller-id strangers have to knock."""
        self.channels(1)
        bob = self.client("bob")
        bob.asks("JOIN #c0")
        self.ann.asks(f"MODE ann +{self.shown['BOT']}{self.shown['DEAF']}{self.shown['CALLERID']}")
        self.assertIn("335", bob.codes("WHOIS ann"))
        bob.asks("PRIVMSG #c0 :hello")
        self.assertEqual(self.ann.lines(), [])
        self.assertEqual(bob.codes("PRIVMSG ann :x"), ["716", "717"])

    @covers("CLIENTTAGDENY")
    def test_denied_tags(self) -> None:
        """Tags that are denied are not passed on, and are not all that a TAGMSG says; others are."""
        bob = self.client("bob", caps="message-tags")
        denied = self.shown["CLIENTTAGDENY"].split(",")
        self.assertEqual(denied, ["typing", "x/y"])
        self.ann.sends(f"@{';'.join(f'+{name}=1' for name in denied)};+z=2 PRIVMSG bob :x")
        [message] = bob.messages()
        self.assertEqual({name for name in message.tags if name.startswith("+")}, {"+z"})


class Words(LimitsTestCase):
    @covers("CASEMAPPING")
    def test_case_mappings(self) -> None:
        """Names that are the same by the mapping are one, others are not."""
        for mapping, same, differs in (
            ("ascii", [("aB", "Ab")], [("a[", "a{"), ("a^", "a~x")]),
            ("rfc1459", [("aB", "Ab"), ("a[]\\", "A{}|"), ("a^", "a^")], []),
            ("precis", [("Élan", "élan")], [("a[", "a{")]),
        ):
            world = World(config=make_config({"server": {"casemapping": mapping}}))
            ann, bob = world.client("ann"), world.client("bob")
            self.assertEqual(tokens_of(ann)["CASEMAPPING"], {"precis": "rfc8265"}.get(mapping, mapping))
            for nicks, taken in [(pair, True) for pair in same] + [(pair, False) for pair in differs]:
                with self.subTest(mapping=mapping, nicks=nicks):
                    self.assertEqual(ann.codes(f"NICK {nicks[0]}"), ["NICK"])
                    channels = [f"#{nick}" for nick in nicks]
                    ann.asks(f"JOIN {channels[0]}")
                    codes = bob.codes(f"NICK {nicks[1]}")
                    self.assertEqual("433" in codes, taken)
                    bob.asks(f"JOIN {channels[1]}", "NICK bob")
                    both = len(next(iter(world.state.channels.values())).members) == 2
                    self.assertEqual(both, taken)
                    for client in (ann, bob):
                        client.asks("JOIN 0")

    @covers("CHANTYPES", "ELIST", "SAFELIST")
    def test_channels(self) -> None:
        """What begins with anything else is no channel; LIST narrows in every way that is named, and ends."""
        for sign in "#&+!":
            code = "JOIN" if sign in self.shown["CHANTYPES"] else "403"
            self.assertIn(code, self.ann.codes(f"JOIN {sign}abc", "PART #abc"))
        self.ann.asks("JOIN #old", "TOPIC #old :x")
        self.world.clock.advance(600)
        bob = self.client("bob")
        bob.asks("JOIN #new", "TOPIC #new :x")
        self.ann.asks("JOIN #new")
        conditions = {
            "C": [("C>5", "#old"), ("C<5", "#new")],
            "M": [("#o*", "#old"), ("*w", "#new")],
            "N": [("!#o*", "#new")],
            "T": [("T>5", "#old"), ("T<5", "#new")],
            "U": [(">1", "#new"), ("<2", "#old")],
        }
        self.assertEqual(set(self.shown["ELIST"]), conditions.keys())
        for letter, tried in conditions.items():
            for condition, found in tried:
                with self.subTest(letter=letter, condition=condition):
                    lines = self.ann.asks(f"LIST {condition}")
                    self.assertEqual([words[1] for words in words_of(lines, "322")], [found])
                    self.assertEqual(parse(lines[-1].encode()).command, "323")

    @covers("KNOCK", "NETWORK", "WHOX", "UTF8ONLY")
    def test_the_rest(self) -> None:
        """KNOCK knocks, WHO takes fields and gives the token back, the name is the network's, and bytes are UTF-8."""
        self.channels(1)
        self.ann.asks("MODE #c0 +i")
        bob = self.client("bob", caps="standard-replies")
        self.assertEqual(bob.codes("KNOCK #c0"), ["711"])
        self.assertIn("710", [message.command for message in self.ann.messages()])
        [words] = words_of(self.ann.asks("WHO ann %tna,77"), "354")
        self.assertEqual(words[1:], ["77", "ann", "0"])
        self.assertIn(self.shown["NETWORK"], self.ann.asks("LUSERS", "MOTD", "VERSION", "INFO")[0] + "TestNet")
        self.assertEqual(self.shown["NETWORK"], "TestNet")
        self.ann.lines()
        bob.sends_bytes(b"PRIVMSG ann :\xff\xfe\r\n")
        self.assertIn("FAIL PRIVMSG INVALID_UTF8", bob.lines()[0])
        self.assertEqual(self.ann.lines(), [])
        legacy = World(config=make_config({"server": {"encoding": "latin-1"}}))
        self.assertNotIn("UTF8ONLY", tokens_of(legacy.client("ann")))


class Values(LimitsTestCase):
    """The values of capabilities."""

    def setUp(self) -> None:
        super().setUp()
        self.values = {
            name: dict(word.partition("=")[::2] for word in value.split(","))
            for name, value in values_of(self.world).items()
        }

    @covers("draft/multiline max-lines", "draft/multiline max-bytes")
    def test_multiline(self) -> None:
        """As many lines and bytes, and none more."""
        self.channels(1)
        limits = self.values["draft/multiline"]
        lines, size = int(limits["max-lines"]), int(limits["max-bytes"])
        bob = self.client("bob", caps=CAPS)
        bob.asks("JOIN #c0")
        for count, length, code in (
            (lines, 1, ""),
            (lines + 1, 1, "MULTILINE_MAX_LINES"),
            (2, (size - 1) // 2, ""),
            (2, size // 2, "MULTILINE_MAX_BYTES"),
        ):
            with self.subTest(count=count, length=length):
                self.ann.lines()
                bob.lines()
                parts = ["@batch=1 PRIVMSG #c0 :" + "x" * length] * count
                self.ann.sends("BATCH +1 draft/multiline #c0", *parts, "BATCH -1")
                self.assertEqual(len(words_of(bob.lines(), "PRIVMSG")), 0 if code else count)
                self.assertEqual([words[1] for words in words_of(self.ann.lines(), "FAIL")], [code] if code else [])

    @covers(
        *(
            f"draft/metadata-{draft} {word}"
            for draft in (2, 3)
            for word in ("before-connect", "max-subs", "max-keys", "max-key-bytes", "max-value-bytes")
        )
    )
    def test_metadata(self) -> None:
        """As many keys, bytes and subscriptions, and none more, for users and for channels."""
        for draft in (2, 3):
            name = f"draft/metadata-{draft}"
            limits = {word: int(value or 0) for word, value in self.values[name].items()}
            client = self.world.connect()
            client.sends("CAP LS 302", f"CAP REQ :batch {name}")
            self.assertIn("761", client.codes("METADATA * SET k :before"))
            client.sends(f"NICK bob{draft}", "USER b 0 * :b", "CAP END", f"JOIN #d{draft}")
            client.lines()
            for target in ("*", f"#d{draft}"):
                with self.subTest(draft=draft, target=target):
                    for key, value, code in (
                        ("k" * (limits["max-key-bytes"] + 1), "x", "FAIL"),
                        ("k" * limits["max-key-bytes"], "x" * limits["max-value-bytes"], "761"),
                        ("k" * limits["max-key-bytes"], "x" * (limits["max-value-bytes"] + 1), "FAIL"),
                        ("k", "é" * (limits["max-value-bytes"] // 2), "761"),
                    ):
                        self.assertEqual(client.codes(f"METADATA {target} SET {key} :{value}"), [code])
                    for index in range(limits["max-keys"] - 2):
                        self.assertEqual(client.codes(f"METADATA {target} SET k{index} :x"), ["761"])
                    self.assertIn(" LIMIT_REACHED ", client.asks(f"METADATA {target} SET more :x")[0])
                    self.assertEqual(client.codes(f"METADATA {target} SET k :again"), ["761"])
            keys = [f"s{index}" for index in range(limits["max-subs"])]
            self.assertNotIn("FAIL", client.codes(f"METADATA * SUB {' '.join(keys)}"))
            self.assertEqual(client.codes(f"METADATA * SUB {keys[0]}"), ["770"])
            self.assertEqual(client.codes("METADATA * SUB more"), ["FAIL"])

    @covers("draft/relaymsg %")
    def test_relaymsg(self) -> None:
        """A relayed nick has the character that is named, and nobody else's nick can."""
        [separator] = self.values["draft/relaymsg"]
        self.channels(1)
        bob = self.client("bob")
        bob.asks("JOIN #c0")
        self.ann.sends(f"RELAYMSG #c0 joe{separator}elsewhere :hello")
        self.assertEqual(bob.messages()[0].source.split("!")[0], f"joe{separator}elsewhere")
        self.assertIn("INVALID_NICK", self.ann.asks("RELAYMSG #c0 joe :hello")[0])
        self.assertRefused(bob, f"NICK joe{separator}x", "432")

    @covers(
        "draft/account-registration before-connect",
        "draft/account-registration custom-account-name",
        "draft/account-registration email-required",
    )
    def test_account_registration(self) -> None:
        """Before the connection is complete, under another name, and without an address where none is asked for."""
        words = set(self.values["draft/account-registration"])
        self.assertEqual(words, {"before-connect", "custom-account-name"})
        client = self.world.connect()
        client.sends("CAP LS 302", "CAP REQ draft/account-registration", "NICK bob")
        client.lines()
        self.assertIn("REGISTER SUCCESS other", " ".join(client.asks("REGISTER other * sesame1")))
        accounts = {"before_connect": False, "require_email": True}
        self.world.server.use_config(make_config({"accounts": accounts, "mail": MAIL}))
        words = set(values_of(self.world)["draft/account-registration"].split(","))
        self.assertEqual(words, {"custom-account-name", "email-required"})
        client = self.world.connect()
        client.sends("CAP REQ draft/account-registration", "NICK joe")
        client.lines()
        self.assertIn("COMPLETE_CONNECTION_REQUIRED", client.asks("REGISTER joe * sesame1")[0])
        client.sends("USER joe 0 * :b", "CAP END")
        client.lines()
        self.assertIn("INVALID_EMAIL", client.asks("REGISTER joe * sesame1")[0])

    @covers("sasl EXTERNAL", "sasl PLAIN", "sasl SCRAM-SHA-256", "sasl SCRAM-SHA-256-PLUS")
    def test_sasl(self) -> None:
        """Mechanisms that are named begin, others are 908 with those that are."""
        named = set(self.values["sasl"])
        for mechanism in ("EXTERNAL", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1"):
            client = self.world.connect()
            client.sends("CAP REQ sasl")
            client.lines()
            with self.subTest(mechanism=mechanism):
                codes = client.codes(f"AUTHENTICATE {mechanism}")
                self.assertEqual(codes, ["AUTHENTICATE"] if mechanism in named else ["908", "904"])
        self.assertEqual(named, {"PLAIN", "SCRAM-SHA-256"})
        over_tls = self.world.connect(tls=True)
        [shown] = [word for word in " ".join(over_tls.asks("CAP LS 302")).split() if word.startswith("sasl=")]
        self.assertEqual(set(shown.removeprefix("sasl=").split(",")), {"EXTERNAL", "SCRAM-SHA-256-PLUS", *named})
        self.ann.asks("NS REGISTER sesame1")
        client = self.world.connect()
        client.sends("CAP REQ sasl")
        client.lines()
        self.assertEqual(client.codes(*plain("ann", "sesame1")), ["AUTHENTICATE", "900", "903"])


class Completeness(ServerTestCase):
    config: ClassVar[dict[str, Any]] = CONFIG

    def test_every_token_is_tried(self) -> None:
        """Everything that RPL_ISUPPORT can say has its test above."""
        assert tokens_of(self.client("ann")).keys() <= COVERED

    def test_every_value_is_tried(self) -> None:
        """So has every word of a capability's value."""
        self.world.server.use_config(make_config({**CONFIG, "accounts": {"require_email": True}, "mail": MAIL}))
        session = self.world.connect().session
        for name in CAPABILITIES:
            for word in (value_of(self.world.server, session, name) or "").split(","):
                if word:
                    assert f"{name} {word.partition('=')[0]}" in COVERED


def test_letters_are_all_there() -> None:
    """The table of modes, from which ISUPPORT is made, has no letter twice."""
    assert len(set(CHANNEL_MODES.letters)) == len(CHANNEL_MODES.letters)


@pytest.mark.parametrize("name", sorted(COVERED))
def test_what_is_tried_is_there(name: str) -> None:
    """No test stays behind for what is not said any more."""
    assert name.isupper() or name.split(" ")[0] in CAPABILITIES
