"""Bearer tokens: those of programs, which are kept in the database, and those of a log-in, which end with the server.

A token of a program is `slircd_ID_SECRET`; only the SHA-256 of the secret is kept, which is enough for 192 random bits.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from hashlib import sha256
from secrets import token_hex, token_urlsafe
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred

from slircd.admin.tables import SideTables, TokenRow
from slircd.events.clock import format_timestamp

PREFIX: Final = "slircd_"
SESSION_PREFIX: Final = "session_"
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,32}", re.ASCII)

DEFAULT_DAYS: Final = 90
MAX_DAYS: Final = 3650
SESSION_S: Final = 12 * 3600
MAX_SESSIONS: Final = 1000

KNOWN_S: Final = 2.0
"""How long a token that was looked up is believed: how soon a revocation is in force."""

USED_S: Final = 60.0
"""How exactly the last use is noted."""


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return sha256(secret.encode()).hexdigest()


def new_token(name: str, role: str, days: int, now_s: float) -> tuple[str, TokenRow]:
    """A token, to be shown once, and what is kept of it."""
    token_id, secret = token_hex(6), token_urlsafe(24)
    expires = format_timestamp(now_s + 86_400 * days)
    row = TokenRow(token_id, name, role, digest(secret), format_timestamp(now_s), expires, None)
    return f"{PREFIX}{token_id}_{secret}", row


class Tokens:
    """Looks tokens of programs up, in threads."""

    def __init__(self, tables: SideTables, seconds: Callable[[], float], run: Callable[..., Deferred[Any]]) -> None:
        """`run(function, *arguments)` calls in a thread."""
        self._tables = tables
        self._seconds = seconds
        self._run = run
        self._known: dict[str, tuple[float, TokenRow | None]] = {}
        self._used: dict[str, float] = {}

    async def check(self, token: str) -> TokenRow | None:
        """The row of a token that is right, and has not expired."""
        token_id, _, secret = token.removeprefix(PREFIX).partition("_")
        if len(token_id) != 12 or not secret or not token.isascii():
            return None
        now_s = self._seconds()
        until, row = self._known.get(token_id, (0.0, None))
        if until <= now_s:
            row = await self._run(self._tables.token, token_id)
            if len(self._known) >= 1000:
                self._known.clear()
            self._known[token_id] = (now_s + KNOWN_S, row)
        given = digest(secret)
        if row is None or not hmac.compare_digest(row.digest, given) or row.expires_at <= format_timestamp(now_s):
            return None
        if self._used.get(token_id, 0.0) <= now_s - USED_S:
            self._used[token_id] = now_s
            await self._run(self._tables.token_used, token_id, format_timestamp(now_s))
        return row


class Session(NamedTuple):
    """A log-in: who, and until when.  `password_hash` is the one in force then: another one ends it."""

    name: str
    password_hash: str
    expires_s: float


class Sessions:
    """The log-ins of this run of the server, by digest of their token."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._sessions: dict[str, Session] = {}

    def create(self, name: str, password_hash: str) -> tuple[str, Session]:
        """A token for a log-in, and what is known of it."""
        token = SESSION_PREFIX + token_urlsafe(24)
        session = Session(name, password_hash, self._seconds() + SESSION_S)
        now_s = self._seconds()
        self._sessions = {key: each for key, each in self._sessions.items() if each.expires_s > now_s}
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[digest(token)] = session
        return token, session

    def check(self, token: str) -> Session | None:
        """The log-in of a token, if it is good."""
        session = self._sessions.get(digest(token))
        return session if session is not None and session.expires_s > self._seconds() else None

    def revoke(self, token: str) -> bool:
        """The token is good no longer; False if it was not."""
        return self._sessions.pop(digest(token), None) is not None
