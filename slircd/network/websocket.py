"""IRC over WebSocket (IRCv3 websocket; RFC 6455), by autobahn.

Each message is one line without its end.  The subprotocols are `text.ircv3.net`, whose messages are text, and
`binary.ircv3.net`; a client that asks for neither gets text.  A session sees what looks to it like any other transport:
what it writes is cut into lines, each line is a message.

Whoever may set the header X-Forwarded-For is believed only where the configuration names its network, and the address
that counts is the last one that no trusted proxy has.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

from autobahn.exception import Disconnected
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure

from slircd.network.protocol import MAX_LINE
from slircd.network.session import Session
from slircd.security.addresses import normal_address, peer_address
from slircd.security.flood import Bucket
from slircd.wire.masks import matches_glob

if TYPE_CHECKING:
    from slircd.network.listeners import ListenerInfo, Plan
    from slircd.network.server import IRCServer

TEXT: Final = "text.ircv3.net"
BINARY: Final = "binary.ircv3.net"

PIECE: Final = 4096
"""Bytes that autobahn is given at once: it moves all that it has for each frame that it takes out."""

FRAMES: Final = 2000
FRAMES_PER_S: Final = 20.0
"""Frames of a client at once, and per second after that: those without a line, PING above all, have no other limit."""

CLOSE_S: Final = 5
MAX_REQUEST: Final = 16_384
"""Bytes of an opening handshake."""


def is_trusted(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is in one of the networks."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in ip_network(text) for text in networks)


def client_address(peer: str, forwarded: str, trusted: Sequence[str]) -> str:
    """Who the client is: `peer`, or if that is a trusted proxy the last address in X-Forwarded-For that is none."""
    address = peer_address(peer) or peer
    for word in reversed(forwarded.split(",")):
        if not is_trusted(address, trusted):
            break
        try:
            address = normal_address(word.strip().strip("[]"))
        except ValueError:
            break
    return address


class WebSocketTransport:
    """What a session needs of a transport, over a WebSocket connection."""

    def __init__(self, protocol: IRCWebSocket, address: str, *, secure: bool) -> None:
        self._protocol = protocol
        self._address = address
        self.secure = secure
        """Whether the client's own connection is protected, by us or by a trusted proxy."""
        self.takes_bytes = protocol.is_binary
        """Whether it takes bytes that are not UTF-8: text messages cannot."""

    def __getattr__(self, name: str) -> Any:
        # Certificates and the like are the connection's.
        return getattr(self._protocol.transport, name)

    def getPeer(self) -> IAddress:
        """The client, as a trusted proxy told."""
        kind = IPv6Address if ":" in self._address else IPv4Address
        return kind("TCP", self._address, 0) if self._address else self._protocol.transport.getPeer()

    def write(self, data: bytes) -> None:
        """Send whole lines, each as a message."""
        protocol = self._protocol
        try:
            for line in data.split(b"\r\n"):
                if line:
                    protocol.sendMessage(line, isBinary=protocol.is_binary)
        except Disconnected:
            pass  # connectionLost tells the session

    def loseConnection(self) -> None:
        """Close when everything has gone out."""
        self._protocol.sendClose(1000)

    def abortConnection(self) -> None:
        """Close at once."""
        self._protocol.dropConnection(abort=True)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Be told when the connection's buffer is full."""
        self._protocol.transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The session is over; what autobahn still has to say it says itself."""
        if self._protocol.transport is not None:
            self._protocol.transport.unregisterProducer()


class IRCWebSocket(WebSocketServerProtocol):
    """One connection."""

    factory: WebSocketIRCFactory
    listener: ListenerInfo
    transport: Any
    session: Session | None = None
    is_binary = False

    def __init__(self) -> None:
        super().__init__()
        self._address = ""
        self._secure = False
        self._at_door: str | None = None
        """The address for which the throttle counts the connection until its handshake is done."""
        self._frames: Bucket | None = None

    def connectionMade(self) -> None:
        """Wait for the handshake, as one of not too many."""
        super().connectionMade()
        server = self.factory.server
        peer = peer_address(getattr(self.transport.getPeer(), "host", "") or "")
        if peer and not is_trusted(peer, self.factory.plan.forwarded_from):
            self._at_door = peer
            if server.throttle.admit(peer, is_attempt=False) is not None:
                server.measures.refused["limit"] += 1
                self.dropConnection(abort=True)
                return
        server.strangers.add(self)

    def make_room(self) -> None:
        """Too many wait, and this one for the longest time."""
        self.factory.server.measures.cut["handshake"] += 1
        self.dropConnection(abort=True)

    def _leave_door(self) -> None:
        server = self.factory.server
        server.strangers.discard(self)
        address, self._at_door = self._at_door, None
        if address is not None:
            server.throttle.release(address)

    def onFrameBegin(self) -> None:
        """Count each frame, also those that hold no line: a flood of them is cut."""
        now = self.factory.server.reactor.seconds()
        if self._frames is None:
            self._frames = Bucket(FRAMES, FRAMES_PER_S, now)
        if self._frames.take(now) > 0.0 and self.session is not None:
            self.session.receive_too_much()
            self.dropConnection(abort=True)
        super().onFrameBegin()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of the handshake or of messages; a handshake that does not end is cut."""
        for start in range(0, len(data), PIECE):
            super().dataReceived(data[start : start + PIECE])
        if self.state == self.STATE_CONNECTING and len(self.data) > MAX_REQUEST:
            self.dropConnection(abort=True)

    def onConnect(self, request: Any) -> str | None:
        """Choose the subprotocol that the client likes best, and find out who it is.  Raises ConnectionDeny."""
        plan = self.factory.plan
        origin = request.headers.get("origin", "")
        if origin and not any(matches_glob(pattern.lower(), origin.lower()) for pattern in plan.origins):
            raise ConnectionDeny(403, "This origin may not connect")
        peer = getattr(self.transport.getPeer(), "host", "") or ""
        self._address = client_address(peer, request.headers.get("x-forwarded-for", ""), plan.forwarded_from)
        through_proxy = self._address != peer.removeprefix("::ffff:")
        self._secure = plan.tls or (through_proxy and request.headers.get("x-forwarded-proto", "").lower() == "https")
        chosen = next((name for name in request.protocols if name in (TEXT, BINARY)), None)
        self.is_binary = chosen == BINARY
        return chosen

    def onOpen(self) -> None:
        """Begin a session."""
        self._leave_door()
        transport = WebSocketTransport(self, self._address, secure=self._secure)
        self.session = Session(self.factory.server, transport, self.listener)
        self.session.start()

    def onMessage(self, payload: bytes, _binary: bool) -> None:
        """Take a line; a client that sends the line's end, or several lines, is understood, too."""
        session = self.session
        if session is None:
            return
        for line in payload.split(b"\n"):
            session.receive(line[:-1] if line.endswith(b"\r") else line)

    def onClose(self, _clean: bool, code: int | None, reason: str | None) -> None:
        """End the session."""
        session, self.session = self.session, None
        if session is not None:
            session.connection_lost(f"WebSocket closed: {reason}" if reason else "Connection closed")

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The TCP connection is gone, whether or not the closing handshake was done."""
        self._leave_door()
        super().connectionLost(reason if reason is not None else Failure(ConnectionError("closed")))
        self.onClose(False, None, None)
        # Its result is this very protocol: a circle, which nobody but the cycle collector would free.
        del self.is_closed


class WebSocketIRCFactory(WebSocketServerFactory):
    """Makes a protocol for each connection."""

    noisy = False

    def __init__(self, server: IRCServer, plan: Plan, reactor: Any) -> None:
        super().__init__(None, protocols=[TEXT, BINARY], server="slircd", reactor=reactor)
        self.server = server
        self.plan = plan
        timeouts = server.config.timeouts
        self.setProtocolOptions(
            webStatus=False,
            # Checked by the parser of lines, which answers instead of closing.
            utf8validateIncoming=False,
            maxFramePayloadSize=MAX_LINE,
            maxMessagePayloadSize=MAX_LINE,
            openHandshakeTimeout=timeouts.handshake_s,
            closeHandshakeTimeout=CLOSE_S,
            autoPingInterval=timeouts.ping_interval_s,
            autoPingTimeout=timeouts.ping_timeout_s,
            tcpNoDelay=True,
            failByDrop=False,
            allowedOrigins=["*"],
            allowNullOrigin=True,
        )

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A protocol that will begin a session when its handshake is done."""
        protocol = IRCWebSocket()
        protocol.factory = self
        return protocol
