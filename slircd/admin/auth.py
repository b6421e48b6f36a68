"""Who asks: HTTP Basic against argon2 hashes, checked in a thread, remembered for some minutes.

A request without credentials is no failed log-in.  Failures are limited for each address; nobody is ever locked out by
somebody else's.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable, Mapping
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from slircd.admin.errors import HTTPError
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
    """Who asks."""

    name: str
    role: str


class Authenticator:
    """Checks the credentials of requests."""

    def __init__(self, users: Callable[[], Mapping[str, AdminUser]], passwords: Passwords, clock: Any) -> None:
        """`users` gives those of the configuration in force."""
        self._users = users
        self._passwords = passwords
        self._clock = clock
        self._key = token_bytes(32)
        self._verified: dict[bytes, float] = {}
        self._guessing = Guessing(clock, per_address=10, per_account=10**9, window_s=600)

    async def require(self, request: Any, role: str) -> Caller:
        """The user who asks, who has at least `role`.  Raises HTTPError 401, 403 or 429."""
        address = request.getClientAddress().host if hasattr(request.getClientAddress(), "host") else ""
        header = request.getHeader("authorization")
        if not header:
            raise HTTPError(401, "Log in with HTTP Basic", headers=CHALLENGE)
        name, password = _parse(header)
        user = self._users().get(name)
        if self._guessing.refuses(address, name):
            raise HTTPError(429, "Too many wrong passwords from your address, try again later")
        hashed = user.password_hash if user is not None else None
        if hashed is None or not await self._is_right(name, hashed, password):
            self._guessing.failed(address, name)
            raise HTTPError(401, "Wrong user or password", headers=CHALLENGE)
        self._guessing.succeeded(address, name)
        if user is None or ROLES.index(user.role) < ROLES.index(role):
            raise HTTPError(403, f"You need the role {role}")
        return Caller(name, user.role)

    async def _is_right(self, name: str, hashed: str, password: str) -> bool:
        now = self._clock.seconds()
        # The hash is part of the key: a password that was changed is not remembered as right.
        key = hmac.digest(self._key, f"{name}\0{hashed}\0{password}".encode(), "sha256")
        if self._verified.get(key, 0.0) > now:
            return True
        if not await self._passwords.verify(hashed, password):
            return False
        if len(self._verified) >= MAX_REMEMBERED:
            self._verified.clear()
        self._verified[key] = now + REMEMBER_S
        return True


def _parse(header: str) -> tuple[str, str]:
    scheme, _, value = header.partition(" ")
    try:
        name, colon, password = b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise HTTPError(401, "Log in with HTTP Basic", headers=CHALLENGE)
    return name, password
