"""Messages: bytes to frozen values and back (RFC 1459 2.3, IRCv3 message-tags).

Text is Unicode; what bytes may stand for it is the encoding's business.  A line here has no CR LF; lengths are those of the specification and count them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

MAX_BODY: Final = 512
"""Bytes of a line without its tags, CR LF included (RFC 1459 2.3)."""

MAX_LONG_BODY: Final = 2048
"""The same for a command that carries a password, which is for the server alone and goes no further."""

MAX_CLIENT_TAGS: Final = 4094
"""Bytes of the tags that a client may send, without @ and the space behind them."""

MAX_TAGS: Final = 8191
"""Bytes of all tags of one line, @ and the space included."""

MAX_PARAMS: Final = 15

NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})

_BAD: Final = re.compile(r"[\0\r\n]")
_COMMAND: Final = re.compile(r"[!-9;-?A-~][!-~]*", re.ASCII)
"""A command; one that began with : or @ would be a source or tags where it is written again."""

_MAY_BE_LONG: Final = re.compile(rb"(?:REGISTER|PASS|OPER) ", re.IGNORECASE)
_TAG_KEY: Final = re.compile(r"\+?(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9-]+", re.ASCII)
_ESCAPED: Final = re.compile(r"\\(.?)", re.DOTALL)
_TO_ESCAPE: Final = str.maketrans({";": "\\:", " ": "\\s", "\\": "\\\\", "\r": "\\r", "\n": "\\n", "\0": None})
_UNESCAPE: Final = {":": ";", "s": " ", "\\": "\\", "r": "\r", "n": "\n"}


class WireError(ValueError):
    """A line that cannot be taken as a message."""


class LineTooLong(WireError):
    """The line, or its tags, are longer than the protocol allows."""


class MalformedLine(WireError):
    """The line has no command, or characters that no line may have."""


class NotUtf8(WireError):
    """The line is not UTF-8; `command` is the command that it seems to hold, `tags` are its tags, if they are UTF-8."""

    def __init__(self, command: str, tags: Mapping[str, str]) -> None:
        super().__init__("not UTF-8")
        self.command = command
        self.tags = tags


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message.  `command` is upper-case, tag values are unescaped."""

    command: str
    params: tuple[str, ...] = ()
    tags: Mapping[str, str] = NO_TAGS
    source: str | None = None


def parse(line: bytes, decode: Callable[[bytes], str] = bytes.decode) -> Message:
    """The message of one line, without its CR LF; `decode` gives the text of bytes (UTF-8, unless told otherwise).

    Raises LineTooLong, NotUtf8 or MalformedLine.
    """
    tags: Mapping[str, str] = NO_TAGS
    if line[:1] == b"@":
        raw, _, line = line.partition(b" ")
        if len(raw) - 1 > MAX_CLIENT_TAGS:
            raise LineTooLong
        line = line.lstrip(b" ")
    else:
        raw = b""
    if len(line) > MAX_BODY - 2 and (len(line) > MAX_LONG_BODY - 2 or not _MAY_BE_LONG.match(line)):
        raise LineTooLong
    try:
        if raw:
            if b"\0" in raw or b"\r" in raw:
                raise MalformedLine("a line cannot contain NUL or CR")
            tags = parse_tags(decode(raw[1:]))
        text = decode(line)
    except UnicodeDecodeError:
        raise NotUtf8(_guess_command(line), tags) from None
    # Three scans of a short line cost a tenth of one with a regular expression.
    if "\r" in text or "\0" in text or "\n" in text:
        raise MalformedLine("a line cannot contain NUL or CR")
    source: str | None = None
    if text[:1] == ":":
        source, _, text = text[1:].partition(" ")
    head, colon, trailing = text.partition(" :")
    words = head.split(" ")
    if "" in words:
        words = [word for word in words if word]
        if not words:
            raise MalformedLine("a line needs a command")
    command = words[0]
    if not (command.isalnum() and command.isascii()) and not _COMMAND.fullmatch(command):
        raise MalformedLine("a command is printable ASCII")
    if len(words) > MAX_PARAMS and len(words) - 1 + bool(colon) > MAX_PARAMS:
        trailing = _from_word(text, MAX_PARAMS)
        colon = " :"
        del words[MAX_PARAMS:]
    if colon:
        words.append(trailing)
    return Message(command.upper(), tuple(words[1:]), tags, source)


def _from_word(text: str, count: int) -> str:
    """All of `text` behind its first `count` words; the fifteenth parameter takes whatever is left."""
    for _ in range(count):
        text = text.lstrip(" ").partition(" ")[2]
    return text.lstrip(" ").removeprefix(":")


def _guess_command(line: bytes) -> str:
    words = line.decode("ascii", "replace").split()
    for word in words[:2]:
        if _COMMAND.fullmatch(word):
            return word.upper()
    return "*"


def parse_tags(text: str) -> dict[str, str]:
    """The tags of the text between @ and the space; a later one wins, what is no tag is ignored."""
    tags: dict[str, str] = {}
    for item in text.split(";"):
        key, _, value = item.partition("=")
        if _TAG_KEY.fullmatch(key):
            tags[key] = unescape_tag_value(value) if "\\" in value else value
    return tags


def unescape_tag_value(value: str) -> str:
    """The value that an escaped one stands for; a lone backslash at the end is dropped."""
    return _ESCAPED.sub(lambda match: _UNESCAPE.get(match[1], match[1]), value)


def escape_tag_value(value: str) -> str:
    """`value` as it stands in a line."""
    return value.translate(_TO_ESCAPE)


def format_tags(tags: Mapping[str, str]) -> str:
    """`@a=b;c ` with its space, or nothing if there are no tags."""
    if not tags:
        return ""
    items = (f"{key}={escape_tag_value(value)}" if value else key for key, value in tags.items())
    return f"@{';'.join(items)} "


def serialise(message: Message) -> bytes:
    """The line of a message, without CR LF.  Raises ValueError for what no line can express."""
    words = [message.command]
    if not _COMMAND.fullmatch(message.command):
        raise ValueError(f"no command: {message.command!r}")
    for param in message.params[:-1]:
        if not param or param[0] == ":" or " " in param:
            raise ValueError(f"only the last parameter can be empty, have spaces or begin with a colon: {param!r}")
        words.append(param)
    for last in message.params[-1:]:
        words.append(f":{last}" if not last or last[0] == ":" or " " in last else last)
    if len(message.params) > MAX_PARAMS:
        raise ValueError(f"{len(message.params)} parameters, at most {MAX_PARAMS} are allowed")
    if message.source is not None:
        words.insert(0, f":{message.source}")
    text = " ".join(words)
    if _BAD.search(text):
        raise ValueError(f"NUL, CR or LF in {text!r}")
    return (format_tags(message.tags) + text).encode()


def truncate_utf8(text: str, max_bytes: int) -> str:
    """`text` cut to at most `max_bytes` bytes of UTF-8, never inside a character."""
    if len(text) * 4 <= max_bytes:
        return text
    data = text.encode()
    if len(data) <= max_bytes:
        return text
    return data[:max_bytes].decode("utf-8", "ignore")


def wrap(words: Iterable[str], max_bytes: int, separator: str = " ") -> Iterator[str]:
    """Pack `words` into lines of at most `max_bytes`; a longer word has a line of its own."""
    line: list[str] = []
    size = 0
    for word in words:
        length = len(word) if word.isascii() else len(word.encode())
        if line and size + len(separator) + length > max_bytes:
            yield separator.join(line)
            line, size = [], 0
        size += length + (len(separator) if line else 0)
        line.append(word)
    if line:
        yield separator.join(line)
