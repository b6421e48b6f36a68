"""Long answers in pieces: how much a turn may hold, what holds between two pieces, and who is not made to wait."""

from __future__ import annotations

import unittest
from typing import Any

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from slircd.commands.names import NAMES_PIECE
from slircd.commands.registry import AT_ONCE, PIECE
from slircd.network import session
from slircd.network.announce import PIECE as TOLD
from slircd.network.outbox import PIECE as FLUSHED
from slircd.network.outbox import Flusher, Outbox, OutputGate
from slircd.network.turns import BUDGET_S, Turns
from tests.harness import FakeClient, FakeTransport, ServerTestCase, TurnClock, World, make_config, words_of

CHANNELS = 2 * PIECE + 50
HEADROOM = 3
"""Lines beside those of a piece: the beginning and the end of the list, and of a batch."""


class PiecesTestCase(ServerTestCase):
    """A server whose turns are counted, with one user on many channels."""

    config = {"limits": {"channels_per_user": 10_000}, "throttle": {"enabled": False}}

    def setUp(self) -> None:
        self.world = World(config=make_config(self.config), clock=TurnClock())

    def make_channels(self, count: int = CHANNELS) -> FakeClient:
        """A user who is on channels #c0, #c1 and so on."""
        ann = self.client("ann")
        for number in range(count):
            ann.sends(f"JOIN #c{number}")
        ann.lines()
        return ann

    def turns_of(self, client: FakeClient, line: str, end: str) -> list[list[str]]:
        """What a client is sent in each turn until the answer to `line` has ended."""
        client.lines()
        turns: list[list[str]] = []
        client.protocol.dataReceived(line.encode() + b"\r\n")
        while not any(f" {end} " in each for turn in turns for each in turn):
            self.assertLess(len(turns), 100, "the answer does not end")
            turns.append(client.lines())
        return turns

    def shown(self, lines: list[str], code: str, position: int = 1) -> list[str]:
        return [words[position] for words in words_of(lines, code)]


class Lists(PiecesTestCase):
    def test_list_in_turns(self) -> None:
        """No turn holds more than a piece of a LIST, and all of it comes, in order, once."""
        self.make_channels()
        bob = self.client("bob")
        turns = self.turns_of(bob, "LIST", "323")
        self.assertGreaterEqual(len(turns), 3)
        self.assertLessEqual(max(map(len, turns)), PIECE + HEADROOM)
        everything = [line for turn in turns for line in turn]
        self.assertEqual(self.shown(everything, "322"), [f"#c{number}" for number in range(CHANNELS)])

    def test_conditions_bound_what_is_looked_at(self) -> None:
        """A LIST that shows little looks at no more in a turn than one that shows all."""
        self.make_channels()
        bob = self.client("bob")
        turns = self.turns_of(bob, f"LIST #c{CHANNELS - 1}*", "323")
        self.assertGreaterEqual(len(turns), 3)
        self.assertEqual(self.shown([line for turn in turns for line in turn], "322"), [f"#c{CHANNELS - 1}"])

    def test_others_are_answered_between(self) -> None:
        """Who asks something small while somebody else is sent a LIST does not wait for its end."""
        self.make_channels()
        bob, cat = self.client("bob"), self.client("cat")
        bob.lines()
        cat.lines()
        bob.protocol.dataReceived(b"LIST\r\n")
        cat.protocol.dataReceived(b"PING 1\r\n")
        self.assertReceives(cat, ":irc.test PONG irc.test :1")
        self.assertFalse(b" 323 " in bob.transport.value(), "the list has ended already")
        cat.protocol.dataReceived(b"PING 2\r\n")
        self.assertReceives(cat, ":irc.test PONG irc.test :2")
        self.assertTrue(b" 322 " in bob.transport.value())
        self.assertFalse(b" 323 " in bob.transport.value(), "the list has ended already")

    def test_own_commands_wait(self) -> None:
        """What the same client asks meanwhile is answered behind its list."""
        self.make_channels()
        bob = self.client("bob")
        bob.protocol.dataReceived(b"LIST\r\nPING after\r\n")
        lines: list[str] = []
        for _ in range(20):
            lines += bob.lines()
        codes = [line.split()[1] for line in lines]
        self.assertEqual(codes[-2:], ["323", "PONG"])

    def test_changes_between_pieces(self) -> None:
        """A line says what holds when it is made: gone and hidden channels are left out, renamed ones have their name."""
        ann = self.make_channels()
        bob = self.client("bob")
        bob.lines()
        bob.protocol.dataReceived(b"LIST\r\n")
        lines = bob.lines()
        last = CHANNELS - 1
        self.assertNotIn(f"#c{last - 3}", " ".join(lines).split())
        for line in (
            f"PART #c{last}",
            f"MODE #c{last - 1} +s",
            f"RENAME #c{last - 2} #other",
            f"TOPIC #c{last - 3} :new",
            "PART #c0",
            "JOIN #late",
        ):
            ann.protocol.dataReceived(line.encode() + b"\r\n")
        for _ in range(20):
            lines += bob.lines()
        expected = [f"#c{number}" for number in range(last - 2)] + ["#other"]
        self.assertCountEqual(self.shown(lines, "322"), expected)
        self.assertEqual([words[-1] for words in words_of(lines, "322") if words[1] == f"#c{last - 3}"], ["new"])

    def test_label(self) -> None:
        """The pieces of a labelled answer are one batch, which holds nothing that others say meanwhile."""
        ann = self.make_channels()
        bob = self.client("bob", caps="labeled-response batch")
        bob.lines()
        bob.protocol.dataReceived(b"@label=x LIST\r\n")
        lines = bob.lines()
        ann.sends("PRIVMSG bob :hello")
        for _ in range(20):
            lines += bob.lines()
        [start] = [line for line in lines if "label=x" in line]
        reference = start.split("BATCH +")[1].split()[0]
        self.assertTrue(start.endswith(" labeled-response"))
        inside = [line for line in lines if line.startswith(f"@batch={reference} ")]
        self.assertEqual(len(inside), CHANNELS + 2)
        self.assertEqual(lines[-1], f":irc.test BATCH -{reference}")
        [message] = [line for line in lines if "PRIVMSG" in line]
        self.assertFalse(message.startswith("@"))
        self.assertEqual(len(lines), CHANNELS + 5)

    def test_label_of_a_short_answer(self) -> None:
        """An answer that fits in a turn is labelled as ever."""
        self.make_channels(2)
        bob = self.client("bob", caps="labeled-response batch")
        lines = bob.asks("@label=x LIST")
        self.assertEqual(len(lines), 6)
        self.assertIn("label=x", lines[0])


class Leaving(PiecesTestCase):
    def still_works(self) -> None:
        for _ in range(5):
            self.world.turn()
        self.assertEqual(self.client("dan").codes("PING 1"), ["PONG"])
        self.assertEqual(self.world.server.turns.waiting, 0)

    def test_who_breaks_off(self) -> None:
        """A client that is gone ends its list."""
        self.make_channels()
        bob = self.client("bob")
        bob.protocol.dataReceived(b"LIST\r\n")
        self.world.turn()
        bob.disconnects()
        self.still_works()

    def test_who_is_killed(self) -> None:
        """A list ends with the user who asked for it, and the client is told why."""
        self.make_channels()
        root, bob = self.oper("root"), self.client("bob")
        bob.protocol.dataReceived(b"LIST\r\nPING never\r\n")
        self.world.turn()
        root.sends("KILL bob :enough")
        lines = bob.lines()
        self.still_works()
        self.assertIn("ERROR", lines[-1])
        self.assertNotIn(" 323 ", "".join(lines))


class EndsOfTurns(PiecesTestCase):
    def test_a_long_command_ends_the_turn(self) -> None:
        """What a client says behind something that took long waits for the next turn, in order."""
        before, session.LONG_S = session.LONG_S, -1.0  # type: ignore[misc]  # every command takes longer
        self.addCleanup(setattr, session, "LONG_S", before)
        bob = self.client("bob")
        bob.lines()
        bob.protocol.dataReceived(b"PING 1\r\nPING 2\r\nPING 3\r\n")
        answers = [[line.rpartition(":")[2] for line in bob.lines()] for _ in range(6)]
        self.assertLessEqual(max(map(len, answers)), 1)
        self.assertEqual([each for answer in answers for each in answer], ["1", "2", "3"])

    def test_the_end_of_all(self) -> None:
        """When the server stops, each client is told so, and not that all the others go."""
        ann, bob = self.on_channel("#c", "ann", "bob")
        self.world.server.stop_reason = "Upgrade"
        self.world.server.stopService()
        for each in (ann, bob):
            [line] = each.lines()
            self.assertTrue(line.startswith("ERROR :") and "Upgrade" in line, line)
        self.world.store.commit()
        self.assertEqual(len(self.events_of("user.disconnect")), 2)


class SlowReaders(PiecesTestCase):
    config = {"limits": {"channels_per_user": 10_000, "sendq_bytes": 65_536}}

    def test_list_waits_for_the_reader(self) -> None:
        """SAFELIST: a list that is longer than the send queue waits for who reads it, and never costs the connection."""
        ann = self.make_channels(1_500)
        bob = self.client("bob")
        for number in range(1_500):
            ann.sends(f"TOPIC #c{number} :{'words ' * 30}")
        bob.lines()
        bob.session.outbox.pauseProducing()
        bob.protocol.dataReceived(b"LIST\r\n")
        for _ in range(50):
            self.world.turn()
        self.assertEqual(bob.lines(), [])
        waits = bob.session.outbox.size
        self.assertLess(waits, 65_536)
        # What others say to it meanwhile has its place, and their own lists go on.
        ann.sends("PRIVMSG bob :hello")
        self.assertGreater(bob.session.outbox.size, waits)
        cat = self.client("cat")
        self.assertGreater(len(self.turns_of(cat, "LIST", "323")), 5)
        lines: list[str] = []
        for _ in range(100):
            bob.session.outbox.resumeProducing()
            lines += bob.lines()
            if not bob.is_closed:
                bob.session.outbox.pauseProducing()
        self.assertFalse(bob.is_closed)
        self.assertEqual(len(self.shown(lines, "322")), 1_500)
        self.assertEqual(len([line for line in lines if "PRIVMSG" in line]), 1)

    def test_slow_reader_is_closed(self) -> None:
        """A list that waits for its reader ends with the connection."""
        ann = self.make_channels(600)
        for number in range(600):
            ann.sends(f"TOPIC #c{number} :{'words ' * 30}")
        bob = self.client("bob")
        bob.session.outbox.pauseProducing()
        bob.protocol.dataReceived(b"LIST\r\n")
        for _ in range(10):
            self.world.turn()
        bob.disconnects()
        for _ in range(3):
            self.world.turn()
        self.assertEqual(self.world.server.turns.waiting, 0)


class Users(PiecesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.many = [self.client(f"u{number}") for number in range(PIECE + 20)]

    def test_who_in_turns(self) -> None:
        """WHO by mask looks at a piece of the users in a turn, and at each as it is then."""
        bob = self.oper("bob")
        bob.lines()
        bob.protocol.dataReceived(b"WHO u*\r\n")
        self.many[-1].protocol.dataReceived(b"NICK unew\r\n")
        self.many[-2].transport.loseConnection()
        lines: list[str] = []
        for _ in range(5):
            lines += bob.lines()
        expected = [f"u{number}" for number in range(PIECE + 18)] + ["unew"]
        self.assertEqual(self.shown(lines, "352", 5), expected)

    def test_whox_of_a_channel(self) -> None:
        """WHO of a channel leaves out who has left it before its piece."""
        for each in self.many:
            each.sends("JOIN #big")
        bob = self.many[0]
        bob.lines()
        bob.protocol.dataReceived(b"WHO #big %n\r\n")
        self.many[-1].protocol.dataReceived(b"PART #big\r\n")
        lines = bob.lines()
        self.assertLessEqual(len(lines), PIECE + HEADROOM)
        for _ in range(5):
            lines += bob.lines()
        self.assertEqual(self.shown(lines, "354"), [f"u{number}" for number in range(PIECE + 19)])

    def test_stats_and_trace(self) -> None:
        """The lists of all connections come in turns, too."""
        root = self.oper("root")
        for line, end, code in (("STATS l", "219", "211"), ("TRACE", "262", "205")):
            turns = self.turns_of(root, line, end)
            self.assertLessEqual(max(map(len, turns)), PIECE + HEADROOM)
            self.assertGreaterEqual(len(self.shown([each for turn in turns for each in turn], code)), PIECE + 20)


class Names(PiecesTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.many: list[FakeClient] = []
        for number in range(NAMES_PIECE + 10):
            client = self.client(f"u{number}", caps="draft/no-implicit-names")
            client.protocol.dataReceived(b"JOIN #big\r\n")
            self.many.append(client)
        self.world.turn()

    def named(self, lines: list[str]) -> list[str]:
        return [nick.lstrip("@") for words in words_of(lines, "353") for nick in words[3].split()]

    def test_joining_a_large_channel(self) -> None:
        """Who joins a large channel is told all names, in turns, before its next command is answered."""
        bob = self.client("bob", caps="labeled-response batch")
        bob.lines()
        bob.protocol.dataReceived(b"@label=j JOIN #big\r\nPING after\r\n")
        self.many[-1].protocol.dataReceived(b"PART #big\r\n")
        lines: list[str] = []
        for _ in range(5):
            lines += bob.lines()
        named = self.named(lines)
        self.assertEqual(len(named), len(set(named)))
        self.assertEqual(set(named), {f"u{number}" for number in range(NAMES_PIECE + 9)} | {"bob"})
        self.assertEqual(lines[-1], ":irc.test PONG irc.test :after")
        [opened] = [line for line in lines if "label=j" in line]
        reference = opened.split("BATCH +")[1].split()[0]
        self.assertIn(f":irc.test BATCH -{reference}", lines)
        for line in lines:
            if " 353 " in line or " 366 " in line:
                self.assertIn(f"batch={reference}", line)

    def test_asking_for_names(self) -> None:
        """NAMES of a large channel takes a turn for each piece."""
        turns = self.turns_of(self.many[0], "NAMES #big", "366")
        self.assertEqual(len([turn for turn in turns if turn]), 2)
        named = self.named([line for turn in turns for line in turn])
        self.assertEqual(len(named), NAMES_PIECE + 10)

    def test_joined_by_somebody_else(self) -> None:
        """Who is made to join is told the names as well."""
        root, bob = self.oper("root"), self.client("bob")
        bob.lines()
        root.sends("SAJOIN bob #big")
        lines = bob.lines()
        for _ in range(5):
            lines += bob.lines()
        self.assertEqual(len(self.named(lines)), NAMES_PIECE + 11)
        self.assertEqual(len(words_of(lines, "366")), 1)

    def test_renaming_tells_no_millions(self) -> None:
        """A channel whose renaming would send a million names keeps its name."""
        for client in self.many[1:]:
            client.sends("CAP REQ -draft/no-implicit-names")
        self.assertIn("CANNOT_RENAME", self.many[0].asks("RENAME #big #other")[0])
        for client in self.many[20:]:
            client.protocol.dataReceived(b"CAP REQ draft/channel-rename\r\n")
        self.assertIn("PART", self.many[0].codes("RENAME #big #other"))
        lines = self.many[5].lines()
        for _ in range(40):
            lines += self.many[5].lines()
        self.assertEqual(len(self.named(lines)), NAMES_PIECE + 10)


class Telling(PiecesTestCase):
    def test_metadata_and_monitor(self) -> None:
        """What each of many is told in its own words comes in turns, in order, and not to who has gone."""
        self.world.server.teller.tell([], str)  # nobody: nothing to do
        many = [self.client(f"u{number}") for number in range(TOLD + 10)]
        for each in many:
            each.sends("MONITOR + ann")
            each.lines()
        ann = self.client("ann")
        ann.protocol.dataReceived(b"QUIT\r\n")
        many[-2].disconnects()
        for _ in range(8):
            self.world.turn()
        for each in (many[0], many[-1]):
            self.assertEqual([line.split()[1] for line in each.lines()], ["730", "731"])
        self.assertEqual(self.world.server.turns.waiting, 0)

    def test_many_who_ask(self) -> None:
        """Who asks for something long in the same turn as a hundred others makes that turn no longer."""
        for number in range(AT_ONCE + 1):
            self.client(f"u{number}")
        askers = [self.oper(f"a{number}") for number in range(5)]
        for each in askers:
            each.lines()
            each.protocol.dataReceived(b"WHO u*\r\n")
            self.assertEqual(each.session.outbox.size, 0)
        for _ in range(3):
            self.world.turn()
        for each in askers:
            self.assertEqual(len(self.shown(each.lines(), "352")), AT_ONCE + 1)

    def test_capabilities_that_have_gone(self) -> None:
        """A rehash tells each client what has changed for it, and nobody anything if nothing has."""
        old, new = self.client("old", caps="cap-notify draft/relaymsg"), self.client("new")
        config = self.world.server.config
        self.world.server.use_config(config)
        self.assertEqual(old.lines(), [])
        self.world.server.use_config(make_config({**self.config, "relay": {"enabled": False}}))
        self.assertIn("CAP old DEL :draft/relaymsg", "".join(old.lines()))
        self.assertEqual(new.lines(), [])


class SlowClock(Clock):
    """A clock on which each look takes a moment."""

    look_s = 0.0

    def seconds(self) -> float:
        self.rightNow += self.look_s
        return self.rightNow


class Budgets(unittest.TestCase):
    def test_all_share_one_budget(self) -> None:
        """Many who work in pieces make a turn no longer than one of them; all go on in turn."""
        clock = TurnClock()
        turns = Turns(clock)
        ran: list[int] = []

        async def work(number: int) -> None:
            for _ in range(3):
                await turns.next()
                ran.append(number)
                clock.rightNow += BUDGET_S / 3.9

        done = [ensureDeferred(work(number)) for number in range(10)]
        clock.advance(0)
        self.assertEqual(ran, [0, 1, 2, 3])
        clock.advance(0)
        self.assertEqual(ran, [0, 1, 2, 3, 4, 5, 6, 7])
        while not all(each.called for each in done):
            clock.advance(0)
        self.assertEqual(ran, list(range(10)) * 3)

    def test_one_piece_is_always_done(self) -> None:
        """However slow the machine, each turn brings somebody on."""
        clock = SlowClock()
        clock.look_s = 1.0
        turns = Turns(clock)
        first, second = turns.next(), turns.next()
        clock.advance(0)
        self.assertTrue(first.called)
        clock.advance(0)
        self.assertTrue(second.called)

    def test_letting_go(self) -> None:
        """A commit lets thousands go in turns; who is not reached yet sends nothing before what is held."""

        class Busy(TurnClock):
            looks_s = 0.0

            def seconds(self) -> float:
                self.rightNow += self.looks_s
                return self.rightNow

        clock = Busy()
        flusher, gate = Flusher(clock), OutputGate(clock)
        gate.applied(5)
        transports = [FakeTransport("192.0.2.1") for _ in range(3 * FLUSHED)]
        boxes = [Outbox(gate, flusher, each, limit=1_000, on_overflow=lambda: None) for each in transports]
        for box in boxes:
            box.append(b"held\r\n")
        clock.looks_s = BUDGET_S
        gate.committed(5)
        self.assertFalse(gate.closed)
        self.assertFalse(boxes[0].holding)
        self.assertTrue(boxes[-1].holding)
        boxes[-1].append(b"after\r\n", free=True)
        gate.applied(6)
        boxes[-1].append(b"later\r\n")
        clock.looks_s = 0.0
        clock.advance(0)
        clock.advance(0)
        self.assertEqual(transports[0].value(), b"held\r\n")
        self.assertEqual(transports[-1].value(), b"held\r\nafter\r\n")
        gate.committed(6)
        clock.advance(0)
        self.assertEqual(transports[-1].value(), b"held\r\nafter\r\nlater\r\n")
        self.assertEqual(clock.calls, [])

    def test_writes_of_a_turn(self) -> None:
        """Thousands of writes are divided over turns, in order, and what comes later stands behind them."""
        clock = TurnClock()
        flusher, gate = Flusher(clock), OutputGate(clock)

        class Slow(FakeTransport):
            def write(self, data: bytes) -> None:
                super().write(data)
                clock.rightNow += 1.01 * BUDGET_S / FLUSHED

        def outbox() -> tuple[Outbox, Any]:
            transport = Slow("192.0.2.1")
            return Outbox(gate, flusher, transport, limit=1_000, on_overflow=lambda: None), transport

        boxes = [outbox() for _ in range(3 * FLUSHED)]
        late, late_transport = outbox()
        for box, _ in boxes:
            box.append(b"one\r\n")
        clock.advance(0)
        self.assertEqual([transport.value() for _, transport in boxes].count(b"one\r\n"), FLUSHED)
        boxes[-1][0].append(b"two\r\n")
        late.append(b"late\r\n")
        clock.advance(0)
        self.assertEqual([transport.value() for _, transport in boxes].count(b"one\r\n"), 2 * FLUSHED)
        self.assertEqual(late_transport.value(), b"")
        clock.advance(0)
        clock.advance(0)
        self.assertEqual(boxes[-1][1].value(), b"one\r\ntwo\r\n")
        self.assertEqual(late_transport.value(), b"late\r\n")
        self.assertEqual([transport.value() for _, transport in boxes[:-1]], [b"one\r\n"] * (3 * FLUSHED - 1))
        self.assertEqual(clock.calls, [])
