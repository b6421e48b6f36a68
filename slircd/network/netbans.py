"""Network bans, filters and server notices at work: the tables, kept in step with the state by the renderer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slircd.rules.netbans import KINDS
from slircd.security.filters import FilterSet
from slircd.security.flood import Bucket
from slircd.security.netbans import BanTables
from slircd.wire.line import Line

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.state.model import NetworkBan, User


PROVOKED: Final = "fos"
"""Sorts of server notices that a stranger, or anybody's message, can cause as often as it likes."""

NOTICES: Final = 20
"""How many of one sort are shown at once, and in ten seconds."""


class NetworkBans:
    """What keeps people out, or quiet, on the whole network."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server
        self.tables = BanTables(server.state.fold)
        self.filters = FilterSet()
        self._shunned: dict[str, bool] = {}
        self._notices = {letter: Bucket(NOTICES, NOTICES / 10, server.reactor.seconds()) for letter in PROVOKED}
        self._left_out = dict.fromkeys(PROVOKED, 0)

    def load(self) -> None:
        """Take what the state has, at start."""
        state = self._server.state
        self.tables = BanTables(state.fold)
        for kind, bans in state.bans.items():
            for ban in bans.values():
                self.tables.add(kind, ban)
        self.filters.use(list(state.filters.values()))

    def added(self, kind: str, ban: NetworkBan) -> None:
        """A line was set."""
        self.tables.add(kind, ban)
        self._shunned.clear()
        if KINDS[kind].disconnects:
            self._server.reactor.callLater(0, self._close_attached)

    def _close_attached(self) -> None:
        """Whom a line hits has been ended; what is left are other clients of users who first came from elsewhere."""
        server = self._server
        for session in list(server.users.everyone()):
            user = server.state.users.get(session.uid)
            if user is None or session.oper or session.address in ("", user.ip):
                continue
            hosts = (session.address, session.hostname or session.address)
            ban = self.tables.for_address(session.address)
            ban = ban or self.tables.for_user(user.username, hosts, session.address, "")
            if ban is not None:
                session.close(f"Banned: {ban.reason}")

    def removed(self, kind: str, mask: str) -> None:
        """A line was removed."""
        self.tables.remove(kind, mask)
        self._shunned.clear()

    def filters_changed(self) -> None:
        """A filter was set or removed."""
        self.filters.use(list(self._server.state.filters.values()))

    def is_shunned(self, user: User) -> bool:
        """Whether the user's commands are ignored."""
        if not self.tables.has_shuns:
            return False
        shunned = self._shunned.get(user.uid)
        if shunned is None:
            shunned = self.tables.shuns(user.username, (user.real_host, user.host), user.ip)
            self._shunned[user.uid] = shunned
        return shunned

    def forget(self, uid: str) -> None:
        """The user is gone."""
        self._shunned.pop(uid, None)

    def notify(self, letter: str, text: str) -> None:
        """Tell operators who hear this sort of server notice; a flood of those that anybody can provoke is summed up."""
        if letter in self._notices:
            if self._notices[letter].take(self._server.reactor.seconds()) > 0.0:
                self._left_out[letter] += 1
                return
            count, self._left_out[letter] = self._left_out[letter], 0
            if count:
                self._tell(letter, f"{count} more such notices were left out")
        self._tell(letter, text)

    def _tell(self, letter: str, text: str) -> None:
        server = self._server
        for user in server.listeners_to(letter):
            for session in server.users.sessions_of(user.uid):
                if not session.oper:
                    continue
                body = f":{server.server_name} NOTICE {user.nick} :*** {text}"
                session.send(Line(body, timestamp=server.timestamp()))
