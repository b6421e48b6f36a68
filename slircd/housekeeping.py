"""What the server does beside serving: checkpoints of its log, and the proof that its state is its log.

Both are one thing: a process of its own (replay.worker) replays the log from the newest checkpoint to an event, says
the digest of what comes out, and writes a checkpoint there.  That digest has to be the one that the live state had at
that event.  The live one is kept while events are applied (state.livedigest) and completed in slices, so no turn of the
reactor is long, however large the network.

There is no event for a checkpoint: it changes no state, can be deleted at any time, and would make itself old.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec
import txaio
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredLock, DeferredSemaphore, ensureDeferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

import slircd
from slircd.events.interface import StoreUnavailable
from slircd.replay.worker import RETENTION_WORKS, Found, Job, Outcome, PastChannel, Replay
from slircd.spawn import spawn
from slircd.state.livedigest import LiveDigest

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.state.model import Channel

txaio.use_twisted()
log = txaio.make_logger()

LOOK_S: Final = 1.0
"""How often it looks whether a checkpoint is due."""
RETRY_S: Final = 60.0
"""How long it waits after a failure."""
SLICE: Final = 100
"""Things that are hashed in one turn of the reactor: about a millisecond."""
PAUSE_S: Final = 0.005
RETENTION_TRIES: Final = 15
RETENTION_PAUSE_S: Final = 2.0
AT_ONCE: Final = 2
"""How many questions about the past have processes at one time; others wait."""
MAX_ANSWER: Final = 64 << 20
MAX_WORDS: Final = 4096
CODE: Final = str(Path(slircd.__file__).resolve().parents[1])
"""Where a process finds this very slircd, and not one that lies in the working directory."""

T = TypeVar("T", bound=msgspec.Struct)


class WorkerFailed(Exception):
    """A process could not do its job; the text is what it said."""


class Verified(NamedTuple):
    """Whether the state that was served at an event is the log up to there, applied."""

    event_id: int
    sequence: int
    live: str
    replayed: str
    events: int
    """How many events were replayed for it."""
    checked_s: float
    """When, in seconds since the epoch."""

    @property
    def equal(self) -> bool:
        """Whether they are the same."""
        return self.live == self.replayed


class _Worker(ProcessProtocol):
    """One process with one job."""

    def __init__(self, job: Job) -> None:
        self.ended: Deferred[bytes] = Deferred(self._cancel)
        self._job = job
        self._answer = bytearray()
        self._words = bytearray()

    def connectionMade(self) -> None:  # noqa: N802  # Twisted's name
        transport: Any = self.transport
        transport.write(msgspec.json.encode(self._job) + b"\n")

    def outReceived(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        self._answer += data
        if len(self._answer) > MAX_ANSWER:
            self._cancel(None)

    def errReceived(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        self._words += data[: MAX_WORDS - len(self._words)]

    def processEnded(self, reason: Failure) -> None:  # noqa: N802  # Twisted's name
        if self.ended.called:
            return
        if reason.check(ProcessDone) is not None:
            self.ended.callback(bytes(self._answer))
        else:
            words = self._words.decode(errors="replace").strip()
            self.ended.errback(WorkerFailed(words or reason.getErrorMessage()))

    def _cancel(self, _: object) -> None:
        transport: Any = self.transport
        with suppress(ProcessExitedAlready):
            transport.signalProcess("KILL")


class Housekeeping(Service):
    """The service `housekeeping`; see the head of this module."""

    def __init__(self, server: IRCServer, url: str, reactor: Any) -> None:
        """`url` is that of the log."""
        self.setName("housekeeping")
        self._server = server
        self._url = url
        self._reactor = reactor
        self._lock = DeferredLock()
        self._asked = DeferredSemaphore(AT_ONCE)
        self._running: set[Deferred[bytes]] = set()
        self._look = LoopingCall(self._begin)
        self._look.clock = reactor
        self._busy = False
        self._not_before_s = 0.0
        self._last_check_s = 0.0
        self._last_id = 0
        self.written = 0
        """Checkpoints since the start."""
        self.failures = 0
        """Checkpoints and checks that came to nothing, since the start."""
        self.size_bytes = 0
        """Of the newest checkpoint."""
        self.last: Verified | None = None
        """The newest comparison of live and replayed."""

    def startService(self) -> None:  # noqa: N802  # Twisted's name
        """Keep the digest from now on, and look regularly what is due."""
        super().startService()
        self._server.bus.live_digest = LiveDigest(self._server.state)
        self._last_check_s = self._reactor.seconds()
        self._last_id = self._server.bus.recovered_from
        self._look.start(LOOK_S, now=False).addErrback(lambda why: log.failure("housekeeping stopped", failure=why))

    def stopService(self) -> Any:  # noqa: N802  # Twisted's name
        """End what is under way: a checkpoint that is not written yet is made at the next opportunity."""
        super().stopService()
        if self._look.running:
            self._look.stop()
        for process in list(self._running):
            process.cancel()

    # --- what is due ----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        # Not waited for: a long one must not make the next look late, and only one runs at a time.
        if not self._busy and self._is_due():
            self._busy = True
            ensureDeferred(self._run()).addErrback(lambda why: log.failure("housekeeping failed", failure=why))

    def _is_due(self) -> bool:
        now_s = self._reactor.seconds()
        section = self._server.config.checkpoints
        new = self._server.bus.last_id - self._last_id
        checks = section.check_s and now_s - self._last_check_s >= section.check_s
        return bool(now_s >= self._not_before_s and new and ((section.keep and new >= section.every) or checks))

    async def _run(self) -> None:
        section = self._server.config.checkpoints
        try:
            await self._verify(keep=section.keep, whole=False)
        except (WorkerFailed, CancelledError) as error:
            if self.running:
                self.failures += 1
                self._not_before_s = self._reactor.seconds() + RETRY_S
                log.error("no checkpoint, and no check of the log: {why}", why=str(error))
        finally:
            self._busy = False

    # --- what is asked for ----------------------------------------------------------------------------------------

    def verify(self, *, whole: bool = True) -> Deferred[Verified]:
        """Replay the log, all of it or (not `whole`) from its newest checkpoint, and compare with the live state.

        Fails with WorkerFailed if the log cannot be replayed.
        """
        return ensureDeferred(self._verify(keep=0, whole=whole))

    def channel_at(self, key: str, at: str) -> Deferred[Channel | None]:
        """The channel of a key as it was at a timestamp of the log; None if there was none, or the log begins later.

        Fails with StoreUnavailable if the log cannot be read.
        """

        async def ask() -> Channel | None:
            try:
                return (await self._do(PastChannel(url=self._url, key=key, at=at), Found)).decoded()
            except WorkerFailed as error:
                log.error("the past of a channel cannot be read: {why}", why=str(error))
                raise StoreUnavailable from None

        return self._asked.run(lambda: ensureDeferred(ask()))

    async def _verify(self, *, keep: int, whole: bool) -> Verified:
        await self._lock.acquire()
        try:
            (event_id, sequence, live), answer = await self._replayed(keep, whole)
        finally:
            self._lock.release()
        for text in answer.ignored:
            log.warn("{text}", text=text)
        found = Verified(event_id, sequence, live, answer.digest, answer.events, self._server.epoch_s())
        self.last = found
        self._last_check_s = self._reactor.seconds()
        if keep:
            self._last_id = event_id
        if answer.size:
            self.written += 1
            self.size_bytes = answer.size
            log.info("checkpoint at event {event_id}, {size} bytes", event_id=event_id, size=answer.size)
        if not found.equal:
            log.critical(
                "the state that is served is not what the log says, at event {event_id}: live {live}, replayed "
                "{replayed}; a restart serves what the log says",
                event_id=event_id,
                live=found.live,
                replayed=found.replayed,
            )
        return found

    async def _replayed(self, keep: int, whole: bool) -> tuple[tuple[int, int, str], Outcome]:
        """The live state's place and digest, and what the log says there, while retention does not work on it."""
        section = self._server.config.checkpoints
        bus = self._server.bus
        for _ in range(RETENTION_TRIES):
            amendments = bus.amendments
            live = await self._live_digest()
            job = Replay(url=self._url, until_id=live[0], whole=whole, keep=keep, thin_events=section.thin_events)
            try:
                answer = await self._do(job, Outcome)
            except WorkerFailed as error:
                if str(error) != RETENTION_WORKS:
                    raise
            else:
                # Whoever was erased meanwhile is in the digest that was taken before, and not in what was replayed.
                if bus.amendments == amendments:
                    return live, answer
            await deferLater(self._reactor, RETENTION_PAUSE_S)
        raise WorkerFailed(RETENTION_WORKS)

    async def _live_digest(self) -> tuple[int, int, str]:
        """Event id, sequence and digest of the live state at a moment, when the log has everything up to there."""
        bus = self._server.bus
        kept = bus.live_digest
        if kept is None:
            raise WorkerFailed("the server has not started")
        while not kept.work(SLICE):
            await deferLater(self._reactor, PAUSE_S)
        found = bus.last_id, bus.state.sequence, kept.value()
        await bus.publish([])
        return found

    async def _do(self, job: Job, answer: type[T]) -> T:
        """Have a process do a job.  Raises WorkerFailed."""
        worker = _Worker(job)
        path = os.pathsep.join(filter(None, (CODE, os.environ.get("PYTHONPATH"))))
        arguments = [sys.executable, "-P", "-m", "slircd.replay.worker"]
        spawn(self._reactor, worker, sys.executable, arguments, {**os.environ, "PYTHONPATH": path})
        self._running.add(worker.ended)
        try:
            return msgspec.json.decode(await worker.ended, type=answer)
        except ValueError as error:  # msgspec's errors, and bytes that are not UTF-8
            raise WorkerFailed(f"its answer cannot be read: {error}") from None
        finally:
            self._running.discard(worker.ended)
