"""The live side of users: which sessions belong to which user, new UIDs, and who was here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from twisted.application.service import Service

from slircd.events.bus import StoreUnavailable
from slircd.rules.bouncer import common_away, decide_common_away
from slircd.state.model import ServerState, User
from slircd.wire.numerics import NumericError

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.network.session import Session

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def format_uid(node: str, number: int) -> str:
    """The UID of a node's `number`th user: the node's SID and six base-36 digits."""
    text = ""
    for _ in range(6):
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return node + text


class Gone(NamedTuple):
    """Somebody who had a nick and has it no longer (WHOWAS)."""

    nick: str
    username: str
    host: str
    realname: str
    account: str | None
    left_at: str


class UserRegistry(Service):
    """Sessions by user, and what is remembered of users that are gone."""

    def __init__(self, state: ServerState, *, node: str, whowas: int) -> None:
        """`whowas` is how many departures are remembered."""
        self.setName("users")
        self.node = node
        self.most = 0
        """The highest number of users at one time since the start."""
        self._state = state
        self.invisible: set[str] = set()
        self.opers: set[str] = set()
        """UIDs of users, services left out, who are invisible (+i), and of operators who show it."""
        self.hearing: dict[str, None] = {}
        """UIDs of operators who hear server notices (+s)."""
        self.people: set[str] = set()
        """UIDs of this node's users, services left out."""
        self._sessions: dict[str, list[Session]] = {}
        self._number = 0
        self._whowas: deque[Gone] = deque(maxlen=whowas)

    def __len__(self) -> int:
        return len(self.people)

    def new_uid(self) -> tuple[str, int]:
        """A UID that was never used in this log, and its number.

        Counted here and in the state: a second client may register before the event of the first is ordered.
        """
        self._number = max(self._number, self._state.uid_counters.get(self.node, 0)) + 1
        return format_uid(self.node, self._number), self._number

    def note(self, user: User) -> None:
        """A user has come, or its modes have changed: keep the counts of LUSERS, and who hears notices, in step."""
        uid = user.uid
        if user.is_service:
            return
        self.people.add(uid)
        self.most = max(self.most, len(self.people))
        (self.invisible.add if "i" in user.modes else self.invisible.discard)(uid)
        (self.opers.add if user.is_oper and "H" not in user.modes else self.opers.discard)(uid)
        if user.snomask and user.is_oper:
            self.hearing[uid] = None
        else:
            self.hearing.pop(uid, None)

    def forget(self, uid: str) -> None:
        """A user is gone."""
        self.people.discard(uid)
        self.invisible.discard(uid)
        self.opers.discard(uid)
        self.hearing.pop(uid, None)

    def attach(self, uid: str, session: Session) -> None:
        """`session` belongs to the user `uid` from now on."""
        self._sessions.setdefault(uid, []).append(session)

    def detach(self, uid: str, session: Session) -> None:
        """`session` does not belong to the user `uid` any more."""
        sessions = self._sessions.get(uid)
        if sessions is not None and session in sessions:
            sessions.remove(session)
            if not sessions:
                del self._sessions[uid]

    def settle_away(self, server: IRCServer, uid: str) -> None:
        """A client has come, gone, or said something else: the user is away if all its clients are."""
        user = self._state.users.get(uid)
        if user is None:
            return
        sessions = sorted(self.sessions_of(uid), key=lambda session: session.away_since_s)
        auto = server.config.bouncer.auto_away and user.always_on
        message = common_away([session.away for session in sessions], user.away, auto=auto)
        decision = decide_common_away(self._state, uid, message)
        # While the log is down this waits for the next client that comes, goes or says something.
        server.bus.emit(decision).addErrback(lambda failure: failure.trap(StoreUnavailable, NumericError))

    def sessions_of(self, uid: str) -> list[Session]:
        """The sessions of a user on this node; empty for a user of another."""
        return self._sessions.get(uid, [])

    def everyone(self) -> Iterator[Session]:
        """Every session of every user on this node."""
        for sessions in list(self._sessions.values()):
            yield from sessions

    # --- who was here ---------------------------------------------------------------------------------------------

    def remember(self, gone: Gone) -> None:
        """Somebody left, or gave up a nick."""
        self._whowas.appendleft(gone)

    def forget_gone(self, is_meant: Callable[[Gone], bool]) -> None:
        """Remember some of them no longer, because they are erased."""
        self._whowas = deque((gone for gone in self._whowas if not is_meant(gone)), self._whowas.maxlen)

    def whowas(self, nick: str) -> list[Gone]:
        """Who had this nick, newest first."""
        key = self._state.fold(nick)
        return [gone for gone in self._whowas if self._state.fold(gone.nick) == key]
