"""NPC, NPCA, SCENE."""

from typing import Any, ClassVar

from slircd.wire.message import parse
from tests.harness import ServerTestCase


class RolePlay(ServerTestCase):
    def test_characters_speak(self) -> None:
        """All see it, who plays too, and see who plays; the words may come as one parameter or as many."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        self.assertRefused(bob, "NPC #c bilbo too much bread", "573")
        self.assertEqual(ann.codes("MODE #c +E"), ["MODE"])
        bob.lines()
        for line, seen in (
            ("NPC #c bilbo too much bread", ":*bilbo*!bob@npc.fakeuser.invalid PRIVMSG #c :too much bread"),
            ("NPC #c bilbo :too  much", ":*bilbo*!bob@npc.fakeuser.invalid PRIVMSG #c :too  much"),
            ("NPCA #c bilbo eats", ":*bilbo*!bob@npc.fakeuser.invalid PRIVMSG #c :\x01ACTION eats\x01"),
            ("SCENE #c a dark night", ":=Scene=!bob@npc.fakeuser.invalid PRIVMSG #c :a dark night"),
        ):
            with self.subTest(line):
                self.assertEqual(bob.asks(line), [seen])
                self.assertReceives(ann, seen)

    def test_refused(self) -> None:
        """Names that are none or a service's, no text, and all that the channel refuses of messages."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.asks("MODE #c +E")
        bob.lines()
        for line, code in (
            ("NPC #c bil!bo x", "573"),
            ("NPC #c nickserv x", "573"),
            ("NPC #c bilbo :  ", "412"),
            ("SCENE #c", "461"),
            ("NPC #none bilbo x", "403"),
        ):
            with self.subTest(line):
                self.assertRefused(bob, line, code)
        self.assertRefused(self.client("eve"), "SCENE #c x", "404")
        for mode in ("m", "f 1:60", "b bob!*@*"):
            ann.asks(f"MODE #c +{mode}")
            bob.asks("NPC #c bilbo first")
            self.assertRefused(bob, "NPCA #c bilbo x", "404")
            ann.asks(f"MODE #c -{mode[0]} {mode[2:]}")
            bob.lines()

    def test_no_ctcp(self) -> None:
        """A character says nothing that a client would answer."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.asks("MODE #c +E")
        bob.asks("NPC #c bilbo :\x01VERSION\x01")
        self.assertReceives(ann, ":*bilbo*!bob@npc.fakeuser.invalid PRIVMSG #c :VERSION")


class Kept(ServerTestCase):
    config: ClassVar[dict[str, Any]] = {"history": {"channels": True}}

    def test_history(self) -> None:
        """It is kept with who played, shown once to who plays, and played back."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps="message-tags batch draft/chathistory draft/relaymsg")
        ann.asks("MODE #c +E")
        echoing = self.client("eve", caps="echo-message")
        echoing.asks("JOIN #c")
        bob.lines()
        [shown] = [parse(line.encode()) for line in bob.asks("NPC #c bilbo hello")]
        self.assertEqual((shown.source, shown.tags["draft/relaymsg"]), ("*bilbo*!bob@npc.fakeuser.invalid", "bob"))
        self.assertEqual(len(echoing.asks("SCENE #c night")), 1)
        [said, _] = self.events_of("message.privmsg")
        self.assertEqual((said.actor_uid, said.relayed_by, said.text), (bob.uid, "bob", "hello"))
        lines = ann.asks("CHATHISTORY LATEST #c * 10")
        self.assertTrue(any("*bilbo*!bob@" in line and line.endswith(":hello") for line in lines))
