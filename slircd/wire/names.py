"""What may be a nick, a channel's name, a user name, a host."""

from __future__ import annotations

import re
from typing import Final

from precis_i18n import get_profile

_NICK: Final = re.compile(r"[A-Za-z\[\]\\`_^{|}][A-Za-z0-9\[\]\\`_^{|}-]*", re.ASCII)
_NOT_IN_NICK: Final = re.compile(r"[\x00-,./:;<=>?@!~#%&+*]|^[0-9-]", re.ASCII)
"""What no nick has, whatever its script: separators, prefixes, wildcards; and what it does not begin with."""

_CHANNEL: Final = re.compile(r"#[^\x00-\x20,\x7f]*")
_UNSEEN: Final = re.compile(
    "[\x80-\xa0\xad\u061c\u115f\u1160\u1680\u180e\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
    # Joiners and variants belong to letters and emoji of some scripts; behind or before ASCII they are only hidden.
    "|(?<![^\x00-\x7f])[\u200c\u200d\ufe00-\ufe0f]|[\u200c\u200d](?![^\x00-\x7f])"
)
_NOT_USERNAME: Final = re.compile(r"[^A-Za-z0-9._\[\]\\`^{|}-]", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?", re.ASCII)
_PLUGIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_HOST_CHARACTERS: Final = re.compile(r"[A-Za-z0-9._:/-]+", re.ASCII)

_METADATA_KEY: Final = re.compile(r"[a-z0-9_./-]+", re.ASCII)

MAX_METADATA_KEY: Final = 32
"""Bytes of a key of metadata."""

MAX_HOST: Final = 63
"""Characters of a host as people see it (HOSTLEN)."""


def valid_nick(text: str, max_length: int, *, precis: bool = False) -> bool:
    """Whether `text` is a nick of at most `max_length` bytes of UTF-8 (RFC 2812 2.3.1; `precis`: or RFC 8265 3.3)."""
    if text.isascii():
        return len(text) <= max_length and _NICK.fullmatch(text) is not None
    if not precis or len(text.encode()) > max_length or _NOT_IN_NICK.search(text):
        return False
    try:
        # Wide forms become narrow ones, and the narrow form of a wide # or * is none that a nick may have.
        mapped: str = get_profile("UsernameCaseMapped").enforce(text)
    except UnicodeEncodeError:
        return False
    return bool(mapped) and _NOT_IN_NICK.search(mapped) is None


def valid_channel(text: str, max_length: int) -> bool:
    """Whether `text` is a channel's name of at most `max_length` bytes of UTF-8 (RFC 2812 1.3).

    It has no characters that nobody sees, or that turn others round: no two names look alike by these.
    """
    if _CHANNEL.fullmatch(text) is None or len(text.encode()) > max_length:
        return False
    return text.isascii() or _UNSEEN.search(text) is None


def clean_username(text: str, max_length: int) -> str:
    """`text` as a user name: without characters that would break a mask, at most `max_length`, never empty."""
    return _NOT_USERNAME.sub("", text)[:max_length] or "user"


def valid_username(text: str, max_length: int) -> bool:
    """Whether an operator may give somebody this user name (CHGHOST); ~ marks one that nobody vouched for."""
    name = text.removeprefix("~")
    return 0 < len(text) <= max_length and bool(name) and _NOT_USERNAME.search(name) is None


def valid_host(text: str) -> bool:
    """Whether `text` may be shown as a host: a host name, an address, or a virtual host with slashes.

    It must hold a dot, a colon or a slash, or be `localhost`, so that masks can tell it from a nick.
    """
    if len(text) > MAX_HOST or _HOST_CHARACTERS.fullmatch(text) is None:
        return False
    if text[0] in ":-/." or text[-1] in "-/.":
        return False
    return text == "localhost" or any(mark in text for mark in ".:/")


def valid_metadata_key(text: str) -> bool:
    """Whether `text` is a key of metadata (IRCv3 draft/metadata-3)."""
    return len(text) <= MAX_METADATA_KEY and _METADATA_KEY.fullmatch(text) is not None


def valid_server_name(text: str) -> bool:
    """Whether `text` is a server's name: a host name with at least one dot, at most 63 characters."""
    labels = text.split(".")
    return len(labels) > 1 and len(text) <= MAX_HOST and all(_LABEL.fullmatch(label) for label in labels)


def valid_plugin_name(text: str) -> bool:
    """Whether `text` is a plugin's name: a plain folder name, so that it never leads anywhere else."""
    return _PLUGIN.fullmatch(text) is not None
