"""One client's order, pace and patience, and how lines are cut from the stream."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from slircd.network.protocol import MAX_LINE
from tests.harness import ServerTestCase, World, make_config


class Lines(ServerTestCase):
    def test_too_long(self) -> None:
        """417 for a body over 510 bytes, and for tags that leave no room for it; the connection lives on."""
        ann = self.client("ann")
        self.assertEqual(ann.codes("PRIVMSG ann :" + "x" * 500), ["417"])
        self.assertEqual(ann.codes("x" * (MAX_LINE - 2)), ["417"])
        self.assertEqual(ann.codes("PING x"), ["PONG"])

    def test_longer_than_any_may_be(self) -> None:
        """A line of more than tags and body together, finished or not, is the end: no flood bucket counts its bytes."""
        ended = [
            ":irc.test 417 {0} :Input line was too long",
            "ERROR :Closing Link: 192.0.2.1 (Excess flood: input line too long)",
        ]
        for nick, data in (("ann", b"x" * MAX_LINE), ("bob", b"x" * MAX_LINE + b"\r\nPING after\r\n")):
            client = self.client(nick)
            client.sends_bytes(data)
            self.assertReceives(client, *[line.format(nick) for line in ended])
            self.assertTrue(client.is_closed)
        self.assertEqual(
            {event.reason for event in self.events_of("user.disconnect")}, {"Excess flood: input line too long"}
        )
        self.assertEqual(self.world.server.measures.cut["recvq"], 2)

    def test_limits_are_exact(self) -> None:
        """512 bytes with CR LF are allowed, tags of 4094 bytes too; one more is not."""
        ann = self.client("ann", caps="message-tags")
        self.assertEqual(len(ann.asks("PING " + "x" * 505)), 1)
        self.assertEqual(ann.codes("PING " + "x" * 506), ["417"])
        tag = "+a=" + "b" * 4091
        self.assertEqual(ann.codes(f"@{tag} PING x"), ["PONG"])
        self.assertEqual(ann.codes(f"@{tag}b PING x"), ["417"])

    def test_malformed(self) -> None:
        """What is no message is told so, empty lines are nothing."""
        ann = self.client("ann", caps="standard-replies")
        ann.sends_bytes(b"\r\n\n   \r\n")
        ann.sends_bytes(b"PRIVMSG ann :nul \0 here\r\n")
        ann.sends_bytes(b":only.a.source\r\n")
        ann.sends_bytes(b"PRIVMSG ann :caf\xe9\r\n")
        lines = ann.lines()
        self.assertTrue(all("FAIL" in line for line in lines), lines)
        self.assertIn(":irc.test FAIL PRIVMSG INVALID_UTF8 :Message rejected, your client must use UTF-8", lines)
        self.assertEqual(ann.codes("PING x"), ["PONG"])

    def test_line_ends(self) -> None:
        """LF alone ends a line."""
        ann = self.client("ann")
        ann.sends_bytes(b"PING a\nPING b\r\n")
        self.assertEqual(len(ann.lines()), 2)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_cutting_of_the_stream_gives_the_same_lines(data: st.DataObject) -> None:
    """However TCP cuts what a client sends, over-long lines included, the answers are the same."""
    stream = b"PING one\r\n" + b"PING " + b"z" * 600 + b"\r\nPING two\n" + b"y" * 9_000 + b"\r\nPING three\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    world = World()
    ann = world.client("ann")
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        ann.sends_bytes(stream[start:end])
    assert [line.split(" :", 1)[-1] for line in ann.lines()] == [
        "one",
        "Input line was too long",
        "two",
        "Input line was too long",
        "Closing Link: 192.0.2.1 (Excess flood: input line too long)",
    ]


class Flood(ServerTestCase):
    config = {"flood": {"enabled": True, "burst": 5, "rate_per_s": 1.0}, "limits": {"recvq_bytes": 8192}}

    def test_input_is_delayed_and_not_lost(self) -> None:
        """After the burst one command a second; all come in their order; PING is free, in its place."""
        ann = self.client("ann")
        ann.lines()
        self.world.clock.advance(10)
        for number in range(8):
            ann.sends(f"ISON ann{number} ann")
        self.assertEqual(len(ann.lines()), 5)
        for _ in range(3):
            self.world.clock.advance(1)
            self.assertEqual(len(ann.lines()), 1)

    def test_full_receive_queue_is_the_end(self) -> None:
        """Only a client that keeps filling its queue is cut."""
        ann = self.client("ann")
        for _ in range(300):
            ann.sends("PRIVMSG ann :" + "x" * 400)
        self.assertTrue(ann.is_closed)
        [event] = self.events_of("user.disconnect")
        self.assertIn("Excess flood", event.reason)

    def test_privilege(self) -> None:
        """flood-exempt operators are not delayed."""
        root = self.client("root")
        self.world.clock.advance(10)
        root.asks("OPER root sesame")
        self.assertEqual(len(root.asks(*["ISON root"] * 30)), 30)


class Order(ServerTestCase):
    def test_commands_wait_for_the_one_that_waits(self) -> None:
        """What follows a password check is answered after it, whatever it is; others are not held up."""
        ann, bob = self.client("ann"), self.client("bob")
        checks: list[Deferred[bool]] = []

        def verify(_hash: str, _password: str) -> Deferred[bool]:
            checks.append(Deferred())
            return checks[-1]

        self.world.server.passwords.verify = verify
        ann.sends("OPER root sesame", "PING after")
        self.assertReceives(ann)
        self.assertEqual(bob.codes("PING x"), ["PONG"])
        checks[0].callback(True)
        self.assertEqual([line.split()[1] for line in ann.lines()], ["MODE", "381", "PONG"])

    def test_client_leaves_while_it_waits(self) -> None:
        """A password that turns out right after the client has gone makes nobody an operator."""
        ann = self.client("ann")
        check: Deferred[bool] = Deferred()
        self.world.server.passwords.verify = lambda _hash, _password: check
        ann.sends("OPER root sesame")
        ann.disconnects()
        check.callback(True)
        self.assertEqual(self.events_of("oper.login"), [])

    def test_a_bug_costs_one_client(self) -> None:
        """An exception in a handler closes that client with ERROR; the server goes on."""
        from slircd.commands.registry import COMMANDS

        ann, bob = self.client("ann"), self.client("bob")
        entry = COMMANDS["TIME"]
        COMMANDS["TIME"] = entry._replace(handler=lambda ctx, *_: 1 / 0)
        self.addCleanup(COMMANDS.__setitem__, "TIME", entry)
        ann.sends("TIME")
        self.assertEqual(ann.lines(), ["ERROR :Closing Link: 192.0.2.1 (Internal error)"])
        self.assertEqual(bob.codes("PING x"), ["PONG"])


class Patience(ServerTestCase):
    config = {"timeouts": {"ping_interval_s": 100, "ping_timeout_s": 50, "registration_s": 30}}

    def test_ping_timeout(self) -> None:
        """An idle client is asked, and is gone if it does not answer."""
        ann, bob = self.client("ann"), self.client("bob")
        self.world.clock.pump([5] * 22)
        self.assertReceives(ann, ":irc.test PING :irc.test")
        bob.sends("PONG x")
        self.world.clock.pump([5] * 12)
        self.assertTrue(ann.is_closed)
        self.assertFalse(bob.is_closed)
        [event] = self.events_of("user.disconnect")
        self.assertTrue(event.reason.startswith("Ping timeout: "))

    def test_registration_timeout(self) -> None:
        """Who does not register in time is closed."""
        client = self.world.connect()
        self.world.clock.pump([5] * 8)
        self.assertEqual(client.lines(), ["ERROR :Closing Link: 192.0.2.1 (Registration timed out)"])
        self.assertTrue(client.is_closed)


class Throttled(ServerTestCase):
    config = {"throttle": {"connections": 3, "attempts": 5, "window_s": 60}}

    def test_connections_of_a_block(self) -> None:
        """The fourth connection of an address is turned away; loopback is exempt; a free place can be taken."""
        first = [self.world.connect() for _ in range(3)]
        self.assertIn("Too many connections", self.world.connect().lines()[0])
        first[0].disconnects()
        self.assertEqual(self.world.connect().lines(), [])
        self.assertFalse(any(self.world.connect("127.0.0.1").lines() for _ in range(20)))

    def test_attempts(self) -> None:
        """Who reconnects too often waits for the window to pass."""
        for _ in range(5):
            self.world.connect().disconnects()
        self.assertIn("reconnecting too fast", self.world.connect().lines()[0])
        self.world.clock.advance(61)
        self.assertEqual(self.world.connect().lines(), [])


class SlowReaders(ServerTestCase):
    config = {"limits": {"sendq_bytes": 65_536}}

    def test_a_slow_client_hurts_nobody_else(self) -> None:
        """A client that does not read is cut at its limit; the others got everything."""
        ann, bob, eve = self.on_channel("#c", "@ann", "bob", "eve")
        bob.session.outbox.pauseProducing()
        for number in range(200):
            ann.sends(f"PRIVMSG #c :{number} " + "x" * 400)
        self.assertTrue(bob.is_closed)
        texts = [line for line in eve.lines() if "PRIVMSG" in line]
        self.assertEqual(len(texts), 200)
        self.assertEqual(self.events_of("user.disconnect")[0].reason, "SendQ exceeded")


class Stopping(ServerTestCase):
    def test_clients_are_told_and_the_log_knows(self) -> None:
        """A stop closes clients with ERROR and ends the log with server.stop."""
        ann = self.client("ann")
        self.world.server.stop_reason = "Maintenance"
        self.world.server.stopService()
        self.world.turn()
        self.assertEqual(ann.lines(), ["ERROR :Closing Link: 192.0.2.1 (Maintenance)"])
        self.assertEqual([row.event_type for row in self.world.store.rows[-2:]], ["user.disconnect", "server.stop"])


def test_full_server() -> None:
    """limits.clients counts everybody, exempt or not."""
    world = World(config=make_config({"limits": {"clients": 2}}))
    world.client("ann")
    world.client("bob")
    assert "server is full" in world.connect("127.0.0.1").lines()[0]
