"""What is wrong with a request, as JSON."""

from __future__ import annotations

import msgspec
from twisted.web.http import Request


class HTTPError(Exception):
    """A request is refused with a status and a document that says why."""

    def __init__(self, status: int, title: str, **details: object) -> None:
        super().__init__(title)
        self.status = status
        self.document = {"status": status, "title": title, **details}


class BadRequest(HTTPError):
    """A parameter is wrong: which one, what was given, what is allowed."""

    def __init__(self, parameter: str, given: str, allowed: str) -> None:
        super().__init__(400, f"{parameter} is wrong", parameter=parameter, given=given, allowed=allowed)


def answer(request: Request, document: object, status: int = 200, kind: str = "application/json") -> bytes:
    """The body of a JSON answer, its headers set."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", f"{kind}; charset=utf-8".encode())
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    return msgspec.json.encode(document) + b"\n"
