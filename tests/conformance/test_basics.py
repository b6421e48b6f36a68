"""What the public suite asks of every server and no other page of tests does."""

from base64 import b64encode
from typing import Any, ClassVar

from slircd.commands.capability import offered
from slircd.commands.registry import COMMANDS
from slircd.wire.capabilities import CAPABILITIES
from slircd.wire.message import parse
from tests.harness import FakeClient, ServerTestCase, words_of

COMMANDS_OF = {
    "draft/account-registration": ("REGISTER", "VERIFY"),
    "draft/channel-rename": ("RENAME",),
    "draft/chathistory": ("CHATHISTORY",),
    "draft/extended-isupport": ("ISUPPORT",),
    "draft/message-redaction": ("REDACT",),
    "draft/metadata-2": ("METADATA",),
    "draft/metadata-3": ("METADATA",),
    "draft/multiline": ("BATCH",),
    "draft/pre-away": ("AWAY",),
    "draft/read-marker": ("MARKREAD",),
    "draft/relaymsg": ("RELAYMSG",),
    "message-tags": ("TAGMSG",),
    "sasl": ("AUTHENTICATE",),
    "setname": ("SETNAME",),
}
"""Capabilities and the commands that come with them."""


def plain(name: str, password: str) -> list[str]:
    """The lines of a log-in by SASL PLAIN."""
    text = b64encode(f"{name}\0{name}\0{password}".encode()).decode()
    chunks = [text[start : start + 400] for start in range(0, len(text), 400)]
    return [
        "AUTHENTICATE PLAIN",
        *(f"AUTHENTICATE {chunk}" for chunk in [*chunks, *(["+"] if len(text) % 400 == 0 else [])]),
    ]


class Advertised(ServerTestCase):
    config: ClassVar[dict[str, Any]] = {"history": {"channels": True, "direct": True}}

    def test_no_capability_without_its_command(self) -> None:
        """What is offered can be asked for, and its commands are there."""
        ann = self.client("ann")
        known = offered(self.world.server, ann.session)
        self.assertEqual(set(known), set(CAPABILITIES))
        for name in known:
            self.assertIn(f"ACK :{name}", ann.asks(f"CAP REQ :{name}")[0])
            for command in COMMANDS_OF.get(name, ()):
                self.assertIn(command, COMMANDS)
                self.assertNotIn("421", ann.codes(command))

    def test_forms_of_the_welcome(self) -> None:
        """004 has letters only in its mode fields; no value of 005 has a second =; every line is UTF-8 of 512 bytes."""
        client = self.world.connect()
        lines = client.asks("NICK ann", "USER a 0 * :a")
        [mine] = words_of(lines, "004")
        self.assertTrue(all(field.isalpha() for field in mine[3:]), mine)
        tokens = [word for words in words_of(lines, "005") for word in words[1:-1]]
        self.assertTrue(all(token.count("=") <= 1 for token in tokens))
        self.assertTrue(all(len(line.encode()) <= 510 for line in lines))


class Passwords(ServerTestCase):
    config: ClassVar[dict[str, Any]] = {"accounts": {"sasl_plain_without_tls": True}}

    def registers(self, password: str) -> None:
        client = self.client("ann")
        client.sends(f"REGISTER * * :{password}")
        self.assertIn("REGISTER SUCCESS ann", " ".join(client.lines()))
        client.sends("QUIT")

    def logs_in(self, password: str) -> list[str]:
        client = self.world.connect()
        client.sends("CAP REQ sasl")
        client.lines()
        return client.codes(*plain("ann", password))

    def test_long(self) -> None:
        """One of 592 bytes, whose log-in is exactly two chunks, and then +."""
        self.registers("x" * 592)
        self.assertEqual(self.logs_in("x" * 592), ["AUTHENTICATE", "900", "903"])
        self.assertEqual(self.logs_in("x" * 591), ["AUTHENTICATE", "904"])

    def test_long_lines_are_for_secrets_alone(self) -> None:
        """No other command may be longer than 512, and no line goes on for ever."""
        ann = self.client("ann")
        self.assertEqual(ann.codes("PRIVMSG ann :" + "x" * 500), ["417"])
        self.assertEqual(ann.codes("REGISTER * * :" + "x" * 2040), ["417"])

    def test_other_scripts(self) -> None:
        """Any letters; equal after composition (RFC 8265, OpaqueString)."""
        self.registers("pässwörd \N{CAT FACE}")
        self.assertEqual(self.logs_in("pa\N{COMBINING DIAERESIS}sswörd \N{CAT FACE}"), ["AUTHENTICATE", "900", "903"])


class Order(ServerTestCase):
    config: ClassVar[dict[str, Any]] = {"accounts": {"sasl_plain_without_tls": True}}

    def test_answers_stand_before_the_next_pong(self) -> None:
        """Also those of commands that wait for a hash, and what they cause for others is there by then."""
        ann = self.client("ann", caps="account-notify")
        bob = self.client("bob", caps="account-notify")
        for client in (ann, bob):
            client.sends("JOIN #c")
            client.lines()
        ann.sends("NS REGISTER sesame1", "PING x")
        codes = [message.command for message in ann.messages()]
        self.assertEqual(codes[-1], "PONG")
        self.assertIn("900", codes[:-1])
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 ACCOUNT ann")

    def test_own_account_is_told_once(self) -> None:
        """Whoever logs in has its 900, and no ACCOUNT beside it."""
        ann = self.client("ann", caps="account-notify sasl")
        ann.sends("NS REGISTER sesame1", "NS LOGOUT")
        ann.lines()
        self.assertEqual(ann.codes(*plain("ann", "sesame1")), ["AUTHENTICATE", "900", "903"])

    def test_again(self) -> None:
        """Logging in again, also to another account, works after registration (IRCv3 sasl-3.2)."""
        for nick in ("ann", "bob"):
            client = self.client(nick)
            client.sends(f"NS REGISTER word-{nick}")
        for name in ("ann", "bob"):
            self.assertEqual(client.codes(*plain(name, f"word-{name}")), ["AUTHENTICATE", "900", "903"])
            self.assertEqual(self.world.state.user_by_nick("bob").account, name)


class Services(ServerTestCase):
    config: ClassVar[dict[str, Any]] = {"server": {"services_name": "services.test"}}

    def test_server_of_their_own(self) -> None:
        """LINKS, WHOIS and WHO show them under the name that they were given."""
        ann = self.client("ann")
        lines = ann.asks("LINKS")
        self.assertEqual(
            [words[1:3] for words in words_of(lines, "364")], [["irc.test"] * 2, ["services.test", "irc.test"]]
        )
        self.assertEqual(words_of(ann.asks("WHOIS NickServ"), "312")[0][2], "services.test")
        self.assertEqual(words_of(ann.asks("WHOIS ann"), "312")[0][2], "irc.test")
        self.assertEqual(words_of(ann.asks("WHO NickServ %sn"), "354"), [["ann", "services.test", "NickServ"]])


class Invitations(ServerTestCase):
    def invited(self) -> FakeClient:
        ann = self.on_channel("#c", "@ann")[0]
        bob = self.client("bob")
        ann.sends("MODE #c +l 1")
        self.assertRefused(bob, "JOIN #c", "471")
        ann.sends("INVITE bob #c")
        bob.lines()
        return bob

    def test_past_the_limit(self) -> None:
        """An invitation lets past +l, once; until then INVITE without parameters lists it."""
        bob = self.invited()
        self.assertEqual(bob.asks("INVITE"), [":irc.test 336 bob #c", ":irc.test 337 bob :End of /INVITE list"])
        self.assertIn("JOIN", bob.codes("JOIN #c"))
        self.assertEqual(bob.codes("INVITE"), ["337"])
        bob.sends("PART #c")
        bob.lines()
        self.assertRefused(bob, "JOIN #c", "471")

    def test_names_of_several_channels(self) -> None:
        """NAMES answers for each, and ends once."""
        ann = self.client("ann")
        ann.sends("JOIN #a,#b")
        ann.lines()
        codes = [parse(line.encode()).command for line in ann.asks("NAMES #a,#b")]
        self.assertEqual(codes, ["353", "353", "366"])
