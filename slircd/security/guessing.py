"""Against guessing passwords: limits per block of addresses, and per account for strangers only.

An account that is being guessed at is closed to addresses that never logged in to it, not to its owner, whose addresses
are known from earlier log-ins of this run.  Nothing here is state: a restart forgets it.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Final

from twisted.internet.interfaces import IReactorTime

MAX_FAILURES: Final = 10_000
"""Of one block or account; the configuration allows no limit above."""

MAX_TRACKED: Final = 100_000
"""Blocks and accounts that are remembered; the oldest are forgotten."""


class Guessing:
    """Counts failures; asks to be told of successes."""

    def __init__(self, clock: IReactorTime, *, per_address: int, per_account: int, window_s: float) -> None:
        """At most so many failures of a block of addresses, and for an account by strangers, within `window_s`."""
        self._clock = clock
        self._failures: dict[str, list[float]] = {}
        self._known: dict[tuple[str, str], None] = {}
        self.configure(per_address=per_address, per_account=per_account, window_s=window_s)

    def configure(self, *, per_address: int, per_account: int, window_s: float) -> None:
        """Use other limits from now on; what was counted stays."""
        self._per_address = per_address
        self._per_account = per_account
        self._window_s = window_s

    def refuses(self, address: str, account: str) -> bool:
        """Whether a try for `account` (casefolded; empty: for none) from `address` is not even looked at."""
        block = _block(address)
        if self._recent(f"address {block}") >= self._per_address:
            return True
        if not account:
            return False
        return (account, block) not in self._known and self._recent(f"account {account}") >= self._per_account

    def failed(self, address: str, account: str) -> None:
        """A try was wrong, or is made, and may turn out to be: many at once must not all slip through."""
        block = _block(address)
        self._count(f"address {block}")
        if account and (account, block) not in self._known:
            self._count(f"account {account}")

    def succeeded(self, address: str, account: str, *, counted: bool = False) -> None:
        """A try was right: this block of addresses is no stranger to the account.

        If it was `counted` as a failure before it was checked, that is taken back, and no other: who has an account of
        its own must not guess at others for ever.
        """
        block = _block(address)
        if counted:
            self._take_back(f"address {block}")
            if account and (account, block) not in self._known:
                self._take_back(f"account {account}")
        if not account:
            return
        self._known[account, block] = None
        if len(self._known) > MAX_TRACKED:
            del self._known[next(iter(self._known))]

    def _take_back(self, key: str) -> None:
        times = self._failures.get(key)
        if times:
            times.pop()
            if not times:
                del self._failures[key]

    def _recent(self, key: str) -> int:
        times = self._failures.get(key)
        if times is None:
            return 0
        oldest = self._clock.seconds() - self._window_s
        if times[0] <= oldest:
            times[:] = [moment for moment in times if moment > oldest]
        if not times:
            del self._failures[key]
        return len(times)

    def _count(self, key: str) -> None:
        times = self._failures.setdefault(key, [])
        times.append(self._clock.seconds())
        if len(times) > MAX_FAILURES:
            del times[0]
        if len(self._failures) > MAX_TRACKED:
            del self._failures[next(iter(self._failures))]


def _block(address: str) -> str:
    """The address, or its /64; what is none (a Unix socket) stands for itself."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ip_network(f"{ip}/64", strict=False))
