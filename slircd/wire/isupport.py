"""RPL_ISUPPORT: tokens to lines (modern.ircdocs.horse, RPL_ISUPPORT)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

MAX_TOKENS: Final = 13
"""Tokens of one line: with client and trailing text that makes 15 parameters."""

MAX_BYTES: Final = 380
"""Bytes of one line's tokens; leaves room for the server's name, the nick and the text."""

_ESCAPES: Final = str.maketrans({" ": "\\x20", "=": "\\x3D", "\\": "\\x5C"})


def format_token(name: str, value: str | int | None) -> str:
    """`NAME` or `NAME=value`, the value escaped."""
    return name if value is None else f"{name}={str(value).translate(_ESCAPES)}"


def format_tokens(tokens: Mapping[str, str | int | None]) -> Iterator[list[str]]:
    """The tokens as lists, one for each line; None is a token without a value."""
    line: list[str] = []
    size = 0
    for name, value in tokens.items():
        token = format_token(name, value)
        if line and (len(line) == MAX_TOKENS or size + len(token.encode()) + 1 > MAX_BYTES):
            yield line
            line, size = [], 0
        line.append(token)
        size += len(token.encode()) + 1
    if line:
        yield line
