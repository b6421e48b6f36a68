"""Who asks: HTTP Basic against argon2 hashes, checked in a thread and remembered for minutes, or a bearer token.

A request without credentials is no failed log-in.  Failures are limited for each address; nobody is ever locked out by
somebody else's.  There are no cookies, so no other page can ask in somebody's name (CSRF).
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable, Mapping
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from slircd.admin.errors import HTTPError
from slircd.admin.tokens import SESSION_PREFIX, Session, Sessions, Tokens
from slircd.security.guessing import Guessing

if TYPE_CHECKING:
    from slircd.config.sections import AdminUser
    from slircd.security.passwords import Passwords

CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="slircd", charset="UTF-8"'}
REMEMBER_S: Final = 300
MAX_REMEMBERED: Final = 1000
ROLES: Final = ("read", "admin")
"""Lowest first; each has what the ones before it have."""


class Caller(NamedTuple):
    """Who asks, as actors of events name it (`admin:NAME`), and how it proved that: basic, session or token."""

    name: str
    role: str
    how: str


class Authenticator:
    """Checks the credentials of requests."""

    def __init__(
        self, users: Callable[[], Mapping[str, AdminUser]], passwords: Passwords, clock: Any, tokens: Tokens
    ) -> None:
        """`users` gives those of the configuration in force."""
        self._users = users
        self._passwords = passwords
        self._clock = clock
        self._tokens = tokens
        self._key = token_bytes(32)
        self._verified: dict[bytes, float] = {}
        self._checking: dict[bytes, list[Deferred[bool]]] = {}
        """Who waits for a password that is being checked: many requests at once are one try."""
        self._guessing = Guessing(clock, per_address=10, per_account=10**9, window_s=600)
        self.sessions = Sessions(clock.seconds)

    async def require(self, request: Any, role: str) -> Caller:
        """The user who asks, who has at least `role`.  Raises HTTPError 401, 403 or 429."""
        caller = await self.identify(request.getHeader("authorization") or "", address_of(request))
        if ROLES.index(caller.role) < ROLES.index(role):
            raise HTTPError(403, f"You need the role {role}")
        return caller

    async def identify(self, header: str, address: str) -> Caller:
        """Who sends this Authorization header.  Raises HTTPError 401 or 429."""
        scheme, _, value = header.partition(" ")
        if not header:
            raise HTTPError(401, "Log in with HTTP Basic, or with a bearer token", headers=CHALLENGE)
        if scheme.lower() == "bearer":
            return await self._bearer(value.strip(), address)
        return await self._basic(header, address)

    async def log_in(self, request: Any) -> tuple[str, Session, Caller]:
        """A session for a user with a password.  Raises HTTPError."""
        header = request.getHeader("authorization") or ""
        if header.lower().startswith("bearer "):
            raise HTTPError(401, "A session begins with HTTP Basic", headers=CHALLENGE)
        caller = await self.identify(header, address_of(request))
        token, session = self.sessions.create(caller.name, self._users()[caller.name].password_hash or "")
        return token, session, caller

    async def _basic(self, header: str, address: str) -> Caller:
        name, password = _parse(header)
        user = self._users().get(name)
        if self._guessing.refuses(address, name):
            raise HTTPError(429, "Too many wrong passwords from your address, try again later", headers=LATER)
        # Who is no user is checked, too, so that the time that it takes tells nobody who is one.
        hashed = (user.password_hash if user is not None else None) or self._any_hash()
        if not await self._is_right(address, name, hashed, password) or user is None or user.password_hash is None:
            raise HTTPError(401, "Wrong user or password", headers=CHALLENGE)
        return Caller(name, user.role, "basic")

    async def _bearer(self, token: str, address: str) -> Caller:
        if self._guessing.refuses(address, ""):
            raise HTTPError(429, "Too many wrong tokens from your address, try again later", headers=LATER)
        if token.startswith(SESSION_PREFIX):
            session = self.sessions.check(token)
            user = self._users().get(session.name) if session is not None else None
            if session is not None and user is not None and user.password_hash == session.password_hash:
                return Caller(session.name, user.role, "session")
            # A session that has ended is no guess: a page that is left open must not shut its owner out.
        else:
            row = await self._tokens.check(token)
            if row is not None:
                return Caller(f"token.{row.name}", row.role, "token")
            self._guessing.failed(address, "")
        raise HTTPError(401, "This token is not good, or no longer", headers=CHALLENGE)

    def _any_hash(self) -> str:
        """The hash of some user."""
        return next((user.password_hash for user in self._users().values() if user.password_hash), "")

    async def _is_right(self, address: str, name: str, hashed: str, password: str) -> bool:
        # The hash is part of the key: a password that was changed is not remembered as right.
        key = hmac.digest(self._key, f"{name}\0{hashed}\0{password}".encode(), "sha256")
        if self._verified.get(key, 0.0) > self._clock.seconds():
            return True
        own: Deferred[bool] = Deferred()
        waiting = self._checking.setdefault(key, [])
        waiting.append(own)
        first = len(waiting) == 1
        if first:
            # Counted before it is known to be wrong: tries that are under way at once must not all slip through.
            self._guessing.failed(address, name)
            self._passwords.verify(hashed, password).addBoth(self._checked, key)
        right = await own
        if right and first:
            self._guessing.succeeded(address, name, counted=True)
        return right

    def _checked(self, result: Any, key: bytes) -> None:
        if result is True:
            if len(self._verified) >= MAX_REMEMBERED:
                self._verified.clear()
            self._verified[key] = self._clock.seconds() + REMEMBER_S
        for each in self._checking.pop(key):
            if not each.called:  # whoever waited may be gone
                (each.errback if isinstance(result, Failure) else each.callback)(result)


LATER: Final = {"Retry-After": "600"}


def address_of(request: Any) -> str:
    """The address of the client; empty for a Unix socket."""
    return getattr(request.getClientAddress(), "host", "")


def _parse(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    try:
        name, colon, password = b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise HTTPError(401, "Log in with HTTP Basic, or with a bearer token", headers=CHALLENGE)
    return name, password
