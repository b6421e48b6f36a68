"""Log-ins: a page, or a person with curl, gets a token for some hours instead of sending its password each time."""

from __future__ import annotations

import msgspec

from slircd.admin.call import Call
from slircd.admin.errors import HTTPError
from slircd.admin.routes import route
from slircd.events.clock import format_timestamp


class WhoAmI(msgspec.Struct, kw_only=True):
    """Who asks, and what it may do."""

    name: str
    role: str


class SessionView(msgspec.Struct, kw_only=True):
    """A token for some hours; send it as `Authorization: Bearer TOKEN`."""

    token: str
    name: str
    role: str
    expires: str


@route("GET", "/admin/whoami", tag="session")
async def whoami(call: Call) -> WhoAmI:
    """Who asks, and with what role."""
    caller = call.known_caller
    return WhoAmI(name=caller.name, role=caller.role)


@route("POST", "/admin/session", tag="session", role=None, status=201, problems=(401, 429))
async def log_in(call: Call) -> SessionView:
    """Log in with HTTP Basic: a token for twelve hours, that ends with the server, too."""
    token, session, caller = await call.backend.authenticator.log_in(call.request)
    expires = format_timestamp(session.expires_s)
    return SessionView(token=token, name=caller.name, role=caller.role, expires=expires)


@route("DELETE", "/admin/session", tag="session", status=204, problems=(400,))
async def log_out(call: Call) -> None:
    """End the session whose token is sent."""
    if call.known_caller.how != "session":
        raise HTTPError(400, "There is no session to end")
    call.backend.authenticator.sessions.revoke(call.request.getHeader("authorization").partition(" ")[2].strip())
