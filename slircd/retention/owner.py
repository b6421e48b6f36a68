"""Whoever owns the log: the running server, which is asked through the table `retention_runs`, or we ourselves."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol, TypeVar
from uuid import uuid4

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from slircd.events import runs
from slircd.events import types as ev
from slircd.events.bus import ClockBehindLog, EventBus, Record
from slircd.events.codec import encode_payload
from slircd.events.migrate import SchemaError
from slircd.events.reader import LogError
from slircd.events.store import SQLStore, StoreError
from slircd.retention.database import Workplace
from slircd.retention.erasure import Request
from slircd.retention.keeper import Finish, Keeper
from slircd.state.model import ServerState

PATIENCE_S: Final = 120.0
"""How long an answer of the server may take."""
POLL_S: Final = 0.05

T = TypeVar("T")


class NoAnswer(LogError):
    """The owner of the log refused, failed, or said nothing; the text says why."""


class Begin(msgspec.Struct):
    """The question of `begin`."""

    request: Request
    actor: str


class Recorded(msgspec.Struct):
    """The question of `record`."""

    event_type: str
    payload: str
    actor: str


class Answer(msgspec.Struct):
    """What the owner answers."""

    number: int = 0
    refused: str = ""


class Owner(Protocol):
    """Does what only the owner of the log can; each raises NoAnswer."""

    def begin(self, run: int, request: Request, actor: str) -> int:
        """Keeper.begin."""

    def finish(self, run: int, finish: Finish) -> int:
        """Keeper.finish."""

    def record(self, run: int, event: ev.Event) -> int:
        """Keeper.record."""

    def close(self) -> None:
        """Let go of the log."""

    @property
    def is_server(self) -> bool:
        """Whether a server goes on writing meanwhile."""


def find_owner(place: Workplace) -> Owner:
    """The server that holds the log, or, where none does, this process, which then holds it."""
    try:
        return Ourselves(place)
    except StoreError as error:
        if "in use" not in str(error):
            raise NoAnswer(str(error)) from None
        return Server(place)
    except (SchemaError, ClockBehindLog) as error:
        raise NoAnswer(str(error)) from None


class Server:
    """A running server."""

    is_server = True

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def begin(self, run: int, request: Request, actor: str) -> int:
        """Keeper.begin."""
        return self._ask(run, runs.BEGIN, Begin(request, actor))

    def finish(self, run: int, finish: Finish) -> int:
        """Keeper.finish."""
        return self._ask(run, runs.FINISH, finish)

    def record(self, run: int, event: ev.Event) -> int:
        """Keeper.record."""
        return self._ask(run, runs.RECORD, Recorded(event.event_type, encode_payload(event), event.actor_uid or ""))

    def close(self) -> None:
        """Nothing is held."""

    def _ask(self, run: int, what: str, question: msgspec.Struct) -> int:
        with self._place.changing() as connection:
            runs.ask(connection, run, what, msgspec.msgpack.encode(question))
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            with self._place.reading() as connection:
                text = runs.answer_of(connection, run)
            if text:
                answer = msgspec.json.decode(text, type=Answer)
                if answer.refused:
                    raise NoAnswer(answer.refused)
                return answer.number
        raise NoAnswer(f"the server that holds this log did not answer within {PATIENCE_S:.0f} seconds")


class Ourselves:
    """This process, where no server runs: it holds the lock of the log, replays it, and writes."""

    is_server = False

    def __init__(self, place: Workplace) -> None:
        """Raises StoreError if a server holds the log."""
        self._calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = queue.SimpleQueue()
        self._store = SQLStore(
            place.url.render_as_string(hide_password=False),
            call_in_reactor=lambda function, *arguments: self._calls.put((function, arguments)),
            seconds=time.time,
        )
        self._store.open()
        try:
            bus = EventBus(
                ServerState(),
                self._store,
                reactor=_RealTime(),  # type: ignore[arg-type]  # of a reactor's time the bus wants to know only now
                session_id=uuid4().hex,
                gate=_NoGate(),
                renderer=_show_nobody,
            )
            bus.recover()
        except BaseException:
            self._store.close()
            raise
        self._keeper = Keeper(bus)

    def begin(self, run: int, request: Request, actor: str) -> int:
        """Keeper.begin."""
        return self._wait(self._keeper.begin(request, actor))

    def finish(self, run: int, finish: Finish) -> int:
        """Keeper.finish."""
        return self._wait(self._keeper.finish(finish))

    def record(self, run: int, event: ev.Event) -> int:
        """Keeper.record."""
        return self._wait(self._keeper.record(event))

    def close(self) -> None:
        """Let go of the log."""
        self._store.close()

    def _wait(self, work: Coroutine[Any, Any, T] | Deferred[T]) -> T:
        """Run what the writer's thread asks for, until the work is done."""
        found: list[T] = []
        failed: list[Failure] = []
        ensureDeferred(work).addCallbacks(found.append, failed.append)
        while not found and not failed:
            try:
                function, arguments = self._calls.get(timeout=PATIENCE_S)
            except queue.Empty:
                raise NoAnswer("the database does not answer") from None
            function(*arguments)
        if failed:
            raise NoAnswer(failed[0].getErrorMessage() or repr(failed[0].value))
        return found[0]


class _RealTime:
    @staticmethod
    def seconds() -> float:
        return time.time()


class _NoGate:
    def applied(self, sequence: int) -> None:
        """There is no output."""

    def committed(self, sequence: int) -> None:
        """There is no output."""


def _show_nobody(records: Sequence[Record], origin: object) -> None:
    """There are no clients."""
