"""A whole server in memory: real sessions, commands, bus and rendering on Twisted's fake transport and clock.

Nothing here opens a socket, reads a file or sleeps; tests own time and decide when the log commits.
"""

from __future__ import annotations

import unittest
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

import txaio
from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from slircd.config.load import parse
from slircd.config.sections import Config
from slircd.events.bus import Order
from slircd.events.codec import decode_event
from slircd.events.memory import MemoryStore
from slircd.events.types import Event
from slircd.network.listeners import ListenerInfo
from slircd.network.protocol import IRCProtocol
from slircd.network.server import IRCServer
from slircd.security.cloak import Cloak
from slircd.security.passwords import Passwords, hash_now
from slircd.state.apply import Stamp, apply
from slircd.state.livedigest import LiveDigest
from slircd.state.model import ServerState
from slircd.state.snapshot import digest
from slircd.wire.message import Message
from slircd.wire.message import parse as parse_message

START = 1_750_000_000.0
OPER_PASSWORD = "sesame"
OPER_HASH = hash_now(OPER_PASSWORD, "minimum")

BASE: dict[str, Any] = {
    "server": {"name": "irc.test", "network": "TestNet"},
    "flood": {"enabled": False},
    "cloak": {"enabled": False},
    "passwords": {"cost": "minimum"},
    "timeouts": {"ping_interval_s": 86_400},
    "opers": {"root": {"password_hash": OPER_HASH, "class": "netadmin"}},
}


def make_config(changes: Mapping[str, Any] | None = None, **more: Any) -> Config:
    """The configuration of tests, with the keys of some sections replaced; `more` are lists of tables and the like."""
    data: dict[str, Any] = {**{key: dict(value) for key, value in BASE.items()}, **more}
    for section, keys in (changes or {}).items():
        data[section] = {**data.get(section, {}), **keys}
    return parse(data, "test.toml")


class TurnClock(Clock):
    """A clock whose `advance` is one turn of the reactor: what it calls may ask for another, which does not begin yet."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0
        self.rightNow = START

    def advance(self, amount: float) -> None:
        self.turns += 1
        self.rightNow += amount
        for call in [call for call in self.calls if call.getTime() <= self.rightNow]:
            if call.active():
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class FakeTLS:
    """What a session asks of the OpenSSL connection behind its own: a client that named no host."""

    def get_servername(self) -> bytes | None:
        return None

    def get_certificate(self) -> None:
        return None


class FakeTransport(StringTransport):
    """A client's connection, in memory; closing it tells the protocol."""

    def __init__(self, address: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 50000))
        self.protocol: IRCProtocol | None = None
        self.closed = False
        self._tlsConnection: Any = None

    def loseConnection(self) -> None:
        self._close()

    def abortConnection(self) -> None:
        self._close()

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            # As with Twisted's: a connection that is gone leads to nobody.
            protocol, self.protocol = self.protocol, None
            if protocol is not None:
                protocol.connectionLost(None)


class FakeClient:
    """A client on a FakeTransport: `sends` lines, and looks at the lines that it was sent."""

    def __init__(self, world: World, address: str = "192.0.2.1", *, tls: bool = False) -> None:
        self.world = world
        self.transport = FakeTransport(address)
        self.protocol = IRCProtocol(world.server)
        self.protocol.listener = ListenerInfo("test", tls)
        if tls:
            self.transport._tlsConnection = FakeTLS()
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)
        self.unread: list[str] = []
        self.received: list[str] = []
        """Every line that it was ever sent."""
        self.nick = ""

    @property
    def session(self) -> Any:
        return self.protocol.session

    @property
    def uid(self) -> str:
        return self.protocol.session.uid if self.protocol.session is not None else ""

    @property
    def is_closed(self) -> bool:
        return self.transport.closed

    def sends(self, *lines: str) -> None:
        """Send lines, each as a chunk of its own, and let the server's turn end."""
        for line in lines:
            self.sends_bytes(line.encode() + b"\r\n")

    def sends_bytes(self, data: bytes) -> None:
        """Send raw bytes."""
        if not self.transport.closed:
            self.protocol.dataReceived(data)
        self.world.turn()

    def lines(self) -> list[str]:
        """The lines that have come and were not looked at."""
        self.world.turn()
        self._collect()
        lines, self.unread = self.unread, []
        return lines

    def _collect(self) -> None:
        data = self.transport.value()
        self.transport.clear()
        new = data.decode().split("\r\n")
        assert new[-1] == "", "a line without its end"
        self.unread += new[:-1]
        self.received += new[:-1]

    def messages(self) -> list[Message]:
        """The same, parsed."""
        return [parse_message(line.encode()) for line in self.lines()]

    def asks(self, *lines: str) -> list[str]:
        """Forget what has come, send lines, and return what comes."""
        self.lines()
        self.sends(*lines)
        return self.lines()

    def codes(self, *lines: str) -> list[str]:
        """The commands and numerics of what comes after sending lines."""
        return [parse_message(line.encode()).command for line in self.asks(*lines)]

    def disconnects(self) -> None:
        """The connection breaks."""
        self.transport._close()
        self.world.turn()


class World:
    """One run of a server over a store that outlives it."""

    def __init__(
        self,
        *,
        config: Config | None = None,
        store: MemoryStore | None = None,
        clock: Clock | None = None,
        order: Order | None = None,
        seed: int = 0,
    ) -> None:
        if clock is None:
            clock = Clock()
            clock.advance(START)
        # txaio has one reactor for the process; its timers read it when they are used.
        txaio.config.loop = clock
        self.clock = clock
        self.store = store if store is not None else MemoryStore(seconds=clock.seconds)
        self.clients: list[FakeClient] = []
        self.server = IRCServer(
            config if config is not None else make_config(),
            self.store,
            reactor=clock,
            cloak=Cloak(b"k" * 32, "cloak"),
            passwords=Passwords(maybeDeferred, "minimum"),
            session_id=f"run-{seed}",
            rng=Random(seed),
            order=order,
        )
        self.server.channel_at = lambda key, at: succeed(state_at(self.store, at).channels.get(key))
        self.server.startService()
        self.server.bus.live_digest = self.live_digest = LiveDigest(self.server.state)
        self.turn()

    @property
    def state(self) -> ServerState:
        return self.server.state

    def turn(self) -> None:
        """Let the reactor's turn end: outboxes are flushed."""
        self.clock.advance(0)

    def connect(self, address: str = "192.0.2.1", *, tls: bool = False) -> FakeClient:
        """A connection that has said nothing yet."""
        client = FakeClient(self, address, tls=tls)
        self.clients.append(client)
        return client

    def client(self, nick: str, *, caps: str = "", address: str = "192.0.2.1", tls: bool = False) -> FakeClient:
        """A registered user, its welcome read."""
        client = self.connect(address, tls=tls)
        if caps:
            client.sends(f"CAP REQ :{caps}")
        client.sends(f"NICK {nick}", f"USER {nick} 0 * :Real {nick}")
        if caps:
            client.sends("CAP END")
        client.lines()
        assert client.uid, f"{nick} could not register"
        client.nick = nick
        return client

    def oper(self, nick: str, **options: Any) -> FakeClient:
        """A registered IRC operator with every privilege."""
        client = self.client(nick, **options)
        client.sends(f"OPER root {OPER_PASSWORD}")
        client.lines()
        assert self.state.users[client.uid].is_oper
        return client

    def restart(self, *, crash: bool = False, config: Config | None = None) -> World:
        """The next run on the same log: after an orderly stop, or after a crash that lost what was not committed."""
        if not crash:
            self.server.stopService()
            self.clock.advance(3)
            self.store.commit()
        return World(
            config=config or self.server.config,
            store=self.store.surviving(),
            clock=self.clock,
            seed=int(self.server.bus.session_id.removeprefix("run-")) + 1,
        )

    def events(self) -> list[Event]:
        """Every committed event."""
        return [decode_event(row.event_type, row.actor_uid, row.target, row.payload) for row in self.store.rows]

    def replayed(self) -> ServerState:
        """What the committed log says."""
        return replay(self.store)


def replay(store: MemoryStore) -> ServerState:
    """The state that a log makes, from nothing."""
    state = ServerState()
    for row in store.rows:
        event = decode_event(row.event_type, row.actor_uid, row.target, row.payload)
        apply(state, event, Stamp(row.id, row.sequence, row.timestamp, row.session_id))
    return state


def state_at(store: MemoryStore, timestamp: str) -> ServerState:
    """The state that a log makes up to a moment."""
    return replay(MemoryStore([row for row in store.rows if row.timestamp <= timestamp]))


class ServerTestCase(unittest.TestCase):
    """A test of a whole server in memory; at its end the live state must equal the replayed log."""

    config: Mapping[str, Any] = {}

    def setUp(self) -> None:
        self.world = World(config=make_config(self.config))

    def tearDown(self) -> None:
        self.world.store.commit()
        self.assertTrue(self.world.live_digest.is_right(), "an event changes more than state.livedigest says")
        if self.world.store.pending == 0:
            self.assertEqual(digest(self.world.state), digest(self.world.replayed()), "live state is not the log's")

    def client(self, nick: str, **options: Any) -> FakeClient:
        """A registered user."""
        return self.world.client(nick, **options)

    def oper(self, nick: str, **options: Any) -> FakeClient:
        """A registered IRC operator."""
        return self.world.oper(nick, **options)

    def on_channel(self, channel: str, *words: str, caps: str = "") -> list[FakeClient]:
        """Users on a channel, `@ann` with the prefix modes of its symbols; what they were sent is read."""
        modes = {"~": "q", "&": "a", "@": "o", "%": "h", "+": "v"}
        clients: list[FakeClient] = []
        wanted: list[tuple[str, str]] = []
        for word in words:
            nick = word.lstrip("~&@%+")
            wanted.append((nick, "".join(modes[symbol] for symbol in word[: len(word) - len(nick)])))
            clients.append(self.client(nick, caps=caps))
            clients[-1].sends(f"JOIN {channel}")
        self.set_prefixes(channel, wanted)
        for client in clients:
            client.lines()
        return clients

    def set_prefixes(self, channel: str, wanted: Sequence[tuple[str, str]]) -> None:
        """Have the server give each nick exactly these prefix modes."""
        from slircd.events.types import SERVER, ChannelModeChange, ModeDelta

        state = self.world.state
        key = state.fold(channel)
        deltas: list[ModeDelta] = []
        for nick, modes in wanted:
            user = state.user_by_nick(nick)
            assert user is not None
            now = state.channels[key].members[user.uid]
            deltas += [ModeDelta("-", mode, nick, user.uid) for mode in now if mode not in modes]
            deltas += [ModeDelta("+", mode, nick, user.uid) for mode in modes if mode not in now]
        if deltas:
            self.world.server.bus.emit([ChannelModeChange(actor_uid=SERVER, target=key, nick="", changes=deltas)])

    def assertReceives(self, client: FakeClient, *expected: str) -> None:
        """The client was sent exactly these lines since they were last looked at."""
        self.assertEqual(client.lines(), list(expected))

    def assertSees(self, client: FakeClient, *expected: str) -> None:
        """Each of these lines is among those that the client was sent."""
        lines = client.lines()
        for line in expected:
            self.assertIn(line, lines)

    def assertRefused(self, client: FakeClient, line: str, code: str) -> None:
        """The line is answered with one numeric, and changes nothing."""
        before = digest(self.world.state)
        self.assertEqual(client.codes(line), [code])
        self.assertEqual(digest(self.world.state), before)

    def events_of(self, *types: str) -> list[Event]:
        """The committed events of some types."""
        return [event for event in self.world.events() if event.event_type in types]

    def types_after(self, action: Any) -> list[str]:
        """The types of the events that an action causes."""
        count = len(self.world.store.rows)
        action()
        self.world.turn()
        return [row.event_type for row in self.world.store.rows[count:]]


def words_of(lines: Iterable[str], code: str) -> list[list[str]]:
    """The parameters of each line with this command or numeric."""
    parsed = [parse_message(line.encode()) for line in lines]
    return [list(message.params) for message in parsed if message.command == code]
