"""ChanServ: registered channels, access, settings; and their past."""

from __future__ import annotations

from typing import Any

from slircd.rules.registration import parse_flags
from slircd.state.access import FLAGS, TEMPLATES
from slircd.state.model import Channel
from tests.harness import FakeClient, ServerTestCase, words_of
from tests.services.test_accounts import WORD


class ChanServTestCase(ServerTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.ann = self.account("ann")
        self.ann.sends("JOIN #c")
        self.says(self.ann, "REGISTER #c")

    def account(self, nick: str, **options: Any) -> FakeClient:
        client = self.client(nick, **options)
        client.asks(f"NS REGISTER {WORD}")
        return client

    def says(self, client: FakeClient, text: str) -> list[str]:
        lines = client.asks(f"PRIVMSG ChanServ :{text}")
        return [line.split(" :", 1)[1] for line in lines if line.startswith(":ChanServ!") and " NOTICE " in line]

    @property
    def channel(self) -> Channel:
        return self.world.state.channels["#c"]

    def modes_of(self, client: FakeClient) -> str:
        return self.channel.members[client.uid]


class Registering(ChanServTestCase):
    def test_register(self) -> None:
        """An operator with an account registers, and is owner from then on."""
        assert self.channel.registration is not None
        self.assertEqual(self.channel.registration.founder, "ann")
        self.assertEqual(self.modes_of(self.ann), "qo")
        self.assertIn("registered already", self.says(self.ann, "REGISTER #c")[0])
        bob = self.client("bob")
        bob.sends("JOIN #d")
        self.assertIn("not logged in", self.says(bob, "REGISTER #d")[0])
        bob.asks(f"NS REGISTER {WORD}")
        self.assertIn(
            "must be an operator", self.says(bob, "REGISTER #c")[0].replace("registered already", "must be an operator")
        )
        self.assertIn("#d is registered", self.says(bob, "REGISTER #d")[0])

    def test_stays_when_empty_and_across_restarts(self) -> None:
        """Topic, modes, lists and access stay; the founder gets its modes back, others get none."""
        self.ann.sends("TOPIC #c :stays", "MODE #c +sk key", "MODE #c +b bad!*@*", "PART #c")
        self.says(self.ann, "FLAGS #c *!*@198.51.100.* +V")
        self.assertIn("#c", self.world.state.channels)
        self.world = self.world.restart(crash=True)
        bob = self.client("bob", address="198.51.100.7")
        bob.sends("JOIN #c key")
        self.assertEqual(self.modes_of(bob), "v")
        ann = self.client("ann")
        ann.asks(f"NS IDENTIFY {WORD}")
        lines = ann.asks("JOIN #c key")
        self.assertEqual(words_of(lines, "332")[0][2], "stays")
        self.assertEqual(self.modes_of(ann), "qo")
        self.assertIn(":ChanServ!ChanServ@services MODE #c +qo ann ann", lines)
        self.assertEqual(list(self.channel.lists["b"]), ["bad!*@*"])

    def test_modes_come_with_the_account(self) -> None:
        """Who identifies while on the channel gets its modes then."""
        self.ann.sends("NS LOGOUT", "PART #c", "JOIN #c")
        self.assertEqual(self.modes_of(self.ann), "")
        self.ann.sends(f"NS IDENTIFY {WORD}")
        self.assertEqual(self.modes_of(self.ann), "qo")

    def test_empty_registered_channels_are_not_listed(self) -> None:
        """LIST shows where somebody is; ChanServ LIST shows what is registered."""
        self.ann.sends("PART #c")
        self.assertEqual(words_of(self.ann.asks("LIST"), "322"), [])
        self.assertIn("1 found", self.says(self.ann, "LIST *"))

    def test_drop(self) -> None:
        """The founder drops, naming the channel twice; an empty channel ends."""
        bob = self.account("bob")
        self.assertIn("Only the founder", self.says(bob, "DROP #c #c")[0])
        self.assertIn("To drop", self.says(self.ann, "DROP #c #d")[0])
        self.ann.sends("PART #c")
        self.assertEqual(
            self.types_after(lambda: self.ann.sends("CS DROP #c #c")), ["services.chan_drop", "channel.destroy"]
        )

    def test_account_that_is_dropped(self) -> None:
        """Its channels go to the successor, or are dropped; its access entries go."""
        bob = self.account("bob")
        self.ann.sends("JOIN #d")
        self.says(self.ann, "REGISTER #d")
        self.says(self.ann, "SET #c SUCCESSOR bob")
        bob.sends("JOIN #e")
        self.says(bob, "REGISTER #e")
        self.says(bob, "FLAGS #e ann AOP")
        self.ann.sends("PART #d", f"NS DROP {WORD}")
        assert self.channel.registration is not None
        self.assertEqual(self.channel.registration.founder, "bob")
        self.assertNotIn("#d", self.world.state.channels)
        self.assertEqual(self.world.state.channels["#e"].registration.access, {})


class Access(ChanServTestCase):
    def test_flags(self) -> None:
        """They are shown, changed and taken off, for accounts and masks, and give modes on joining."""
        bob = self.account("bob")
        self.says(self.ann, "FLAGS #c bob +OoVt")
        self.assertIn("bob +VoOt", " ".join(self.says(self.ann, "FLAGS #c")))
        bob.sends("JOIN #c")
        self.assertEqual(self.modes_of(bob), "o")
        self.says(self.ann, "FLAGS #c bob -*")
        self.assertEqual(self.channel.registration.access, {})

    def test_templates(self) -> None:
        """XOP names and ACCESS are the same list."""
        bob = self.account("bob")
        for command in ("AOP #c ADD bob", "ACCESS #c ADD bob AOP", "FLAGS #c bob AOP"):
            self.says(self.ann, command)
            self.assertEqual(self.channel.registration.access["bob"].flags, parse_flags("AOP", ""))
            self.says(self.ann, "ACCESS #c DEL bob")
        self.assertIn("VOP <channel>", self.says(self.ann, "HELP VOP")[0])
        self.assertTrue(bob.uid)

    def test_nobody_gives_what_he_has_not(self) -> None:
        """f alone is not enough; F is the founder's; everybody may leave the list."""
        bob, _ = self.account("bob"), self.account("eve")
        self.assertIn("You need the flag", self.says(bob, "FLAGS #c")[0])
        self.says(self.ann, "FLAGS #c bob +fvA")
        self.assertIn("You need the flag", self.says(bob, "FLAGS #c eve +o")[0])
        self.assertEqual(self.says(bob, "FLAGS #c eve +v"), ["Done."])
        self.says(self.ann, "FLAGS #c bob +F")
        self.assertIn("Only the founder", self.says(bob, "FLAGS #c eve +F")[0])
        self.assertEqual(self.says(bob, "FLAGS #c bob -*"), ["Done."])
        for change, answer in (("+Y", "no flag"), ("+bo", "stands alone")):
            self.assertIn(answer, self.says(self.ann, f"FLAGS #c eve {change}")[0])
        self.assertIn("no account", self.says(self.ann, "FLAGS #c nobody +v")[0])
        self.assertIn("all rights", self.says(self.ann, "FLAGS #c ann +v")[0])

    def test_akick(self) -> None:
        """Members who match are kicked, later ones are refused; the reason is on the list."""
        bob = self.client("bob")
        bob.sends("JOIN #c")
        self.says(self.ann, "AKICK #c ADD bob!*@* go away")
        self.assertNotIn(bob.uid, self.channel.members)
        self.assertIn(":ChanServ!ChanServ@services KICK #c bob :go away", bob.lines())
        self.assertRefused(bob, "JOIN #c", "474")
        self.assertIn("go away", self.says(self.ann, "AKICK #c LIST")[0])
        self.says(self.ann, "AKICK #c DEL bob!*@*")
        self.assertIn("JOIN", bob.codes("JOIN #c"))

    def test_status_and_why(self) -> None:
        """Flags, and where they come from; of others for who has flag A."""
        bob = self.account("bob")
        self.says(self.ann, "FLAGS #c bob +v")
        self.says(self.ann, "FLAGS #c *!*@192.0.2.* +V")
        self.assertEqual(self.says(bob, "STATUS #c"), ["bob has +vV on #c."])
        why = self.says(self.ann, "WHY #c bob")
        self.assertIn("is logged in as bob, which has +v, set by ann", why[0])
        self.assertIn("matches *!*@192.0.2.*, which has +V", why[1])
        self.assertIn("founder", self.says(self.ann, "WHY #c")[0])
        self.assertIn("You need the flag A", self.says(bob, "WHY #c ann")[0])

    def test_flags_are_explained(self) -> None:
        """FLAGLIST has every letter, templates use none but those."""
        text = " ".join(self.says(self.ann, "FLAGLIST"))
        self.assertTrue(all(f"+{flag} " in text for flag in FLAGS))
        self.assertTrue(all(set(flags) <= set(FLAGS) for flags in TEMPLATES.values()))


class Doing(ChanServTestCase):
    def test_giving_and_taking(self) -> None:
        """OP, DEOP and the others, by who has the flag; the log has who asked."""
        bob = self.account("bob")
        bob.sends("JOIN #c")
        for word, mode in (("VOICE", "v"), ("HALFOP", "h"), ("OP", "o"), ("PROTECT", "a"), ("OWNER", "q")):
            self.says(self.ann, f"{word} #c bob")
            self.assertIn(mode, self.modes_of(bob))
            self.says(self.ann, f"DE{word} #c bob")
            self.assertNotIn(mode, self.modes_of(bob))
        event = self.events_of("channel.mode_change")[-1]
        self.assertEqual((event.actor_uid, event.nick), ("chanserv", "ann"))
        self.assertIn("You need the flag o", self.says(bob, "OP #c")[0])
        self.assertIn("is not on", self.says(self.ann, "OP #c nobody")[0])

    def test_kick_ban_unban_invite(self) -> None:
        """ChanServ does it for who may."""
        bob = self.account("bob")
        bob.sends("JOIN #c")
        self.says(self.ann, "BAN #c bob")
        self.says(self.ann, "KICK #c bob enough")
        self.assertIn(":ChanServ!ChanServ@services KICK #c bob :(ann) enough", bob.lines())
        self.assertRefused(bob, "JOIN #c", "474")
        self.says(self.ann, "UNBAN #c bob")
        self.ann.sends("MODE #c +i")
        self.assertRefused(bob, "JOIN #c", "473")
        self.says(self.ann, "FLAGS #c bob +i")
        self.says(bob, "INVITE #c")
        self.assertIn("JOIN", bob.codes("JOIN #c"))

    def test_no_link_by_lock(self) -> None:
        """A lock could lead people to a channel that does not want them."""
        self.assertIn("operator of the channel", self.says(self.ann, "SET #c MLOCK +nL #other")[0])
        self.says(self.ann, "SET #c MLOCK +n-L")
        self.assertEqual(self.world.state.channels["#c"].registration.settings["mlock"], "+n-L")

    def test_invite_past_a_ban(self) -> None:
        """Only who might lift the ban (flag r) gets past it by an invitation."""
        bob = self.account("bob")
        self.says(self.ann, "FLAGS #c bob +i")
        self.ann.sends("MODE #c +b bob!*@*")
        self.says(bob, "INVITE #c")
        self.assertRefused(bob, "JOIN #c", "474")
        self.says(self.ann, "FLAGS #c bob +r")
        self.says(bob, "INVITE #c")
        self.assertIn("JOIN", bob.codes("JOIN #c"))

    def test_clear_and_recover(self) -> None:
        """Lists, modes, prefixes and members go; RECOVER opens the channel to who asks."""
        bob, eve = self.account("bob"), self.client("eve")
        for client in (bob, eve):
            client.sends("JOIN #c")
        self.ann.sends("MODE #c +bbe a b c", "MODE #c +ikov key bob eve")
        self.says(self.ann, "CLEAR #c BANS")
        self.assertEqual(list(self.channel.lists), ["e"])
        self.says(self.ann, "CLEAR #c EXCEPTS")
        self.says(self.ann, "CLEAR #c MODES")
        self.assertEqual((self.channel.flags, self.channel.params), (set(), {}))
        self.says(self.ann, "CLEAR #c VOICES")
        self.assertEqual(self.modes_of(eve), "")
        self.ann.sends("MODE #c +imb ann!*@*", "MODE #c -qo ann ann")
        self.says(self.ann, "RECOVER #c")
        self.assertEqual((self.modes_of(self.ann), self.modes_of(bob)), ("o", ""))
        self.assertEqual(self.channel.lists, {})
        self.says(self.ann, "SYNC #c")
        self.assertEqual(self.modes_of(self.ann), "qo")
        self.says(self.ann, "CLEAR #c USERS")
        self.assertEqual(list(self.channel.members), [self.ann.uid])
        self.assertIn("CLEAR BANS", self.says(self.ann, "CLEAR #c NONSENSE")[0])

    def test_topic(self) -> None:
        """By who has flag t, from anywhere; TOPICLOCK leaves it to them."""
        bob = self.account("bob")
        self.assertIn("flag t", self.says(bob, "TOPIC #c x")[0])
        self.says(self.ann, "FLAGS #c bob +t")
        self.says(bob, "TOPIC #c a new topic")
        self.assertEqual(self.channel.topic.text, "a new topic")
        self.says(self.ann, "SET #c TOPICLOCK ON")
        eve = self.client("eve")
        eve.sends("JOIN #c")
        self.ann.sends("MODE #c +o eve")
        eve.lines()
        self.assertRefused(eve, "TOPIC #c :mine", "482")


class Settings(ChanServTestCase):
    def test_mlock(self) -> None:
        """Locked modes are set at once and cannot be changed: 742."""
        self.says(self.ann, "SET #c MLOCK +ml-s 50")
        self.assertIn("m", self.channel.flags)
        self.assertEqual(self.channel.params["l"], "50")
        self.ann.lines()
        for change in ("-m", "+s", "-l", "+l 60"):
            self.assertRefused(self.ann, f"MODE #c {change}", "742")
        self.assertEqual(self.ann.codes("MODE #c +i"), ["MODE"])
        for bad in ("+b", "+o ann", "+mm", "+P", "+l"):
            self.assertIn(
                "A lock has" if bad != "+P" else "for IRC operators", self.says(self.ann, f"SET #c MLOCK {bad}")[0]
            )
        self.says(self.ann, "SET #c MLOCK")
        self.assertEqual(self.ann.codes("MODE #c -m"), ["MODE"])

    def test_guard(self) -> None:
        """ChanServ sits on the channel, and nobody removes it."""
        self.says(self.ann, "SET #c GUARD ON")
        self.assertIn("&ChanServ", self.ann.asks("NAMES #c")[0])
        self.assertRefused(self.ann, "KICK #c ChanServ", "483")
        self.assertRefused(self.ann, "MODE #c -a ChanServ", "482")
        self.ann.sends("PART #c")
        self.world = self.world.restart(crash=True)
        self.assertEqual(list(self.channel.members), ["chanserv"])
        ann = self.client("ann")
        ann.asks(f"NS IDENTIFY {WORD}")
        self.says(ann, "SET #c GUARD OFF")
        self.assertEqual(self.channel.members, {})

    def test_others(self) -> None:
        """ENTRYMSG is told on joining, KEEPTOPIC OFF forgets, RESTRICTED keeps out, FOUNDER hands over."""
        self.says(self.ann, "SET #c ENTRYMSG welcome in")
        bob = self.account("bob")
        self.assertIn(":ChanServ!ChanServ@services NOTICE bob :[#c] welcome in", bob.asks("JOIN #c"))
        bob.sends("PART #c")
        self.says(self.ann, "SET #c RESTRICTED ON")
        self.assertRefused(bob, "JOIN #c", "473")
        self.says(self.ann, "SET #c KEEPTOPIC OFF")
        self.ann.sends("TOPIC #c :goes", "PART #c")
        self.assertIsNone(self.channel.topic)
        self.assertIn("Only the founder", self.says(bob, "SET #c FOUNDER bob")[0])
        self.says(self.ann, "SET #c FOUNDER bob")
        self.assertEqual(self.channel.registration.founder, "bob")
        self.assertIn("no setting", " ".join(self.says(bob, "SET #c NOSUCH x")))
        self.assertIn("ON or OFF", self.says(bob, "SET #c GUARD maybe")[0])
        self.assertIn("no account", self.says(bob, "SET #c FOUNDER nobody")[0])
        self.assertIn("Founder: bob", self.says(bob, "INFO #c"))


class Past(ChanServTestCase):
    def test_history(self) -> None:
        """Staff see who set what when, newest last; keys are masked; others are refused."""
        self.world.clock.advance(3600)
        self.ann.sends("TOPIC #c :hello", "MODE #c +k secret", "MODE #c +b bad!*@*")
        self.says(self.ann, "OP #c")
        lines = self.says(self.ann, "HISTORY #c 3")
        self.assertEqual(len(lines), 4)
        self.assertTrue(lines[0].endswith("ann: topic: hello"))
        self.assertTrue(lines[1].endswith("ann: mode +k *"))
        self.assertNotIn("secret", " ".join(self.says(self.ann, "HISTORY #c 100")))
        self.assertEqual(self.says(self.ann, "HISTORY #c -30m")[0], lines[0])
        self.assertIn("is no time", self.says(self.ann, "HISTORY #c yesterday")[0])
        self.assertIn("You need the flag A", self.says(self.account("bob"), "HISTORY #c")[0])

    def test_restore(self) -> None:
        """The diff is shown first, nothing happens without CONFIRM, and then all is as it was, and recorded."""
        self.account("bob")
        self.ann.sends("TOPIC #c :the good one", "MODE #c +mk key", "MODE #c +b old!*@*")
        self.says(self.ann, "FLAGS #c bob +oO")
        self.world.clock.advance(600)
        self.ann.sends("TOPIC #c :vandalised", "MODE #c -mk+is key", "MODE #c -b+b old!*@* new!*@*")
        self.says(self.ann, "FLAGS #c bob -*")
        self.assertIn("First look", self.says(self.ann, "RESTORE #c -5m CONFIRM")[0])
        count = len(self.world.store.rows)
        shown = self.says(self.ann, "RESTORE #c -5m")
        self.assertEqual(len(self.world.store.rows), count)
        self.assertIn("topic: the good one", shown)
        self.assertIn("mode -b new!*@*", shown)
        self.assertIn("CONFIRM", shown[-1])
        self.assertIn("is as it was", self.says(self.ann, "RESTORE #c -5m CONFIRM")[0])
        channel = self.channel
        self.assertEqual(channel.topic.text, "the good one")
        self.assertEqual((channel.flags, channel.params), ({"n", "t", "m"}, {"k": "key"}))
        self.assertEqual(list(channel.lists["b"]), ["old!*@*"])
        self.assertEqual(channel.registration.access["bob"].flags, "oO")
        [event] = self.events_of("services.chan_restore")
        self.assertEqual(event.nick, "ann")
        self.assertIn("is as it was", self.says(self.ann, "RESTORE #c -5m")[0])

    def test_restore_has_its_limits(self) -> None:
        """Only the founder, only where there was a registration, only for some minutes."""
        self.assertIn("Only the founder", self.says(self.account("bob"), "RESTORE #c -1m")[0])
        self.assertIn("There was no channel", self.says(self.ann, "RESTORE #c 2020-01-01")[0])
        self.assertIn("is no time", self.says(self.ann, "RESTORE #c whenever")[0])
        self.world.clock.advance(60)
        self.ann.sends("TOPIC #c :x")
        self.says(self.ann, "RESTORE #c -30s")
        self.world.clock.advance(301)
        self.assertIn("First look", self.says(self.ann, "RESTORE #c -30s CONFIRM")[0])
