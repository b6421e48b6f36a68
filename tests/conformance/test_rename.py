"""Channels that get another name (IRCv3 draft/channel-rename)."""

from tests.harness import ServerTestCase, replay


class Rename(ServerTestCase):
    def test_those_who_know_and_those_who_do_not(self) -> None:
        """One RENAME, or PART, JOIN and what follows a JOIN; everything else of the channel stays."""
        ann, bob = self.on_channel("#old", "@ann", "+bob", caps="draft/channel-rename")
        plain = self.client("plain")
        plain.sends("JOIN #old")
        ann.sends("TOPIC #old :hi", "MODE #old +b bad!*@*", "INVITE root #old")
        self.oper("root")
        ann.sends("INVITE root #old")
        for client in (ann, bob, plain):
            client.lines()
        types = self.types_after(lambda: ann.sends("RENAME #old #New :Typo fix"))
        self.assertEqual(types, ["channel.rename"])
        self.assertReceives(ann, ":ann!~ann@192.0.2.1 RENAME #old #New :Typo fix")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 RENAME #old #New :Typo fix")
        lines = plain.lines()
        self.assertEqual(
            lines[:2], [":plain!~plain@192.0.2.1 PART #old :Typo fix", ":plain!~plain@192.0.2.1 JOIN #New"]
        )
        self.assertEqual([line.split()[1] for line in lines[2:]], ["332", "333", "353", "366"])
        channel = self.world.state.channels["#new"]
        self.assertEqual((channel.name, channel.topic.text), ("#New", "hi"))
        self.assertEqual(list(channel.members.values()), ["o", "v", ""])
        self.assertIn("bad!*@*", channel.lists["b"])
        self.assertEqual(len(channel.invites), 1)
        bob.sends("PRIVMSG #new :still here")
        self.assertReceives(plain, ":bob!~bob@192.0.2.1 PRIVMSG #New :still here")
        self.assertEqual(self.world.server.channels.get("#new").channel.name, "#New")
        self.assertIsNone(self.world.server.channels.get("#old"))

    def test_old_name_is_free(self) -> None:
        """Whoever joins it makes a new channel."""
        ann, bob = self.on_channel("#old", "@ann", "bob", caps="draft/channel-rename")
        ann.sends("RENAME #old #new")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 RENAME #old #new :")
        bob.sends("JOIN #old")
        self.assertEqual(self.world.state.channels["#old"].members, {bob.uid: "o"})

    def test_case_only(self) -> None:
        """It is allowed, and no PART and JOIN for those who do not know RENAME."""
        ann, bob = self.on_channel("#chan", "@ann", "bob")
        self.assertEqual(ann.codes("RENAME #chan #Chan"), [])
        self.assertReceives(bob)
        self.assertEqual(self.world.state.channels["#chan"].name, "#Chan")
        self.assertEqual(self.types_after(lambda: ann.sends("RENAME #chan #Chan")), [])

    def test_refusals(self) -> None:
        """Who may not, names that are taken or none, channels that were renamed a moment ago."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps="draft/channel-rename standard-replies")
        self.client("cat").sends("JOIN #taken")
        self.assertRefused(bob, "RENAME #c #d", "482")
        self.assertRefused(ann, "RENAME #nosuch #d", "403")
        self.assertRefused(ann, "RENAME #taken #d", "442")
        self.assertRefused(ann, "RENAME #c", "461")
        self.assertIn("FAIL RENAME CHANNEL_NAME_IN_USE #c #taken", ann.asks("RENAME #c #taken")[0])
        self.assertIn("FAIL RENAME CANNOT_RENAME #c &x", ann.asks("RENAME #c &x")[0])
        self.assertEqual(ann.codes("RENAME #c #d", "RENAME #d #c"), ["RENAME", "RENAME"])
        self.assertIn("FAIL RENAME CANNOT_RENAME #c #d", ann.asks("RENAME #c #d")[0])

    def test_registered_channel(self) -> None:
        """It takes its registration along, and needs the flag s."""
        ann, bob = self.on_channel("#c", "@ann", "@bob", caps="draft/channel-rename")
        ann.sends("NS REGISTER sesame1", "CS REGISTER #c")
        ann.lines()
        self.assertRefused(bob, "RENAME #c #d", "482")
        self.assertEqual(ann.codes("RENAME #c #d"), ["RENAME"])
        self.assertEqual(self.world.state.channels["#d"].registration.founder, "ann")

    def test_timed_ban_ends_under_the_new_name(self) -> None:
        """A ban with an end ends, whatever the channel is called by then."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("MODE #c +b ~t:5:x!*@*", "RENAME #c #d")
        self.assertEqual(len(self.world.state.channels["#d"].lists["b"]), 1)
        self.world.clock.advance(301)
        self.assertEqual(self.world.state.channels["#d"].lists, {})

    def test_after_a_restart(self) -> None:
        """The log has it: a registered channel is there under its new name."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("NS REGISTER sesame1", "CS REGISTER #c", "RENAME #c #d")
        self.world.store.commit()
        self.assertEqual(list(replay(self.world.store).channels), ["#d"])
        world = self.world.restart()
        self.assertEqual(list(world.state.channels), ["#d"])
        bob = world.client("bob")
        self.assertIn("353", bob.codes("JOIN #d"))
