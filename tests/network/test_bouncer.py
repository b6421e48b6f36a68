"""Several clients of one user, users who stay without any, and what they are shown when they come back."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from slircd.state.snapshot import digest
from slircd.wire.message import parse
from tests.harness import BASE, FakeClient, ServerTestCase, World, make_config

CONFIG: dict[str, Any] = {
    "accounts": {"sasl_plain_without_tls": True, "password_length": 1},
    "bouncer": {"always_on": "opt-in"},
}
HISTORY = CONFIG | {"history": {"channels": True, "direct": True}}
MODERN = "message-tags server-time batch echo-message labeled-response account-tag"


def logs_in(
    world: World, account: str, nick: str, *, caps: str = "", tls: bool = False, late: bool = False
) -> FakeClient:
    """A client that proves to own an account on its way; `late` asks for the nick before that."""
    client = world.connect(tls=tls)
    client.sends(f"CAP REQ :sasl {caps}".rstrip())
    nick_and_user = (f"NICK {nick}", "USER u 0 * :Real")
    if late:
        client.sends(*nick_and_user)
    blob = b64encode(f"\0{account}\0password".encode()).decode()
    client.sends("AUTHENTICATE PLAIN", f"AUTHENTICATE {blob}")
    if not late:
        client.sends(*nick_and_user)
    client.sends("CAP END")
    return client


def commands(lines: list[str]) -> list[str]:
    return [parse(line.encode()).command for line in lines]


class BouncerTestCase(ServerTestCase):
    config = CONFIG

    def setUp(self) -> None:
        super().setUp()
        self.eve = self.client("eve", caps=MODERN)
        for name in ("ann", "bob"):
            client = self.client(name)
            client.sends("NS REGISTER password", "QUIT")

    def logs_in(self, nick: str, **options: Any) -> FakeClient:
        return logs_in(self.world, "ann", nick, **options)

    def ann(self, **options: Any) -> FakeClient:
        """ann, on #c with eve, what she was sent being read."""
        ann = self.logs_in("ann", **options)
        assert ann.uid
        for client in (ann, self.eve):
            client.sends("JOIN #c")
        ann.lines()
        self.eve.lines()
        return ann


class SharedUser(BouncerTestCase):
    def test_another_client_is_the_same_user(self) -> None:
        """A client that logs in to the account and asks for its nick gets the user's place; nobody else notices."""
        ann = self.ann()
        ann.asks("TOPIC #c :hello", "MODE ann +w")
        self.eve.lines()
        for late in (False, True):
            other = self.logs_in("ann", late=late)
            lines = other.lines()
            self.assertEqual(other.uid, ann.uid)
            self.assertEqual(commands(lines)[-5:], ["JOIN", "332", "333", "353", "366"])
            self.assertIn(":ann!~u@192.0.2.1 JOIN #c", lines)
            self.assertIn(":irc.test 332 ann #c :hello", lines)
            self.assertIn(":irc.test 353 ann = #c :@ann eve", lines)
            self.assertIn(":ann!~u@192.0.2.1 MODE ann +irw", lines)
        self.assertEqual(self.world.state.users[ann.uid].clients, 3)
        self.assertEqual(self.eve.lines() + ann.lines(), [])
        self.assertEqual(len(self.events_of("user.connect")), 6)  # two services, eve, twice for accounts, ann

    def test_who_may_not(self) -> None:
        """Without the account, or where it does not want that, the nick is in use."""
        ann = self.ann()
        stranger = self.world.connect()
        self.assertIn("433", commands(stranger.asks("NICK ann", "USER u 0 * :x")))
        other = logs_in(self.world, "bob", "ann")
        self.assertIn("433", commands(other.lines()))
        self.assertEqual(other.uid, "")
        ann.asks("NS SET MULTICLIENT OFF")
        for late in (False, True):
            third = self.logs_in("ann", late=late)
            self.assertIn("433", commands(third.lines()))
            self.assertEqual(third.uid, "")
        third.sends("NICK ann2")
        self.assertNotEqual(third.uid, "")
        self.assertNotEqual(third.uid, ann.uid)

    def test_off(self) -> None:
        """Where the network does not allow it, nobody shares a user."""
        self.world.server.use_config(make_config(CONFIG | {"bouncer": {"multiclient": "off"}}))
        ann = self.ann()
        self.assertIn("433", commands(self.logs_in("ann").lines()))
        self.assertIn("not possible", ann.asks("NS SET MULTICLIENT ON")[0])

    def test_messages(self) -> None:
        """All clients hear what is said to their user, and what it says on another one, each with its own tags."""
        ann, other = self.ann(), self.logs_in("ann", caps=MODERN)
        other.lines()
        self.eve.asks("PRIVMSG #c :one", "PRIVMSG ann :two")
        self.assertEqual(ann.lines(), [":eve!~eve@192.0.2.1 PRIVMSG #c :one", ":eve!~eve@192.0.2.1 PRIVMSG ann :two"])
        self.assertEqual([parse(line.encode()).params for line in other.lines()], [("#c", "one"), ("ann", "two")])
        self.assertEqual(ann.asks("PRIVMSG #c :three", "PRIVMSG eve :four"), [])
        self.assertEqual([parse(line.encode()).params for line in other.lines()], [("#c", "three"), ("eve", "four")])
        self.assertEqual(len(self.eve.lines()), 2)
        [echo] = other.asks("@label=x PRIVMSG eve :five")
        self.assertIn("label=x", echo)
        self.assertEqual(ann.lines(), [":ann!~u@192.0.2.1 PRIVMSG eve :five"])

    def test_what_one_does_shows_on_all(self) -> None:
        """Joins, parts, nick changes and modes of one client are those of all."""
        ann, other = self.ann(), self.logs_in("ann", caps=MODERN)
        other.lines()
        ann.sends("JOIN #d", "NICK annie", "MODE annie +w", "PART #c")
        expected = ["JOIN", "353", "366", "NICK", "MODE", "PART"]
        self.assertEqual(commands(ann.lines()), expected)
        self.assertEqual(commands(other.lines()), expected)
        self.eve.sends("JOIN #d")
        self.assertEqual((commands(ann.lines()), commands(other.lines())), (["JOIN"], ["JOIN"]))

    def test_quitting(self) -> None:
        """A client that goes is the user's end only if it is the last one."""
        ann, other = self.ann(), self.logs_in("ann")
        ann.sends("QUIT :one out")
        self.assertIn(":ann!~u@192.0.2.1 QUIT :Quit: one out", ann.lines())
        self.assertEqual(self.eve.lines(), [])
        other.lines()
        self.assertEqual(commands(other.asks("NAMES #c")), ["353", "366"])
        other.disconnects()
        self.assertEqual(commands(self.eve.lines()), ["QUIT"])
        self.assertEqual(
            [event.event_type for event in self.events_of("user.attach", "user.detach")], ["user.attach", "user.detach"]
        )

    def test_kill_ends_all(self) -> None:
        """KILL is for the user, so for all its clients."""
        ann, other = self.ann(), self.logs_in("ann")
        self.oper("joe").sends("KILL ann :enough")
        self.assertTrue(ann.is_closed)
        self.assertTrue(other.is_closed)

    def test_away(self) -> None:
        """A user is away when all its clients are; one that is away of itself does not count."""
        ann = self.ann()
        other = self.logs_in("ann", caps="draft/pre-away")
        user = self.world.state.users[ann.uid]
        self.assertEqual(commands(ann.asks("AWAY :lunch")), ["306"])
        self.assertIsNone(user.away)
        self.world.clock.advance(1)
        other.sends("AWAY :sleep")
        self.assertEqual(user.away, "sleep")
        ann.sends("AWAY")
        self.assertIsNone(user.away)
        other.sends("AWAY *")
        ann.sends("AWAY :lunch")
        self.assertEqual(user.away, "lunch")
        ann.disconnects()
        self.assertEqual(user.away, "*")
        self.logs_in("ann")
        self.assertIsNone(user.away)

    def test_tls_only_channel(self) -> None:
        """A client without TLS does not come into a channel for TLS only by being somebody's second one."""
        ann = self.ann(tls=True)
        ann.sends("MODE #c +z")
        other = self.logs_in("ann")
        self.assertEqual(other.uid, "")
        self.assertEqual(self.logs_in("ann", tls=True).uid, ann.uid)
        ann.sends("MODE #c -z")
        self.assertEqual(self.logs_in("ann").uid, ann.uid)
        self.assertFalse(self.world.state.users[ann.uid].secure)

    def test_not_endlessly_many(self) -> None:
        """A user has at most bouncer.clients of them."""
        self.world.server.use_config(make_config(CONFIG | {"bouncer": {"clients": 2}}))
        ann = self.ann()
        self.assertEqual(self.logs_in("ann").uid, ann.uid)
        third = self.logs_in("ann")
        self.assertIn("433", commands(third.lines()))
        third.sends("NICK ann3")
        self.assertNotIn(third.uid, ("", ann.uid))

    def test_bans_hit_each_client(self) -> None:
        """A ban of one client's address ends that client, and leaves the user to the others."""
        ann = self.ann()
        other = self.world.connect("198.51.100.7")
        blob = b64encode(b"\0ann\0password").decode()
        other.sends(
            "CAP REQ sasl", "AUTHENTICATE PLAIN", f"AUTHENTICATE {blob}", "NICK ann", "USER u 0 * :x", "CAP END"
        )
        self.assertEqual(other.uid, ann.uid)
        self.oper("joe").sends("KLINE *@198.51.100.7 :enough")
        self.assertTrue(other.is_closed)
        self.assertFalse(ann.is_closed)

    def test_operators(self) -> None:
        """Owning the account makes nobody an IRC operator: each client that is to use what operators may says OPER."""
        ann = self.ann()
        ann.asks("OPER root sesame", "MODE ann +s +c", "JOIN #staff", "MODE #staff +OP")
        other = self.logs_in("ann")
        other.lines()
        user = self.world.state.users[ann.uid]
        self.assertEqual((other.uid, user.oper), (ann.uid, "root"))
        for line, code in {
            "KILL eve :x": "481",
            "SAJOIN eve #x": "481",
            "REHASH": "481",
            "GLINE *@x :x": "481",
            "PLUGIN LIST": "481",
            "WALLOPS :x": "481",
            "MODE #c +P": "481",
        }.items():
            with self.subTest(line=line):
                self.assertRefused(other, line, code)
        self.assertEqual(other.asks("MODE ann +H"), [])
        before = user.snomask
        self.assertEqual(other.asks("MODE ann +s +k"), [])
        self.assertEqual(user.snomask, before)
        other.sends("PART #staff")
        self.assertRefused(other, "JOIN #staff", "520")
        self.assertNotIn("520", ann.codes("JOIN #staff"))
        for client in (ann, other):
            client.lines()
        self.client("joe")
        self.assertTrue([line for line in ann.lines() if "NOTICE ann :*** " in line])
        self.assertEqual(other.lines(), [])
        self.assertIn("381", other.codes("OPER root sesame"))
        other.sends("KILL joe :x")
        self.assertIsNone(self.world.state.user_by_nick("joe"))

    def test_an_operator_block_says_who(self) -> None:
        """Another client passes OPER only with what the operator block asks of it itself: password, certificate."""
        opers = {"root": {**BASE["opers"]["root"], "certfp": ["a" * 64]}}
        self.world.server.use_config(make_config(CONFIG, opers=opers))
        ann, other = self.ann(), self.logs_in("ann")
        ann.session.certfp = "a" * 64
        self.assertIn("381", ann.codes("OPER root sesame"))
        other.lines()
        self.assertIn("491", other.codes("OPER root sesame"))
        self.assertRefused(other, "KILL eve :x", "481")

    def test_an_operator_leaves(self) -> None:
        """With the last client that has passed OPER the user is no IRC operator any more; -o is for all its clients."""
        ann, other = self.ann(), self.logs_in("ann")
        ann.asks("OPER root sesame", "MODE ann +s")
        other.lines()
        ann.sends("QUIT")
        user = self.world.state.users[other.uid]
        self.assertEqual((user.oper, user.snomask, user.modes & {"o", "s"}), (None, "", set()))
        self.assertIn(":ann!~u@192.0.2.1 MODE ann -os", other.lines())
        third = self.logs_in("ann")
        for client in (other, third):
            self.assertIn("381", client.codes("OPER root sesame"))
        third.sends("QUIT")
        self.assertEqual(user.oper, "root")
        third = self.logs_in("ann")
        third.lines()
        self.assertIn("381", third.codes("OPER root sesame"))
        other.sends("MODE ann -o")
        for client in (other, third):
            client.lines()
            self.assertRefused(client, "KILL eve :x", "481")

    def test_clients(self) -> None:
        """CLIENTS shows and ends clients of one's own account."""
        ann, other = self.ann(), self.logs_in("ann")
        lines = other.asks("NS CLIENTS LIST")
        self.assertEqual(len(lines), 2)
        self.assertIn("(this one)", lines[1])
        for word in ("0", "3", "x"):
            other.asks(f"NS CLIENTS LOGOUT {word}")
        self.assertFalse(ann.is_closed)
        other.asks("NS CLIENTS LOGOUT 1")
        self.assertTrue(ann.is_closed)
        third = self.logs_in("ann")
        third.asks("NS CLIENTS LOGOUT ALL")
        self.assertTrue(other.is_closed)
        self.assertFalse(third.is_closed)


class AlwaysOn(BouncerTestCase):
    def stays(self) -> FakeClient:
        """ann, who is always on."""
        ann = self.ann()
        ann.asks("NS SET ALWAYS-ON ON")
        assert self.world.state.users[ann.uid].always_on
        return ann

    def test_stays_without_a_client(self) -> None:
        """Who is always on stays on its channels when its last client goes, and is away; another client finds it there."""
        ann = self.stays()
        uid = ann.uid
        ann.disconnects()
        user = self.world.state.users[uid]
        self.assertEqual((user.clients, user.away), (0, "Not connected at the moment"))
        self.assertEqual(self.eve.lines(), [])
        self.assertIn("301", commands(self.eve.asks("PRIVMSG ann :hello")))
        ann = self.logs_in("ann_")
        self.assertEqual((ann.uid, user.away, user.clients), (uid, None, 1))
        self.assertIn(":ann!~u@192.0.2.1 JOIN #c", ann.lines())

    def test_survives_restarts_and_crashes(self) -> None:
        """A restart keeps UID, nick, channels and prefixes of who is always on, and ends everybody else."""
        for crash in (False, True):
            ann = self.logs_in("ann") if self.world.state.user_by_nick("ann") else self.stays()
            uid = ann.uid
            ann.asks("OPER root sesame")
            if not crash:
                ann.disconnects()
            self.world = self.world.restart(crash=crash)
            user = self.world.state.users[uid]
            self.assertEqual(
                (user.nick, user.clients, user.oper, user.away), ("ann", 0, None, "Not connected at the moment")
            )
            self.assertEqual(self.world.state.channels["#c"].members, {uid: "o"})
            self.assertEqual(len(self.world.server.users), 1)
            self.assertEqual(digest(self.world.state), digest(self.world.replayed()))
            eve = self.client("eve")
            self.assertIn(":irc.test 353 eve = #c :@ann eve", eve.asks("JOIN #c"))
            eve.sends("QUIT")
        again = self.logs_in("ann")
        self.assertEqual(again.uid, uid)

    def test_expires(self) -> None:
        """Who does not come back for expire_days ends; who has a client does not."""
        ann = self.stays()
        uid = ann.uid
        for _ in range(40):
            self.world.clock.pump([3600] * 20)
            ann.sends("PING x")
        self.assertIn(uid, self.world.state.users)
        ann.disconnects()
        self.world.clock.pump([3600] * 24 * 29)
        self.assertIn(uid, self.world.state.users)
        self.world.clock.pump([3600] * 24 * 2)
        self.assertNotIn(uid, self.world.state.users)
        self.assertEqual(self.events_of("user.disconnect")[-1].reason, "Not connected for 30 days")

    def test_ends_with_what_allows_it(self) -> None:
        """Logging out, the setting, and the network's policy each end it."""
        ann = self.stays()
        user = self.world.state.users[ann.uid]
        ann.asks("NS SET ALWAYS-ON OFF")
        self.assertFalse(user.always_on)
        ann.asks("NS SET ALWAYS-ON ON", "NS LOGOUT")
        self.assertFalse(user.always_on)
        ann.asks("NS IDENTIFY password")
        self.assertTrue(user.always_on)
        self.world = self.world.restart(config=make_config(CONFIG | {"bouncer": {"always_on": "off"}}))
        self.assertNotIn(ann.uid, self.world.state.users)

    def test_one_user_of_an_account_stays(self) -> None:
        """A second user of the account ends with its client."""
        self.stays()
        second = self.client("second")
        second.asks("NS IDENTIFY ann password")
        uid = second.uid
        self.assertFalse(self.world.state.users[uid].always_on)
        second.disconnects()
        self.assertNotIn(uid, self.world.state.users)

    def test_ends_at_once_when_its_reason_does(self) -> None:
        """Somebody without a client ends with the account, or when another user of it says so."""
        for line in ("NS SET ALWAYS-ON OFF", "NS DROP password"):
            ann = self.logs_in("ann")
            ann.asks("NS SET ALWAYS-ON ON")
            uid = ann.uid
            ann.disconnects()
            self.assertIn(uid, self.world.state.users)
            other = self.client("other")
            other.asks("NS IDENTIFY ann password", line)
            self.assertNotIn(uid, self.world.state.users)
            other.sends("QUIT")

    def test_leaving_while_the_log_is_down(self) -> None:
        """A client that goes while the log cannot be written is written down when it is back."""
        ann = self.stays()
        uid = ann.uid
        self.world.store.fail("disk full")
        ann.disconnects()
        self.world.store.recover()
        self.assertEqual(self.world.state.users[uid].clients, 0)
        self.assertEqual(self.events_of("user.detach")[-1].nick, "ann")

    def test_an_operator_leaves_while_the_log_is_down(self) -> None:
        """What its end brings with it, here that it is no operator any more, cannot be refused either."""
        ann = self.stays()
        uid = ann.uid
        ann.asks("OPER root sesame")
        self.world.store.fail("disk full")
        ann.sends("QUIT")
        user = self.world.state.users[uid]
        self.assertEqual((user.clients, user.oper), (0, None))
        self.world.store.recover()

    def test_opt_out(self) -> None:
        """Where the network has it on for all, whoever logs in stays, unless it does not want to."""
        self.world.server.use_config(make_config(CONFIG | {"bouncer": {"always_on": "opt-out"}}))
        ann = self.logs_in("ann")
        self.assertTrue(self.world.state.users[ann.uid].always_on)
        ann.asks("NS SET ALWAYS-ON OFF")
        self.assertFalse(self.world.state.users[ann.uid].always_on)


class Backlog(BouncerTestCase):
    config = HISTORY

    def say(self, *words: str) -> None:
        for word in words:
            self.world.clock.advance(1)
            self.eve.asks(f"PRIVMSG #c :{word}")

    def shown(self, client: FakeClient) -> list[str]:
        return [line.split(" :", 1)[1] for line in client.lines() if " PRIVMSG #c :" in line]

    def test_on_joining(self) -> None:
        """A client without chathistory is shown the last lines, with their time, between two lines that say so."""
        self.ann()
        self.say("one", "two")
        joe = self.client("joe")
        lines = joe.asks("JOIN #c")
        self.assertEqual(
            [line for line in lines if "PRIVMSG" in line or "NOTICE" in line],
            [
                ":irc.test NOTICE #c :--- what was said before, 2 lines, times are UTC ---",
                ":eve!~eve@192.0.2.1 PRIVMSG #c :[15:06:41] one",
                ":eve!~eve@192.0.2.1 PRIVMSG #c :[15:06:42] two",
                ":irc.test NOTICE #c :--- end of what was said before ---",
            ],
        )
        self.assertEqual(commands(lines)[:3], ["JOIN", "353", "366"])

    def test_with_server_time(self) -> None:
        """With server-time the lines are as they were, in a batch; with chathistory there are none."""
        self.ann()
        self.say("one", "\x01ACTION waves\x01")
        joe = self.client("joe", caps="server-time batch")
        lines = joe.asks("JOIN #c")[3:]
        self.assertEqual(commands(lines), ["BATCH", "PRIVMSG", "PRIVMSG", "BATCH"])
        self.assertIn("time=2025-06-15T15:06:41.000Z :eve!~eve@192.0.2.1 PRIVMSG #c :one", lines[1])
        for caps in ("draft/chathistory batch server-time", "znc.in/playback"):
            client = self.client(f"joe{len(caps)}", caps=caps)
            self.assertEqual(commands(client.asks("JOIN #c")), ["JOIN", "353", "366"])
        plain = self.client("plain")
        plain.sends("JOIN #c")
        self.assertIn("\x01ACTION [15:06:42] waves\x01", self.shown(plain))

    def test_limits(self) -> None:
        """As many lines as configured, or as the account wishes, and none that are too old."""
        ann = self.ann()
        self.say(*map(str, range(30)))
        joe = self.client("joe")
        joe.sends("JOIN #c")
        self.assertEqual(len(self.shown(joe)), 20)
        ann.asks("NS SET AUTOREPLAY 3", "PART #c", "JOIN #c")
        ann.sends("PART #c")
        ann.lines()
        ann.sends("JOIN #c")
        self.assertEqual(len(self.shown(ann)), 3)
        ann.sends("NS SET AUTOREPLAY 0", "PART #c")
        ann.lines()
        ann.sends("JOIN #c")
        self.assertEqual(self.shown(ann), [])
        self.world.clock.advance(86_401)
        late = self.client("late")
        late.sends("JOIN #c")
        self.assertEqual(self.shown(late), [])

    def test_missed(self) -> None:
        """Who comes back is shown what was said meanwhile, on channels and to it, once."""
        ann = self.ann()
        ann.asks("NS SET ALWAYS-ON ON")
        self.say("seen")
        self.world.clock.advance(1)
        ann.disconnects()
        self.say("missed")
        self.eve.asks("PRIVMSG ann :privately")
        ann = self.logs_in("ann", caps="server-time batch")
        texts = [parse(line.encode()).params[-1] for line in ann.lines() if " PRIVMSG " in line]
        self.assertEqual(texts, ["missed", "privately"])
        asking = self.logs_in("ann", caps=MODERN + " draft/chathistory")
        self.assertNotIn("PRIVMSG", commands(asking.lines()))

    def test_znc_playback(self) -> None:
        """*playback plays channels and conversations from a time to a time, and is no message to anybody."""
        ann = self.ann(caps=MODERN + " znc.in/playback")
        self.say("one", "two", "three")
        self.eve.asks("PRIVMSG ann :privately")
        ann.lines()
        start = self.world.clock.seconds()

        def played(words: str) -> list[str]:
            lines = [line for line in ann.asks(f"PRIVMSG *playback :{words}") if " PRIVMSG " in line]
            return [parse(line.encode()).params[-1] for line in lines]

        self.assertEqual(played("PLAY * 0"), ["one", "two", "three", "privately"])
        self.assertEqual(played(f"play #c {start - 1}"), ["two", "three"])
        self.assertEqual(played(f"PLAY #c {start - 2} {start}"), ["one", "two"])
        self.assertEqual(played("PLAY EVE"), ["privately"])
        self.assertEqual(played("PLAY #nosuch,nobody"), [])
        self.assertEqual(played("LIST"), [f"#c {start - 2:.3f} {start:.3f}"])
        for words in ("PLAY * x", "PLAY", "CLEAR *", "NONSENSE"):
            self.assertEqual(len(played(words)), 1)
        self.assertNotIn("PLAY", repr(self.world.store.rows))
        batches = [line for line in ann.asks("PRIVMSG *playback :PLAY #c") if "BATCH +" in line]
        self.assertTrue(batches[0].endswith(" znc.in/playback #c"), batches)
