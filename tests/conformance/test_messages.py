"""Client-only tags, and messages of bridges."""

from slircd.wire.client_tags import ClientTags
from slircd.wire.message import parse
from tests.harness import ServerTestCase, World, make_config, words_of

RELAYING = "message-tags echo-message labeled-response batch standard-replies"


def test_list_of_denied_tags() -> None:
    """Names are denied; * denies all but those with a - before them."""
    some = ClientTags(["draft/typing", "x"])
    assert [some.allows(name) for name in ("+draft/typing", "+x", "+reply")] == [False, False, True]
    most = ClientTags(["*", "-typing", "-draft/react"])
    assert [most.allows(name) for name in ("+typing", "+draft/react", "+x")] == [True, True, False]
    assert ClientTags([]).of({"+a": "1", "b": "2"}) == {"+a": "1"}


class ClientOnlyTags(ServerTestCase):
    config = {"limits": {"client_tags_denied": ["*", "-typing", "-draft/reply"]}}

    def test_denied_tags_are_dropped(self) -> None:
        """ISUPPORT shows the list, and it is what is enforced."""
        client = self.world.connect()
        tokens = [word for words in words_of(client.asks("NICK new", "USER a 0 * :a"), "005") for word in words]
        self.assertIn("CLIENTTAGDENY=*,-typing,-draft/reply", tokens)
        ann, bob = self.on_channel("#c", "ann", "bob", caps="message-tags")
        ann.sends("@+typing=active;+other=1 TAGMSG #c", "@+other=1 TAGMSG #c", "@+draft/reply=x;+b PRIVMSG #c :a")
        seen = bob.messages()
        self.assertEqual([message.command for message in seen], ["TAGMSG", "PRIVMSG"])
        self.assertEqual(
            [name for message in seen for name in message.tags if name[0] == "+"], ["+typing", "+draft/reply"]
        )

    def test_react_and_reply(self) -> None:
        """Without a list all client-only tags pass, to those who know tags."""
        world = World(config=make_config())
        ann, bob, old = (
            world.client("ann", caps="message-tags"),
            world.client("bob", caps="message-tags"),
            world.client("old"),
        )
        for client in (ann, bob, old):
            client.sends("JOIN #c")
        bob.lines()
        old.lines()
        ann.sends("@+draft/react=ok;+draft/reply=id TAGMSG #c")
        [message] = bob.messages()
        self.assertEqual((message.tags["+draft/react"], message.tags["+draft/reply"]), ("ok", "id"))
        self.assertEqual(old.lines(), [])


class Relay(ServerTestCase):
    def test_operator_relays(self) -> None:
        """The message has the relayed nick; who asks for it is told who relayed."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps=RELAYING)
        bridge = self.client("bridge", caps="draft/relaymsg")
        bridge.sends("JOIN #c")
        bridge.lines()
        ann.lines()
        bob.lines()
        [echo] = [parse(line.encode()) for line in ann.asks("@label=x RELAYMSG #c smt/discord :hi there")]
        self.assertEqual((echo.source, echo.tags["label"]), ("smt/discord!~ann@192.0.2.1", "x"))
        [seen] = bob.messages()
        self.assertEqual((seen.command, seen.params), ("PRIVMSG", ("#c", "hi there")))
        self.assertNotIn("draft/relaymsg", seen.tags)
        self.assertEqual(bridge.messages()[0].tags["draft/relaymsg"], "ann")

    def test_who_may_not(self) -> None:
        """Ordinary members, nicks that somebody here could have, and what the channel forbids are refused."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps=RELAYING)
        for client, line, code in (
            (ann, "RELAYMSG #c invalid!nick/discord hi", "INVALID_NICK"),
            (ann, "RELAYMSG #c nick hi", "INVALID_NICK"),
            (ann, "RELAYMSG #c /discord hi", "INVALID_NICK"),
            (bob, "RELAYMSG #c smt/discord hi", "PRIVS_NEEDED"),
        ):
            [message] = [parse(text.encode()) for text in client.asks(line)]
            self.assertEqual(message.params[:2], ("RELAYMSG", code))
        self.assertRefused(ann, "RELAYMSG #nosuch a/b hi", "403")
        self.assertRefused(ann, "RELAYMSG #c a/b", "461")
        ann.sends("MODE #c +c")
        self.assertRefused(ann, "RELAYMSG #c a/b :\x02bold", "404")

    def test_switched_off(self) -> None:
        """Without relaying the command is unknown and the capability is not there."""
        world = World(config=make_config({"relay": {"enabled": False}}))
        ann = world.client("ann")
        self.assertEqual(ann.codes("RELAYMSG #c a/b hi"), ["421"])
        self.assertNotIn("relaymsg", " ".join(ann.asks("CAP LS 302")))
        self.assertIn("NAK", ann.asks("CAP REQ draft/relaymsg")[0])
