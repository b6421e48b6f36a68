"""What a route may return beside a document, and how answers are sent.

Everything leaves in pieces at the pace of its reader: a slow one costs no more memory than the answer has, and a turn
of the reactor never writes more than one piece.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, NamedTuple

import msgspec
from twisted.internet.defer import Deferred

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
PROBLEM: Final = "application/problem+json"

PIECE_BYTES: Final = 65_536
"""What one turn of the reactor writes, and what may be compressed in it."""

MIN_GZIP_BYTES: Final = 1024

SECURITY_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""What every answer says, unless it says otherwise itself."""


class Encoded(NamedTuple):
    """A body that is bytes already."""

    body: bytes
    kind: str = JSON


class Stream(NamedTuple):
    """A body without a known end, in pieces; `live` ones are not compressed, because each piece has to leave at once."""

    pieces: AsyncGenerator[bytes, None]
    kind: str = NDJSON
    live: bool = False


class Handover(NamedTuple):
    """The connection is given to a resource that speaks something else."""

    resource: Any


def encode(document: object) -> bytes:
    """A document as JSON."""
    return msgspec.json.encode(document) + b"\n"


def set_headers(request: Any, kind: str, headers: dict[str, str]) -> None:
    """The headers of an answer."""
    for name, value in {**SECURITY_HEADERS, "content-type": kind, **headers}.items():
        request.setHeader(name.lower().encode(), value.encode())


def with_charset(kind: str) -> str:
    """A media type of text, which is UTF-8."""
    return kind if "charset" in kind or kind.startswith(("image/", "font/")) else f"{kind}; charset=utf-8"


Run = Callable[..., "Deferred[Any]"]


async def send(request: Any, status: int, answer: object, headers: dict[str, str], run: Run) -> None:
    """Send an answer; the request is finished by whoever called.  `run` calls a function in a thread."""
    if isinstance(answer, Stream):
        await _send_stream(request, status, answer, headers, run)
        return
    if status == 204:
        request.setResponseCode(status)
        for name, value in {**SECURITY_HEADERS, **headers}.items():
            request.setHeader(name.encode(), value.encode())
        return
    if not isinstance(answer, Encoded):
        answer = Encoded(encode(answer))
    body = answer.body
    if status == 200:
        tag = headers.get("etag") or (_tag(body) if len(body) <= PIECE_BYTES else await run(_tag, body))
        headers = {**headers, "etag": tag, "vary": "Authorization, Accept, Accept-Encoding"}
    request.setResponseCode(status)
    set_headers(request, with_charset(answer.kind), headers)
    if status == 200 and _matches(request, headers["etag"]):
        request.setResponseCode(304)
        return
    if _takes_gzip(request) and len(body) >= MIN_GZIP_BYTES:
        request.setHeader(b"content-encoding", b"gzip")
        if len(body) <= PIECE_BYTES:
            body = gzip.compress(body, 5, mtime=0)
        else:
            body = await run(gzip.compress, body, 5, mtime=0)
    request.setHeader(b"content-length", b"%d" % len(body))
    if len(body) <= PIECE_BYTES:
        request.write(body)
        return
    flow = Flow(request)
    view = memoryview(body)
    for start in range(0, len(body), PIECE_BYTES):
        if flow.gone:
            break
        request.write(bytes(view[start : start + PIECE_BYTES]))
        await flow.ready()
    flow.end()


def _tag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


async def _send_stream(request: Any, status: int, stream: Stream, headers: dict[str, str], run: Run) -> None:
    request.setResponseCode(status)
    set_headers(request, with_charset(stream.kind), headers)
    packer = None
    if _takes_gzip(request) and not stream.live:
        request.setHeader(b"content-encoding", b"gzip")
        packer = zlib.compressobj(5, zlib.DEFLATED, 31)
    if request.method == b"HEAD":
        return
    flow = Flow(request)
    try:
        async for piece in stream.pieces:
            if flow.gone:
                break
            if packer is not None:
                piece = await run(_pack, packer, piece)
            for start in range(0, len(piece), PIECE_BYTES):
                if not flow.gone:
                    request.write(piece[start : start + PIECE_BYTES])
                    await flow.ready()
        if packer is not None and not flow.gone:
            request.write(packer.flush())
    finally:
        flow.end()
        await stream.pieces.aclose()


def _pack(packer: Any, piece: bytes) -> bytes:
    packed: bytes = packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
    return packed


def _takes_gzip(request: Any) -> bool:
    for word in (request.getHeader("accept-encoding") or "").split(","):
        name, _, weight = word.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _matches(request: Any, tag: str) -> bool:
    given = request.getHeader("if-none-match") or ""
    return given.strip() == "*" or tag in [word.strip().removeprefix("W/") for word in given.split(",")]


class Flow:
    """Back-pressure of an answer: the reader sets the pace."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._waiting: Deferred[None] | None = None
        self._paused = False
        self._ended = False
        self.gone = False
        request.notifyFinish().addErrback(self._lost)
        request.registerProducer(self, True)

    async def ready(self) -> None:
        """Wait until the reader has taken enough."""
        if self._paused and not self.gone:
            self._waiting = Deferred()
            await self._waiting

    def end(self) -> None:
        """Nothing more will be written."""
        if not self.gone and not self._ended:
            self._request.unregisterProducer()
        self._ended = True

    def _lost(self, _: object) -> None:
        self.gone = True
        self.resumeProducing()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        self._lost(None)
