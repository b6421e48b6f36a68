"""Password hashes (argon2id, RFC 9106), computed in threads so that the reactor never waits for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY
from twisted.internet.defer import Deferred

T = TypeVar("T")
Run = Callable[[Callable[[], Any]], "Deferred[Any]"]

HASHERS: Final[dict[str, PasswordHasher]] = {
    "default": PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY),
    "minimum": PasswordHasher(time_cost=1, memory_cost=8, parallelism=1),
}
"""By the value of `passwords.cost`."""


def hash_now(password: str, cost: str = "default") -> str:
    """The hash of a password; takes tens of milliseconds, so never in the reactor."""
    return HASHERS[cost].hash(password)


def verify_now(password_hash: str, password: str) -> bool:
    """Whether the password is the one of the hash; as slow as `hash_now`."""
    try:
        return HASHERS["default"].verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


class Passwords:
    """Hashes and verifies without blocking."""

    def __init__(self, run: Run, cost: str) -> None:
        """`run` calls a function in a thread of a bounded pool and gives its result; `cost` is `passwords.cost`."""
        self.run = run
        self._cost = cost

    def hash(self, password: str) -> Deferred[str]:
        """The hash of a password."""
        return self.run(lambda: hash_now(password, self._cost))

    def verify(self, password_hash: str, password: str) -> Deferred[bool]:
        """Whether the password is the one of the hash; False, too, for a hash that is none."""
        return self.run(lambda: verify_now(password_hash, password))
