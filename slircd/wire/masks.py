"""Masks: globs over nick!user@host, with CIDR in the host part.

Matching is linear in the mask for any mask a client can send: each piece between two stars is tried from left to
right and never reconsidered (atomic groups), so no mask can make the server spin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

_STARS: Final = re.compile(r"\*{2,}")


class Mask(NamedTuple):
    """The three parts of nick!user@host."""

    nick: str
    user: str
    host: str


def split_mask(text: str) -> Mask:
    """The parts of a mask; a part that is not there is a star.

    `nick`, `user@host`, `nick!user`, and a lone host (it has a dot, a colon or a slash) are understood.
    """
    nick, mark, rest = text.partition("!")
    if mark:
        user, _, host = rest.partition("@")
    elif "@" in text:
        nick = ""
        user, _, host = text.partition("@")
    elif any(sign in text for sign in ".:/"):
        nick, user, host = "", "", text
    else:
        user, host = "", ""
    return Mask(nick or "*", user or "*", host or "*")


def canonical_mask(text: str) -> str:
    """`text` as nick!user@host, with runs of stars as one."""
    parts = split_mask(text)
    return _STARS.sub("*", f"{parts.nick}!{parts.user}@{parts.host}")


@lru_cache(maxsize=8192)
def compile_glob(pattern: str) -> Callable[[str], object]:
    """A function that tells whether a text matches `pattern` (* any, ? one character); fold both first."""
    pieces = [
        "".join("." if character == "?" else re.escape(character) for character in piece)
        for piece in _STARS.sub("*", pattern).split("*")
    ]
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL).fullmatch
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1])
    return re.compile(f"{pieces[0]}{middle}.*{pieces[-1]}", re.DOTALL).fullmatch


def matches_glob(pattern: str, text: str) -> bool:
    """Whether `text` matches `pattern`; fold both first."""
    return compile_glob(pattern)(text) is not None


@lru_cache(maxsize=8192)
def network_of(host: str) -> IPv4Network | IPv6Network | None:
    """The network that a mask's host part names in CIDR form, or None if it is a glob."""
    if "/" not in host:
        return None
    try:
        return ip_network(host, strict=False)
    except ValueError:
        return None


def matches_mask(mask: str, nick: str, user: str, hosts: Sequence[str], ip: str, fold: Callable[[str], str]) -> bool:
    """Whether somebody matches a canonical `mask`.

    `hosts` are all hosts that the user is known by; `ip` is the address for CIDR, or empty.
    """
    parts = split_mask(fold(mask))
    who = fold(f"{nick}!{user}")
    if not matches_glob(f"{parts.nick}!{parts.user}", who):
        return False
    network = network_of(parts.host)
    if network is not None:
        return bool(ip) and _in_network(ip, network)
    match = compile_glob(parts.host)
    return any(match(fold(host)) is not None for host in hosts)


def _in_network(ip: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(ip) in network
    except ValueError:
        return False
