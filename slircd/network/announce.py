"""Words for many: what the server itself says to everybody, or what each of thousands is told in its own words."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import txaio
from twisted.internet.defer import ensureDeferred

from slircd.network.channels import send_to_all
from slircd.wire.line import Line

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from slircd.network.server import IRCServer
    from slircd.network.session import Session
    from slircd.network.turns import Turns

txaio.use_twisted()
log = txaio.make_logger()

PIECE: Final = 500
"""Sessions that are told something in one turn, each with a line of its own: about three milliseconds."""

Tell = Callable[["Session"], None]


class Teller:
    """Tells many sessions something, each in its own words: at once if they are few, else in turns.

    What is told first arrives first; who has gone when its turn comes is left out.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._waiting: deque[tuple[Sequence[Session], Tell]] = deque()

    def tell(self, sessions: Sequence[Session], tell: Tell) -> None:
        """Call `tell` with each of the sessions."""
        if not self._waiting and len(sessions) <= PIECE:
            for session in sessions:
                tell(session)
            return
        self._waiting.append((sessions, tell))
        if len(self._waiting) == 1:
            ensureDeferred(self._work()).addErrback(_failed)

    async def _work(self) -> None:
        while self._waiting:
            sessions, tell = self._waiting[0]
            try:
                for start in range(0, len(sessions), PIECE):
                    for session in sessions[start : start + PIECE]:
                        if not session.is_closed:
                            tell(session)
                    await self._turns.next()
            except Exception:
                log.failure("not everybody could be told")
            self._waiting.popleft()


def _failed(failure: Failure) -> None:
    log.failure("telling many has failed", failure=failure)


def announce(server: IRCServer, text: str) -> int:
    """A notice of the server to every user; returns to how many connections."""
    timestamp = server.timestamp()

    def tell(session: Session) -> None:
        session.send(Line(f":{server.server_name} NOTICE {session.display_nick} :{text}", timestamp=timestamp))

    sessions = list(server.users.everyone())
    server.teller.tell(sessions, tell)
    return len(sessions)


def wallops(server: IRCServer, source: str, text: str) -> int:
    """WALLOPS to those who have +w; returns to how many connections."""
    state = server.state
    sessions = ((session, state.users.get(session.uid)) for session in server.users.everyone())
    hearing = [session for session, user in sessions if user is not None and "w" in user.modes]
    send_to_all(hearing, Line(f":{source} WALLOPS :{text}", timestamp=server.timestamp()))
    return len(hearing)
