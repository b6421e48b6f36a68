"""Words for many: what the server itself says to everybody, or to those who listen to WALLOPS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slircd.wire.line import Line

if TYPE_CHECKING:
    from slircd.network.server import IRCServer


def announce(server: IRCServer, text: str) -> int:
    """A notice of the server to every user; returns to how many connections."""
    timestamp = server.timestamp()
    count = 0
    for session in list(server.users.everyone()):
        user = server.state.users.get(session.uid)
        if user is not None:
            session.send(Line(f":{server.server_name} NOTICE {user.nick} :{text}", timestamp=timestamp))
            count += 1
    return count


def wallops(server: IRCServer, source: str, text: str) -> int:
    """WALLOPS to those who have +w; returns to how many connections."""
    line = Line(f":{source} WALLOPS :{text}", timestamp=server.timestamp())
    count = 0
    for session in list(server.users.everyone()):
        user = server.state.users.get(session.uid)
        if user is not None and "w" in user.modes:
            session.send(line)
            count += 1
    return count
