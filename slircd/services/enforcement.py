"""Nicks that belong to somebody: who takes one and does not log in in time gets another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from slircd.events.types import UserNickChange
from slircd.services.nickserv import nickserv
from slircd.wire.line import Line

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.state.model import User

HOLD_S = 60
"""Seconds for which a nick that was taken from somebody is kept for its owner."""


class Enforcement:
    """Watches nicks whose account has ENFORCE on."""

    def __init__(self, server: IRCServer) -> None:
        self._server = server
        self._timers: dict[str, IDelayedCall] = {}
        self._held: dict[str, float] = {}

    def stop(self) -> None:
        """Watch no longer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def watch(self, user: User) -> None:
        """The user has a nick, or another one: if it is somebody else's, its time begins."""
        self.forget(user.uid)
        if self._is_enforced(user):
            seconds = self._server.config.accounts.enforce_s
            text = f"This nick belongs to somebody: /msg NickServ IDENTIFY <password> within {seconds} seconds."
            for session in self._server.users.sessions_of(user.uid):
                body = f":{nickserv.nick}!{nickserv.nick}@services NOTICE {user.nick} :{text}"
                session.send(Line(body, timestamp=self._server.timestamp()))
            self._timers[user.uid] = self._server.reactor.callLater(seconds, self._enforce, user.uid)

    def forget(self, uid: str) -> None:
        """The user is gone, or has logged in."""
        timer = self._timers.pop(uid, None)
        if timer is not None:
            timer.cancel()

    def holds(self, nick: str) -> bool:
        """Whether the nick is kept for its owner."""
        until = self._held.get(self._server.state.fold(nick))
        return until is not None and self._server.reactor.seconds() < until

    def release(self, nick: str) -> bool:
        """Let go of a nick; whether it was held."""
        held = self.holds(nick)
        self._held.pop(self._server.state.fold(nick), None)
        return held

    def _is_enforced(self, user: User) -> bool:
        owner = self._server.state.owner_of_nick(user.nick)
        if owner is None or user.is_service or not owner.is_set("enforce"):
            return False
        return user.account is None or self._server.state.fold(user.account) != owner.key

    def _enforce(self, uid: str) -> None:
        self._timers.pop(uid, None)
        server = self._server
        user = server.state.users.get(uid)
        if user is None or not self._is_enforced(user):
            return
        now = server.reactor.seconds()
        self._held = {nick: until for nick, until in self._held.items() if until > now}
        self._held[server.state.fold(user.nick)] = now + HOLD_S
        guest = f"Guest{server.rng.randrange(100_000):05d}"
        while server.state.user_by_nick(guest) is not None:
            guest = f"Guest{server.rng.randrange(100_000):05d}"
        change = UserNickChange(actor_uid=nickserv.uid, target=uid, nick=user.nick, new_nick=guest)
        server.bus.emit([change]).addErrback(lambda _: None)
