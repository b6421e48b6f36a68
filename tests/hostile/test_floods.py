"""Floods of lines by somebody who is registered: what one client can make the server do, keep and tell others."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.internet.defer import Deferred

from tests.harness import OPER_PASSWORD
from tests.hostile.support import FLOOD, HostileTestCase

BURST, RATE = 20, 4


class Lines(HostileTestCase):
    """The token bucket and the receive queue."""

    def test_commands_are_delayed_and_then_cut(self) -> None:
        """Ten thousand commands in one segment: a burst runs in the turn, a bounded queue waits, then the client goes."""
        eve = self.attacker()
        before = self.world.server.command_counts.get("VERSION", 0)
        eve.sends_bytes(b"VERSION\r\n" * 10_000)
        ran = self.world.server.command_counts["VERSION"] - before
        self.assertEqual(ran, BURST)
        self.assertTrue(eve.is_closed)
        self.assertEqual(eve.lines()[-1], "ERROR :Closing Link: 203.0.113.66 (Excess flood: receive queue exceeded)")
        self.assertEqual(self.world.server.measures.cut["recvq"], 1)

    def test_what_waits_is_bounded_with_what_it_costs_to_keep(self) -> None:
        """Lines of one byte count with what Python needs to keep them: the queue's memory is near its limit, not 30 times it."""
        limit = self.world.server.config.limits.recvq_bytes
        eve = self.attacker()
        eve.sends_bytes(b"x\n" * BURST)
        session = eve.session
        for _ in range(4000):
            eve.sends_bytes(b"x\n")
            if eve.is_closed:
                break
            self.assertLessEqual(len(session._queue) * 48, limit + 65_536)
        self.assertTrue(eve.is_closed)
        self.assertEqual(len(session._queue), 0)

    def test_a_slow_command_is_no_flood(self) -> None:
        """What comes while a command waits is kept, one read of it, and then the client is not read until it is done."""
        eve = self.attacker()
        held: Deferred[list[str]] = Deferred()
        self.world.server.rehash = lambda _: held
        eve.sends(f"OPER root {OPER_PASSWORD}")
        eve.lines()
        eve.sends("REHASH")
        eve.sends_bytes((b"PRIVMSG bob :" + b"x" * 100 + b"\r\n") * 560)
        self.assertEqual((eve.transport.producerState, eve.is_closed), ("paused", False))
        held.callback([])
        self.world.turn()
        self.assertEqual(eve.transport.producerState, "producing")
        self.assertEqual(len(self.bob.lines()), 560)

    def test_in_the_long_run_the_rate_holds(self) -> None:
        """A minute of flooding that stays below the queue's limit gets what the bucket gives, not more."""
        eve = self.attacker()
        before = self.world.server.command_counts.get("TIME", 0)
        for _ in range(60):
            eve.sends_bytes(b"TIME\r\n" * 5)
            self.waits(1)
        self.assertLessEqual(self.world.server.command_counts["TIME"] - before, BURST + 60 * RATE)
        self.assertFalse(eve.is_closed)

    def test_pings_are_not_quite_free(self) -> None:
        """PING and PONG have a bucket of their own: who waits for a command does not time out, and nobody floods by them."""
        eve = self.attacker()
        eve.sends_bytes(b"TIME\r\n" * 30)
        self.assertEqual(len(eve.lines()), BURST)
        eve.sends_bytes(b"PING x\r\n")
        mallory = self.attacker("mallory")
        mallory.sends_bytes(b"PING x\r\n" * 1000)
        self.assertEqual(len(mallory.lines()), BURST)
        self.waits(10)
        self.assertEqual(len(mallory.lines()), 10 * RATE)
        mallory.sends_bytes(b"PONG x\r\n" * 10_000)
        self.assertTrue(mallory.is_closed)

    def test_million_byte_line(self) -> None:
        """A line without an end is no more in memory than a right one could be, and is the end of the connection."""
        eve = self.attacker()
        protocol = eve.protocol
        most = 0
        for _ in range(1_000_000 // 8192):
            eve.sends_bytes(b"x" * 8192)
            most = max(most, len(protocol._rest))
        self.assertLess(most, 8192 + 512)
        self.assertEqual(
            eve.lines(),
            [
                ":irc.test 417 eve :Input line was too long",
                "ERROR :Closing Link: 203.0.113.66 (Excess flood: input line too long)",
            ],
        )

    def test_empty_lines(self) -> None:
        """A megabyte of line ends is nothing: no command, no answer, no memory."""
        eve = self.attacker()
        eve.sends_bytes(b"\r\n" * 500_000)
        self.assertEqual(eve.lines(), [])
        self.assertEqual(eve.session._queue_bytes, 0)


class Tags(HostileTestCase):
    def test_tag_floods(self) -> None:
        """As many tags as fit are passed on to those who asked for tags, one byte more is refused, and both cost a token."""
        eve = self.attacker(caps="message-tags")
        dan = self.client("dan", address="192.0.2.9", caps="message-tags")
        fits = ";".join(f"+t{number}=" + "v" * 8 for number in range(300))[:4094]
        eve.sends(f"@{fits} PRIVMSG dan :hello")
        [line] = dan.lines()
        self.assertLess(len(line), 4096 + 512)
        self.assertEqual(eve.codes(f"@{fits}x PRIVMSG dan :hello"), ["417"])
        for _ in range(50):
            eve.sends(f"@{fits} TAGMSG dan")
        self.assertEqual(len(dan.lines()), BURST - 2)

    def test_bare_cr_and_nul_in_tags(self) -> None:
        """What tags hold unescaped breaks nobody's parser: the line is refused."""
        eve = self.attacker(caps="message-tags standard-replies")
        dan = self.client("dan", address="192.0.2.9", caps="message-tags")
        for bad in (b"\r", b"\0"):
            eve.sends_bytes(b"@+a=x" + bad + b"y PRIVMSG dan :hello\r\n")
            self.assertReceives(eve, ":irc.test FAIL * MALFORMED_LINE :a line cannot contain NUL or CR")
        self.assertReceives(dan)


class Work(HostileTestCase):
    """Commands that cost much count for more: an answer, or an effect on others, of a thousand lines is a token."""

    config: ClassVar[Any] = {"flood": {**FLOOD, "lines_per_token": 100}, "throttle": {"enabled": False}}
    CROWD = 150

    def setUp(self) -> None:
        super().setUp()
        self.crowd = [self.client(f"c{number}", address=f"198.51.100.{number}") for number in range(self.CROWD)]
        for each in self.crowd:
            each.sends("JOIN #crowd")
        self.waits(10)
        for each in self.crowd:
            each.lines()

    def lines_in(self, seconds: int, *flood: str) -> int:
        """How many lines everybody is sent while eve repeats a flood for so long."""
        eve = self.attacker()
        eve.sends("JOIN #crowd")
        self.waits(60)
        everybody = [eve, *self.crowd]
        for each in everybody:
            each.lines()
        total = 0
        for second in range(seconds):
            for line in flood:
                eve.sends(line.format(second))
            self.waits(1)
            total += sum(len(each.lines()) for each in everybody)
        self.assertFalse(eve.is_closed)
        return total

    def assertBounded(self, seconds: int, *flood: str, most: int) -> None:
        """The flood causes at most the work that the bucket pays for, and one command, of `most` lines, on top."""
        total = self.lines_in(seconds, *flood)
        self.assertLessEqual(total, (BURST + RATE * seconds) * 100 + most)
        self.assertGreater(total, 0)

    def test_nick_floods(self) -> None:
        """A nick change is told to everybody on all channels, and costs as much."""
        self.assertBounded(60, "NICK eve{}a", "NICK eve{}b", "NICK eve{}c", "NICK eve{}d", most=self.CROWD + 1)

    def test_join_part_floods(self) -> None:
        """So are joins and parts."""
        self.assertBounded(60, "PART #crowd", "JOIN #crowd", "PART #crowd", "JOIN #crowd", most=self.CROWD + 10)

    def test_messages_to_many(self) -> None:
        """So are messages."""
        self.assertBounded(60, *["PRIVMSG #crowd :hello"] * 4, most=self.CROWD)

    def test_topic_and_mode_floods(self) -> None:
        """So are topics and modes."""
        self.set_prefixes("#crowd", [])
        eve = self.attacker("op")
        eve.sends("JOIN #crowd")
        self.set_prefixes("#crowd", [("op", "o")])
        self.waits(30)
        for each in self.crowd:
            each.lines()
        total = 0
        for second in range(60):
            eve.sends(f"TOPIC #crowd :{second}", f"MODE #crowd {'+-'[second % 2]}m", f"MODE #crowd +k {second}")
            eve.sends(f"MODE #crowd +b b{second}!*@*")
            self.waits(1)
            total += sum(len(each.lines()) for each in self.crowd)
        self.assertLessEqual(total, (BURST + RATE * 60) * 100 + self.CROWD)

    def test_who_and_list_floods(self) -> None:
        """WHO, WHOIS, WHOWAS, NAMES and LIST pay for what they look at and for what they answer."""
        for line in ("WHO *", "WHO *zzz*", "LIST", "NAMES #crowd", "WHOWAS eve,ann,bob,dan"):
            with self.subTest(line):
                eve = self.attacker(f"e{abs(hash(line)) % 1000}")
                name = line.split()[0]
                before = self.world.server.command_counts.get(name, 0)
                for _ in range(60):
                    eve.sends(*[line] * 4)
                    self.waits(1)
                ran = self.world.server.command_counts[name] - before
                self.assertLessEqual(ran, BURST + RATE * 60)
                if "WHO" in line:  # more than 150 users, or 500 lines' worth, are looked at each time
                    self.assertLessEqual(ran, (BURST + RATE * 60) / 2.5 + 1)
                eve.disconnects()

    def test_looks_at_the_past(self) -> None:
        """A RESTORE starts a process: it is worth five commands, so a founder gets one a second or so."""
        eve = self.attacker()
        eve.sends("JOIN #own", "NS REGISTER sesame1", "CS REGISTER #own")
        self.assertTrue(self.world.state.channels["#own"].registration)
        self.waits(60)
        looks: list[str] = []
        look = self.world.server.channel_at
        self.world.server.channel_at = lambda key, at: looks.append(at) or look(key, at)  # type: ignore[func-returns-value]
        for _ in range(60):
            eve.sends(*["CS RESTORE #own -1s"] * 4)
            self.waits(1)
        self.assertGreater(len(looks), 5)
        self.assertLessEqual(len(looks), (BURST + RATE * 60) / 5 + 2 * BURST)

    def test_debt_is_bounded(self) -> None:
        """One command that costs ten thousand tokens mutes nobody for longer than twice the burst takes to come in."""
        eve = self.attacker()
        eve.session._charge(1_000_000)
        eve.sends("TIME")
        self.assertReceives(eve)
        self.waits(2 * BURST // RATE + 1)
        self.assertEqual(len(eve.lines()), 1)


class Modes(HostileTestCase):
    def test_mode_floods(self) -> None:
        """A MODE with hundreds of letters lists a list once, changes as many parameters as MODES says, and fits into lines."""
        eve = self.attacker()
        eve.sends("JOIN #own")
        eve.lines()
        answers = eve.codes("MODE #own " + "b" * 400)
        self.assertEqual(answers, ["368"])
        masks = " ".join(f"m{number}" for number in range(50))
        eve.sends("MODE #own +" + "b" * 50 + " " + masks)
        self.assertEqual(len(self.world.state.channels["#own"].entries("b")), 12)
        self.assertEqual(len(eve.asks("MODE #own +" + "nt" * 200)), 0)
        self.assertEqual(len(eve.asks("MODE #own " + "+X" * 200)), 1)
        self.assertEqual(len(eve.asks("MODE #own " + "".join(map(chr, range(0x100, 0x180))))), 10)

    def test_lists_have_an_end(self) -> None:
        """A channel's lists together hold as many entries as `limits.list_entries`; then 478."""
        eve = self.attacker()
        eve.sends("JOIN #own")
        limit = self.world.server.config.limits.list_entries
        for start in range(0, limit + 24, 12):
            letters = "beI"[start // 12 % 3] * 12
            eve.sends(f"MODE #own +{letters} " + " ".join(f"m{start + number}!*@*" for number in range(12)))
            self.waits(1)
        channel = self.world.state.channels["#own"]
        self.assertEqual(sum(len(channel.entries(letter)) for letter in "beI"), limit)
        self.assertTrue(any(" 478 " in line for line in eve.lines()))


class SlowReaders(HostileTestCase):
    def test_who_does_not_read_is_not_read(self) -> None:
        """While a client's connection takes nothing, nothing that it asks for is even looked at."""
        eve = self.attacker()
        eve.session.outbox.pauseProducing()
        self.assertEqual(eve.transport.producerState, "paused")
        eve.session.outbox.resumeProducing()
        self.assertEqual(eve.transport.producerState, "producing")

    def test_slow_reader_is_cut_at_its_limit(self) -> None:
        """What others say to somebody who does not read waits up to the limit, then the connection ends; nobody waits."""
        eve = self.attacker()
        limit = self.world.server.config.limits.sendq_bytes
        eve.session.outbox.pauseProducing()
        outbox, most = eve.session.outbox, 0
        text = "x" * 400
        talker = self.client("talker", address="192.0.2.7")
        while not eve.is_closed:
            talker.session._bucket._tokens = BURST  # whoever talks is not what this is about
            talker.sends(f"PRIVMSG eve :{text}")
            most = max(most, outbox.size)
        self.assertLessEqual(most, limit + 1000)
        self.assertEqual(outbox.size, 0)
        self.assertEqual(self.world.server.measures.cut["sendq"], 1)
        self.assertNotIn(eve.uid or "?", self.world.state.users)

    def test_closed_but_not_reading(self) -> None:
        """Who was told to go and does not read its ERROR is cut ten seconds later."""
        eve = self.attacker()
        closed: list[str] = []
        eve.transport.loseConnection = lambda: closed.append("waits for its buffer")  # as a full socket does
        eve.sends("QUIT")
        self.assertEqual((closed, eve.is_closed), (["waits for its buffer"], False))
        self.waits(16)
        self.assertTrue(eve.is_closed)


class Counters(HostileTestCase):
    def test_counters_of_a_channel_have_an_end(self) -> None:
        """Whoever comes, knocks and goes leaves nothing behind in a channel that stays."""
        service = self.world.server.channels.get("#quiet")
        assert service is not None
        for number in range(5000):
            service.within(f"knock {number}", float(number), 60)
        self.assertLessEqual(len(service.counters), 1001)
        for _ in range(5000):
            service.within("joins", 5000.0, 999)
        self.assertLessEqual(len(service.counters["joins"]), 1000)
        self.assertGreater(service.within("joins", 5000.0, 999), 999)
