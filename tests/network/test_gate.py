"""The output gate: nobody sees what the log could lose, and nothing waits longer than it must."""

import gc
from unittest.mock import patch

from slircd.events import bus as bus_module
from slircd.events import codec
from tests.fuzz.watch import no_failures
from tests.harness import FakeClient, ServerTestCase, World, make_config


class Gate(ServerTestCase):
    def manual(self) -> None:
        """From here on the log commits when the test says so."""
        self.world.store.automatic = False

    def test_lines_wait_for_the_commit(self) -> None:
        """A JOIN, and every later answer, is sent only when the log has it."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        self.manual()
        ann.sends("TOPIC #c :new")
        bob.sends("PING x")
        self.assertReceives(ann)
        self.assertReceives(bob)
        self.world.store.commit()
        self.assertReceives(ann, ":ann!~ann@192.0.2.1 TOPIC #c :new")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 TOPIC #c :new", ":irc.test PONG irc.test :x")

    def test_ping_of_somebody_with_nothing_held_is_answered_at_once(self) -> None:
        """A PONG shows nothing of the state."""
        ann, bob = self.client("ann"), self.client("bob")
        self.manual()
        ann.sends("AWAY :x")
        self.assertEqual(bob.codes("PING x"), ["PONG"])
        self.assertEqual(bob.codes("ISON ann"), [])
        self.world.store.commit()
        self.assertEqual(len(bob.lines()), 1)

    def test_output_never_waits_for_later_events(self) -> None:
        """A commit up to one event lets go what was made before the next one."""
        ann = self.client("ann")
        self.manual()
        ann.sends("JOIN #a")
        first = self.world.store.rows[-1].id
        pending = list(self.world.store._pending)
        ann.sends("JOIN #b")
        later = self.world.store._pending[len(pending) :]
        self.world.store._pending = pending
        self.world.store.commit()
        self.world.store._pending = later
        lines = ann.lines()
        self.assertIn(":ann!~ann@192.0.2.1 JOIN #a", lines)
        self.assertNotIn(":ann!~ann@192.0.2.1 JOIN #b", lines)
        self.assertGreater(self.world.store.rows[-1].id, first)

    def test_what_cannot_be_stored_is_refused(self) -> None:
        """Its client gets an error and stays; nothing of it is applied, written or shown, and nothing else is lost."""
        ann, bob = self.on_channel("#c", "@ann", "bob")
        before = len(self.world.store.rows)
        with patch.object(codec, "MAX_PAYLOAD", 100):
            ann.sends("TOPIC #c :" + "x" * 200)
        [error] = ann.lines()
        self.assertIn("channel.topic_change: payload of 275 bytes, at most 100 are allowed", error)
        self.assertReceives(bob)
        self.assertEqual(len(self.world.store.rows), before)
        self.assertIsNone(self.world.state.channels["#c"].topic)
        ann.sends("TOPIC #c :short")
        self.assertReceives(bob, ":ann!~ann@192.0.2.1 TOPIC #c :short")

    def test_crash_loses_what_nobody_saw(self) -> None:
        """After a crash the log has every change that a client was told of."""
        ann = self.client("ann")
        self.manual()
        ann.sends("JOIN #seen")
        self.world.store.commit()
        ann.sends("JOIN #unseen")
        lines = " ".join(ann.lines())
        self.assertIn("#seen", lines)
        self.assertNotIn("#unseen", lines)
        surviving = self.world.restart(crash=True)
        names = {event.target for event in surviving.events() if event.event_type == "channel.join"}
        self.assertEqual(names, {"#seen"})
        self.world = surviving


class Degraded(ServerTestCase):
    config = {"database": {"stall_ms": 1000}}

    def setUp(self) -> None:
        super().setUp()
        self.ann, self.bob, self.eve = self.on_channel("#c", "@ann", "bob", "eve", caps="standard-replies")

    def assertTold(self, client: FakeClient, line: str) -> None:
        client.sends(line)
        self.assertIn("TEMPORARILY_UNAVAILABLE", client.lines()[0])

    def test_changes_are_refused_and_messages_delivered(self) -> None:
        """While the log cannot be written, state does not change, and people with nothing unwritten can talk."""
        self.world.store.fail("disk full")
        self.assertTold(self.ann, "TOPIC #c :x")
        self.assertTold(self.ann, "NICK anna")
        self.bob.sends("PRIVMSG #c :still here")
        self.assertReceives(self.eve, ":bob!~bob@192.0.2.1 PRIVMSG #c :still here")
        self.world.store.recover()
        self.ann.sends("TOPIC #c :y")
        self.assertSees(self.eve, ":ann!~ann@192.0.2.1 TOPIC #c :y")

    def test_messages_of_those_with_unwritten_events_wait(self) -> None:
        """What could reveal an unwritten event waits with it, in order, and so does the rest for that client."""
        self.world.store.automatic = False
        self.ann.sends("TOPIC #c :unwritten")
        self.world.store.fail("disk full")
        self.ann.sends("PRIVMSG bob :after my change")
        self.assertReceives(self.bob)
        self.world.store.recover()
        self.assertReceives(
            self.bob,
            ":ann!~ann@192.0.2.1 TOPIC #c :unwritten",
            ":ann!~ann@192.0.2.1 PRIVMSG bob :after my change",
        )

    def test_messages_to_many(self) -> None:
        """Messages that are events, to several targets at once: one answer says that none can be kept, nothing is lost."""
        world = World(config=make_config({"history": {"channels": True, "direct": True}}))
        ann, _ = world.client("ann", caps="standard-replies"), world.client("bob")
        ann.sends("JOIN #a,#b")
        world.store.fail("disk full")
        with no_failures():
            for verb in ("PRIVMSG", "NOTICE"):
                lines = ann.asks(f"{verb} #a,#b,bob :hello")
                self.assertEqual(len(lines), 1)
                self.assertIn(f"FAIL {verb} TEMPORARILY_UNAVAILABLE", lines[0])
            gc.collect()

    def test_stalled_store(self) -> None:
        """A log that is slower than stall_ms counts as unavailable until it has caught up."""
        self.world.store.automatic = False
        self.ann.sends("TOPIC #c :slow")
        self.world.clock.advance(2)
        self.bob.sends("NICK rob")
        self.world.store.commit()
        self.assertTrue(any("TEMPORARILY_UNAVAILABLE" in line for line in self.bob.lines()))
        self.bob.sends("NICK rob")
        self.world.store.commit()
        self.assertSees(self.bob, ":bob!~bob@192.0.2.1 NICK :rob")

    def test_disconnects_are_not_refused(self) -> None:
        """A client that is gone is gone; its end is written when the log is back."""
        self.world.store.fail("disk full")
        self.eve.disconnects()
        self.assertNotIn("eve", self.world.state.nicks)
        self.world.store.recover()
        self.assertEqual(len(self.events_of("user.disconnect")), 1)

    def test_what_waits_is_bounded(self) -> None:
        """When too many ends wait for the log, nobody is admitted and no client is read, until it has caught up."""
        crowd = [self.client(f"c{number}") for number in range(8)]
        with patch.object(bus_module, "MAX_UNWRITTEN", 6):
            self.world.store.fail("disk full")
            for client in crowd[:7]:
                client.disconnects()
            self.assertTrue(self.world.server.log_full)
            self.assertEqual(self.ann.transport.producerState, "paused")
            late = self.world.connect()
            self.world.store.recover()
            self.assertIn("try again later", late.lines()[0])
            self.assertFalse(self.world.server.log_full)
            self.assertEqual(self.ann.transport.producerState, "producing")
        self.assertEqual(len(self.events_of("user.disconnect")), 7)
        self.client("later")


def test_relaxed_durability_does_not_wait() -> None:
    """With durability = relaxed output is flushed before the commit."""
    world = World(config=make_config({"database": {"durability": "relaxed"}}))
    ann = world.client("ann")
    world.store.automatic = False
    assert "JOIN" in ann.codes("JOIN #c")
