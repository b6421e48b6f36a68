"""The time machine's page and its assets: files of `slircd/admin/ui`, which come with the package.

They say nothing about the server, so they need no log-in; the page itself logs in and keeps a bearer token.  They are
read once, when the module is imported.  A browser may keep them, and asks each time whether they are still the same.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final, NamedTuple

from slircd.admin.answers import Encoded
from slircd.admin.call import Call
from slircd.admin.errors import HTTPError
from slircd.admin.routes import route

KINDS: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

_DIRECTIVES: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    # No script can make markup out of a text, not even by mistake.
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}

POLICY: Final = "; ".join(f"{name} {value}" for name, value in _DIRECTIVES.items())
"""The page's Content-Security-Policy: its own files and its own server, nothing inline, nothing else."""


class Asset(NamedTuple):
    """A file of the page."""

    body: bytes
    kind: str
    tag: str


def _read() -> dict[str, Asset]:
    assets: dict[str, Asset] = {}
    for file in files("slircd.admin").joinpath("ui").iterdir():
        kind = KINDS.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            body = file.read_bytes()
            tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
            assets[file.name] = Asset(body, kind, tag)
    return assets


ASSETS: Final = _read()


@route("GET", "/", tag="page", role=None, returns=str, kinds=("text/html",))
async def page(call: Call) -> Encoded:
    """The time machine, for browsers."""
    if call.request.path != b"/":
        # Klein's router takes // for it, too.
        raise HTTPError(404, "Not Found")
    return _send(call, ASSETS["index.html"])


@route("GET", "/ui/<name>", tag="page", role=None, returns=str, kinds=tuple(KINDS.values()), problems=(404,))
async def asset(call: Call, name: str) -> Encoded:
    """A file of the time machine's page."""
    found = ASSETS.get(name)
    if found is None:
        raise HTTPError(404, "There is no such file")
    return _send(call, found)


def _send(call: Call, found: Asset) -> Encoded:
    call.headers["content-security-policy"] = POLICY
    call.headers["cache-control"] = "no-cache"
    call.headers["etag"] = found.tag
    call.headers["permissions-policy"] = "camera=(), geolocation=(), microphone=()"
    call.headers["cross-origin-opener-policy"] = "same-origin"
    return Encoded(found.body, found.kind)
