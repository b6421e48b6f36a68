"""CAP, PASS, NICK, USER, PING, QUIT, and the welcome."""

import re

from slircd.commands.capability import OF_HISTORY
from slircd.commands.features import isupport_tokens
from slircd.commands.registration import STAGES, Registration, Stage, Step
from slircd.security.passwords import hash_now
from slircd.wire.capabilities import CAPABILITIES
from tests.harness import ServerTestCase, make_config, words_of


class Welcome(ServerTestCase):
    def test_burst(self) -> None:
        """001 to 005, LUSERS, MOTD, modes, in this order."""
        client = self.world.connect()
        client.sends("NICK ann", "USER ann 0 * :Ann")
        codes = [line.split()[1] for line in client.lines()]
        self.assertEqual(
            list(dict.fromkeys(codes)),
            [*("001", "002", "003", "004", "005"), *("251", "252", "253", "254", "255", "265", "266"), "422", "MODE"],
        )

    def test_isupport(self) -> None:
        """At most 13 tokens a line, no value with a second =, and every line fits."""
        client = self.world.connect()
        client.sends("NICK ann", "USER ann 0 * :Ann")
        lines = [line for line in client.lines() if " 005 " in line]
        tokens = [token for words in words_of(lines, "005") for token in words[1:-1]]
        self.assertTrue(all(len(words) <= 15 for words in words_of(lines, "005")))
        self.assertTrue(all(len(line.encode()) <= 510 for line in lines))
        self.assertTrue(all(re.fullmatch(r"[A-Z0-9]+(=[^= ]*)?", token) for token in tokens), tokens)
        self.assertEqual({token.split("=")[0] for token in tokens}, set(isupport_tokens(make_config())))

    def test_order_does_not_matter(self) -> None:
        """USER may come before NICK."""
        client = self.world.connect()
        client.sends("USER ann 0 * :Ann", "NICK ann")
        self.assertIn("001", [line.split()[1] for line in client.lines()])

    def test_before_and_after(self) -> None:
        """451 before, 462 after."""
        client = self.world.connect()
        self.assertEqual(client.codes("JOIN #c"), ["451"])
        ann = self.client("ann")
        self.assertRefused(ann, "USER a 0 * :b", "462")
        self.assertRefused(ann, "PASS x", "462")

    def test_nick_in_use(self) -> None:
        """433 at once, and the client may try another nick."""
        self.client("ann")
        client = self.world.connect()
        self.assertEqual(client.codes("NICK ANN"), ["433"])
        self.assertEqual(client.codes("NICK 9ann"), ["432"])
        self.assertEqual(client.codes("NICK"), ["431"])
        client.sends("USER x 0 * :x")
        self.assertEqual(client.codes("NICK ann2")[0], "001")

    def test_nick_taken_while_negotiating(self) -> None:
        """A nick that somebody takes between NICK and CAP END is refused then, and another one completes."""
        slow = self.world.connect()
        slow.sends("CAP LS 302", "NICK ann", "USER x 0 * :x")
        self.client("ann")
        slow.lines()
        self.assertEqual(slow.codes("CAP END"), ["433"])
        self.assertEqual(slow.codes("NICK other")[0], "001")

    def test_user_needs_four_parameters(self) -> None:
        """461, also for an empty real name."""
        client = self.world.connect()
        self.assertEqual(client.codes("USER a 0 *"), ["461"])
        self.assertEqual(client.codes("USER a 0 * :"), ["461"])

    def test_user_name_is_cleaned(self) -> None:
        """What would break a mask is left out; ~ marks that nobody vouched for it; USERLEN is kept."""
        client = self.world.connect()
        client.sends("NICK ann", "USER a!b@c:d€verylongname 0 * :x")
        self.assertEqual(self.world.state.user_by_nick("ann").username, "~abcdverylon")

    def test_unknown_command(self) -> None:
        """421 with the command."""
        self.assertEqual(self.client("ann").asks("NOSUCH x"), [":irc.test 421 ann NOSUCH :Unknown command"])

    def test_too_few_parameters(self) -> None:
        """461 with the command."""
        self.assertEqual(self.client("ann").asks("JOIN"), [":irc.test 461 ann JOIN :Not enough parameters"])


class Password(ServerTestCase):
    config = {"server": {"password_hash": hash_now("open", "minimum")}}

    def test_password(self) -> None:
        """Right: welcome; wrong or missing: 464 and the end."""
        for line, first in (("PASS open", "001"), ("PASS wrong", "464"), ("PING x", "PONG")):
            client = self.world.connect()
            client.sends(line, "NICK ann", "USER a 0 * :a")
            codes = [text.split()[1] if text[0] == ":" else text.split()[0] for text in client.lines()]
            self.assertEqual(codes[0], first)
            self.assertEqual(client.is_closed, line != "PASS open")
            client.sends("QUIT")
        self.assertNotIn("open", str(self.world.store.rows))


class Capabilities(ServerTestCase):
    def test_ls_lists_the_table(self) -> None:
        """CAP LS has every capability, and holds the registration until CAP END."""
        client = self.world.connect()
        lines = client.asks("CAP LS 302")
        self.assertTrue(all(" LS * :" in line for line in lines[:-1]), lines)
        names = [word.partition("=")[0] for line in lines for word in line.split(":", 2)[2].split()]
        self.assertEqual(names, [name for name in CAPABILITIES if name not in OF_HISTORY])
        client.sends("NICK ann", "USER a 0 * :a")
        self.assertEqual(client.lines(), [])
        self.assertEqual(client.codes("CAP END")[0], "001")

    def test_req_is_all_or_nothing(self) -> None:
        """NAK changes nothing; ACK does; - takes off; LIST shows."""
        ann = self.client("ann")
        self.assertEqual(ann.asks("CAP REQ :batch nosuch"), [":irc.test CAP ann NAK :batch nosuch"])
        self.assertEqual(ann.asks("CAP LIST"), [":irc.test CAP ann LIST :"])
        self.assertEqual(ann.asks("CAP REQ :batch setname"), [":irc.test CAP ann ACK :batch setname"])
        self.assertEqual(ann.asks("CAP REQ :-batch"), [":irc.test CAP ann ACK :-batch"])
        self.assertEqual(ann.asks("CAP LIST"), [":irc.test CAP ann LIST :setname"])
        self.assertEqual(ann.codes("CAP NOSUCH"), ["410"])

    def test_version_302_has_cap_notify(self) -> None:
        """CAP LS 302 implies cap-notify."""
        client = self.world.connect()
        client.sends("CAP LS 302")
        self.assertTrue(client.session.caps & CAPABILITIES["cap-notify"])


class Leaving(ServerTestCase):
    def test_quit(self) -> None:
        """Its own QUIT and ERROR, then the end of the connection, and one event."""
        ann = self.client("ann")
        self.assertEqual(self.types_after(lambda: ann.sends("QUIT :bye")), ["user.disconnect"])
        self.assertReceives(ann, ":ann!~ann@192.0.2.1 QUIT :Quit: bye", "ERROR :Closing Link: 192.0.2.1 (Quit: bye)")
        self.assertTrue(ann.is_closed)

    def test_lost_connection(self) -> None:
        """A user whose connection breaks is gone, in the log too."""
        ann = self.client("ann")
        self.assertEqual(self.types_after(ann.disconnects), ["user.disconnect"])
        self.assertEqual(self.world.server.sessions, {})

    def test_ping(self) -> None:
        """PONG with the token; 409 without one."""
        ann = self.client("ann")
        self.assertEqual(ann.asks("PING :a b"), [":irc.test PONG irc.test :a b"])
        self.assertEqual(ann.codes("PING"), ["409"])


def test_registration_table_reaches_the_end_by_every_order() -> None:
    """Whatever the order of NICK, USER and a negotiation, the last missing step completes."""
    from itertools import permutations

    for order in permutations([Step.NICK, Step.USER, Step.CAP_BEGIN, Step.CAP_END]):
        if order.index(Step.CAP_END) < order.index(Step.CAP_BEGIN):
            continue
        registration = Registration()
        for index, step in enumerate(order):
            if registration.stage is Stage.COMPLETE:
                # NICK and USER came first, and the negotiation after the registration.
                assert {Step.NICK, Step.USER} <= set(order[:index])
                break
            registration.take(step)
        assert registration.stage is Stage.COMPLETE, order


def test_registration_table_has_no_way_out_of_nothing() -> None:
    """Each row leads to another stage or repeats a step that a client may repeat."""
    assert all(isinstance(stage, Stage) for stage in STAGES.values())
