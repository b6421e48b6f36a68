"""The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): a trusted proxy tells who the client is.

The order is TCP, PROXY header, TLS.  The wrapped protocol is connected only when the header has been read, so it never
sees the proxy's address.  A peer that is not trusted, or sends no right header, is disconnected.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final

import txaio
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

from slircd.security.flood import Bucket

txaio.use_twisted()
log = txaio.make_logger()

MAX_V1: Final = 107
"""Bytes of a header of version 1, its CR LF included."""

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
HEADER_TIMEOUT_S: Final = 10
SAID: Final = 20
"""Refusals that are logged at once, and in ten seconds."""

_V2_HEAD: Final = struct.Struct("!12sBBH")

if TYPE_CHECKING:
    AnyFactory = Factory[Any]

Source = IPv4Address | IPv6Address | None


class InvalidHeader(Exception):
    """The peer sent something else than a PROXY header."""


def parse_header(data: bytes) -> tuple[Source, bytes] | None:
    """The client's address (None: the proxy speaks for itself) and what follows the header.

    None if `data` is not all of the header yet.  Raises InvalidHeader.
    """
    if SIGNATURE.startswith(data[:12]) and len(data) < _V2_HEAD.size:
        return None
    if data.startswith(SIGNATURE):
        return _parse_v2(data)
    if not b"PROXY ".startswith(data[:6]):
        raise InvalidHeader("no PROXY header")
    line, end, rest = data.partition(b"\r\n")
    # A CR at the end may be half of the end.
    if len(line if end else line.removesuffix(b"\r")) > MAX_V1 - 2:
        raise InvalidHeader("no end of the PROXY header")
    return (_parse_v1(line), rest) if end else None


def _parse_v1(line: bytes) -> Source:
    words = line.decode("ascii", "replace").split(" ")
    if words[1:2] == ["UNKNOWN"]:
        return None
    try:
        _, family, source, _, port, _ = words
        return _address({"TCP4": 4, "TCP6": 6}[family], source, int(port))
    except (ValueError, KeyError):
        raise InvalidHeader(f"malformed PROXY header {line[:MAX_V1]!r}") from None


def _parse_v2(data: bytes) -> tuple[Source, bytes] | None:
    _, version_command, family, length = _V2_HEAD.unpack_from(data)
    if version_command >> 4 != 2 or version_command & 15 > 1:
        raise InvalidHeader("unknown version or command")
    if len(data) < _V2_HEAD.size + length:
        return None
    body = data[_V2_HEAD.size : _V2_HEAD.size + length]
    rest = data[_V2_HEAD.size + length :]
    if version_command & 15 == 0:
        return None, rest
    try:
        if family == 0x11:
            return _address(4, socket.inet_ntop(socket.AF_INET, body[:4]), _port(body, 8)), rest
        if family == 0x21:
            return _address(6, socket.inet_ntop(socket.AF_INET6, body[:16]), _port(body, 32)), rest
    except (ValueError, struct.error):
        raise InvalidHeader("address too short") from None
    return None, rest


def _port(body: bytes, at: int) -> int:
    port: int = struct.unpack_from("!H", body, at)[0]
    return port


def _address(version: int, text: str, port: int) -> Source:
    if ip_address(text).version != version or "%" in text or not 0 <= port <= 65535:
        raise ValueError(text)
    return IPv4Address("TCP", text, port) if version == 4 else IPv6Address("TCP", text, port)


class ProxyProtocol(ProtocolWrapper):
    """A connection that begins with a PROXY header."""

    factory: ProxyFactory
    transport: Any

    def __init__(self, factory: Any, wrapped: Protocol) -> None:
        super().__init__(factory, wrapped)
        self._buffer = b""
        self._source: Source = None
        self._reading = True
        self._timeout: IDelayedCall | None = None

    def makeConnection(self, transport: Any) -> None:
        """Wait for the header; the wrapped protocol hears of the connection afterwards."""
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        self._timeout = self.factory.clock.callLater(HEADER_TIMEOUT_S, self._refuse, "no PROXY header in time")

    def dataReceived(self, data: bytes) -> None:
        """Read the header, then pass on what comes."""
        if not self._reading:
            self.wrappedProtocol.dataReceived(data)
            return
        self._buffer += data
        try:
            parsed = parse_header(self._buffer)
        except InvalidHeader as error:
            self._refuse(str(error))
            return
        if parsed is None:
            return
        self._cancel_timeout()
        self._reading = False
        self._buffer = b""
        self._source, rest = parsed
        self.wrappedProtocol.makeConnection(self)  # type: ignore[arg-type]  # it is one by __getattr__
        if rest:
            self.wrappedProtocol.dataReceived(rest)

    def _refuse(self, reason: str) -> None:
        self._cancel_timeout()
        self.factory.say(f"a connection from the proxy {self.transport.getPeer()}: {reason}")
        self.transport.abortConnection()

    def _cancel_timeout(self) -> None:
        timeout, self._timeout = self._timeout, None
        if timeout is not None and timeout.active():
            timeout.cancel()

    def getPeer(self) -> IAddress:
        """The client, as the proxy told."""
        peer: IAddress = self.transport.getPeer()
        return self._source if self._source is not None else peer

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass it on, if the wrapped protocol was ever connected."""
        self._cancel_timeout()
        self.factory.unregisterProtocol(self)
        if not self._reading:
            self.wrappedProtocol.connectionLost(reason)


class ProxyFactory(WrappingFactory):
    """Takes connections from trusted proxies only."""

    protocol = ProxyProtocol
    noisy = False

    def __init__(self, wrapped: AnyFactory, trusted: Sequence[str], clock: IReactorTime) -> None:
        """`trusted` are networks in CIDR form; an empty peer (a Unix socket) is trusted always."""
        super().__init__(wrapped)
        self.clock = clock
        self._words = Bucket(SAID, SAID / 10, clock.seconds())
        self._unsaid = 0
        self._trusted = [ip_network(text) for text in trusted]

    def buildProtocol(self, addr: IAddress | None) -> ProtocolWrapper | None:  # type: ignore[override]  # None refuses
        """A protocol for `addr`, or None, which disconnects it."""
        host = getattr(addr, "host", None)
        if host is not None and not self._trusts(host):
            self.say(f"{host}: not among the trusted proxies of this listener")
            return None
        return super().buildProtocol(addr)

    def say(self, what: str) -> None:
        """Log a refusal; a flood of them is summed up, because anybody can cause one."""
        if self._words.take(self.clock.seconds()) > 0.0:
            self._unsaid += 1
            return
        unsaid, self._unsaid = self._unsaid, 0
        more = f" ({unsaid} more were not logged)" if unsaid else ""
        log.warn("refused {what}{more}", what=what, more=more)

    def _trusts(self, host: str) -> bool:
        try:
            ip = ip_address(host)
        except ValueError:
            return False
        mapped = getattr(ip, "ipv4_mapped", None)
        return any((mapped or ip) in network for network in self._trusted)
