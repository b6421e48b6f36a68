"""Questions about the past are answered by other processes: how they are asked, and what becomes of them."""

from __future__ import annotations

import io
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher

from slircd.admin import pool as pool_module
from slircd.admin.answering import Failed, Question, serve
from slircd.admin.errors import HTTPError
from slircd.admin.pool import PastInProcesses
from slircd.admin.replay import blamed, snapshot
from slircd.events.store import SQLStore
from slircd.replay.reconstructor import BeforeTheLog


class FakeProcess:
    """A process that does nothing by itself."""

    pid = 1

    def __init__(self, protocol: Any) -> None:
        self.protocol = protocol
        self.written = b""
        self.killed = False
        protocol.transport = self

    def write(self, data: bytes) -> None:
        self.written += data

    def signalProcess(self, name: str) -> None:
        self.killed = True
        self.protocol.processEnded(None)

    def closeStdin(self) -> None:
        self.protocol.processEnded(None)

    def answers(self, body: bytes, pieces: int = 1) -> None:
        """Send a frame, in so many pieces."""
        frame = len(body).to_bytes(4, "big") + body
        size = -(-len(frame) // pieces)
        for start in range(0, len(frame), size):
            self.protocol.outReceived(frame[start : start + size])

    @property
    def question(self) -> Question:
        return msgspec.json.decode(self.written[4:], type=Question)


class Spawning(Clock):
    """A clock that starts fake processes."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[FakeProcess] = []

    def spawnProcess(self, protocol: Any, *_: Any, **__: Any) -> None:
        self.processes.append(FakeProcess(protocol))


class Pool(unittest.TestCase):
    def setUp(self) -> None:
        self.reactor = Spawning()
        self.past = PastInProcesses("log.db", self.reactor)
        self.got: list[Any] = []

    def ask(self, question: Any = snapshot, **arguments: Any) -> Any:
        asked = self.past.ask(question, **arguments)
        asked.addCallbacks(self.got.append, lambda failure: self.got.append(failure.value))
        return asked

    def test_a_database_that_is_away(self) -> None:
        """Whoever asks meanwhile is told to come again; the log of the server gets a line, and no traceback."""
        said: list[Any] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        self.ask(at="x")
        failed = Failed(kind="OperationalError", text="connection refused", trace="Traceback …", unreachable=True)
        self.reactor.processes[0].answers(b"-" + msgspec.json.encode(failed))
        [error] = self.got
        assert isinstance(error, HTTPError)
        self.assertEqual(error.status, 503)
        self.assertIn("Retry-After", error.headers)
        self.assertEqual([event["log_level"] for event in said], [LogLevel.warn])

    def test_a_question(self) -> None:
        """It goes to a process by name, and comes back in whatever pieces."""
        self.ask(at="x")
        [process] = self.reactor.processes
        self.assertEqual((process.question.module, process.question.name), ("slircd.admin.replay", "snapshot"))
        process.answers(b"+" + b"x" * 100_000, pieces=7)
        self.assertEqual(self.got, [b"x" * 100_000])

    def test_at_most_two_work(self) -> None:
        """The rest waits for its turn; too many are refused."""
        for _ in range(5):
            self.ask()
        self.assertEqual(len(self.reactor.processes), 2)
        for _ in range(5):
            next(each for each in self.reactor.processes if each.protocol.busy).answers(b"+a")
        self.assertEqual(self.got, [b"a"] * 5)
        with mock.patch.object(pool_module, "MAX_WAITING", 0):
            self.ask()
        self.assertEqual(self.got[-1].status, 503)

    def test_who_is_gone_wants_no_answer(self) -> None:
        """A question that waits is dropped; the process that goes on working for nobody is ended."""
        working = [self.ask(), self.ask()]
        waiting = self.ask()
        waiting.cancel()
        working[0].cancel()
        self.assertEqual([each.killed for each in self.reactor.processes], [False, False])
        self.reactor.advance(pool_module.GRACE_S)
        self.assertEqual([each.killed for each in self.reactor.processes], [True, False])
        self.ask()
        self.assertEqual(len(self.reactor.processes), 3)

    def test_who_looks_elsewhere_costs_no_process(self) -> None:
        """A question that is given up and done soon leaves its process, with what it remembers, to the next one."""
        self.ask().cancel()
        [process] = self.reactor.processes
        process.answers(b"+late")
        self.ask()
        process.answers(b"+next")
        self.reactor.advance(pool_module.GRACE_S)
        self.assertFalse(process.killed)
        self.assertEqual(self.got[1:], [b"next"])
        self.assertEqual(len(self.reactor.processes), 1)

    def test_a_process_that_dies(self) -> None:
        """Its question is refused, the next one gets another process."""
        self.ask()
        self.reactor.processes[0].protocol.processEnded(None)
        self.assertEqual(self.got[0].status, 503)
        self.ask()
        self.reactor.processes[1].answers(b"+b")
        self.assertEqual(self.got[1], b"b")

    def test_time(self) -> None:
        """A question has an end; so has a process that nobody needs."""
        self.ask()
        self.reactor.advance(pool_module.TIMEOUT_S)
        self.assertEqual(self.got[0].status, 503)
        self.assertTrue(self.reactor.processes[0].killed)
        self.ask()
        self.reactor.processes[1].answers(b"+c")
        self.reactor.advance(pool_module.IDLE_S)
        self.assertTrue(self.reactor.processes[1].protocol.ended)

    def test_what_went_wrong(self) -> None:
        """Errors of the log are themselves, anything else is a bug."""
        for kind, expected in (("BeforeTheLog", BeforeTheLog), ("KeyError", HTTPError)):
            self.ask()
            failed = msgspec.json.encode(Failed(kind=kind, text="x"))
            self.reactor.processes[0].answers(b"-" + failed)
            self.assertIsInstance(self.got[-1], expected)

    def test_stop(self) -> None:
        """No process is left, and nobody waits for ever."""
        for _ in range(3):
            self.ask()
        stopped = self.past.stopService()
        assert stopped is not None
        self.assertTrue(stopped.called)
        self.assertEqual([error.status for error in self.got], [503] * 3)


def test_the_process(tmp_path: Path) -> None:
    """It answers one frame after the other, says what went wrong, and ends with its input."""
    location = f"sqlite:///{tmp_path / 'log.db'}"
    store = SQLStore(location, call_in_reactor=print, seconds=float)
    store.open()
    store.close()
    asked = [
        Question(location=location, module=blamed.__module__, name="blamed", arguments={"name": "#a", "at": None}),
        Question(location=location, module=blamed.__module__, name="nosuch", arguments={}),
        Question(location=str(tmp_path / "none"), module=blamed.__module__, name="blamed", arguments={}),
    ]
    frames = [msgspec.json.encode(each) for each in asked]
    sink = io.BytesIO()
    serve(io.BytesIO(b"".join(len(each).to_bytes(4, "big") + each for each in frames)), sink)
    answers = []
    data = sink.getvalue()
    while data:
        size = int.from_bytes(data[:4], "big")
        answers.append(data[4 : 4 + size])
        data = data[4 + size :]
    assert len(answers) == 3
    assert msgspec.json.decode(answers[1][1:], type=Failed).kind == "AttributeError"
    gone = msgspec.json.decode(answers[2][1:], type=Failed)
    assert (gone.kind, gone.unreachable) == ("NoLog", True)
