"""Network bans, filters and server notices at work: the tables, kept in step with the state by the renderer.

A line takes effect at once for whoever comes: the tables have it.  Those who are there are looked through in turns of
the reactor, and whom the line hits is disconnected, one a turn, so a line that hits thousands holds nobody else up;
taking it off again stops that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import txaio
from twisted.internet.defer import ensureDeferred

from slircd.rules.netbans import KINDS, hits
from slircd.rules.user import decide_disconnect
from slircd.security.filters import FilterSet
from slircd.security.flood import Bucket
from slircd.security.netbans import BanTables
from slircd.wire.line import Line

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from slircd.network.server import IRCServer
    from slircd.network.session import Session
    from slircd.state.model import NetworkBan, User

txaio.use_twisted()
log = txaio.make_logger()

LOOKED_AT: Final = 500
"""Users whom one turn compares with a line: about a millisecond."""


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

    async def victims(self, kind: str, mask: str) -> list[User]:
        """Who is online and would be hit by a line; services never are.  In turns: who comes meanwhile may be missing."""
        state = self._server.state
        found: list[User] = []
        users = list(state.users.values())
        for start in range(0, len(users), LOOKED_AT):
            if start:
                await self._server.turns.next()
            found += [
                user
                for user in users[start : start + LOOKED_AT]
                if not user.is_service and hits(state, kind, mask, user)
            ]
        return [user for user in found if state.users.get(user.uid) is user]

    def added(self, kind: str, ban: NetworkBan, actor: str) -> None:
        """A line was set, by `actor`."""
        self.tables.add(kind, ban)
        self._shunned.clear()
        if KINDS[kind].disconnects:
            ensureDeferred(self._enforce(kind, ban, actor)).addErrback(_failed, kind, ban.mask)

    async def _enforce(self, kind: str, ban: NetworkBan, actor: str) -> None:
        """Disconnect whom a line hits; then the other clients of users who first came from elsewhere."""
        server, state, reason = self._server, self._server.state, f"Banned: {ban.reason}"
        users = list(state.users.values())
        for start in range(0, len(users), LOOKED_AT):
            await server.turns.next()
            for user in users[start : start + LOOKED_AT]:
                if user.is_service or user.is_oper or not hits(state, kind, ban.mask, user):
                    continue
                if not self._holds(kind, ban):
                    return
                if state.users.get(user.uid) is user:
                    server.bus.emit(decide_disconnect(state, actor, user.uid, reason)).addErrback(
                        _failed, kind, ban.mask
                    )
                    await server.turns.next()
        sessions = list(server.users.everyone())
        for start in range(0, len(sessions), LOOKED_AT):
            await server.turns.next()
            if not self._holds(kind, ban):
                return
            for session in sessions[start : start + LOOKED_AT]:
                self._close_if_banned(session)

    def _holds(self, kind: str, ban: NetworkBan) -> bool:
        """Whether the line is still there, and the server runs."""
        state = self._server.state
        return bool(self._server.running) and state.bans.get(kind, {}).get(state.fold(ban.mask)) is ban

    def _close_if_banned(self, session: Session) -> None:
        """Close a client that has come from elsewhere than its user did, if there is a line against it."""
        user = self._server.state.users.get(session.uid)
        if user is None or session.oper or session.address in ("", user.ip):
            return
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


def _failed(failure: Failure, kind: str, mask: str) -> None:
    log.failure("{kind} {mask} could not be enforced", failure=failure, kind=kind, mask=mask)
