"""Processes that answer questions about the past, so that the server's own never does.

A replay of millions of events in a thread would hold the interpreter's lock for milliseconds at a time, again and again
between two lines to a client; in a process of its own it costs clients nothing but the other half of the machine.
There are at most two, started when somebody asks and ended when nobody has for some minutes.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import txaio
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol

from slircd.admin.answering import Failed, Question
from slircd.admin.errors import HTTPError
from slircd.replay.reconstructor import BeforeTheLog, Damaged
from slircd.spawn import spawn

txaio.use_twisted()
log = txaio.make_logger()

PROCESSES: Final = 2
MAX_WAITING: Final = 200
TIMEOUT_S: Final = 300
"""For one question."""

GRACE_S: Final = 2
"""How long a question may go on that nobody waits for: most end by then, and the process keeps what it knows by heart.

A page gives up what it asked when its user looks elsewhere, many times a minute; ending the process each time would make
the next answer begin with an empty memory (timeline, moments)."""

IDLE_S: Final = 300
HEAD: Final = 5
"""Bytes before an answer: its length, and whether it is one."""

CODE: Final = str(Path(__file__).resolve().parents[2])

BUSY: Final = {"Retry-After": "10"}


class _Asked:
    """A question that waits for its answer."""

    __slots__ = ("answer", "question", "worker")

    def __init__(self, question: Question, forget: Callable[[_Asked], None]) -> None:
        self.question = question
        self.worker: _Worker | None = None
        self.answer: Deferred[bytes] = Deferred(lambda _: forget(self))


class _Worker(ProcessProtocol):
    """One process.  `busy` is what it works at."""

    def __init__(self, pool: PastInProcesses) -> None:
        self._pool = pool
        self._parts: list[bytes] = []
        self._size = 0
        self.busy: _Asked | None = None
        self.leaving = False
        self.ended = False

    def ask(self, asked: _Asked) -> None:
        """Have it answer a question."""
        self.busy, asked.worker = asked, self
        frame = msgspec.json.encode(asked.question)
        transport: Any = self.transport
        transport.write(len(frame).to_bytes(4, "big") + frame)

    def outReceived(self, data: bytes) -> None:
        """A part of an answer; there is at most one on its way."""
        self._parts.append(data)
        self._size += len(data)
        if self._size < HEAD:
            return
        if len(self._parts[0]) < HEAD:
            self._parts = [b"".join(self._parts)]
        head = self._parts[0][:HEAD]
        if self._size < 4 + int.from_bytes(head[:4], "big"):
            return
        # Joined once: an answer may be tens of megabytes.
        self._parts[0] = self._parts[0][HEAD:]
        body = b"".join(self._parts)
        self._parts, self._size = [], 0
        asked, self.busy = self.busy, None
        self._pool.answered(self, asked, body, good=head[4:] == b"+")

    def errReceived(self, data: bytes) -> None:
        """What Python says of itself."""
        log.warn("a process that answers questions says: {text}", text=data.decode(errors="replace").strip()[:2000])

    def processEnded(self, reason: Any) -> None:
        """It is gone."""
        self.ended = True
        asked, self.busy = self.busy, None
        self._pool.lost(self, asked)

    def kill(self) -> None:
        """End it at once."""
        transport: Any = self.transport
        if not self.ended and transport.pid is not None:
            transport.signalProcess("KILL")

    def end(self) -> None:
        """Let it end."""
        transport: Any = self.transport
        self.leaving = True
        if not self.ended:
            transport.closeStdin()


class PastInProcesses(Service):
    """Answers questions about the past in processes; a slircd.admin.past.Past."""

    def __init__(self, location: str, reactor: Any) -> None:
        """`location` is the URL of the log."""
        self.setName("past")
        self._location = location
        self._reactor = reactor
        self._workers: list[_Worker] = []
        self._waiting: deque[_Asked] = deque()
        self._idle: Any = None
        self._stopped: Deferred[None] | None = None

    def ask(self, question: Callable[..., bytes], **arguments: Any) -> Deferred[bytes]:
        """The bytes that `question(reader, **arguments)` returns, or what it raised.

        Whoever cancels it ends the process that works at it, unless it is about to be done.  Fails with HTTPError 503
        if too many ask.
        """
        asked = _Asked(
            Question(
                location=self._location, module=question.__module__, name=question.__qualname__, arguments=arguments
            ),
            self._forget,
        )
        if len(self._waiting) >= MAX_WAITING or self._stopped is not None:
            asked.answer.errback(HTTPError(503, "Too many questions to the log at once", headers=BUSY))
            return asked.answer
        timer = self._reactor.callLater(TIMEOUT_S, self._late, asked)
        asked.answer.addBoth(_settle, timer)
        self._waiting.append(asked)
        self._next()
        return asked.answer

    def _next(self) -> None:
        """Give what waits to who is free."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        while self._waiting:
            worker = next((each for each in self._workers if each.busy is None and not each.leaving), None)
            if worker is None:
                if sum(not each.leaving for each in self._workers) >= PROCESSES:
                    return
                worker = self._start()
            worker.ask(self._waiting.popleft())
        if (
            any(not each.leaving for each in self._workers)
            and not any(each.busy for each in self._workers)
            and self._stopped is None
        ):
            self._idle = self._reactor.callLater(IDLE_S, self._let_go)

    def _start(self) -> _Worker:
        worker = _Worker(self)
        path = os.pathsep.join(filter(None, (CODE, os.environ.get("PYTHONPATH"))))
        arguments = [sys.executable, "-P", "-m", "slircd.admin.answering"]
        self._workers.append(worker)
        spawn(self._reactor, worker, sys.executable, arguments, {**os.environ, "PYTHONPATH": path})
        return worker

    def answered(self, worker: _Worker, asked: _Asked | None, body: bytes, *, good: bool) -> None:
        """A process has answered."""
        if asked is not None and not asked.answer.called:
            if good:
                asked.answer.callback(body)
            else:
                asked.answer.errback(_error(msgspec.json.decode(body, type=Failed)))
        self._next()

    def lost(self, worker: _Worker, asked: _Asked | None) -> None:
        """A process is gone, with what it worked at."""
        self._workers.remove(worker)
        if asked is not None and not asked.answer.called:
            asked.answer.errback(HTTPError(503, "The process that worked at this is gone", headers=BUSY))
        if self._stopped is None:
            self._next()
        elif not self._workers and not self._stopped.called:
            self._stopped.callback(None)

    def _forget(self, asked: _Asked) -> None:
        if asked in self._waiting:
            self._waiting.remove(asked)
        elif asked.worker is not None and asked.worker.busy is asked:
            self._reactor.callLater(GRACE_S, self._end, asked)

    @staticmethod
    def _end(asked: _Asked) -> None:
        if asked.worker is not None and asked.worker.busy is asked:
            asked.worker.kill()

    def _late(self, asked: _Asked) -> None:
        if not asked.answer.called:
            asked.answer.errback(HTTPError(503, f"No answer within {TIMEOUT_S} seconds", headers=BUSY))
            if asked in self._waiting:
                self._waiting.remove(asked)
            self._end(asked)

    def _let_go(self) -> None:
        self._idle = None
        for worker in list(self._workers):
            worker.end()

    def stopService(self) -> Deferred[None] | None:
        """End the processes."""
        super().stopService()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped
        for asked in list(self._waiting):
            asked.answer.errback(HTTPError(503, "The server stops", headers=BUSY))
        self._waiting.clear()
        if not self._workers:
            return None
        for worker in list(self._workers):
            worker.kill()
        return stopped


def _settle(result: Any, timer: Any) -> Any:
    if timer.active():
        timer.cancel()
    return result


def _error(failed: Failed) -> Exception:
    if failed.kind == "BeforeTheLog":
        return BeforeTheLog(failed.text)
    if failed.kind == "Damaged":
        # The text has the id already.
        return Damaged(failed.event_id, failed.text.partition("damaged: ")[2] or failed.text)
    if failed.unreachable:
        # The store says it loudly enough, if the database is in trouble.
        log.warn("a question to the log found no database: {text}", text=failed.text)
        return HTTPError(503, "The log cannot be read", headers=BUSY)
    log.error("a question to the log failed: {trace}", trace=failed.trace)
    return HTTPError(500, "The log cannot be read" if failed.kind == "ForeignSchema" else "Internal error")
