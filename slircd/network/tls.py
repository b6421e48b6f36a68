"""TLS of listeners, with certificates that can be replaced while clients stay.

A listener is plain TCP whose factory is wrapped here, because Twisted's own `ssl:` endpoint fixes its context for good.
Clients of IRC speak TLS on their own sockets (tls_socket); what comes through something else, a proxy's header or a Unix
socket, and HTTP, through Twisted's TLS.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Server as TCPServer
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from slircd.network.tls_socket import begin_tls

if TYPE_CHECKING:
    AnyFactory = Factory[Any]

_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!eNULL:!MD5"
_VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class TLSFileError(Exception):
    """A certificate or key cannot be used; the text names the file and says why."""


@implementer(IOpenSSLServerConnectionCreator)
class ReloadableTLS:
    """The server side of TLS with one pair of files; `reload` reads them again.

    Client certificates are asked for and never refused: they prove possession of a key, whose fingerprint is what
    accounts and operators go by.
    """

    def __init__(
        self,
        certificate: Path,
        private_key: Path,
        minimum: str,
        chain: Path | None = None,
        *,
        client_certificates: bool = True,
    ) -> None:
        """`minimum` is `1.2` or `1.3`; `chain` holds further certificates to send.

        `client_certificates` False asks clients for none, because browsers would ask people.  Raises TLSFileError.
        """
        self._asks = client_certificates
        self._certificate = certificate
        self._private_key = private_key
        self._chain = chain
        self._minimum = minimum
        self._context = self._load()
        self.expires_s = expiry(certificate)
        """When the certificate in use ends, in seconds since the epoch."""

    def reload(self) -> None:
        """Use the files as they are now, for new connections.

        Raises TLSFileError, and goes on with what it has, if they cannot be used.
        """
        self._context = self._load()
        self.expires_s = expiry(self._certificate)

    def _load(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(_VERSIONS[self._minimum])
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE)
        context.set_cipher_list(_CIPHERS)
        context.set_session_id(b"slircd")
        # A client's connection is idle nearly always: it keeps no buffers of 16 KB for its next record.
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        if self._asks:
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_CLIENT_ONCE, lambda *_: True)
        try:
            context.use_certificate_chain_file(str(self._certificate))
            if self._chain is not None:
                _add_chain(context, self._chain)
        except (SSL.Error, OSError, ValueError) as error:
            raise TLSFileError(f"{self._certificate}: cannot be used as certificate: {_reason(error)}") from None
        try:
            context.use_privatekey_file(str(self._private_key))
            context.check_privatekey()
        except (SSL.Error, OSError) as error:
            raise TLSFileError(
                f"{self._private_key}: cannot be used as key of {self._certificate}: {_reason(error)}"
            ) from None
        return context

    @property
    def context(self) -> SSL.Context:
        """The context of this moment."""
        return self._context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A connection with the context of this moment."""
        return SSL.Connection(self._context, None)


def expiry(certificate: Path) -> float:
    """When the first certificate of a PEM file, which could be used a moment ago, ends: seconds since the epoch."""
    from cryptography.x509 import load_pem_x509_certificate

    return load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()


def _add_chain(context: SSL.Context, chain: Path) -> None:
    from cryptography.x509 import load_pem_x509_certificates

    for certificate in load_pem_x509_certificates(chain.read_bytes()):
        context.add_extra_chain_cert(certificate)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = [part[-1] for part in error.args[0]] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(words) or str(error) or "no such file, or not PEM"


class _DirectTLS(TLSMemoryBIOProtocol):
    """TLS on the socket itself where there is one; otherwise what Twisted has."""

    factory: _DirectTLSFactory

    def makeConnection(self, transport: Any) -> None:
        """Choose, and connect the wrapped protocol."""
        if type(transport) is TCPServer:
            begin_tls(transport, self.factory.tls.context, self.wrappedProtocol)
        else:
            super().makeConnection(transport)


class _DirectTLSFactory(TLSMemoryBIOFactory):
    protocol = _DirectTLS

    def __init__(self, tls: ReloadableTLS, wrapped: AnyFactory, reactor: Any) -> None:
        super().__init__(tls, False, wrapped, reactor)
        self.tls = tls


def over_tls(factory: AnyFactory, tls: ReloadableTLS, reactor: Any, *, direct: bool = False) -> AnyFactory:
    """`factory` behind TLS; `direct` is for protocols that need no more of their transport than ITCPTransport has."""
    behind: AnyFactory = (
        _DirectTLSFactory(tls, factory, reactor) if direct else TLSMemoryBIOFactory(tls, False, factory, reactor)
    )
    return behind
