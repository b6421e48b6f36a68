"""Nicks, accounts and channels in other scripts, and nicks that look alike."""

from typing import Any

import pytest

from slircd.security import confusables
from slircd.security.confusables import skeleton
from slircd.state.refold import CasemappingChange
from tests.harness import ServerTestCase, World, make_config, replay, words_of

IVAN = "\N{CYRILLIC SMALL LETTER IE}van"
"""It looks like evan."""


class Precis(ServerTestCase):
    config: Any = {"server": {"casemapping": "precis"}}

    def test_names_of_other_scripts(self) -> None:
        """Nicks, channels and accounts are the same in every case and composition."""
        client = self.world.connect()
        tokens = [word for words in words_of(client.asks("NICK Éva", "USER e 0 * :e"), "005") for word in words]
        self.assertIn("CASEMAPPING=rfc8265", tokens)
        other = self.world.connect()
        self.assertEqual(other.codes("NICK e\N{COMBINING ACUTE ACCENT}va"), ["433"])
        client.sends("JOIN #Ünï", "NS REGISTER sesame1")
        bob = self.client("bob")
        self.assertIn("353", bob.codes("JOIN #ÜNÏ"))
        self.assertEqual(list(self.world.state.channels), ["#ünï"])
        self.assertEqual(list(self.world.state.accounts), ["éva"])
        bob.sends("PRIVMSG ÉVA :hi")
        self.assertIn(":bob!~bob@192.0.2.1 PRIVMSG Éva :hi", client.lines())
        self.assertEqual(bob.codes("MONITOR + éVA"), ["730"])

    def test_the_log_carries_it(self) -> None:
        """The state replays without configuration, and the next run finds everything."""
        eva = self.client("Éva")
        eva.sends("JOIN #Ü", "NS REGISTER sesame1", "CS REGISTER #Ü")
        self.world.store.commit()
        self.assertEqual(replay(self.world.store).channel_by_name("#Ü").name, "#Ü")
        world = self.world.restart()
        self.assertIsNotNone(world.state.account_named("ÉVA"))
        self.world = world

    def test_change_that_does_not_fit(self) -> None:
        """A server does not start under a mapping in which names of the log would be others."""
        ann = self.client("ann")
        ann.sends("JOIN #Ü", "NS REGISTER sesame1", "CS REGISTER #Ü")
        with pytest.raises(CasemappingChange, match="#Ü"):
            self.world.restart(config=make_config({"server": {"casemapping": "ascii"}}))
        plain = World(config=make_config())
        plain.client("bob").sends("JOIN #c", "NS REGISTER sesame1", "CS REGISTER #c")
        plain.restart(config=make_config(self.config)).client("Éva")


class LookAlikes(ServerTestCase):
    config: Any = {"server": {"casemapping": "precis", "confusables": True}}

    def test_skeletons(self) -> None:
        """What looks alike has one skeleton."""
        for one, other in (
            ("evan", IVAN),
            ("paul", "PauI"),
            ("bob1", "bobl"),
            ("admin", "\N{CYRILLIC SMALL LETTER A}dmin"),
            ("rn", "m"),
        ):
            self.assertEqual(skeleton(one), skeleton(other), (one, other))
        for one, other in (("ann", "anna"), ("bob", "rob"), ("éva", "eva")):
            self.assertNotEqual(skeleton(one), skeleton(other), (one, other))

    def test_nicks_online(self) -> None:
        """A nick that looks like one that is online is refused, also on a change; when it is free again it is free."""
        ann = self.client("paul")
        bob = self.client("bob")
        self.assertRefused(bob, "NICK PauI", "433")
        self.assertEqual(self.world.connect().codes("NICK \N{CYRILLIC SMALL LETTER ER}aul"), ["433"])
        self.assertEqual(ann.codes("NICK PauI"), ["NICK"])
        ann.sends("QUIT")
        self.assertEqual(bob.codes("NICK paul"), ["NICK"])

    def test_registered_nicks(self) -> None:
        """Also one that looks like a registered one, unless it is its owner who takes it."""
        evan = self.client("evan")
        evan.sends("NS REGISTER sesame1", "NICK other")
        bob = self.client("bob")
        self.assertRefused(bob, f"NICK {IVAN}", "433")
        evan.lines()
        self.assertEqual(evan.codes(f"NICK {IVAN}"), ["NICK"])
        evan.sends("NICK evan", "NS DROP sesame1", "NICK third")
        evan.lines()
        self.assertEqual(bob.codes(f"NICK {IVAN}"), ["NICK"])


def test_one_nick_for_each_user() -> None:
    """Who is gone, or has another nick, stands under none of its old ones, whatever it was called when that was decided."""
    known = confusables.LookAlikes()
    known.came("evan", "1")
    known.came("bob", "1")
    assert (list(known.holders(IVAN)), list(known.holders("bob"))) == ([], ["1"])
    known.went("1")
    known.went("1")
    assert list(known.holders("bob")) == []
