"""PRIVMSG, NOTICE, TAGMSG."""

from tests.harness import ServerTestCase


class ToChannels(ServerTestCase):
    def test_delivery(self) -> None:
        """Everybody but the sender gets it, and no event is written."""
        ann, bob, eve = self.on_channel("#c", "@ann", "bob", "eve")
        self.assertEqual(self.types_after(lambda: ann.sends("PRIVMSG #C :hi there")), [])
        for client in (bob, eve):
            self.assertReceives(client, ":ann!~ann@192.0.2.1 PRIVMSG #c :hi there")
        self.assertReceives(ann)

    def test_echo(self) -> None:
        """With echo-message the sender gets its own message, tags and all."""
        ann, bob = self.on_channel("#c", "@ann", "bob", caps="echo-message message-tags server-time")
        ann.sends("@+x=1;y=2 PRIVMSG #c :hi")
        [echo], [copy] = ann.lines(), bob.lines()
        self.assertEqual(echo, copy)
        self.assertIn("time=2025-06-15T15:06:40.000Z;", echo)
        self.assertIn("msgid=", echo)
        self.assertIn("+x=1", echo)
        self.assertNotIn("y=2", echo)

    def test_modes_that_forbid(self) -> None:
        """n m b M are 404 for ordinary people; a voice is heard in spite of m, M and bans."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        eve = self.client("eve")
        self.assertRefused(eve, "PRIVMSG #c :x", "404")
        ann.sends("MODE #c -n")
        eve.sends("PRIVMSG #c :outside")
        self.assertSees(ann, ":eve!~eve@192.0.2.1 PRIVMSG #c :outside")
        for setting in ("m", "M", "b bob!*@*", "b ~m:bob!*@*"):
            with self.subTest(setting):
                ann.sends(f"MODE #c +{setting}")
                bob.lines()
                self.assertRefused(bob, "PRIVMSG #c :x", "404")
                ann.sends("MODE #c +v bob")
                bob.lines()
                self.assertEqual(bob.codes("PRIVMSG #c :x"), [])
                ann.sends("MODE #c -v bob", f"MODE #c -{setting}")

    def test_exception_lifts_a_quiet(self) -> None:
        """+e ~m: lets somebody speak who a quiet hits."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.sends("MODE #c +be ~m:*!*@* ~m:bob!*@*")
        bob.lines()
        self.assertEqual(bob.codes("PRIVMSG #c :x"), [])

    def test_contents(self) -> None:
        """c refuses colours and S strips them, C refuses CTCP but not ACTION, T refuses NOTICE."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.asks("MODE #c +c")
        bob.lines()
        self.assertRefused(bob, "PRIVMSG #c :\x0304red", "404")
        ann.asks("MODE #c -c+SCT")
        bob.lines()
        bob.sends("PRIVMSG #c :\x02bold\x02 \x0304,05red\x0f")
        self.assertReceives(ann, ":bob!~bob@192.0.2.1 PRIVMSG #c :bold red")
        self.assertRefused(bob, "PRIVMSG #c :\x01VERSION\x01", "404")
        self.assertEqual(bob.codes("PRIVMSG #c :\x01ACTION waves\x01"), [])
        bob.sends("NOTICE #c :hello")
        self.assertReceives(ann, ":bob!~bob@192.0.2.1 PRIVMSG #c :\x01ACTION waves\x01")

    def test_flood_mode(self) -> None:
        """+f 2:10 lets a member say two things in ten seconds; staff are exempt."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.asks("MODE #c +f 2:10")
        bob.lines()
        self.assertEqual(bob.codes("PRIVMSG #c :1", "PRIVMSG #c :2", "PRIVMSG #c :3"), ["404"])
        self.assertEqual(ann.codes(*["PRIVMSG #c :x"] * 5).count("404"), 0)
        self.world.clock.advance(11)
        self.assertNotIn("404", bob.codes("PRIVMSG #c :4"))

    def test_op_moderated(self) -> None:
        """+U: who has no prefix is heard by half-operators and above only, echo or not, and to + as well as to all."""
        ann, hal, vic, bob, eve = self.on_channel("#c", "@ann", "%hal", "+vic", "bob", "eve", caps="echo-message")
        ann.asks("MODE #c +U")
        for client in (hal, vic, bob, eve):
            client.lines()
        said = [":bob!~bob@192.0.2.1 PRIVMSG #c :hm", ":bob!~bob@192.0.2.1 PRIVMSG +#c :psst"]
        self.assertEqual(bob.asks("PRIVMSG #c :hm", "PRIVMSG +#c :psst"), said)
        self.assertReceives(ann, *said)
        self.assertReceives(hal, *said)
        self.assertReceives(vic)
        self.assertReceives(eve)
        vic.asks("PRIVMSG #c :aloud")
        for client in (ann, hal, bob, eve):
            self.assertReceives(client, ":vic!~vic@192.0.2.1 PRIVMSG #c :aloud")
        ann.asks("MODE #c -n")
        self.client("out").sends("PRIVMSG #c :outside")
        self.assertSees(hal, ":out!~out@192.0.2.1 PRIVMSG #c :outside")
        self.assertNotIn(":out!~out@192.0.2.1 PRIVMSG #c :outside", eve.lines())

    def test_statusmsg(self) -> None:
        """@#c reaches operators and above, +#c everybody with a prefix; the target is shown as it was meant."""
        ann, bob, eve, joe = self.on_channel("#c", "@ann", "+bob", "eve", "~joe")
        eve.sends("PRIVMSG @#c :ops", "PRIVMSG +#c :voices")
        ops, voices = ":eve!~eve@192.0.2.1 PRIVMSG @#c :ops", ":eve!~eve@192.0.2.1 PRIVMSG +#c :voices"
        self.assertReceives(ann, ops, voices)
        self.assertReceives(joe, ops, voices)
        self.assertReceives(bob, voices)

    def test_override(self) -> None:
        """An IRC operator with the privilege speaks everywhere."""
        ann = self.on_channel("#c", "@ann")[0]
        ann.sends("MODE #c +ms")
        root = self.oper("root")
        self.assertEqual(root.codes("PRIVMSG #c :x"), [])


class ToUsers(ServerTestCase):
    def test_delivery_and_away(self) -> None:
        """The recipient gets it; the sender hears if the recipient is away, but not for a NOTICE."""
        ann, bob = self.client("ann"), self.client("bob")
        bob.asks("AWAY :lunch")
        self.assertEqual(ann.asks("PRIVMSG BOB :hi"), [":irc.test 301 ann bob :lunch"])
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 PRIVMSG bob :hi")
        self.assertEqual(ann.asks("NOTICE bob :hi"), [])

    def test_errors(self) -> None:
        """411, 412, 401, 403 and 407; never for a NOTICE."""
        ann = self.client("ann")
        for words, code in (
            ("", "411"),
            (" bob", "412"),
            (" bob :", "412"),
            (" bob :x", "401"),
            (" #c :x", "403"),
            (" a,b,c,d,e :x", "407"),
        ):
            with self.subTest(words):
                self.assertRefused(ann, f"PRIVMSG{words}", code)
                self.assertEqual(ann.codes(f"NOTICE{words}"), [])

    def test_several_targets(self) -> None:
        """Each gets its own; repetitions count once."""
        ann, bob, eve = self.client("ann"), self.client("bob"), self.client("eve")
        ann.sends("PRIVMSG bob,eve,bob :hi")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 PRIVMSG bob :hi")
        self.assertReceives(eve, ":ann!~ann@192.0.2.1 PRIVMSG eve :hi")

    def test_user_modes(self) -> None:
        """+R takes messages from accounts only (477), +T no CTCP (531)."""
        ann, bob = self.client("ann"), self.client("bob")
        bob.sends("MODE bob +R")
        self.assertRefused(ann, "PRIVMSG bob :x", "477")
        bob.sends("MODE bob -R+T")
        self.assertRefused(ann, "PRIVMSG bob :\x01PING 1\x01", "531")
        self.assertEqual(ann.codes("PRIVMSG bob :\x01ACTION x\x01"), [])

    def test_accept_past_registered_only(self) -> None:
        """+R: whom one accepts may write without an account, until it is taken off the list again."""
        ann, bob = self.client("ann"), self.client("bob")
        bob.sends("MODE bob +R")
        self.assertEqual(bob.codes("ACCEPT ann"), [])
        self.assertEqual(ann.codes("PRIVMSG bob :x"), [])
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 PRIVMSG bob :x")
        self.assertEqual(bob.codes("ACCEPT -ann"), [])
        self.assertRefused(ann, "PRIVMSG bob :x", "477")

    def test_caller_id(self) -> None:
        """+g: others are told so, and the user that somebody knocks, once a minute; a NOTICE is dropped in silence."""
        ann, bob = self.client("ann"), self.client("bob")
        bob.asks("MODE bob +g")
        self.assertEqual(
            ann.asks("PRIVMSG bob :x"),
            [
                ":irc.test 716 ann bob :is in +g mode (server-side ignore)",
                ":irc.test 717 ann bob :has been informed that you messaged them",
            ],
        )
        text = "is messaging you, and you have user mode +g set.  Use /ACCEPT ann to allow it."
        self.assertReceives(bob, f":irc.test 718 bob ann ~ann@192.0.2.1 :{text}")
        self.assertEqual(ann.codes("PRIVMSG bob :x"), ["716"])
        self.world.clock.advance(61)
        self.assertEqual(ann.codes("NOTICE bob :x"), [])
        self.assertReceives(bob, f":irc.test 718 bob ann ~ann@192.0.2.1 :{text}")
        self.world.clock.advance(61)
        bob.sends("SILENCE ann")
        bob.lines()
        self.assertEqual(ann.codes("PRIVMSG bob :x"), ["716", "717"])
        self.assertReceives(bob)
        bob.asks("SILENCE -ann", "ACCEPT ann")
        self.assertEqual(ann.codes("PRIVMSG bob :x"), [])
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 PRIVMSG bob :x")
        self.assertEqual(self.oper("root").codes("PRIVMSG bob :x"), [])

    def test_whom_one_writes_to_may_answer(self) -> None:
        """With +R or +g one accepts whom one writes to, and not whom one sends a NOTICE."""
        ann, bob, eve = self.client("ann"), self.client("bob"), self.client("eve")
        bob.sends("MODE bob +Rg", "PRIVMSG ann :hi", "NOTICE eve :hi")
        self.assertEqual(ann.codes("PRIVMSG bob :x"), [])
        self.assertRefused(eve, "PRIVMSG bob :x", "477")
        self.assertEqual(bob.codes("ACCEPT ann"), [])
        self.assertEqual(bob.codes("ACCEPT ann"), ["457"])

    def test_accept_list(self) -> None:
        """Shown with the nicks of now; it goes by user, so neither a nick nor a new user of the nick inherits it."""
        ann, bob, eve = self.client("ann"), self.client("bob"), self.client("eve")
        bob.sends("MODE bob +R", "ACCEPT ann,eve")
        ann.sends("NICK anna")
        bob.lines()
        self.assertEqual(
            bob.asks("ACCEPT *"),
            [":irc.test 281 bob anna", ":irc.test 281 bob eve", ":irc.test 282 bob :End of /ACCEPT list"],
        )
        self.assertRefused(self.client("ann"), "PRIVMSG bob :x", "477")
        self.assertEqual(ann.codes("PRIVMSG bob :x"), [])
        eve.sends("QUIT")
        self.assertRefused(self.client("eve"), "PRIVMSG bob :x", "477")
        self.assertEqual(bob.codes("ACCEPT"), ["281", "282"])
        self.assertEqual(bob.codes("ACCEPT nobody,NickServ,-eve,anna"), ["401", "483", "458", "457"])

    def test_silence(self) -> None:
        """Whoever is silenced is not heard, and is not told."""
        ann, bob = self.client("ann"), self.client("bob")
        self.assertEqual(bob.asks("SILENCE ann"), [":bob!~bob@192.0.2.1 SILENCE +ann!*@*"])
        self.assertEqual(ann.codes("PRIVMSG bob :x"), [])
        self.assertReceives(bob)
        self.assertEqual(
            bob.asks("SILENCE"), [":irc.test 271 bob bob ann!*@*", ":irc.test 272 bob :End of silence list"]
        )
        bob.sends("SILENCE -ann!*@*")
        ann.sends("PRIVMSG bob :y")
        self.assertSees(bob, ":ann!~ann@192.0.2.1 PRIVMSG bob :y")

    def test_tagmsg(self) -> None:
        """TAGMSG reaches clients that know tags, with client-only tags; without any it is nothing."""
        ann = self.client("ann", caps="message-tags")
        bob = self.client("bob", caps="message-tags")
        eve = self.client("eve")
        ann.sends("@+typing=active TAGMSG bob", "@+typing=active TAGMSG eve", "TAGMSG bob")
        [line] = bob.lines()
        self.assertIn("+typing=active", line)
        self.assertTrue(line.endswith(":ann!~ann@192.0.2.1 TAGMSG bob"))
        self.assertReceives(eve)

    def test_text_is_cut_to_a_line(self) -> None:
        """A message that becomes too long with its source is cut at 510 bytes, at a character."""
        ann, bob = self.client("ann"), self.client("bob")
        ann.sends("PRIVMSG bob :" + "é" * 240)
        [line] = bob.lines()
        self.assertLessEqual(len(line.encode()), 510)
        self.assertTrue(line.endswith("é"))


class Labels(ServerTestCase):
    caps = "labeled-response batch echo-message message-tags"

    def test_single(self) -> None:
        """One line of answer carries the label."""
        ann = self.client("ann", caps=self.caps)
        self.assertEqual(ann.asks("@label=7 PING x"), ["@label=7 :irc.test PONG irc.test :x"])

    def test_batch(self) -> None:
        """Several lines come in a batch."""
        ann = self.client("ann", caps=self.caps)
        lines = ann.asks("@label=a JOIN #c")
        self.assertEqual(lines[0], "@label=a :irc.test BATCH +b1 labeled-response")
        self.assertTrue(all(line.startswith("@batch=b1") for line in lines[1:-1]))
        self.assertEqual(lines[-1], ":irc.test BATCH -b1")

    def test_nothing(self) -> None:
        """No answer is an ACK."""
        ann = self.client("ann", caps="labeled-response batch message-tags")
        bob = self.client("bob")
        self.assertEqual(ann.asks("@label=1 PRIVMSG bob :x"), ["@label=1 :irc.test ACK"])
        self.assertSees(bob, ":ann!~ann@192.0.2.1 PRIVMSG bob :x")

    def test_echo(self) -> None:
        """The echo has the label, the recipient's copy has not, also where the recipient is the sender."""
        ann = self.client("ann", caps=self.caps)
        lines = ann.asks("@label=z PRIVMSG ann :x")
        self.assertEqual(sorted("label=z" in line for line in lines), [False, True])

    def test_errors(self) -> None:
        """A refusal has the label, too."""
        ann = self.client("ann", caps=self.caps)
        self.assertTrue(ann.asks("@label=q NOSUCH")[0].startswith("@label=q :irc.test 421 "))
