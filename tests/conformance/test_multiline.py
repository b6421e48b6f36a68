"""Messages of several lines (IRCv3 draft/multiline)."""

from slircd.wire.message import Message
from tests.harness import FakeClient, ServerTestCase

CAPS = "message-tags batch echo-message server-time labeled-response draft/multiline standard-replies"


class Multiline(ServerTestCase):
    config = {"limits": {"multiline_lines": 4, "multiline_bytes": 512}}

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob = self.on_channel("#c", "@ann", "bob", caps=CAPS)
        self.old = self.client("old", caps="message-tags server-time")
        self.old.sends("JOIN #c")
        for client in (self.ann, self.bob, self.old):
            client.lines()

    def opens(self, *lines: str, target: str = "#c", tags: str = "") -> None:
        self.ann.sends(f"{tags}BATCH +1 draft/multiline {target}", *lines)

    def says(self, *lines: str, target: str = "#c", tags: str = "") -> None:
        """Ann sends one message; a line that begins with + continues the one before it."""
        texts = [
            f"@batch=1;draft/multiline-concat PRIVMSG {target} :{line[1:]}"
            if line.startswith("+")
            else f"@batch=1 PRIVMSG {target} :{line}"
            for line in lines
        ]
        self.opens(*texts, "BATCH -1", target=target, tags=tags)

    def sees(self, client: FakeClient) -> list[Message]:
        return client.messages()

    def fails(self, *context: str) -> None:
        [message] = self.ann.messages()
        self.assertEqual((message.command, *message.params[: 1 + len(context)]), ("FAIL", "BATCH", *context))
        self.assertEqual(self.bob.lines(), [])

    def test_delivery(self) -> None:
        """One batch with id, time and label on its first line; its lines as they were split."""
        self.says("hello", "how is ", "+everyone?", tags="@label=xyz;+x=1 ")
        echo = self.sees(self.ann)
        self.assertEqual([message.command for message in echo], ["BATCH", "PRIVMSG", "PRIVMSG", "PRIVMSG", "BATCH"])
        self.assertEqual([message.tags.get("label") for message in echo], ["xyz", None, None, None, None])
        relayed = self.sees(self.bob)
        first, *lines, last = relayed
        self.assertEqual(first.params[1:], ("draft/multiline", "#c"))
        self.assertEqual(last.params, ("-" + first.params[0][1:],))
        self.assertEqual((first.tags["msgid"], first.tags["+x"]), (echo[0].tags["msgid"], "1"))
        self.assertIn("time", first.tags)
        self.assertEqual([line.params[1] for line in lines], ["hello", "how is ", "everyone?"])
        self.assertEqual([dict(line.tags) for line in lines[:2]], [{"batch": first.params[0][1:]}] * 2)
        self.assertIn("draft/multiline-concat", lines[2].tags)

    def test_fallback(self) -> None:
        """Clients without it get the lines that are not blank, the id on the first."""
        self.says("", "one ", "+two")
        lines = self.sees(self.old)
        self.assertEqual([(line.command, line.params[1]) for line in lines], [("PRIVMSG", "one "), ("PRIVMSG", "two")])
        self.assertEqual([bool(line.tags.get("msgid")) for line in lines], [True, False])
        self.assertTrue(all("batch" not in line.tags and "draft/multiline-concat" not in line.tags for line in lines))
        self.assertEqual([line.params[1] for line in self.sees(self.bob)[1:-1]], ["", "one ", "two"])

    def test_private_and_away(self) -> None:
        """To a user it works the same; with more than the echo to answer, a label is on a batch around both."""
        self.bob.sends("AWAY :x")
        self.bob.lines()
        self.says("a", "b", target="bob", tags="@label=l ")
        answers = self.sees(self.ann)
        self.assertEqual((answers[0].params[1], answers[0].tags["label"]), ("labeled-response", "l"))
        self.assertEqual(
            [message.command for message in answers[1:-1]], ["BATCH", "PRIVMSG", "PRIVMSG", "BATCH", "301"]
        )
        self.assertEqual(len(self.sees(self.bob)), 4)

    def test_limits_are_those_that_are_shown(self) -> None:
        """max-lines and max-bytes of the capability's value are exactly what fits."""
        shown = " ".join(self.client("new").asks("CAP LS 302"))
        self.assertIn("draft/multiline=max-bytes=512,max-lines=4", shown)
        self.says("a", "b", "c", "d")
        self.assertEqual(len(self.sees(self.bob)), 6)
        self.ann.lines()
        self.opens(*["@batch=1 PRIVMSG #c a"] * 5)
        self.fails("MULTILINE_MAX_LINES", "4")
        self.ann.sends("@batch=1 PRIVMSG #c a", "BATCH -1")
        self.assertEqual(self.ann.lines(), [])
        self.says("x" * 255, "y" * 256)
        self.assertEqual(len(self.sees(self.bob)), 4)
        self.ann.lines()
        self.opens("@batch=1 PRIVMSG #c " + "x" * 256, "@batch=1 PRIVMSG #c " + "y" * 256)
        self.fails("MULTILINE_MAX_BYTES", "512")

    def test_what_is_wrong(self) -> None:
        """Each mistake is one FAIL, and nothing of the message is delivered."""
        privmsg = "@batch=1 PRIVMSG #c a"
        for lines, context in (
            (["@batch=2 PRIVMSG #c a"], ("MULTILINE_INVALID",)),
            ([privmsg, "@batch=1;draft/multiline-concat PRIVMSG #c :"], ("MULTILINE_INVALID",)),
            ([privmsg, "@batch=1 NOTICE #c b"], ("MULTILINE_INVALID",)),
            ([privmsg, "@batch=1 PRIVMSG #d b"], ("MULTILINE_INVALID_TARGET", "#c", "#d")),
            ([privmsg, "@batch=1 JOIN #d"], ("MULTILINE_INVALID",)),
            (["@batch=1 PRIVMSG #c :", "BATCH -1"], ("MULTILINE_INVALID",)),
            (["BATCH -1"], ("MULTILINE_INVALID",)),
        ):
            with self.subTest(lines=lines):
                self.opens(*lines)
                self.fails(*context)
                self.ann.sends("BATCH -1")
                self.ann.lines()

    def test_wrong_batches(self) -> None:
        """Other types, references and targets are refused, and what follows of them is ignored."""
        for line, context in (
            ("BATCH +1 other #c", ("UNKNOWN_TYPE", "1", "other")),
            ("BATCH +a!b draft/multiline #c", ("INVALID_REFTAG",)),
            ("BATCH x draft/multiline #c", ("INVALID_REFTAG",)),
            ("BATCH +1 draft/multiline NickServ", ("MULTILINE_INVALID_TARGET",)),
            ("BATCH +1 draft/multiline #c,#d", ("MULTILINE_INVALID_TARGET",)),
        ):
            with self.subTest(line=line):
                self.ann.sends(line)
                self.fails(*context)
                self.ann.sends("BATCH -1")
                self.ann.lines()
        self.assertEqual(self.client("plain").codes("BATCH +1 draft/multiline #c"), ["421"])

    def test_another_command_ends_the_batch(self) -> None:
        """It is run, and the message that was not finished is refused; PING may come at any time."""
        self.opens("@batch=1 PRIVMSG #c a", "PING x", "PRIVMSG #c :plain")
        self.assertEqual([message.command for message in self.ann.messages()], ["PONG", "FAIL", "PRIVMSG"])
        self.assertEqual([message.params for message in self.bob.messages()], [("#c", "plain")])

    def test_open_for_too_long(self) -> None:
        """A batch that is left open is given up."""
        self.opens()
        self.world.clock.advance(61)
        self.ann.sends("@batch=1 PRIVMSG #c a")
        self.fails("TIMEOUT", "1")

    def test_channel_may_refuse(self) -> None:
        """The rules of the channel hold for the whole message, and stripped formatting is stripped in each line."""
        self.ann.sends("MODE #c +S")
        self.ann.lines()
        self.bob.lines()
        self.says("\x02a", "b\x03")
        self.assertEqual([line.params[1] for line in self.sees(self.bob)[1:-1]], ["a", "b"])
        self.ann.sends("PART #c")
        self.ann.lines()
        self.bob.lines()
        self.says("a", "b")
        self.assertEqual([message.command for message in self.sees(self.ann)], ["404"])
        self.assertEqual(self.bob.lines(), [])
