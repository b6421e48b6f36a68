"""Bytes to text and back, also where they are not UTF-8.

Text in this server is Unicode, and what is stored is UTF-8.  A server may nevertheless pass on bytes that are none
(IRC before IRCv3 UTF8ONLY): each such byte is kept as a character of its own, U+10FF00 and the byte's value, in the last
private-use plane, and becomes the byte again on its way out.  Bytes that are the UTF-8 of exactly these characters are
kept in the same way, so that every line comes out as it came in.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

FIRST: Final = 0x10FF00
"""The character that stands for the byte 0."""

MARK: Final = b"\xf4\x8f"
"""How the UTF-8 of every kept byte begins; text without it has none."""

_KEPT: Final = re.compile(rb"\xf4\x8f([\xbc-\xbf])([\x80-\xbf])")
_KEPT_CHARACTERS: Final = re.compile("[\U0010ff00-\U0010ffff]")
_ASCII: Final = bytes(range(1, 128))

UTF8: Final = "utf-8"
BYTES: Final = "bytes"


def _keep(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(FIRST + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("slircd.keep", _keep)


def is_kept(text: str) -> bool:
    """Whether `text` has bytes that are not UTF-8."""
    return not text.isascii() and _KEPT_CHARACTERS.search(text) is not None


def decode_keeping(data: bytes) -> str:
    """Any bytes as text, from which `restore` makes the same bytes."""
    text = data.decode("utf-8", "slircd.keep")
    if MARK in data and _KEPT.search(data):
        # These characters are in the bytes themselves: keep their bytes one by one.
        parts = _KEPT.split(data)
        pieces: list[str] = []
        for index in range(0, len(parts), 3):
            pieces.append(parts[index].decode("utf-8", "slircd.keep"))
            if index + 2 < len(parts):
                four = MARK + parts[index + 1] + parts[index + 2]
                pieces.extend(chr(FIRST + byte) for byte in four)
        return "".join(pieces)
    return text


def restore(data: bytes) -> bytes:
    """The UTF-8 of a text with its kept bytes in their places."""
    return _KEPT.sub(lambda match: bytes([((match[1][0] - 0xBC) << 6) | (match[2][0] & 0x3F)]), data)


def replace(data: bytes) -> bytes:
    """The UTF-8 of a text with U+FFFD in the place of each kept byte, for those who take nothing but UTF-8."""
    return _KEPT.sub("\N{REPLACEMENT CHARACTER}".encode(), data)


def is_usable(name: str) -> bool:
    """Whether `name` is an encoding that lines can be in: text in which ASCII is ASCII."""
    if name == BYTES:
        return True
    try:
        return _ASCII.decode(name) == _ASCII.decode("ascii")
    except (LookupError, ValueError):
        return False


class Encoding:
    """What lines of clients may be in: UTF-8 alone, any bytes, or UTF-8 and one older encoding."""

    __slots__ = ("_fallback", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._fallback = None if name in (UTF8, BYTES) else name

    @property
    def is_utf8_only(self) -> bool:
        """Whether clients must speak UTF-8 (IRCv3 UTF8ONLY)."""
        return self.name == UTF8

    @property
    def keeps_bytes(self) -> bool:
        """Whether bytes that are not UTF-8 are passed on as they are."""
        return self.name == BYTES

    def decode(self, data: bytes) -> str:
        """The text of a line; raises UnicodeDecodeError where only UTF-8 is allowed and it is none."""
        if self.name == UTF8:
            return data.decode()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return data.decode(self._fallback, "slircd.keep") if self._fallback else decode_keeping(data)
        return decode_keeping(data) if MARK in data else text
