"""HTTP requests to others: the one door to the outside for webhooks and plugins.

Who names a URL must not be able to reach what only this machine can reach.  A name is resolved once; addresses that are
not public are refused; and the connection is made to exactly the addresses that were looked at, so that a name that
changes between the look and the connection (DNS rebinding) changes nothing.  Redirects are not followed, certificates
are verified, bodies and time are limited, answers are not decompressed.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final, NamedTuple

import txaio
from hyperlink import URL
from OpenSSL import SSL
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet import defer
from twisted.internet.address import IPv4Address as IPv4Endpoint
from twisted.internet.address import IPv6Address as IPv6Endpoint
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IAddress, IProtocol, IResolutionReceiver, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

txaio.use_twisted()

CONNECT_S: Final = 10
MAX_ADDRESSES: Final = 4
"""Addresses of one name that are tried."""

_NAT64: Final = ip_network("64:ff9b::/96")

_NOT_PUBLIC: Final = tuple(
    ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "3fff::/20", "5f00::/16")
)
"""What `is_global` of some versions of Python takes for public: special, 6to4 relays, site-local, examples, SRv6."""


class OutgoingError(Exception):
    """A request was not made, or not answered; the text says why."""


class Refused(OutgoingError):
    """The address is none that may be asked."""


class Answer(NamedTuple):
    """What the other side said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public Internet, and not one of those that stand for another kind."""
    ip: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if inner is not None:
            return is_public(str(inner))
        if ip.teredo is not None:
            return False
    if any(ip in network for network in _NOT_PUBLIC):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class Outgoing:
    """An HTTP client with guards; each request is a connection of its own, without cookies."""

    def __init__(self, reactor: Any, *, allow_private: bool = False, trust_root: Any = None) -> None:
        """`allow_private` lets it reach every address; `trust_root` replaces the system's authorities (Twisted's)."""
        self._reactor = reactor
        endpoints = _Endpoints(reactor, allow_private, trust_root)
        self._agent = _Plain(Agent.usingEndpointFactory(reactor, endpoints))

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 30,
        max_bytes: int = 1_048_576,
    ) -> Deferred[Answer]:
        """Ask; `timeout_s` is for all of it, `max_bytes` for the body of the answer.

        Fails with Refused for an address that is not public, else with OutgoingError.  A redirect is an answer.
        """
        doing = ensureDeferred(self._request(method, url, headers or {}, body, max_bytes))
        late: list[bool] = []

        # What a connection that is closed by a timeout says of itself is no help, so the timeout is remembered.
        def give_up() -> None:
            late.append(True)
            doing.cancel()

        timer = self._reactor.callLater(timeout_s, give_up)

        def done(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            if isinstance(result, Failure):
                return _in_words(result, timeout_s if late else None)
            return result

        return doing.addBoth(done)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> Answer:
        check_url(url)
        response: Any = await HTTPClient(self._agent).request(
            method,
            url,
            headers=Headers({name: [value] for name, value in headers.items()}),
            data=None if body is None else _Bytes(body),
            allow_redirects=False,
            unbuffered=True,
        )
        text = await _read(response, max_bytes)
        found = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.code, found, text)


def check_url(url: str) -> None:
    """Raise Refused unless this is an http: or https: URL of a host, without user and password in it."""
    try:
        parsed = URL.from_text(url)
        usable = parsed.scheme in ("http", "https") and bool(parsed.host) and not parsed.userinfo
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(ord(character) <= 32 for character in url):
        raise Refused("not a URL of the form https://HOST/PATH")


def _in_words(failure: Failure, timeout_s: float | None) -> Failure:
    error: Any = failure.value
    if isinstance(error, OutgoingError):
        return failure
    if timeout_s is not None:
        raise OutgoingError(f"no answer within {timeout_s:g} seconds")
    is_broken = isinstance(error, ResponseFailed)
    if is_broken:
        error = error.reasons[0].value
    if isinstance(error, SSL.Error | VerificationError):
        raise OutgoingError(f"its certificate is not accepted: {error!r}")
    if is_broken or isinstance(error, ConnectError | ConnectionClosed | OSError | ValueError):
        raise OutgoingError(str(error) or type(error).__name__)
    return failure


# --- bodies ------------------------------------------------------------------------------------------


@implementer(IBodyProducer)
class _Bytes:
    """A body that is there already."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        """All at once."""
        consumer.write(self._body)
        return defer.succeed(None)

    def pauseProducing(self) -> None:
        """It is written already."""

    def resumeProducing(self) -> None:
        """It is written already."""

    def stopProducing(self) -> None:
        """It is written already."""


class _Body(Protocol):
    """Collects a body up to a limit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self._size = 0
        self.done: Deferred[bytes] = Deferred(lambda _: self._stop())

    def _stop(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._most:
            self._parts.append(data)
        elif not self.done.called:
            self.done.errback(OutgoingError(f"the answer has more than {self._most} bytes"))
            self._stop()

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self.done.called:
            return
        # An answer without a length ends with its connection; so may one that was cut, and nobody can tell.
        if reason is None or reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(OutgoingError(f"the connection broke: {reason.getErrorMessage()}"))


def _read(response: Any, most: int) -> Deferred[bytes]:
    body = _Body(most)
    response.deliverBody(body)
    return body.done


@implementer(IAgent)
class _Plain:
    """Takes bodies as they come: a few compressed bytes must not become gigabytes here."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Any = None,
        bodyProducer: Any = None,  # noqa: N803  # Twisted's name
    ) -> Deferred[Any]:
        headers = Headers() if headers is None else headers.copy()
        headers.removeHeader(b"accept-encoding")
        asked: Deferred[Any] = self._agent.request(method, uri, headers, bodyProducer)
        return asked.addCallback(self._without_encoding)

    @staticmethod
    def _without_encoding(response: Any) -> Any:
        response.headers.removeHeader(b"content-encoding")
        return response


# --- the connection -------------------------------------------------------------------------------------------------


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Where an Agent connects to."""

    def __init__(self, reactor: Any, allow_private: bool, trust_root: Any) -> None:
        self._reactor = reactor
        self._allow_private = allow_private
        self._trust_root = trust_root

    def endpointForURI(self, uri: URI) -> Any:
        host = uri.host.decode("ascii").strip("[]")
        endpoint: Any = _Guarded(self._reactor, host, uri.port, self._allow_private)
        if uri.scheme == b"https":
            return wrapClientTLS(optionsForClientTLS(host, trustRoot=self._trust_root), endpoint)
        return endpoint


@implementer(IStreamClientEndpoint)
class _Guarded:
    """Resolves a name, refuses addresses, connects to the first of the others that answers."""

    def __init__(self, reactor: Any, host: str, port: int, allow_private: bool) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._allow_private = allow_private

    def connect(self, factory: Any) -> Deferred[IProtocol]:
        return ensureDeferred(self._connect(factory))

    async def _connect(self, factory: Any) -> IProtocol:
        addresses = await _Resolution.of(self._reactor, self._host, self._port)
        if not addresses:
            raise OutgoingError(f"{self._host} cannot be resolved")
        usable = addresses if self._allow_private else [each for each in addresses if is_public(each.host)]
        if not usable:
            raise Refused(f"{self._host} is {addresses[0].host}, which is not a public address")
        failure: Exception | None = None
        for address in usable[:MAX_ADDRESSES]:
            kind: Any = TCP6ClientEndpoint if isinstance(address, IPv6Endpoint) else TCP4ClientEndpoint
            try:
                protocol: IProtocol = await kind(self._reactor, address.host, self._port, CONNECT_S).connect(factory)
            except ConnectError as error:
                failure = error
            else:
                return protocol
        raise OutgoingError(f"{self._host} cannot be reached: {failure}")


@implementer(IResolutionReceiver)
class _Resolution:
    """Collects the addresses of a name."""

    def __init__(self) -> None:
        self._found: list[Any] = []
        self.done: Deferred[list[Any]] = Deferred()

    @classmethod
    def of(cls, reactor: Any, host: str, port: int) -> Deferred[list[Any]]:
        """The addresses of `host`, as Twisted's IPv4Address and IPv6Address."""
        resolution = cls()
        reactor.nameResolver.resolveHostName(
            resolution, host, port, [IPv4Endpoint, IPv6Endpoint], transportSemantics="TCP"
        )
        return resolution.done

    def resolutionBegan(self, resolution: Any) -> None:
        """Twisted begins."""

    def addressResolved(self, address: IAddress) -> None:
        """One address."""
        self._found.append(address)

    def resolutionComplete(self) -> None:
        """That was all."""
        if not self.done.called:
            self.done.callback(self._found)
