"""Who watches for whom (MONITOR): casefolded nick to the sessions that want to know when it comes or goes.

Session facts, never state: they end with the connection (IRCv3 monitor).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from slircd.commands.metadata import sync_user
from slircd.state.model import ServerState, User
from slircd.wire.capabilities import SERVER_TIME
from slircd.wire.line import Line
from slircd.wire.numerics import RPL_MONOFFLINE, RPL_MONONLINE

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.network.session import Session


class Monitor:
    """The watch lists of all sessions, by nick."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server
        self._watchers: dict[str, dict[Session, None]] = {}

    @property
    def _state(self) -> ServerState:
        return self._server.state

    def add(self, session: Session, nick: str) -> None:
        """`session` wants to know of `nick`."""
        key = self._state.fold(nick)
        session.monitored[key] = nick
        self._watchers.setdefault(key, {})[session] = None

    def remove(self, session: Session, nick: str) -> None:
        """`session` no longer wants to know of `nick`."""
        key = self._state.fold(nick)
        if session.monitored.pop(key, None) is not None:
            watchers = self._watchers[key]
            del watchers[session]
            if not watchers:
                del self._watchers[key]

    def clear(self, session: Session) -> None:
        """`session` wants to know of nobody."""
        for nick in list(session.monitored.values()):
            self.remove(session, nick)

    def watchers(self, nick: str) -> Iterable[Session]:
        """The sessions that watch for `nick`."""
        return self._watchers.get(self._state.fold(nick), ())

    def online(self, user: User) -> None:
        """Tell those who watch for the nick that `user` now has."""
        self._tell(user.nick, RPL_MONONLINE.code, user.source, user)

    def offline(self, nick: str) -> None:
        """Tell those who watch for `nick` that nobody has it now."""
        self._tell(nick, RPL_MONOFFLINE.code, nick)

    def _tell(self, nick: str, code: str, text: str, user: User | None = None) -> None:
        watchers = self._watchers.get(self._state.fold(nick))
        if not watchers:
            return
        server = self._server

        def tell(session: Session) -> None:
            timestamp = server.timestamp() if session.caps & SERVER_TIME else ""
            session.send(Line(f":{server.server_name} {code} {session.display_nick} :{text}", timestamp=timestamp))
            if user is not None:
                sync_user(server, session, user, session.send)

        server.teller.tell(list(watchers), tell)
