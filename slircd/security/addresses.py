"""Addresses of clients in one form, so that one client is one address to every limit and ban."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def normal_address(text: str) -> str:
    """An IP address as `ipaddress` writes it; one of IPv4 that is mapped into IPv6 is the one of IPv4.

    Raises ValueError for what is none, and for one with a zone (RFC 4007), which means nothing to another machine.
    """
    ip = ip_address(text)
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            raise ValueError(f"{text!r} has a zone")
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
    return str(ip)


def peer_address(host: str) -> str:
    """The same of what the system says of a connection, without its zone; empty for a Unix socket."""
    try:
        return normal_address(host.partition("%")[0])
    except ValueError:
        return ""
