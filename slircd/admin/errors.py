"""What is wrong with a request, as problem details (RFC 9457)."""

from __future__ import annotations

from typing import Any


class HTTPError(Exception):
    """A request is refused with a status and a document that says why."""

    def __init__(self, status: int, title: str, *, headers: dict[str, str] | None = None, **details: object) -> None:
        super().__init__(title)
        self.status = status
        self.headers = headers or {}
        self.document: dict[str, Any] = {"status": status, "title": title, **details}


class BadRequest(HTTPError):
    """A parameter is wrong: which one, what was given, what is allowed."""

    def __init__(self, parameter: str, given: str, allowed: str) -> None:
        super().__init__(400, f"{parameter} is wrong", parameter=parameter, given=given[:200], allowed=allowed)
