"""Channels, as clients see them."""

from tests.harness import ServerTestCase, words_of


class Joining(ServerTestCase):
    def test_first_member_makes_the_channel_and_is_its_operator(self) -> None:
        """The log has create and join, the client JOIN, names and their end."""
        ann = self.client("ann")
        types = self.types_after(lambda: ann.sends("JOIN #C"))
        self.assertEqual(types, ["channel.create", "channel.join"])
        self.assertReceives(
            ann,
            ":ann!~ann@192.0.2.1 JOIN #C",
            ":irc.test 353 ann = #C :@ann",
            ":irc.test 366 ann #C :End of /NAMES list",
        )

    def test_names_of_channels_are_compared_without_case(self) -> None:
        """#C and #c are one channel, which keeps the name of its creation."""
        self.client("ann").sends("JOIN #C")
        bob = self.client("bob")
        self.assertIn(":bob!~bob@192.0.2.1 JOIN #C", bob.asks("JOIN #c"))

    def test_joining_again_does_nothing(self) -> None:
        """A member's JOIN is neither an error nor an event."""
        ann = self.client("ann")
        ann.sends("JOIN #c")
        ann.lines()
        self.assertEqual(self.types_after(lambda: ann.sends("JOIN #c")), [])
        self.assertReceives(ann)

    def test_topic_is_shown_on_joining(self) -> None:
        """332 and 333 stand between JOIN and the names."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("TOPIC #c :hello")
        bob = self.client("bob")
        self.assertEqual(bob.codes("JOIN #c"), ["JOIN", "332", "333", "353", "366"])

    def test_bad_names(self) -> None:
        """A name without # is no channel, one with a space or comma cannot be given, one that is too long is 476."""
        ann = self.client("ann")
        self.assertRefused(ann, "JOIN chan", "403")
        self.assertRefused(ann, "JOIN #" + "x" * 64, "476")

    def test_zero_leaves_all(self) -> None:
        """JOIN 0 parts every channel, in one decision."""
        ann = self.client("ann")
        ann.sends("JOIN #a,#b")
        self.assertEqual(
            self.types_after(lambda: ann.sends("JOIN 0")),
            ["channel.part", "channel.destroy", "channel.part", "channel.destroy"],
        )

    def test_key(self) -> None:
        """A wrong key is 475; keys go with channels by their place."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("MODE #c +k sesame")
        bob = self.client("bob")
        self.assertRefused(bob, "JOIN #c", "475")
        self.assertRefused(bob, "JOIN #c wrong", "475")
        self.assertIn("JOIN", bob.codes("JOIN #new,#c x,sesame"))

    def test_limit(self) -> None:
        """A full channel is 471."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("MODE #c +l 1")
        self.assertRefused(self.client("bob"), "JOIN #c", "471")

    def test_invite_only(self) -> None:
        """+i is 473, unless one is invited or on the list I; the invitation is used up by joining."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("MODE #c +i")
        bob, eve = self.client("bob"), self.client("eve")
        self.assertRefused(bob, "JOIN #c", "473")
        ann.sends("INVITE bob #c", "MODE #c +I eve!*@*")
        self.assertIn("JOIN", bob.codes("JOIN #c"))
        self.assertIn("JOIN", eve.codes("JOIN #c"))
        bob.sends("PART #c")
        self.assertRefused(bob, "JOIN #c", "473")

    def test_bans_and_exceptions(self) -> None:
        """A ban is 474 whatever the host that the user shows; an exception lifts it."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("MODE #c +b *!*@192.0.2.0/24")
        bob = self.client("bob")
        self.assertRefused(bob, "JOIN #c", "474")
        ann.sends("MODE #c +e bob!*@*")
        self.assertIn("JOIN", bob.codes("JOIN #c"))

    def test_extended_bans(self) -> None:
        """~r matches real names, ~c channels, ~U users without account, ~z certificates."""
        [ann] = self.on_channel("#c", "@ann")
        bob = self.client("bob")
        bob.sends("JOIN #bad")
        for mask in ("~r:Real*bob", "~c:#ba?", "~U"):
            with self.subTest(mask):
                ann.sends(f"MODE #c +b {mask}")
                self.assertRefused(bob, "JOIN #c", "474")
                ann.sends(f"MODE #c -b {mask}")
        ann.sends("MODE #c +b ~a:bob", "MODE #c +b ~z:*")
        self.assertIn("JOIN", bob.codes("JOIN #c"))

    def test_flags_that_keep_people_out(self) -> None:
        """+R is 477, +z is 489 but for TLS, +O is 520 but for IRC operators."""
        [ann] = self.on_channel("#c", "@ann")
        root = self.oper("root")
        bob, tls = self.client("bob"), self.client("tls", tls=True)
        ann.sends("MODE #c +R")
        self.assertRefused(bob, "JOIN #c", "477")
        ann.sends("MODE #c -R+z")
        self.assertRefused(bob, "JOIN #c", "489")
        self.assertIn("JOIN", tls.codes("JOIN #c"))
        root.sends("SAMODE #c -z+O")
        self.assertRefused(bob, "JOIN #c", "520")
        self.assertIn("JOIN", root.codes("JOIN #c"))

    def test_join_throttle(self) -> None:
        """+j 2:10 lets two in within ten seconds; the third gets 480, and may come later."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("MODE #c +j 2:10")
        first, second, third = self.client("b1"), self.client("b2"), self.client("b3")
        first.sends("JOIN #c")
        second.sends("JOIN #c")
        self.assertRefused(third, "JOIN #c", "480")
        self.world.clock.advance(11)
        self.assertIn("JOIN", third.codes("JOIN #c"))

    def test_extended_join(self) -> None:
        """extended-join adds account and real name."""
        [ann] = self.on_channel("#c", "@ann", caps="extended-join")
        self.client("bob").sends("JOIN #c")
        self.assertReceives(ann, ":bob!~bob@192.0.2.1 JOIN #c * :Real bob")


class TooMany(ServerTestCase):
    config = {"limits": {"channels_per_user": 2, "targets": {"join": 3}}}

    def test_channels(self) -> None:
        """The third channel is 405."""
        ann = self.client("ann")
        ann.sends("JOIN #a,#b")
        self.assertRefused(ann, "JOIN #c", "405")

    def test_targets(self) -> None:
        """More targets than TARGMAX allows are 407, and none of them is joined."""
        self.assertRefused(self.client("ann"), "JOIN #a,#b,#c,#d", "407")


class Leaving(ServerTestCase):
    def test_part(self) -> None:
        """All members and the one who leaves see PART with its reason."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        bob.sends("PART #c :bye all")
        for client in (ann, bob):
            self.assertReceives(client, ":bob!~bob@192.0.2.1 PART #c :bye all")

    def test_part_of_others_channels(self) -> None:
        """442 where one is not a member, 403 where there is no channel."""
        self.on_channel("#c", "@ann")
        bob = self.client("bob")
        self.assertRefused(bob, "PART #c", "442")
        self.assertRefused(bob, "PART #none", "403")

    def test_quit_is_seen_once(self) -> None:
        """Somebody who shares two channels sees one QUIT; the log has the channels that were left."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        for client in (ann, bob):
            client.sends("JOIN #d")
            client.lines()
        ann.lines()
        bob.sends("QUIT :done")
        self.assertReceives(ann, ":bob!~bob@192.0.2.1 QUIT :Quit: done")
        [event] = self.events_of("user.disconnect")
        self.assertEqual(event.channels, {"#c": "", "#d": ""})  # type: ignore[attr-defined]


class Topics(ServerTestCase):
    def test_setting(self) -> None:
        """Everybody sees the new topic; asking gives it with its setter."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.sends("TOPIC #c :a b")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 TOPIC #c :a b")
        lines = bob.asks("TOPIC #c")
        self.assertEqual(lines[0], ":irc.test 332 bob #c :a b")
        self.assertEqual(lines[1], ":irc.test 333 bob #c ann!~ann@192.0.2.1 1750000000")

    def test_removing(self) -> None:
        """An empty topic removes it: 331."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("TOPIC #c :x", "TOPIC #c :")
        self.assertEqual(ann.codes("TOPIC #c"), ["331"])

    def test_who_may(self) -> None:
        """+t asks for half-operators and above; without it any member may."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        self.assertRefused(bob, "TOPIC #c :x", "482")
        ann.sends("MODE #c -t")
        self.assertEqual(bob.codes("TOPIC #c :x")[-1], "TOPIC")
        self.assertRefused(self.client("eve"), "TOPIC #c :x", "442")
        self.set_prefixes("#c", [("bob", "h")])
        ann.sends("MODE #c +t")
        self.assertEqual(bob.codes("TOPIC #c :y")[-1], "TOPIC")

    def test_long_topic_is_cut_at_a_character(self) -> None:
        """TOPICLEN counts bytes, and no character is cut in two."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("TOPIC #c :" + "é" * 220)
        topic = self.world.state.channels["#c"].topic
        assert topic is not None
        self.assertEqual(topic.text, "é" * 195)


class Kicking(ServerTestCase):
    def test_op_kicks_member(self) -> None:
        """A kicked member, the kicker and the rest of the channel all see one KICK."""
        ann, bob, eve = self.on_channel("#c", "@ann", "bob", "eve")
        ann.sends("KICK #c bob :bye")
        for client in (ann, bob, eve):
            self.assertReceives(client, ":ann!~ann@192.0.2.1 KICK #c bob :bye")
        [event] = self.events_of("channel.kick")
        self.assertEqual((event.member, event.reason), ("bob", "bye"))  # type: ignore[attr-defined]

    def test_ranks(self) -> None:
        """Members may not kick, nobody kicks somebody who stands higher, equals may."""
        self.on_channel("#c", "~own", "@op", "%half", "plain")
        by_nick = {client.nick: client for client in self.world.clients}
        self.assertRefused(by_nick["plain"], "KICK #c half", "482")
        self.assertRefused(by_nick["half"], "KICK #c op", "482")
        self.assertRefused(by_nick["op"], "KICK #c own", "482")
        self.assertIn("KICK", by_nick["half"].codes("KICK #c plain"))
        self.assertIn("KICK", by_nick["own"].codes("KICK #c op"))

    def test_errors(self) -> None:
        """403, 442, 401 and 441 in their places."""
        ann, _ = self.on_channel("#c", "@ann", "bob")
        eve = self.client("eve")
        self.assertRefused(ann, "KICK #none bob", "403")
        self.assertRefused(eve, "KICK #c bob", "442")
        self.assertRefused(ann, "KICK #c nobody", "401")
        self.assertRefused(ann, "KICK #c eve", "441")

    def test_no_kicks(self) -> None:
        """+Q forbids kicks, except to IRC operators."""
        ann, _ = self.on_channel("#c", "@ann", "bob")
        ann.sends("MODE #c +Q")
        self.assertRefused(ann, "KICK #c bob", "482")
        root = self.oper("root")
        root.sends("KICK #c bob")
        self.assertSees(ann, ":root!~root@192.0.2.1 KICK #c bob :root")

    def test_several(self) -> None:
        """One channel and several nicks, or as many channels as nicks."""
        ann, _, eve = self.on_channel("#c", "@ann", "bob", "eve")
        ann.sends("JOIN #d")
        eve.sends("JOIN #d")
        self.assertEqual(ann.codes("KICK #c,#d bob,eve"), ["KICK", "KICK"])
        self.assertRefused(ann, "KICK #c,#d eve", "461")

    def test_last_member(self) -> None:
        """A kick that empties the channel is followed by its end."""
        [ann] = self.on_channel("#c", "@ann")
        self.assertEqual(self.types_after(lambda: ann.sends("KICK #c ann")), ["channel.kick", "channel.destroy"])


class Inviting(ServerTestCase):
    def test_invite(self) -> None:
        """341 to the one who invites, INVITE to the invited, and to operators with invite-notify."""
        ann, bob = self.on_channel("#c", "@ann", "@bob", caps="invite-notify")
        eve = self.client("eve")
        self.assertEqual(ann.asks("INVITE eve #c"), [":irc.test 341 ann eve #c"])
        self.assertReceives(eve, ":ann!~ann@192.0.2.1 INVITE eve #c")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 INVITE eve #c")
        self.assertEqual(eve.asks("INVITE"), [":irc.test 336 eve #c", ":irc.test 337 eve :End of /INVITE list"])

    def test_errors(self) -> None:
        """401, 403, 442, 443, and 482 on +i or +V."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        eve = self.client("eve")
        self.assertRefused(ann, "INVITE nobody #c", "401")
        self.assertRefused(ann, "INVITE eve #none", "403")
        self.assertRefused(eve, "INVITE bob #c", "442")
        self.assertRefused(ann, "INVITE bob #c", "443")
        ann.sends("MODE #c +i")
        self.assertRefused(bob, "INVITE eve #c", "482")
        ann.sends("MODE #c +g")
        self.assertEqual(bob.codes("INVITE eve #c"), ["341"])
        ann.sends("MODE #c +V")
        self.assertRefused(ann, "INVITE eve #c", "482")

    def test_staff_invite_past_bans_key_and_limit(self) -> None:
        """Whom staff invite may join once; a member without a prefix lifts nothing, and a later ban holds."""
        ann, eve = self.on_channel("#c", "%ann", "eve")
        bob = self.client("bob")
        ann.sends("MODE #c +b bob!*@*", "MODE #c +kl sesame 1")
        eve.sends("INVITE bob #c")
        self.assertRefused(bob, "JOIN #c", "474")
        ann.sends("INVITE bob #c")
        self.assertEqual([event.by_staff for event in self.events_of("channel.invite")], [False, True])
        self.assertIn("JOIN", bob.codes("JOIN #c"))
        self.assertRefused(bob, "PRIVMSG #c :x", "404")
        bob.sends("PART #c")
        self.assertRefused(bob, "JOIN #c", "474")
        ann.sends("INVITE bob #c")
        self.world.clock.advance(1)
        ann.sends("MODE #c +b *!~bob@*")
        self.assertRefused(bob, "JOIN #c", "474")

    def test_link(self) -> None:
        """+L: who may not join for its own lack of something joins another channel instead, and is told so."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("JOIN #other", "MODE #c +iL #OTHER")
        bob = self.client("bob")
        lines = bob.asks("JOIN #c")
        self.assertEqual(lines[0], ":irc.test 470 bob #c #other :Forwarding to another channel")
        self.assertEqual(lines[1], ":bob!~bob@192.0.2.1 JOIN #other")
        self.assertRefused(bob, "JOIN #c", "473")
        ann.sends("MODE #c -i+l 1")
        eve = self.client("eve")
        self.assertEqual(eve.codes("JOIN #c")[:2], ["470", "JOIN"])

    def test_no_link_leads_on(self) -> None:
        """Not past a ban or a wrong key, not into a channel that refuses, is gone, or sends on itself."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("JOIN #other", "JOIN #third", "MODE #c +L #other", "MODE #other +L #third")
        bob = self.client("bob")
        for mode, code in (("b bob!*@*", "474"), ("k x", "475")):
            ann.sends(f"MODE #c +{mode}")
            self.assertRefused(bob, "JOIN #c", code)
            ann.sends(f"MODE #c -{mode}")
        ann.sends("MODE #c +i", "MODE #other +i")
        self.assertRefused(bob, "JOIN #c", "473")
        ann.sends("PART #other")
        self.assertRefused(bob, "JOIN #c", "473")

    def test_who_may_link(self) -> None:
        """An operator of both channels; to a channel that is there, as far as it may know, and another one."""
        ann, _ = self.on_channel("#c", "@ann", "bob")
        eve = self.on_channel("#eve", "@eve", "%ann2")[0]
        self.on_channel("#hidden", "@joe")[0].sends("MODE #hidden +s")
        for name, code in (("#none", "696"), ("#c", "696"), ("#hidden", "696"), ("word", "696"), ("#eve", "482")):
            with self.subTest(name):
                self.assertRefused(ann, f"MODE #c +L {name}", code)
        ann.sends("JOIN #eve")
        eve.sends("MODE #eve +o ann")
        ann.lines()
        self.assertEqual(ann.codes("MODE #c +L #eve"), ["MODE"])
        self.assertEqual(ann.codes("MODE #c -L"), ["MODE"])
        self.assertEqual(self.oper("root").codes("SAMODE #c +L #hidden"), [])
        self.assertEqual(self.world.state.channels["#c"].params, {"L": "#hidden"})

    def test_invitation_of_somebody_who_left(self) -> None:
        """Nothing of it stays."""
        [ann] = self.on_channel("#c", "@ann")
        bob = self.client("bob")
        ann.sends("INVITE bob #c")
        bob.sends("QUIT")
        channel = self.world.state.channels["#c"]
        self.assertEqual((channel.invites, channel.opened_to, self.world.state.invited), ({}, set(), {}))

    def test_away(self) -> None:
        """The away message of the invited comes with 341."""
        [ann] = self.on_channel("#c", "@ann")
        self.client("bob").sends("AWAY :gone")
        self.assertEqual(ann.codes("INVITE bob #c"), ["341", "301"])

    def test_knock(self) -> None:
        """Operators hear a KNOCK once a minute; errors for open channels, members, +K and bans."""
        [ann] = self.on_channel("#c", "@ann")
        bob = self.client("bob")
        self.assertRefused(bob, "KNOCK #c", "713")
        self.assertRefused(ann, "KNOCK #c", "714")
        ann.asks("MODE #c +i")
        self.assertEqual(bob.codes("KNOCK #c :let me in"), ["711"])
        self.assertReceives(ann, ":irc.test 710 ann #c bob!~bob@192.0.2.1 :has asked for an invite. (let me in)")
        self.assertRefused(bob, "KNOCK #c", "712")
        ann.sends("MODE #c +K")
        self.assertRefused(bob, "KNOCK #c", "480")
        ann.sends("MODE #c -K+b bob!*@*")
        self.assertRefused(bob, "KNOCK #c", "480")


class Listing(ServerTestCase):
    def names(self, client, condition: str = "") -> list[str]:
        return [words[1] for words in words_of(client.asks(f"LIST {condition}"), "322")]

    def test_elist(self) -> None:
        """Numbers of members, ages, masks and their negation."""
        ann, bob = self.on_channel("#two", "@ann", "bob")
        self.world.clock.advance(600)
        ann.sends("JOIN #one", "TOPIC #one :fresh")
        for condition, expected in {
            "": ["#two", "#one"],
            ">1": ["#two"],
            "<2": ["#one"],
            "C>5": ["#two"],
            "C<5": ["#one"],
            "T<5": ["#one"],
            "T>5": [],
            "*w*": ["#two"],
            "!*w*": ["#one"],
            "#two": ["#two"],
            "#two,>5": [],
        }.items():
            with self.subTest(condition):
                self.assertEqual(self.names(bob, condition), expected)

    def test_secret_channels_are_hidden(self) -> None:
        """+s and +p channels show to their members only, in LIST, NAMES, WHO and WHOIS."""
        [ann] = self.on_channel("#c", "@ann")
        bob = self.client("bob")
        for flag in "sp":
            ann.sends(f"MODE #c +{flag}")
            self.assertEqual(self.names(bob), [])
            self.assertEqual(self.names(ann), ["#c"])
            self.assertEqual(bob.codes("NAMES #c"), ["366"])
            self.assertEqual(bob.codes("WHO #c"), ["315"])
            self.assertNotIn("319", bob.codes("WHOIS ann"))
            self.assertRefused(bob, "MODE #c", "403")
            self.assertRefused(bob, "TOPIC #c", "403")
            self.assertRefused(bob, "PRIVMSG #c :x", "403")
            ann.sends(f"MODE #c -{flag}")

    def test_invisible_users_keep_their_channels(self) -> None:
        """WHOIS shows where an invisible user is to members of the same channels only, and to operators who see all."""
        ann, eve = self.on_channel("#c", "@ann", "eve")
        ann.sends("JOIN #other", "MODE ann -i")
        bob, root = self.client("bob"), self.oper("root")
        self.assertIn(":irc.test 319 bob ann :@#c @#other", bob.asks("WHOIS ann"))
        ann.sends("MODE ann +i")
        self.assertNotIn("319", bob.codes("WHOIS ann"))
        self.assertIn(":irc.test 319 eve ann :@#c", eve.asks("WHOIS ann"))
        self.assertIn(":irc.test 319 root ann :@#c @#other", root.asks("WHOIS ann"))
        self.assertIn(":irc.test 319 ann ann :@#c @#other", ann.asks("WHOIS ann"))

    def test_names(self) -> None:
        """The highest prefix, all of them with multi-prefix, masks with userhost-in-names."""
        self.on_channel("#c", "@+ann", "bob")
        [plain] = words_of(self.client("p1").asks("JOIN #c"), "353")
        self.assertEqual(plain[3], "@ann bob p1")
        full = self.client("p2", caps="multi-prefix userhost-in-names")
        [words] = words_of(full.asks("JOIN #c"), "353")
        self.assertTrue(words[3].startswith("@+ann!~ann@192.0.2.1 bob!~bob@192.0.2.1 "))

    def test_auditorium(self) -> None:
        """On +u ordinary members see staff only, and staff see everybody."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.asks("MODE #c +u")
        bob.lines()
        eve = self.client("eve")
        [words] = words_of(eve.asks("JOIN #c"), "353")
        self.assertEqual(words[3], "@ann eve")
        self.assertReceives(bob)
        self.assertReceives(ann, ":eve!~eve@192.0.2.1 JOIN #c")
        eve.sends("PART #c")
        self.assertReceives(bob)
        self.assertReceives(ann, ":eve!~eve@192.0.2.1 PART #c")
