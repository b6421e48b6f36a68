"""MODE of channels and users."""

from slircd.state.model import Channel
from slircd.wire.modes import CHANNEL_MODES, USER_MODES, Kind
from tests.harness import ServerTestCase, World, make_config, words_of


class ChannelModes(ServerTestCase):
    @property
    def channel(self) -> Channel:
        return self.world.state.channels["#c"]

    def test_query(self) -> None:
        """324 has flags and parameters, 329 the time of creation; the key shows to members only."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("MODE #c +kl sesame 10")
        lines = ann.asks("MODE #c")
        self.assertEqual(words_of(lines, "324"), [["ann", "#c", "+ntkl", "sesame", "10"]])
        self.assertEqual(words_of(lines, "329"), [["ann", "#c", "1750000000"]])
        self.assertEqual(words_of(self.client("bob").asks("MODE #c"), "324"), [["bob", "#c", "+ntkl", "*", "10"]])

    def test_change_is_one_line_to_all(self) -> None:
        """Flags, members and masks of one command are one decision and one MODE line."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        types = self.types_after(lambda: ann.sends("MODE #c +mv-t+b bob x!*@*"))
        self.assertEqual(types, ["channel.mode_change", "channel.ban_add"])
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 MODE #c +mv-t+b bob x!*@*")

    def test_nothing_changes(self) -> None:
        """What is set already, or not set, causes neither event nor line."""
        ann, _ = self.on_channel("#c", "@ann", "bob")
        for words in ("+nt", "-m", "+o ann", "-v bob", "-b x!*@*", "-k x", "-l", "+b-b x!*@* x!*@*"):
            with self.subTest(words):
                self.assertEqual(self.types_after(lambda words=words: ann.sends(f"MODE #c {words}")), [])
        self.assertReceives(ann)

    def test_unknown_and_missing(self) -> None:
        """472 for an unknown letter, 696 for a missing parameter; the rest is done."""
        [ann] = self.on_channel("#c", "@ann")
        self.assertEqual(ann.codes("MODE #c +y"), ["472"])
        self.assertEqual(ann.codes("MODE #c +k"), ["696"])
        self.assertEqual(ann.codes("MODE #c +l x"), ["696"])
        self.assertEqual(ann.codes("MODE #c +l 0"), ["696"])
        self.assertEqual(ann.codes("MODE #c +f 3"), ["696"])
        self.assertEqual(ann.codes("MODE #c +k a,b"), ["525"])
        self.assertEqual(ann.codes("MODE #c +b ~y:x"), ["696"])
        self.assertEqual(ann.codes("MODE #c +b ~t:0:x"), ["696"])
        self.assertEqual(ann.codes("MODE #c +ym"), ["472", "MODE"])

    def test_who_may_change_what(self) -> None:
        """Half-operators give voice, operators up to operator, owners everything; 482 is said once."""
        self.on_channel("#c", "~own", "@op", "%half", "plain")
        by_nick = {client.nick: client for client in self.world.clients}
        self.assertRefused(by_nick["plain"], "MODE #c +im", "482")
        self.assertRefused(by_nick["half"], "MODE #c +o plain", "482")
        self.assertRefused(by_nick["op"], "MODE #c +a plain", "482")
        self.assertRefused(by_nick["op"], "MODE #c -q own", "482")
        self.assertEqual(by_nick["half"].codes("MODE #c +v plain"), ["MODE"])
        self.assertEqual(by_nick["op"].codes("MODE #c +h plain"), ["MODE"])
        self.assertEqual(by_nick["own"].codes("MODE #c +a op"), ["MODE"])
        self.assertEqual(by_nick["half"].codes("MODE #c -h half"), ["MODE"])

    def test_members_of_prefix_modes(self) -> None:
        """401 for nobody, 441 for somebody who is not there."""
        [ann] = self.on_channel("#c", "@ann")
        self.client("bob")
        self.assertRefused(ann, "MODE #c +o nobody", "401")
        self.assertRefused(ann, "MODE #c +o bob", "441")

    def test_lists(self) -> None:
        """Entries show with setter and time; masks are completed."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.sends("MODE #c +beI bad ok!*@* in@host")
        expected = {"b": ("367", "368", "bad!*@*"), "e": ("348", "349", "ok!*@*"), "I": ("346", "347", "*!in@host")}
        for letter, (each, end, mask) in expected.items():
            lines = bob.asks(f"MODE #c {letter}")
            self.assertEqual(words_of(lines, each), [["bob", "#c", mask, "ann!~ann@192.0.2.1", "1750000000"]])
            self.assertEqual(len(words_of(lines, end)), 1)

    def test_quiets(self) -> None:
        """+q with a mask is +b ~m:mask; +q alone lists the quiets; +q with a nick makes an owner."""
        ann, bob = self.on_channel("#c", "~ann", "bob")
        self.assertEqual(ann.asks("MODE #c +q bob!*@*"), [":ann!~ann@192.0.2.1 MODE #c +b ~m:bob!*@*"])
        self.assertRefused(bob, "PRIVMSG #c :x", "404")
        self.assertEqual(words_of(ann.asks("MODE #c +q"), "728")[0][:4], ["ann", "#c", "q", "bob!*@*"])
        ann.sends("MODE #c -q bob!*@*", "MODE #c +q bob")
        self.assertEqual(self.channel.members[bob.uid], "q")

    def test_timed_bans(self) -> None:
        """~t:MINUTES:mask is removed by the server when its time has come."""
        [ann] = self.on_channel("#c", "@ann")
        ann.asks("MODE #c +b ~t:5:bad!*@*")
        self.world.clock.advance(299)
        self.assertReceives(ann)
        self.world.clock.advance(2)
        self.assertReceives(ann, ":irc.test MODE #c -b ~t:5:bad!*@*")
        [event] = self.events_of("channel.ban_remove")
        self.assertEqual(event.actor_uid, "server")

    def test_timed_bans_across_a_restart(self) -> None:
        """A ban that came due while the server was down is removed at the start, one that did not when its time comes."""
        root = self.oper("root")
        root.sends("JOIN #c", "MODE #c +P", "MODE #c +b ~t:1:one!*@*", "MODE #c +b ~t:60:two!*@*")
        self.world.clock.advance(1)
        self.world.server.stopService()
        self.world.clock.advance(600)
        self.world = self.world.restart(crash=True)
        self.assertEqual(list(self.channel.lists["b"]), ["~t:60:two!*@*"])
        self.world.clock.advance(3600)
        self.assertEqual(self.channel.lists, {})

    def test_oper_flags(self) -> None:
        """Only IRC operators may set +P and +O; a permanent channel stays, and goes when +P is taken off."""
        [ann] = self.on_channel("#c", "@ann")
        self.assertRefused(ann, "MODE #c +P", "481")
        root = self.oper("root")
        root.sends("MODE #c +P")
        ann.sends("PART #c")
        self.assertIn("#c", self.world.state.channels)
        root.sends("MODE #c -P")
        self.assertNotIn("#c", self.world.state.channels)

    def test_no_nick_changes(self) -> None:
        """+N, and the extended ban ~n, keep members from changing nick."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        ann.asks("MODE #c +N")
        bob.lines()
        self.assertRefused(bob, "NICK rob", "437")
        ann.asks("MODE #c -N+b ~n:bob!*@*")
        bob.lines()
        self.assertRefused(bob, "NICK rob", "437")
        self.assertEqual(ann.codes("NICK anna"), ["NICK"])

    def test_everything_that_is_advertised_can_be_set(self) -> None:
        """Each letter of CHANMODES and PREFIX is accepted, stored, shown, and taken off again."""
        root = self.oper("root", tls=True)
        root.sends("JOIN #c", "JOIN #other")
        root.lines()
        params = {
            "k": "key",
            "l": "5",
            "L": "#other",
            "f": "3:10",
            "j": "3:10",
            "b": "x!*@*",
            "e": "x!*@*",
            "I": "x!*@*",
        }
        for letter in CHANNEL_MODES.letters:
            if letter in "ntP":
                continue
            param = params.get(letter, "root" if CHANNEL_MODES.kinds[letter] is Kind.PREFIX else "")
            with self.subTest(letter):
                sign = "-" if letter == "o" else "+"
                line = root.asks(f"SAMODE #c {sign}{letter} {param}")
                self.assertIn(f"MODE #c {sign}{letter}", line[0])
                undone = root.asks(f"SAMODE #c {'+' if sign == '-' else '-'}{letter} {param}")
                self.assertIn("MODE #c", undone[0])


class ListLimits(ServerTestCase):
    config = {"limits": {"list_entries": 10}}

    def test_full(self) -> None:
        """MAXLIST counts all lists together: 478."""
        [ann] = self.on_channel("#c", "@ann")
        for number in range(10):
            ann.sends(f"MODE #c +{'be'[number % 2]} m{number}!*@*")
        self.assertRefused(ann, "MODE #c +I x!*@*", "478")
        self.assertEqual(ann.codes("MODE #c -b+I m0!*@* x!*@*"), ["MODE"])


class UserModes(ServerTestCase):
    def test_own(self) -> None:
        """221 shows them, a change is told; of others 502; unknown ones 501."""
        ann = self.client("ann")
        self.assertEqual(ann.asks("MODE ann"), [":irc.test 221 ann +i"])
        self.assertEqual(ann.asks("MODE ann -i+w"), [":ann!~ann@192.0.2.1 MODE ann -i+w"])
        self.client("bob")
        self.assertRefused(ann, "MODE bob +i", "502")
        self.assertRefused(ann, "MODE nobody +i", "401")
        self.assertEqual(ann.codes("MODE ann +y"), ["501"])

    def test_what_nobody_gives_himself(self) -> None:
        """o, r and Z are not there for the asking, H is for operators."""
        ann = self.client("ann")
        self.assertEqual(self.types_after(lambda: ann.sends("MODE ann +orZH")), [])
        root = self.oper("root")
        self.assertEqual(root.asks("MODE root +H-o"), [":root!~root@192.0.2.1 MODE root -o"])
        self.assertFalse(self.world.state.users[root.uid].is_oper)

    def test_every_letter_is_described(self) -> None:
        """004 has the letters of the table."""
        self.assertEqual(set(USER_MODES.letters), set(USER_MODES.descriptions))

    def test_deaf(self) -> None:
        """+D hears no messages of channels, joined before or after."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        bob.asks("MODE bob +D")
        ann.sends("PRIVMSG #c :x")
        self.assertReceives(bob)
        bob.asks("JOIN #d")
        ann.asks("JOIN #d", "PRIVMSG #d :x")
        self.assertNotIn(":ann!~ann@192.0.2.1 PRIVMSG #d :x", bob.lines())
        bob.asks("MODE bob -D")
        ann.sends("PRIVMSG #c :y")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 PRIVMSG #c :y")


class Cloaks(ServerTestCase):
    config = {"cloak": {"enabled": True}}

    def test_cloak_goes_and_comes(self) -> None:
        """Users are cloaked from the start; -x shows the address, +x hides it, each with an event."""
        ann = self.client("ann", address="198.51.100.7")
        cloaked = self.world.state.users[ann.uid].host
        self.assertTrue(cloaked.endswith(".cloak"))
        self.assertEqual(self.types_after(lambda: ann.sends("MODE ann -x")), ["user.mode_change", "user.host_change"])
        self.assertEqual(self.world.state.users[ann.uid].host, "198.51.100.7")
        ann.sends("MODE ann +x")
        self.assertEqual(self.world.state.users[ann.uid].host, cloaked)

    def test_ban_on_the_address_hits_the_cloaked(self) -> None:
        """A cloak does not help against a ban on the address."""
        [ann] = self.on_channel("#c", "@ann")
        ann.sends("MODE #c +b *!*@198.51.100.0/24")
        self.assertRefused(self.client("bob", address="198.51.100.7"), "JOIN #c", "474")


def test_default_channel_modes_come_from_the_log() -> None:
    """A new channel has the flags that `server.start` recorded."""
    world = World(config=make_config({"server": {"default_channel_modes": "ms"}}))
    world.client("ann").sends("JOIN #c")
    assert world.state.channels["#c"].flags == {"m", "s"}
