"""HTTP for plugins: only to the hosts that config.toml names, through the guarded client, a few at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred

from slircd.plugins.interface import PluginError, PluginRefused

if TYPE_CHECKING:
    from slircd.security.outgoing import Answer, Outgoing

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_ANSWER_BYTES: Final = 65_536
MAX_AT_ONCE: Final = 4
LONGEST_S: Final = 30.0
OPTIONS: Final = frozenset({"url", "method", "headers", "body", "timeout_s"})
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_RESERVED: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect", "te"})


class PluginHttp:
    """What one plugin may ask, and has asked."""

    def __init__(
        self, outgoing: Outgoing, hosts: Collection[str], per_minute: int, seconds: Callable[[], float]
    ) -> None:
        self._outgoing = outgoing
        self._hosts = {host.lower() for host in hosts}
        self._per_minute = per_minute
        self._seconds = seconds
        self._recent: list[float] = []
        self._running = 0

    def ask(self, options: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Make a request; the answer as Lua gets it.

        Raises PluginError for what is wrong in the options, PluginRefused for too many at a time.
        """
        unknown = options.keys() - OPTIONS
        if unknown:
            raise PluginError(f"http_request: unknown option {min(unknown)}; known are {', '.join(sorted(OPTIONS))}")
        url = _text(options, "url", None)
        self._check_host(url)
        method = _text(options, "method", "GET").upper()
        if method not in METHODS:
            raise PluginError(f"http_request: method must be one of {', '.join(METHODS)}")
        headers = _headers(options.get("headers") or {})
        body = options.get("body")
        if body is not None and not isinstance(body, str):
            raise PluginError("http_request: body must be a string")
        timeout = options.get("timeout_s", 10.0)
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0.1 <= timeout <= LONGEST_S:
            raise PluginError(f"http_request: timeout_s must be a number from 0.1 to {LONGEST_S:g}")
        self._count()
        self._running += 1
        asked = self._outgoing.request(
            method,
            url,
            headers=headers,
            body=None if body is None else body.encode(),
            timeout_s=float(timeout),
            max_bytes=MAX_ANSWER_BYTES,
        )
        asked.addBoth(self._done)
        return asked.addCallback(_answer)

    def _check_host(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise PluginError("http_request: url is no URL") from None
        if parts.scheme not in ("http", "https") or parts.username is not None or not url.isascii():
            raise PluginError("http_request: url must be http:// or https:// in ASCII, without a login")
        default = 443 if parts.scheme == "https" else 80
        named = host in self._hosts if port in (None, default) else False
        if not named and f"{host}:{port or default}" not in self._hosts:
            raise PluginError(f"http_request: {host}:{port or default} is none of http_hosts in config.toml")

    def _count(self) -> None:
        now = self._seconds()
        self._recent = [moment for moment in self._recent if moment > now - 60]
        if len(self._recent) >= self._per_minute:
            raise PluginRefused(f"more than {self._per_minute} requests per minute")
        if self._running >= MAX_AT_ONCE:
            raise PluginRefused(f"{MAX_AT_ONCE} requests are under way")
        self._recent.append(now)

    def _done(self, result: Any) -> Any:
        self._running -= 1
        return result


def _text(options: dict[str, Any], name: str, default: str | None) -> str:
    value = options.get(name, default)
    if not isinstance(value, str) or any(character < "!" for character in value):
        raise PluginError(f"http_request: {name} must be a string without spaces")
    return value


def _headers(given: object) -> dict[str, str]:
    if not isinstance(given, dict) or len(given) > 32:
        raise PluginError("http_request: headers must be a table of at most 32 strings")
    for name, value in given.items():
        if not _HEADER.fullmatch(name) or name.lower() in _RESERVED:
            raise PluginError(f"http_request: the header {name[:64]!r} cannot be set")
        if not isinstance(value, str) or not value.isprintable() or len(value) > 1024 or not value.isascii():
            raise PluginError(f"http_request: the value of {name} must be at most 1024 characters of ASCII")
    return dict(given)


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "status": answer.status,
        "headers": {name.lower(): value for name, value in answer.headers.items()},
        "body": answer.body.decode("utf-8", "replace"),
    }
