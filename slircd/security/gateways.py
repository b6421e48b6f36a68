"""Gateways: who may say by WEBIRC who its clients are (IRCv3 webirc)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slircd.config.sections import Webirc
    from slircd.security.passwords import Passwords


class Gateways:
    """The gateways that the configuration names."""

    def __init__(self, entries: Sequence[Webirc]) -> None:
        self._entries = [(entry, [ip_network(text) for text in entry.hosts]) for entry in entries]
        self._at = lru_cache(maxsize=1024)(self._find)

    def _find(self, address: str) -> tuple[Webirc, ...]:
        try:
            ip = ip_address(address)
        except ValueError:
            return ()
        return tuple(entry for entry, networks in self._entries if any(ip in network for network in networks))

    def is_gateway(self, address: str) -> bool:
        """Whether a gateway may connect from this address."""
        return bool(self._entries) and bool(self._at(address))

    async def authenticate(
        self, passwords: Passwords, address: str, fingerprint: str | None, password: str | None
    ) -> Webirc | None:
        """The gateway that this address is, by its certificate and its password; None if it proves to be none."""
        if password is None:
            return None
        for entry in self._at(address):
            if entry.certfp and fingerprint not in entry.certfp:
                continue
            if entry.password_hash is None or await passwords.verify(entry.password_hash, password):
                return entry
        return None
