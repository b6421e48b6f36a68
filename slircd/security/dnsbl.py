"""DNS block lists (RFC 5782): is this address known for abuse?  Asked while the client registers, and remembered."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

import txaio
from twisted.internet import defer
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.names import dns, error

from slircd.config.sections import Dnsbl

txaio.use_twisted()
log = txaio.make_logger()

TIMEOUT_S: Final = 5
REMEMBER_S: Final = 600
MAX_REMEMBERED: Final = 20_000


def query_name(address: str, zone: str) -> str | None:
    """The name to ask for; None for an address that lists know nothing of: loopback, private, or none."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    if not ip.is_global:
        return None
    parts = address.split(".") if ip.version == 4 else list(ip.exploded.replace(":", ""))
    return ".".join([*reversed(parts), zone])


class BlockLists:
    """Asks every configured list; a list that does not answer in time blocks nobody."""

    def __init__(self, lists: Sequence[Dnsbl], resolver: Any, clock: Any) -> None:
        """`resolver` is Twisted's IResolver."""
        self._lists = lists
        self._resolver = resolver
        self._clock = clock
        self._known: dict[str, tuple[float, str | None]] = {}

    def check(self, address: str) -> Deferred[str | None]:
        """Why the address is to be turned away, or None."""
        known = self._known.get(address)
        if known is not None and known[0] > self._clock.seconds():
            return succeed(known[1])
        if not self._lists or query_name(address, "x") is None:
            return succeed(None)
        return ensureDeferred(self._ask(address))

    async def _ask(self, address: str) -> str | None:
        pending = [(each, self._ask_one(address, each)) for each in self._lists]
        reason: str | None = None
        for each, answer in pending:
            if await answer and reason is None:
                log.info("{address} is on {zone}", address=address, zone=each.zone)
                reason = each.reason.replace("%a", address)
        self._known[address] = (self._clock.seconds() + REMEMBER_S, reason)
        if len(self._known) > MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        return reason

    def _ask_one(self, address: str, each: Dnsbl) -> Deferred[bool]:
        name = query_name(address, each.zone)
        answer: Deferred[Any] = self._resolver.lookupAddress(name, timeout=[TIMEOUT_S])
        answer.addTimeout(TIMEOUT_S, self._clock)
        return answer.addCallbacks(self._listed, self._unlisted, callbackArgs=(each,), errbackArgs=(each,))

    @staticmethod
    def _listed(result: Any, each: Dnsbl) -> bool:
        answers = [record.payload.dottedQuad() for record in result[0] if record.type == dns.A]
        replies = [int(answer.rpartition(".")[2]) for answer in answers if answer.startswith("127.")]
        return any(reply in each.replies for reply in replies) if each.replies else bool(replies)

    @staticmethod
    def _unlisted(failure: Any, each: Dnsbl) -> bool:
        if not failure.check(error.DomainError, error.AuthoritativeDomainError):
            kind = (
                "no answer in time" if failure.check(defer.TimeoutError, error.DNSQueryTimeoutError) else failure.value
            )
            log.warn("block list {zone}: {reason}", zone=each.zone, reason=kind)
        return False
