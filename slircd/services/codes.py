"""Codes that are mailed: each proves once that somebody reads the mail of an address."""

from __future__ import annotations

import hmac
from hashlib import sha256
from secrets import randbelow
from typing import Final, NamedTuple

import msgspec

TRIES: Final = 5
"""Wrong codes before one is void."""


class _Code(msgspec.Struct):
    digest: str
    expires: float
    value: str = ""
    tries: int = 0


class NewCode(NamedTuple):
    """A code, to be mailed, and what is kept of it."""

    code: str
    stored: str


class Tried(NamedTuple):
    """Whether a code was right, what it was made for, and what is kept from now on."""

    right: bool
    value: str
    stored: str


def new_code(expires_s: float, value: str = "") -> NewCode:
    """A code that is good until `expires_s` (seconds since the epoch); `value` is what it will have proved."""
    code = f"{randbelow(10**12):012d}"
    return NewCode(code, msgspec.json.encode(_Code(_digest(code), expires_s, value)).decode())


def try_code(stored: str, code: str, now_s: float) -> Tried:
    """Try a code at the moment `now_s`."""
    known = msgspec.json.decode(stored, type=_Code)
    known.tries += 1
    right = known.tries <= TRIES and now_s <= known.expires and hmac.compare_digest(known.digest, _digest(code))
    return Tried(right, known.value, msgspec.json.encode(known).decode())


def _digest(code: str) -> str:
    return sha256(code.encode()).hexdigest()
