"""SASL: PLAIN (RFC 4616), EXTERNAL (RFC 4422), SCRAM-SHA-256 and -PLUS (RFC 5802, 7677).

An exchange takes what the client sends, decoded, and gives what is to be sent, or an account.  SCRAM itself is scramp's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate
from scramp import ScramException, ScramMechanism

from slircd.rules.account import AccountError

if TYPE_CHECKING:
    from slircd.network.session import Session
    from slircd.services.accounts import Accounts
    from slircd.state.model import Account


class Exchange(Protocol):
    """One try to log in with one mechanism."""

    async def step(self, data: bytes) -> bytes | Account:
        """Take the client's data; give the server's, or the account that is proved.  Raises AccountError."""


def mechanisms(accounts: Accounts, session: Session) -> list[str]:
    """What the client of `session` may use."""
    found = ["SCRAM-SHA-256"]
    if session.tls_connection() is not None:
        found.append("SCRAM-SHA-256-PLUS")
    if session.secure or accounts.server.config.accounts.sasl_plain_without_tls:
        found.insert(0, "PLAIN")
    # Over WebSocket nobody is asked for a certificate.
    if session.tls_connection() is not None and not session.is_websocket:
        found.insert(0, "EXTERNAL")
    return found


def begin(accounts: Accounts, session: Session, mechanism: str) -> Exchange:
    """An exchange of a mechanism that `mechanisms` lists."""
    if mechanism == "PLAIN":
        return Plain(accounts, session)
    if mechanism == "EXTERNAL":
        return External(accounts, session)
    return Scram(accounts, session, mechanism)


def _invalid() -> AccountError:
    return AccountError("INVALID_CREDENTIALS", "Wrong account or password")


class Plain:
    """authzid NUL authcid NUL password."""

    def __init__(self, accounts: Accounts, session: Session) -> None:
        self._accounts = accounts
        self._session = session

    async def step(self, data: bytes) -> bytes | Account:
        try:
            authzid, authcid, password = data.decode().split("\0")
        except ValueError:
            raise _invalid() from None
        if not authcid or not password:
            raise _invalid()
        account = await self._accounts.authenticate(self._session.address, authcid, password)
        if authzid and self._accounts.server.state.account_named(authzid) is not account:
            raise _invalid()
        return account


class External:
    """The certificate of the connection; the data names the account, or is empty."""

    def __init__(self, accounts: Accounts, session: Session) -> None:
        self._accounts = accounts
        self._session = session

    async def step(self, data: bytes) -> bytes | Account:
        state = self._accounts.server.state
        fingerprint = self._session.fingerprint()
        wanted = data.decode(errors="replace")
        for account in state.accounts.values():
            if fingerprint is not None and fingerprint in account.certfps:
                if wanted and state.account_named(wanted) is not account:
                    break
                return self._accounts.usable(account)
        raise _invalid()


class Scram:
    """Three messages; with -PLUS they are bound to the TLS connection, so that nobody in between can use them."""

    def __init__(self, accounts: Accounts, session: Session, mechanism: str) -> None:
        self._accounts = accounts
        self._session = session
        self._mechanism = mechanism
        self._server: Any = None
        self._key = ""
        self._version = 0
        self._account: Account | None = None

    async def step(self, data: bytes) -> bytes | Account:
        if self._account is not None:
            if self._version != self._accounts.version(self._key):
                raise _invalid()
            return self._account
        try:
            text = data.decode()
            if self._server is None:
                return self._first(text)
            return self._final(text)
        except (ScramException, UnicodeDecodeError):
            self._accounts.guessing.failed(self._session.address, self._key)
            raise _invalid() from None

    def _first(self, text: str) -> bytes:
        binding = _channel_binding(self._session, text)
        # A client that could bind and was not offered it says "y": scramp refuses that where we have a binding, as it
        # must, for then somebody in between has taken the offer away.
        self._server = ScramMechanism(self._mechanism).make_server(self._verifier, channel_binding=binding)
        self._server.set_client_first(text)
        reply: str = self._server.get_server_first()
        return reply.encode()

    def _verifier(self, name: str) -> tuple[bytes, bytes, bytes, int]:
        state = self._accounts.server.state
        owner = state.account_named(name) or state.owner_of_nick(name)
        self._key = state.fold(name) if owner is None else owner.key
        self._accounts.check_guessing(self._session.address, self._key)
        self._version = self._accounts.version(self._key)
        return self._accounts.scram_verifier(self._key)

    def _final(self, text: str) -> bytes:
        self._server.set_client_final(text)
        account = self._accounts.server.state.accounts.get(self._key)
        if account is None or self._version != self._accounts.version(self._key):
            raise _invalid()
        self._accounts.guessing.succeeded(self._session.address, self._key)
        self._account = self._accounts.usable(account)
        reply: str = self._server.get_server_final()
        return reply.encode()


def _channel_binding(session: Session, client_first: str) -> tuple[str, bytes] | None:
    """The binding that the client names in its first message, if this connection has it.

    It is `tls-server-end-point` (RFC 5929 4.1), the hash of the server's certificate: what scramp and most clients
    know.  For a client that binds nothing there is none to compare.
    """
    connection = session.tls_connection()
    certificate = connection.get_certificate() if connection is not None else None
    if certificate is None or client_first.startswith("n"):
        return None
    return "tls-server-end-point", end_point_hash(certificate.to_cryptography())


def end_point_hash(certificate: Certificate) -> bytes:
    """The certificate's hash by the algorithm of its own signature, SHA-256 in place of weaker ones (RFC 5929 4.1)."""
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or algorithm.digest_size < SHA256.digest_size:
        algorithm = SHA256()
    return certificate.fingerprint(algorithm)
