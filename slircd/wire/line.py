"""An outgoing line, as each set of capabilities sees it.

A line is built once and encoded once for each combination of the capabilities that put tags before it, so that a
message to a thousand clients costs a handful of encodings and a thousand list appends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from slircd.wire.capabilities import ACCOUNT_TAG, MESSAGE_TAGS, RAW_BYTES, SERVER_TIME, TAGGING
from slircd.wire.encoding import MARK, replace, restore
from slircd.wire.message import MAX_BODY, format_tags, truncate_utf8

_ENDS: Final = str.maketrans("\0\r\n", "   ")


def server_time(timestamp: str) -> str:
    """The `time` tag's form (milliseconds) of a timestamp of the log (microseconds)."""
    return f"{timestamp[:23]}Z"


class Line:
    """One line to one or many clients.

    `body` is the line with its source and without tags and CR LF; what is beyond 510 bytes is cut at a character.
    `timestamp` is the log's form of its time, `account` the sender's account, `client_tags` the client-only tags that
    the sender attached; `bot` says that the sender has user mode B.  `server_tags` are shown whatever a client has
    negotiated: who sends the line has looked.
    """

    __slots__ = ("_cache", "account", "body", "bot", "client_tags", "msgid", "server_tags", "timestamp")

    def __init__(
        self,
        body: str,
        *,
        timestamp: str = "",
        account: str | None = None,
        msgid: str | None = None,
        client_tags: Mapping[str, str] | None = None,
        bot: bool = False,
        server_tags: Mapping[str, str] | None = None,
    ) -> None:
        self.body = body
        self.server_tags = server_tags
        self.timestamp = timestamp
        self.account = account
        self.msgid = msgid
        self.client_tags = client_tags
        self.bot = bot
        self._cache: dict[int, bytes] = {}

    def encoded(self, caps: int) -> bytes:
        """The bytes, CR LF included, for a client that has negotiated `caps`."""
        key = caps & TAGGING
        data = self._cache.get(key)
        if data is None:
            data = self._cache[key] = self.encoded_with(key, None)
        return data

    def encoded_with(self, caps: int, extra: Mapping[str, str] | None) -> bytes:
        """As `encoded`, with tags of this one recipient (label, batch) in front; not cached."""
        body = _body(self.body, caps)
        if not (caps or extra or self.server_tags):
            return body + b"\r\n"
        tags = dict(self.server_tags) if self.server_tags else {}
        if extra:
            tags.update(extra)
        if caps & SERVER_TIME and self.timestamp:
            tags["time"] = server_time(self.timestamp)
        if caps & ACCOUNT_TAG and self.account:
            tags["account"] = self.account
        if caps & MESSAGE_TAGS:
            if self.msgid:
                tags["msgid"] = self.msgid
            if self.bot:
                tags["bot"] = ""
            if self.client_tags:
                tags.update(self.client_tags)
        if not tags:
            return body + b"\r\n"
        return _bytes_of(format_tags(tags), caps) + body + b"\r\n"


def untagged(body: str) -> bytes:
    """The bytes, CR LF included, of a line for a client that has negotiated nothing of TAGGING.

    The same as `Line(body).encoded(0)`, for an answer to one client, which needs no Line.
    """
    return _body(body, 0) + b"\r\n"


def _body(text: str, caps: int) -> bytes:
    # Whoever makes a line has checked what is in it.  Should one not have, the text stays in its line all the same.
    if "\n" in text or "\r" in text or "\0" in text:
        text = text.translate(_ENDS)
    body = _bytes_of(text, caps)
    return body if len(body) <= MAX_BODY - 2 else _bytes_of(truncate_utf8(text, MAX_BODY - 2), caps)


def _bytes_of(text: str, caps: int) -> bytes:
    data = text.encode()
    if MARK in data:
        return restore(data) if caps & RAW_BYTES else replace(data)
    return data
