"""How long the server waits for clients: to register, to say something, to answer a PING.

Each session waits for one moment at a time, and is put in a bucket of seconds with others; a bucket has one delayed
call, however many are in it.  Moving or forgetting a session costs the same whether there are ten or ten thousand.
Thousands who came at one time have their moment at one time, too: they are spread over the bucket's seconds.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import txaio

if TYPE_CHECKING:
    from slircd.network.session import Session

txaio.use_twisted()
log = txaio.make_logger()

BUCKET_S: Final = 5
"""Seconds that a session may be woken early or late."""
PIECE: Final = 50
"""Sessions that are woken in one turn."""

Bucket = dict["Session", None]


class Patience:
    """Calls `patience_ends` of sessions when they have waited long enough."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._buckets: dict[int, Bucket] = {}

    def wait(self, session: Session, delay_s: float) -> None:
        """Wake the session after about `delay_s` seconds, and not when it was to be woken before."""
        self.forget(session)
        now = self._reactor.seconds()
        # Never this very moment: who is woken early and waits on would be woken again and again until it is over.
        moment = max(int(now + delay_s) // BUCKET_S, int(now) // BUCKET_S + 1) * BUCKET_S
        bucket = self._buckets.get(moment)
        if bucket is None:
            bucket = self._buckets[moment] = {}
            self._reactor.callLater(max(moment - now, 0.0), self._due, moment)
        bucket[session] = None
        session.waits_in = bucket

    def forget(self, session: Session) -> None:
        """Do not wake the session."""
        bucket, session.waits_in = session.waits_in, None
        if bucket is not None:
            bucket.pop(session, None)

    def _due(self, moment: int) -> None:
        bucket = self._buckets.pop(moment)
        sessions = list(bucket)
        pause_s = BUCKET_S / (len(sessions) // PIECE + 1)
        self._wake(bucket, sessions, 0, pause_s)

    def _wake(self, bucket: Bucket, sessions: list[Session], start: int, pause_s: float) -> None:
        if start + PIECE < len(sessions):
            self._reactor.callLater(pause_s, self._wake, bucket, sessions, start + PIECE, pause_s)
        for session in islice(sessions, start, start + PIECE):
            if session in bucket:  # else it has been put elsewhere, or is gone
                self.forget(session)
                try:
                    session.patience_ends()
                except Exception:
                    log.failure("a session could not be woken")
