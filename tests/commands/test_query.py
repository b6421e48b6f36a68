"""WHO, WHOX, WHOIS, WHOWAS, ISON, USERHOST, MONITOR, AWAY, SETNAME."""

from tests.harness import ServerTestCase, words_of


class Who(ServerTestCase):
    def test_channel(self) -> None:
        """Flags say here or gone, operator, bot and prefix."""
        ann, bob = self.on_channel("#c", "@ann", "+bob")
        bob.sends("AWAY :x", "MODE bob +B")
        rows = words_of(ann.asks("WHO #c"), "352")
        self.assertEqual(rows[0], ["ann", "#c", "~ann", "192.0.2.1", "irc.test", "ann", "H@", "0 Real ann"])
        self.assertEqual(rows[1][6], "GB+")

    def test_masks(self) -> None:
        """Nick, user name, host, server and real name are matched; invisible strangers are not found by a mask."""
        ann = self.client("ann")
        bob = self.client("bob", address="198.51.100.9")
        self.assertEqual(words_of(ann.asks("WHO b*"), "352"), [])
        bob.sends("MODE bob -i")
        for mask in ("b*", "~bob", "198.51.*", "Real?bob"):
            with self.subTest(mask):
                self.assertEqual([row[5] for row in words_of(ann.asks(f"WHO {mask}"), "352")], ["bob"])
        self.assertEqual([row[5] for row in words_of(ann.asks("WHO bob"), "352")], ["bob"])

    def test_opers_only(self) -> None:
        """The flag o leaves operators."""
        self.on_channel("#c", "@ann")
        root = self.oper("root")
        root.sends("JOIN #c")
        self.assertEqual([row[5] for row in words_of(root.asks("WHO #c o"), "352")], ["root"])

    def test_whox(self) -> None:
        """Fields come in their fixed order whatever the order of asking; addresses show to oneself only."""
        ann, _ = self.on_channel("#c", "@ann", "bob")
        rows = words_of(ann.asks("WHO #c %ractnih,42"), "354")
        self.assertEqual(rows[0], ["ann", "42", "#c", "192.0.2.1", "192.0.2.1", "ann", "0", "Real ann"])
        self.assertEqual(rows[1][3], "255.255.255.255")


class Whois(ServerTestCase):
    def test_what_everybody_sees(self) -> None:
        """Name, channels, server, operator, bot, TLS, away, idle."""
        ann = self.client("ann")
        bob = self.client("bob", tls=True)
        bob.sends("JOIN #c", "AWAY :x", "MODE bob +B-i", "OPER root sesame")
        self.assertEqual(ann.codes("WHOIS bob"), ["311", "319", "312", "313", "335", "671", "301", "317", "318"])
        bob.sends("MODE bob +H")
        self.assertNotIn("313", ann.codes("WHOIS bob"))

    def test_hosts_show_to_oneself_and_to_operators(self) -> None:
        """338 and 379 are for the user and for operators who may see hosts."""
        ann, root = self.client("ann"), self.oper("root")
        self.client("bob")
        self.assertIn("338", ann.codes("WHOIS ann"))
        self.assertNotIn("338", ann.codes("WHOIS bob"))
        self.assertIn("338", root.codes("WHOIS bob"))

    def test_idle(self) -> None:
        """Messages count, other commands do not."""
        ann, bob = self.client("ann"), self.client("bob")
        self.world.clock.advance(100)
        bob.sends("PING x")
        self.assertEqual(words_of(ann.asks("WHOIS bob"), "317")[0][2], "100")
        bob.sends("PRIVMSG ann :x")
        self.assertEqual(words_of(ann.asks("WHOIS bob"), "317")[0][2], "0")

    def test_errors(self) -> None:
        """431, 401 with 318, and 402 for another server."""
        ann = self.client("ann")
        self.assertRefused(ann, "WHOIS", "431")
        self.assertEqual(ann.codes("WHOIS nobody"), ["401", "318"])
        self.assertRefused(ann, "WHOIS other.server ann", "402")
        self.assertIn("311", ann.codes("WHOIS irc.test ann"))
        self.assertIn("311", ann.codes("WHOIS ann ann"))

    def test_whowas(self) -> None:
        """Departures and old nicks are remembered, newest first, as many as asked for."""
        ann = self.client("ann")
        self.client("bob").sends("NICK rob")
        self.client("bob", address="198.51.100.2").sends("QUIT")
        self.assertEqual([row[3] for row in words_of(ann.asks("WHOWAS BOB"), "314")], ["198.51.100.2", "192.0.2.1"])
        self.assertEqual(len(words_of(ann.asks("WHOWAS bob 1"), "314")), 1)
        self.assertEqual(ann.codes("WHOWAS nobody"), ["406", "369"])

    def test_ison_userhost(self) -> None:
        """Nicks that are there, as they are written; away and operator marks."""
        ann, bob, root = self.client("ann"), self.client("bob"), self.oper("root")
        bob.sends("AWAY :x")
        self.assertEqual(ann.asks("ISON BOB nobody :root x"), [":irc.test 303 ann :bob root"])
        self.assertEqual(
            ann.asks("USERHOST bob root nobody"),
            [":irc.test 302 ann :bob=-~bob@192.0.2.1 root*=+~root@192.0.2.1"],
        )
        self.assertTrue(root.uid)


class Monitor(ServerTestCase):
    config = {"limits": {"monitor": 10}}

    def test_presence(self) -> None:
        """730 and 731 on adding, on connecting, on nick changes and on leaving."""
        ann = self.client("ann")
        self.assertEqual(
            ann.asks("MONITOR + bob,ann"), [":irc.test 730 ann :ann!~ann@192.0.2.1", ":irc.test 731 ann :bob"]
        )
        bob = self.client("bob")
        self.assertReceives(ann, ":irc.test 730 ann :bob!~bob@192.0.2.1")
        bob.sends("NICK rob")
        self.assertReceives(ann, ":irc.test 731 ann :bob")
        bob.sends("NICK bob")
        ann.lines()
        bob.sends("QUIT")
        self.assertReceives(ann, ":irc.test 731 ann :bob")

    def test_list(self) -> None:
        """L lists, S shows presence, - and C take off, too many are 734."""
        ann = self.client("ann")
        ann.sends("MONITOR + a,b,c")
        self.assertEqual(ann.asks("MONITOR L"), [":irc.test 732 ann :a,b,c", ":irc.test 733 ann :End of MONITOR list"])
        ann.sends("MONITOR - b")
        self.assertEqual(ann.asks("MONITOR S"), [":irc.test 731 ann :a,c"])
        lines = ann.asks("MONITOR + d,e,f,g,h,i,j,k,l,m")
        self.assertEqual(words_of(lines, "734")[0][1:3], ["10", "l,m"])
        ann.sends("MONITOR C")
        self.assertEqual(ann.codes("MONITOR L"), ["733"])


class Self(ServerTestCase):
    def test_away(self) -> None:
        """305, 306, and AWAY to those with away-notify who share a channel."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps="away-notify")
        self.assertEqual(ann.codes("AWAY :lunch"), ["306"])
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 AWAY :lunch")
        self.assertEqual(ann.codes("AWAY"), ["305"])
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 AWAY")
        self.assertEqual(self.types_after(lambda: ann.sends("AWAY")), [])

    def test_setname(self) -> None:
        """Seen by those with the capability; one that is too long is refused with a standard reply."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps="setname standard-replies")
        self.assertEqual(ann.asks("SETNAME :New Name"), [":ann!~ann@192.0.2.1 SETNAME :New Name"])
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 SETNAME :New Name")
        [line] = ann.asks("SETNAME :" + "x" * 151)
        self.assertIn("FAIL SETNAME INVALID_REALNAME", line)

    def test_nick(self) -> None:
        """Seen once by everybody who shares a channel; refusals have their numerics."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.sends("NICK anna")
        for client in (ann, bob):
            self.assertReceives(client, ":ann!~ann@192.0.2.1 NICK :anna")
        self.assertRefused(ann, "NICK bob", "433")
        self.assertRefused(ann, "NICK 1bad", "432")
        self.assertRefused(ann, "NICK " + "x" * 31, "432")
        self.assertRefused(ann, "NICK", "431")
        self.assertEqual(ann.asks("NICK ANNA"), [":anna!~ann@192.0.2.1 NICK :ANNA"])
