"""Cloaked hosts: an address as a keyed hash of which the right-hand parts are equal for neighbours.

    IPv4   HASH(address).HASH(/24).HASH(/16).SUFFIX
    IPv6   HASH(/64).HASH(/48).HASH(/32).SUFFIX

So `*!*@*.HASH(/16).SUFFIX` bans a provider's block without anybody knowing an address.  A segment is 40 bits of
HMAC-SHA256 in base 32; without the key, which never leaves the server, addresses cannot be enumerated.
"""

from __future__ import annotations

import hmac
from base64 import b32encode
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

_PREFIXES: Final = {4: (32, 24, 16), 6: (64, 48, 32)}


class Cloak:
    """Cloaks addresses with one key."""

    def __init__(self, key: bytes, suffix: str) -> None:
        """`key` is secret; `suffix` ends every cloak."""
        self._key = key
        self._suffix = suffix
        self.cloak = lru_cache(maxsize=65_536)(self._cloak)

    def _cloak(self, address: str) -> str:
        """The host that stands for `address`; `localhost` for the machine itself and for Unix sockets."""
        try:
            ip = ip_address(address)
        except ValueError:
            return "localhost"
        if ip.is_loopback:
            return "localhost"
        networks = (str(ip_network(f"{ip}/{prefix}", strict=False)) for prefix in _PREFIXES[ip.version])
        return ".".join([*map(self._segment, networks), self._suffix])

    def _segment(self, network: str) -> str:
        return b32encode(hmac.digest(self._key, network.encode(), "sha256")[:5]).decode().lower()
