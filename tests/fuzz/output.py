"""What every line that leaves the server has to be."""

from __future__ import annotations

from slircd.wire.message import MAX_BODY, MAX_TAGS

MAX_SERVER_TAGS = MAX_TAGS


def check_output(data: bytes, *, utf8: bool = True) -> list[bytes]:
    """The lines of what a client was sent; fails if one is too long, broken, or (where it must be) not UTF-8."""
    lines = data.split(b"\r\n")
    assert lines.pop() == b"", f"a line without its end: {data[-100:]!r}"
    for line in lines:
        check_line(line, utf8=utf8)
    return lines


def check_line(line: bytes, *, utf8: bool = True) -> None:
    """Fail unless this may be sent as a line, or as a message of WebSocket."""
    assert not any(mark in line for mark in (b"\r", b"\n", b"\0")), f"a line with a break in it: {line!r}"
    tags, body = b"", line
    if line.startswith(b"@"):
        tags, _, body = line.partition(b" ")
    assert len(tags) + 1 <= MAX_SERVER_TAGS, f"{len(tags)} bytes of tags: {line[:200]!r}"
    assert len(body) <= MAX_BODY - 2, f"{len(body)} bytes: {line!r}"
    assert body, "an empty line"
    if utf8:
        line.decode()
