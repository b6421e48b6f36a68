"""IRC operators."""

from twisted.internet.defer import succeed

from tests.harness import ServerTestCase, make_config, words_of


class BecomingOper(ServerTestCase):
    def test_oper(self) -> None:
        """The right password gives +o and 381, with two events and no password in them."""
        ann = self.client("ann")
        self.assertEqual(self.types_after(lambda: ann.sends("OPER root sesame")), ["oper.login", "user.mode_change"])
        self.assertEqual([line.split()[1] for line in ann.lines()], ["MODE", "381"])
        self.assertNotIn("sesame", str(self.world.store.rows))

    def test_refusals(self) -> None:
        """464 for a wrong password, 491 for an unknown name; the fifth failure closes the connection."""
        ann = self.client("ann")
        self.assertRefused(ann, "OPER root wrong", "464")
        self.assertRefused(ann, "OPER nobody x", "491")
        ann.sends("OPER root a", "OPER root b")
        self.assertFalse(ann.is_closed)
        ann.sends("OPER root c")
        self.assertTrue(ann.is_closed)


class Restricted(ServerTestCase):
    config = {
        "opers": {
            "home": {
                "password_hash": make_config().opers["root"].password_hash,
                "masks": ["*@198.51.100.0/24"],
                "class": "mod",
                "vhost": "staff.test",
            },
        },
        "oper_classes": {"mod": {"privileges": ["kill"]}},
    }

    def test_masks_class_and_vhost(self) -> None:
        """A block is for its hosts, gives its privileges and no more, and its virtual host."""
        self.assertRefused(self.client("ann"), "OPER home sesame", "491")
        bob = self.client("bob", address="198.51.100.3")
        bob.sends("OPER home sesame")
        self.assertEqual(self.world.state.users[bob.uid].host, "staff.test")
        bob.lines()
        self.assertRefused(bob, "SAJOIN #c", "481")
        self.assertEqual(bob.codes("KILL ann :bye"), [])
        self.assertNotIn("ann", self.world.state.nicks)

    def test_privileges_follow_the_configuration(self) -> None:
        """A class that loses a privilege at a rehash loses it for those who are operators already."""
        bob = self.client("bob", address="198.51.100.3")
        bob.asks("OPER home sesame")
        changed = make_config({**self.config, "oper_classes": {"mod": {"privileges": []}}})
        self.world.server.use_config(changed)
        self.assertRefused(bob, "KILL ann", "481")


class Powers(ServerTestCase):
    def test_privileged_commands_are_refused_to_others(self) -> None:
        """481 for everybody else, and nothing happens."""
        ann = self.client("ann")
        for line in (
            "KILL ann x",
            "SAJOIN #c",
            "SAPART ann #c",
            "SANICK ann x",
            "SAMODE #c +m",
            "CHGHOST ann a.b",
            "VHOST a.b",
            "WALLOPS x",
            "REHASH",
            "DIE",
            "TRACE",
            "STATS o",
        ):
            with self.subTest(line):
                self.assertEqual(ann.codes(line)[0], "481")

    def test_kill(self) -> None:
        """The victim sees KILL and ERROR and is gone, the others see QUIT."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        root = self.oper("root")
        self.assertEqual(self.types_after(lambda: root.sends("KILL bob :spam")), ["oper.kill", "user.disconnect"])
        self.assertReceives(
            bob,
            ":root!~root@192.0.2.1 KILL bob :spam",
            "ERROR :Closing Link: 192.0.2.1 (Killed (root (spam)))",
        )
        self.assertTrue(bob.is_closed)
        self.assertReceives(ann, ":bob!~bob@192.0.2.1 QUIT :Killed (root (spam))")
        self.assertRefused(root, "KILL bob :again", "401")

    def test_sa_commands(self) -> None:
        """SAJOIN, SAPART, SANICK and SAMODE ignore what channels say; the actor is in the log."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("MODE #c +i")
        root, bob = self.oper("root"), self.client("bob")
        root.sends("SAJOIN bob #c")
        self.assertSees(bob, ":bob!~bob@192.0.2.1 JOIN #c")
        root.sends("SAMODE #c +o bob", "SANICK bob rob", "SAPART rob #c :out")
        self.assertSees(
            bob,
            ":root!~root@192.0.2.1 MODE #c +o bob",
            ":bob!~bob@192.0.2.1 NICK :rob",
            ":rob!~bob@192.0.2.1 PART #c :out",
        )
        for event in self.events_of("channel.part", "user.nick_change"):
            self.assertEqual(event.actor_uid, root.uid)

    def test_chghost(self) -> None:
        """CHGHOST is seen with the capability as such, without it as a quit and a join with the same prefixes."""
        ann, bob = self.on_channel("#c", "ann", "@bob", caps="chghost")
        plain = self.client("plain")
        plain.asks("JOIN #c")
        root = self.oper("root")
        ann.lines()
        root.sends("CHGHOST bob new.host.test")
        self.assertReceives(ann, ":bob!~bob@192.0.2.1 CHGHOST ~bob new.host.test")
        self.assertReceives(
            plain,
            ":bob!~bob@192.0.2.1 QUIT :Changing host",
            ":bob!~bob@new.host.test JOIN #c",
            ":irc.test MODE #c +o bob",
        )
        root.sends("CHGHOST bob id other.host")
        self.assertEqual(self.world.state.users[bob.uid].source, "bob!id@other.host")
        for bad in ("nodots", "has space", "-x.y", "a" * 64 + ".b"):
            self.assertIn("INVALID_PARAMS", root.asks(f"CHGHOST bob :{bad}")[0])
        root.sends("VHOST my.vhost")
        self.assertEqual(self.world.state.users[root.uid].host, "my.vhost")

    def test_wallops(self) -> None:
        """Those with +w hear it."""
        ann, bob, root = self.client("ann"), self.client("bob"), self.oper("root")
        ann.asks("MODE ann +w")
        root.sends("WALLOPS :attention")
        self.assertReceives(ann, ":root!~root@192.0.2.1 WALLOPS :attention")
        self.assertReceives(bob)

    def test_rehash_and_die(self) -> None:
        """They run what the application provides, and tell of it."""
        root = self.oper("root")
        asked: list[str] = []
        self.world.server.rehash = lambda actor: succeed([asked.append(actor) or "read again"])
        self.world.server.stop = asked.append
        self.assertEqual(root.codes("REHASH"), ["382", "NOTICE"])
        root.sends("DIE :for now")
        self.assertEqual(asked, [root.uid, "for now"])

    def test_trace_and_stats(self) -> None:
        """Connections, counters, operators and uptime."""
        self.client("ann")
        root = self.oper("root")
        self.assertEqual(root.codes("TRACE"), ["205", "204", "262"])
        self.assertEqual(root.codes("TRACE ann"), ["205", "262"])
        self.assertEqual(root.codes("STATS u"), ["242", "250", "219"])
        self.assertIn(["root", "OPER", "1"], words_of(root.asks("STATS m"), "212"))
        self.assertEqual(root.codes("STATS o"), ["243", "219"])
        self.assertEqual(len(words_of(root.asks("STATS l"), "211")), 2)
        self.assertEqual(root.codes("STATS p"), ["220", "220", "219"])
        self.assertEqual(root.codes("STATS x"), ["219"])
