"""Targets: what strangers send before they are anybody, over TCP, WebSocket, and through proxies and gateways."""

from __future__ import annotations

from base64 import b64decode, b64encode
from functools import cache
from ipaddress import ip_address
from typing import Any

from scramp import ScramClient, ScramException
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from slircd.commands.account import MAX_SASL
from slircd.commands.capability import offered
from slircd.commands.registration import Stage
from slircd.config.sections import Config
from slircd.events.memory import MemoryStore
from slircd.network.listeners import ListenerInfo, plan_listeners
from slircd.network.protocol import MAX_LINE, IRCFactory, IRCProtocol
from slircd.network.proxy import MAX_V1, SIGNATURE, InvalidHeader, ProxyFactory, parse_header
from slircd.network.websocket import WebSocketIRCFactory, client_address
from slircd.security.addresses import peer_address
from slircd.security.passwords import hash_now
from slircd.services.sasl import mechanisms
from slircd.state.snapshot import digest
from slircd.wire.capabilities import CAP_NOTIFY, CAPABILITIES, RAW_BYTES
from tests.fuzz.choices import Choices
from tests.fuzz.output import check_line, check_output
from tests.fuzz.registry import target
from tests.fuzz.watch import no_failures
from tests.harness import FakeClient, World, make_config

GATEWAY = "192.0.2.80"
PASSWORD = "correct horse"


@cache
def config() -> Config:
    return make_config(listen=[{"port": 0, "websocket": True, "forwarded_from": ["192.0.2.0/24"], "origins": ["*"]}])


# --- PROXY --------------------------------------------------------------------------------------------------------


def v2(family: int, body: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


@target(
    max_bytes=400,
    seeds=[
        b"\x00PROXY TCP4 192.0.2.1 192.0.2.2 1024 6667\r\nNICK a\r\n",
        b"\x05PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
        b"\x01PROXY UNKNOWN\r\nPING x\r\n",
        b"\x00" + v2(0x11, b"\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\x00\x1a\x0b") + b"PING x\r\n",
        b"\x03" + v2(0x21, bytes(36)) + b"PING x\r\n",
        b"\x00" + v2(0, b"", command=0x20),
    ],
)
def fuzz_proxy(data: bytes) -> None:
    """A PROXY header is read the same however it is cut, or refused; the client is who it says, behind it is IRC."""
    cut, stream = data[0] if data else 0, data[1:]
    whole = header_of(stream)
    for size in range(len(stream)):
        part = header_of(stream[:size])
        if part == "refused":
            assert whole == "refused"
            break
        if part is not None:
            assert whole is not None and whole[0] == part[0], (part, whole)
            assert stream.endswith(whole[1])
            break
    world = World(config=config())
    factory = ProxyFactory(IRCFactory(world.server), ["192.0.2.0/24"], world.clock)
    with no_failures():
        proxy: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.99", 1))
        proxy.wrappedProtocol.listener = ListenerInfo("proxied", False)
        transport = Pipe("192.0.2.99", proxy)
        proxy.makeConnection(transport)
        for start in range(0, len(stream), cut + 1):
            if not transport.done:
                proxy.dataReceived(stream[start : start + cut + 1])
        world.turn()
        session = proxy.wrappedProtocol.session
        if whole == "refused":
            assert transport.done and session is None
        elif whole is None:
            assert session is None
            assert len(stream) <= max(MAX_V1, len(SIGNATURE) + 4 + 65_535)
        elif session is not None:
            assert session.address == (whole[0] or "192.0.2.99")
            assert session.received <= whole[1].count(b"\n")
        check_output(transport.value())
        world.clock.advance(20)
        if whole is None:
            assert transport.done
        transport.loseConnection()
        world.turn()
    assert not world.server.sessions


def header_of(data: bytes) -> Any:
    """What a header says: None if it is not whole, `refused`, or the client's address and what follows."""
    try:
        found = parse_header(data)
    except InvalidHeader:
        return "refused"
    if found is None:
        return None
    source, rest = found
    if source is None:
        return None, rest
    assert isinstance(source, IPv4Address | IPv6Address)
    assert 0 <= source.port <= 65535
    return peer_address(source.host), rest


class Pipe(StringTransport):
    """A connection in memory that tells its protocol when it is closed."""

    def __init__(self, address: str, protocol: Any) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", address, 1))
        self.done = False
        self._protocol = protocol

    def loseConnection(self) -> None:
        if not self.done:
            self.done = True
            self._protocol.connectionLost(Failure(ConnectionDone()))

    abortConnection = loseConnection

    def unregisterProducer(self) -> None:
        """Twisted's own take this twice."""
        self.producer = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """It has no delay."""


# --- WebSocket ----------------------------------------------------------------------------------------------------

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: irc.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
PROTOCOLS = [b"", b"Sec-WebSocket-Protocol: text.ircv3.net\r\n", b"Sec-WebSocket-Protocol: binary.ircv3.net\r\n"]
LINES = [b"NICK web", b"USER web 0 * :web", b"PING x", b"PRIVMSG web :\xe9", b"a\nb\r\nc", b"CAP LS 302", b"QUIT", b""]


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """A frame as a client sends it (RFC 6455 5.2); the mask is zero."""
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mask | len(payload)])
    elif len(payload) < 65_536:
        head += bytes([mask | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + len(payload).to_bytes(8, "big")
    return head + (bytes(4) if masked else b"") + payload


def frames_of(choices: Choices) -> bytes:
    """Some bytes behind a handshake, most of them frames."""
    out = b""
    while choices.more and len(out) < 40_000:
        kind = choices.number(8)
        payload = choices.pick(LINES) if choices.chance(160) else choices.take(200)
        if kind == 7:
            out += payload
        elif kind == 6:
            out += frame(choices.pick([1, 2]), payload * choices.pick([1, 50, 400]))
        else:
            opcode = choices.pick([1, 1, 1, 2, 0, 8, 9, 10, 3, 15])
            strange = choices.chance(24)
            out += frame(
                opcode, payload, fin=kind != 5, masked=not (strange and kind == 4), reserved=int(strange and kind == 3)
            )
    return out


@target(
    max_bytes=1500,
    seeds=[
        b"\x01\x00\x00\xff\x00\x00\x00\x01\x00\x01\x00\x02\x00\x03\x00\x04",
        b"\x02\xff\x05\x00\xff\x00\x00\x00\xff\x08\x00",
        b"\x83GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def fuzz_websocket(data: bytes) -> None:
    """Any handshake and any frames: each message is a line, what comes out is whole messages, and all of it ends."""
    choices = Choices(data)
    world = World(config=config())
    [plan] = plan_listeners(config(), "test")
    factory = WebSocketIRCFactory(world.server, plan, world.clock)
    how, cut = choices.number(256), choices.number(256)
    if how >= 128:
        stream = choices.rest()
    else:
        extra = choices.text(40).replace("\r\n", " ").encode() if how & 4 else b""
        forwarded = b"X-Forwarded-For: " + extra + b"\r\n" if how & 4 else b""
        stream = HANDSHAKE + PROTOCOLS[how % 3] + forwarded + b"\r\n" + frames_of(choices)
    binary = how < 128 and how % 3 == 2
    with no_failures():
        server: Any = factory.buildProtocol(None)
        server.listener = ListenerInfo("ws", False)
        transport = Pipe("192.0.2.7", server)
        server.makeConnection(transport)
        size = 1 + cut * 40
        for start in range(0, len(stream), size):
            if not transport.done:
                server.dataReceived(stream[start : start + size])
                world.turn()
        session = server.session
        if session is not None:
            ip_address(session.address)
        head, _, sent = transport.value().partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 101"):
            check_frames(sent, utf8=not binary)
        world.clock.advance(200_000)
        world.clock.advance(200_000)
        assert transport.done, "the connection was never closed"
    assert not world.server.sessions


def check_frames(data: bytes, *, utf8: bool) -> None:
    """Fail unless these are whole frames of a server, the messages among them being lines."""
    while data:
        opcode, size = data[0] & 15, data[1]
        assert data[0] & 0x70 == 0 and size < 128, "a server's frames are not masked"
        start = 2
        if size > 125:
            width = 2 if size == 126 else 8
            start, size = 2 + width, int.from_bytes(data[2 : 2 + width], "big")
        assert len(data) >= start + size, "a frame is cut off"
        if opcode in (1, 2):
            check_line(data[start : start + size], utf8=utf8)
        data = data[start + size :]


@target(max_bytes=200, seeds=[b"192.0.2.1\n198.51.100.7, 192.0.2.3", b"::ffff:192.0.2.1\n[2001:db8::1],x"])
def fuzz_forwarded(data: bytes) -> None:
    """Whatever X-Forwarded-For says, the client has an address; only a trusted peer is believed."""
    peer, _, forwarded = data.decode("utf-8", "replace").partition("\n")
    for who in ("192.0.2.1", "203.0.113.9"):
        found = client_address(who, forwarded, ["192.0.2.0/24", "2001:db8::/32"])
        ip_address(found)
        if who == "203.0.113.9":
            assert found == who
    client_address(peer, forwarded, ["192.0.2.0/24"])


# --- registration: CAP, SASL, PASS, WEBIRC, REGISTER --------------------------------------------------------------

WORLDS: list[dict[str, Any]] = [
    {},
    {"accounts": {"sasl_plain_without_tls": True, "before_connect": True}},
    {"server": {"encoding": "bytes", "casemapping": "precis"}},
    {"history": {"channels": True, "direct": True}, "bouncer": {"always_on": "opt-out"}},
    {"server": {"encoding": "windows-1252"}, "flood": {"enabled": True}, "cloak": {"enabled": True}},
]


@cache
def beginning(number: int) -> tuple[Any, MemoryStore]:
    """A configuration, and a log in which ann has an account."""
    gateways = [{"hosts": [f"{GATEWAY}/32"], "password_hash": hash_now("hunter2", "minimum")}]
    config = make_config(WORLDS[number], webirc=gateways)
    world = World(config=config)
    ann = world.client("ann")
    ann.sends(f"NS REGISTER {PASSWORD.replace(' ', '-')}")
    assert world.state.accounts
    ann.sends("JOIN #c", "QUIT")
    return config, world.store.surviving()


ACCOUNT_PASSWORD = PASSWORD.replace(" ", "-")


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


WORDS = [
    "CAP LS", "CAP LS 302", "CAP LIST", "CAP END", "CAP REQ :sasl", "CAP REQ :-sasl", "CAP REQ :batch labeled-response",
    "CAP REQ :message-tags server-time", "CAP REQ :sasl nosuch", "CAP REQ :", "CAP REQ :draft/metadata-3 draft/pre-away",
    "CAP NEW :x", "CAP", "AUTHENTICATE PLAIN", "AUTHENTICATE SCRAM-SHA-256", "AUTHENTICATE EXTERNAL", "AUTHENTICATE *",
    "AUTHENTICATE +", "AUTHENTICATE NOSUCH", f"AUTHENTICATE {encoded(chr(0) + 'ann' + chr(0) + ACCOUNT_PASSWORD)}",
    f"AUTHENTICATE {encoded(chr(0) + 'ann' + chr(0) + 'wrong')}", f"AUTHENTICATE {encoded('n,,n=ann,r=abc')}",
    f"AUTHENTICATE {encoded('c=biws,r=abc,p=AAAA')}", "AUTHENTICATE " + "A" * 400, "AUTHENTICATE " + "A" * 401,
    "AUTHENTICATE " + "=" * 8, "NICK ann", "NICK bob", "NICK :", "NICK #x", "NICK NickServ", "USER u 0 * :Real",
    "USER u 0 *", "USER : 0 * :", "PASS x", "PASS :" + "p" * 300, "WEBIRC hunter2 gw host.example.org 198.51.100.3",
    "WEBIRC hunter2 gw h 2001:db8::1 :secure", "WEBIRC wrong gw h 198.51.100.3", "WEBIRC hunter2 gw h ::ffff:1.2.3.4",
    "QUIT", "QUIT :bye", "PING x", "PONG x", "JOIN #c", "PRIVMSG ann :x", f"REGISTER * * {ACCOUNT_PASSWORD}",
    "REGISTER bob bob@example.org longpassword", "REGISTER é * longpassword", "VERIFY bob 123", "AWAY :out", "AWAY",
    "METADATA * SET url :x", "METADATA * SUB url", "NOSUCH", "OPER root sesame", "@label=1 PING x", "@label=2 NOSUCH",
    "@label=3 CAP LS 302", "BATCH +1 draft/multiline #c", f"NS IDENTIFY ann {ACCOUNT_PASSWORD}", "NS LOGOUT",
    "SETNAME :x", "MONITOR + ann", "WHOIS ann", "MODE bob +x",
]  # fmt: skip


@target(
    max_bytes=1200,
    seeds=[
        bytes([0, 0, 10, WORDS.index("CAP LS 302"), 10, WORDS.index("CAP REQ :sasl"), 10, WORDS.index("NICK bob")]),
        bytes([1, 1])
        + bytes(b for word in ("NICK bob", "USER u 0 * :Real", "PING x") for b in (10, WORDS.index(word))),
        bytes([1, 8]) + bytes([10, WORDS.index("CAP LS"), 10, 13, 10, 19, 10, WORDS.index("CAP END"), 10, 26, 10, 31]),
        bytes([2, 0, 200, 12]) + b"NICK \xc3\xa9x\r\n" + bytes([10, 31]),
        bytes([0, 16, 10, WORDS.index("WEBIRC hunter2 gw host.example.org 198.51.100.3"), 10, 26, 10, 31]),
        bytes([1, 0, 10, 4, 10, 27, 10, 31, 230, 230, 230, 10, 3]),
    ],
)
def fuzz_registration(data: bytes) -> None:
    """Any lines in any order: the client is a stranger until it owes nothing, and what it has is what it was offered."""
    choices = Choices(data)
    config, store = beginning(choices.number(len(WORLDS)))
    how = choices.number(256)
    with no_failures() as failures:
        world = World(config=config, store=store.surviving(), seed=1)
        client = world.connect(GATEWAY if how & 16 else "192.0.2.1", tls=bool(how & 8))
        rest = b""
        scram: ScramClient | None = None
        for _ in range(80):
            if not choices.more or client.is_closed:
                break
            kind = choices.number(256)
            if kind < 200:
                line = choices.pick(WORDS).encode() + b"\r\n"
            elif kind < 220:
                line = choices.take(60)
            elif kind < 246:
                line, scram = scram_line(client, scram)
            else:
                world.clock.advance(choices.number(90))
                continue
            cut = choices.number(len(line) + 1) if kind % 8 == 7 else len(line)
            send(client, rest + line[:cut])
            rest = line[cut:]
            failures.check()
            check_registration(world, client)
        check_output(client.transport.value(), utf8=not world.server.encoding.keeps_bytes)
        client.transport.clear()
        client.disconnects()
        world.clock.advance(0)
        assert not world.server.sessions and not world.server.strangers
        world.store.commit()
        assert digest(world.state) == digest(world.replayed())


def send(client: FakeClient, data: bytes) -> None:
    if data:
        client.sends_bytes(data)


def scram_line(client: FakeClient, scram: ScramClient | None) -> tuple[bytes, ScramClient | None]:
    """The next right line of a SCRAM exchange, as far as the server has answered."""
    if scram is None:
        scram = ScramClient(["SCRAM-SHA-256"], "ann", ACCOUNT_PASSWORD, c_nonce="rOprNGfwEbeRWgbNEkqO")
        first = encoded(scram.get_client_first())
        return f"AUTHENTICATE SCRAM-SHA-256\r\nAUTHENTICATE {first}\r\n".encode(), scram
    sent = [line for line in client.transport.value().split(b"\r\n") if line.startswith(b"AUTHENTICATE ")]
    try:
        scram.set_server_first(b64decode(sent[-1][13:]).decode())
        return f"AUTHENTICATE {encoded(scram.get_client_final())}\r\nAUTHENTICATE +\r\n".encode(), None
    except (ScramException, IndexError, ValueError):
        return b"AUTHENTICATE *\r\n", None


def check_registration(world: World, client: FakeClient) -> None:
    """What holds of one connection at any time."""
    session = client.session
    if session is None:
        return
    state, server = world.state, world.server
    known = offered(server, session)
    allowed = CAP_NOTIFY | RAW_BYTES
    for name in known:
        allowed |= CAPABILITIES.get(name, 0)
    assert session.caps & ~allowed == 0
    assert not session.caps & RAW_BYTES or server.encoding.keeps_bytes
    assert len(session.sasl_data) <= MAX_SASL
    if session.sasl is not None:
        assert session.sasl_mechanism in mechanisms(server.accounts, session)
    else:
        assert not session.sasl_data and not session.sasl_mechanism
    assert (session in server.strangers) == (not session.uid and not session.is_closed), "strangers"
    if session.uid:
        assert session.registration is None
        assert session.uid in state.users and session in server.users.sessions_of(session.uid)
        assert state.users[session.uid].account is None or state.account_of(state.users[session.uid])
    elif not session.is_closed:
        assert session.registration is not None and session.registration.stage is not Stage.COMPLETE
        assert not server.users.sessions_of(session.uid)
    assert isinstance(client.protocol, IRCProtocol)
    assert len(client.protocol._rest) < MAX_LINE
    people = {uid for uid, user in state.users.items() if not user.is_service and user.clients}
    assert people == ({session.uid} if session.uid else set())
