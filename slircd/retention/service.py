"""Retention in the server: it goes by its rules, and does for commands beside it what only it can.

What the rules want is done by a process of its own, the same `slircd events prune` that an operator would run, so that
no turn of the reactor is long.  That process, and every other `slircd events` on this log, asks through the table
`retention_runs`; the server looks there once a second.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import txaio
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

import slircd
from slircd.events import runs
from slircd.events.bus import StoreUnavailable
from slircd.events.codec import decode_event
from slircd.events.reader import log_url
from slircd.events.types import SERVER
from slircd.retention.database import make_engine
from slircd.retention.erasure import Erasure
from slircd.retention.fields import Kind
from slircd.retention.keeper import CannotErase, Finish, Keeper
from slircd.retention.owner import Answer, Begin, Recorded
from slircd.spawn import spawn

if TYPE_CHECKING:
    from slircd.network.server import IRCServer
    from slircd.network.users import Gone

txaio.use_twisted()
log = txaio.make_logger()

LOOK_S: Final = 1.0
"""How often it looks for questions."""
FIRST_S: Final = 60.0
"""How long after the start the rules are looked at for the first time."""
MAX_WORDS: Final = 65_536
CODE: Final = str(Path(slircd.__file__).resolve().parents[1])
"""Where the process finds this very slircd."""


class _Command(ProcessProtocol):
    """One `slircd events` of the server's own."""

    def __init__(self) -> None:
        self.ended: Deferred[tuple[bool, str]] = Deferred()
        self._words = bytearray()

    def outReceived(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        self._words += data[: MAX_WORDS - len(self._words)]

    errReceived = outReceived  # noqa: N815  # Twisted's name

    def processEnded(self, reason: Failure) -> None:  # noqa: N802  # Twisted's name
        words = self._words.decode(errors="replace").strip()
        self.ended.callback((reason.check(ProcessDone) is not None, words))


class Retention(Service):
    """The service `retention`; see the head of this module."""

    def __init__(self, server: IRCServer, url: str, reactor: Any) -> None:
        """`url` is that of the log."""
        self.setName("retention")
        self._server = server
        self._url = log_url(url)
        self._reactor = reactor
        self._engine: Engine | None = None
        self._busy = False
        self._command: _Command | None = None
        self._due_s = 0.0
        self._look = LoopingCall(self._looks)
        self._look.clock = reactor
        self.keeper = Keeper(
            server.bus, reactor, forget_account=server.accounts.forget, erased=lambda erasure: forget(server, erasure)
        )

    def startService(self) -> None:  # noqa: N802  # Twisted's name
        """Look for questions from now on."""
        super().startService()
        self._due_s = self._reactor.seconds() + min(FIRST_S, self._interval_s)
        self._engine = make_engine(self._url)
        self._look.start(LOOK_S, now=False).addErrback(lambda why: log.failure("retention stopped", failure=why))

    def stopService(self) -> Any:  # noqa: N802  # Twisted's name
        """What is under way is safe wherever it ends, so it is ended."""
        super().stopService()
        if self._look.running:
            self._look.stop()
        if self._command is not None:
            transport: Any = self._command.transport
            with suppress(ProcessExitedAlready):
                transport.signalProcess("TERM")
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    @property
    def _interval_s(self) -> float:
        return self._server.config.retention.check_hours * 3600

    def _looks(self) -> None:
        if self._busy:
            return
        self._busy = True
        ensureDeferred(self._serve()).addErrback(lambda why: log.failure("retention failed", failure=why))
        if self._command is None and self._reactor.seconds() >= self._due_s:
            self._due_s = self._reactor.seconds() + self._interval_s
            if not self._server.config.retention.keeps_everything:
                ensureDeferred(self._go_by_the_rules()).addErrback(
                    lambda why: log.failure("pruning failed", failure=why)
                )

    # --- the rules ------------------------------------------------------------------------------------------------

    async def _go_by_the_rules(self) -> None:
        self._command = command = _Command()
        path = os.pathsep.join(filter(None, (CODE, os.environ.get("PYTHONPATH"))))
        arguments = [sys.executable, "-P", "-m", "slircd.retention", "events", "prune", "--by", SERVER]
        arguments += self._config_file()
        spawn(self._reactor, command, sys.executable, arguments, {**os.environ, "PYTHONPATH": path})
        done, words = await command.ended
        self._command = None
        if not self.running:
            return
        for line in words.splitlines():
            (log.info if done else log.error)("retention: {line}", line=line)

    def _config_file(self) -> list[str]:
        return ["--config", self._server.config_file] if Path(self._server.config_file).exists() else []

    # --- questions ------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            asked = await deferToThread(self._take)
            if asked is not None:
                answer = await self._answer(asked)
                await deferToThread(self._tell, asked.run, msgspec.json.encode(answer).decode())
        except SQLAlchemyError as error:
            # The store says it loudly enough; whoever asked goes on waiting for a while.
            log.debug("retention: {error}", error=str(error))
        finally:
            self._busy = False

    def _take(self) -> runs.Asked | None:
        if self._engine is None:
            return None
        with self._engine.connect() as connection:
            return runs.take(connection)

    def _tell(self, run: int, text: str) -> None:
        if self._engine is not None:
            with self._engine.connect() as connection:
                # The driver begins no transactions by itself here (retention.database).
                runs.answer(connection, run, text)
                connection.commit()

    async def _answer(self, asked: runs.Asked) -> Answer:
        try:
            return Answer(number=await self._do(asked))
        except StoreUnavailable:
            return Answer(refused="the log cannot be written at the moment, try again later")
        except CannotErase as error:
            return Answer(refused=str(error))
        except Exception:
            log.failure("retention: a question could not be answered")
            return Answer(refused="the server could not do it; its own log says why")

    async def _do(self, asked: runs.Asked) -> int:
        decode = msgspec.msgpack.decode
        if asked.ask == runs.BEGIN:
            begin = decode(asked.question, type=Begin)
            log.info("an erasure begins, asked by {actor}", actor=begin.actor)
            return await self.keeper.begin(begin.request, begin.actor)
        if asked.ask == runs.FINISH:
            # Large for somebody who was busy: read in a thread.
            finish = await deferToThread(decode, asked.question, type=Finish)
            events = await self.keeper.finish(finish)
            log.info("somebody is erased, {events} events are rewritten", events=events)
            return events
        recorded = decode(asked.question, type=Recorded)
        event = decode_event(recorded.event_type, recorded.actor, None, recorded.payload)
        return await self.keeper.record(event)


def forget(server: IRCServer, erasure: Erasure) -> None:
    """What the server keeps around its state follows an erasure."""

    def is_meant(gone: Gone) -> bool:
        source = f"{gone.nick}!{gone.username}@{gone.host}"
        return erasure.is_author(source) or erasure.text(Kind.NICK, gone.nick, False) != gone.nick

    server.users.forget_gone(is_meant)
    server.bans.load()
    server.expiries.restart()
