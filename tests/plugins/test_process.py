"""The parent's side of the pipe, against children that do not keep to the protocol; time and transport are the test's."""

from __future__ import annotations

import gc
import unittest
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure

from slircd.plugins.interface import PluginError, PluginFailed, PluginRefused
from slircd.plugins.process import EVENTS_PER_JOB, FRAME_BYTES, FRAMES_PER_TURN, ChildProcess


class FakeProcess:
    """A child's transport: what was written to it, and whether it lives, reads and is read."""

    pid = 4711

    def __init__(self, protocol: ChildProcess) -> None:
        self.protocol = protocol
        self.written: list[bytes] = []
        self.killed = False
        self.paused = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def signalProcess(self, name: str) -> None:
        assert name == "KILL"
        self.killed = True

    def loseConnection(self) -> None:
        pass

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def frames(self) -> list[dict[str, Any]]:
        frames = [msgspec.json.decode(line) for data in self.written for line in data.splitlines()]
        self.written.clear()
        return frames


class Reactor(Clock):
    """A clock that starts fake processes."""

    process: FakeProcess

    def spawnProcess(self, protocol: ChildProcess, executable: str, args: Any, **options: Any) -> None:
        assert options["env"] == {}
        self.process = FakeProcess(protocol)
        protocol.makeConnection(self.process)


class ProcessTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.reactor = Reactor()
        self.ends: list[PluginFailed] = []
        self.printed: list[str] = []
        self.invoked: list[tuple[str, list[Any]]] = []
        self.answer: Any = True
        self.child = ChildProcess(
            self.reactor,
            deadline_s=0.25,
            start_s=2.0,
            queue_events=100,
            memory_bytes=32 << 20,
            invoke=self.invoke,
            output=self.printed.append,
            ended=self.ends.append,
        )
        self.child.start(["python"], {"op": "start"})
        self.process = self.reactor.process
        self.process.written.clear()

    def invoke(self, name: str, arguments: list[Any]) -> Any:
        self.invoked.append((name, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def says(self, **frame: Any) -> None:
        self.child.outReceived(msgspec.json.encode(frame) + b"\n")

    def ready(self) -> None:
        self.says(op="ready", holds=["seccomp"])

    def deliver(self, *events: bytes) -> None:
        self.child.deliver(list(events), sum(map(len, events)))

    def job(self) -> tuple[int, list[Any]]:
        """Give it a job, which it has now; its number, and what becomes of it."""
        results: list[Any] = []
        self.child.run({"op": "call", "handler": 1}, 0.25).addBoth(results.append)
        return self.process.frames()[-1]["id"], results

    def assertKilled(self, kind: str, text: str) -> None:
        self.assertTrue(self.process.killed)
        self.child.processEnded(Failure(ProcessTerminated(signal=9)))
        [end] = self.ends
        self.assertEqual((end.kind, end.fatal), (kind, True))
        self.assertRegex(end.text, text)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Protocol(ProcessTestCase):
    """What is no frame, or none that may come now, is the end."""

    def test_nonsense(self) -> None:
        """Each of these ends the child, whatever it was doing."""
        for data in (
            b"nonsense\n",
            b"[]\n",
            b"1\n",
            b"{}\n",
            b'{"op":"nope"}\n',
            b'{"op":{}}\n',
            b"\xff\xfe\n",
            b'{"op":"print"}\n',
            b'{"op":"print","text":"\xff"}\n',
            b'{"op":"print","text":1}\n',
            b'{"op":"ready","holds":[]}\n',
            b'{"op":"done","id":1,"memory":0}\n',
            b'{"op":"done","id":true}\n',
            b'{"op":"alive","id":1}\n',
            b'{"op":"api","id":1,"name":"get_user","args":["x"]}\n',
            b"[" * 20000 + b"\n",
        ):
            with self.subTest(data=data[:50]):
                self.setUp()
                self.ready()
                self.child.outReceived(data)
                self.assertKilled("protocol", "it |what it wrote|a frame|a job")
                self.assertEqual(self.invoked, [])

    def test_gigantic_frames(self) -> None:
        """A frame of more than 64 KiB is the end, complete or not; it is not kept until it is."""
        for data in (b"x" * (FRAME_BYTES + 1), b'{"op":"print","text":"' + b"x" * FRAME_BYTES + b'"}\n'):
            self.setUp()
            self.ready()
            for start in range(0, len(data), 30_000):
                self.child.outReceived(data[start : start + 30_000])
            self.assertKilled("protocol", "more than 65536 bytes")

    def test_wrong_arguments_of_a_call(self) -> None:
        """A call whose parts are of the wrong sort."""
        for frame in (
            {"op": "api", "id": "1", "name": "x", "args": []},
            {"op": "api", "id": 1, "name": 1, "args": []},
            {"op": "api", "id": 1, "name": "x", "args": {}},
        ):
            self.setUp()
            self.ready()
            self.job()
            self.says(**frame)
            self.assertKilled("protocol", "without a proper")

    def test_two_calls_at_once(self) -> None:
        """A child that does not wait for a reply, or is done without it."""
        for second in ({"op": "api", "id": 2, "name": "x", "args": []}, {"op": "done", "memory": 1}):
            self.setUp()
            self.ready()
            number, _ = self.job()
            self.answer = Deferred()
            self.says(op="api", id=1, name="x", args=[])
            self.says(**{"id": number, **second})
            self.assertKilled("protocol", "it |what it wrote|a frame|a job")


class Jobs(ProcessTestCase):
    """Jobs, one at a time."""

    def test_one_at_a_time(self) -> None:
        """The second job is sent when the first is done; events of one moment go together."""
        self.ready()
        number, first = self.job()
        second: list[Any] = []
        self.child.run({"op": "call", "handler": 2}, 0.25).addBoth(second.append)
        for _ in range(3):
            self.deliver(b'{"type":"user.connect"}')
        self.assertEqual(self.process.frames(), [])
        self.says(op="done", id=number, memory=1000)
        self.assertEqual(first[0]["memory"], 1000)
        self.assertEqual(self.child.memory_bytes, 1000)
        [frame] = self.process.frames()
        self.says(op="done", id=frame["id"], memory=1, error="x.lua:1: no")
        self.assertEqual((second[0].value.kind, second[0].value.fatal), ("error", False))
        [frame] = self.process.frames()
        self.assertEqual((frame["op"], len(frame["events"])), ("events", 3))

    def test_many_events(self) -> None:
        """Events go in jobs of many, and not of more than that."""
        self.ready()
        self.deliver(*[b'{"type":"user.connect"}'] * 90)
        [frame] = self.process.frames()
        self.assertEqual(len(frame["events"]), 90)
        for _ in range(3):
            self.deliver(*[b'{"type":"user.connect"}'] * 30)
        self.says(op="done", id=frame["id"], memory=1)
        [frame] = self.process.frames()
        self.assertEqual(len(frame["events"]), 90)
        self.assertGreater(EVENTS_PER_JOB, 90)

    def test_replies(self) -> None:
        """Values, refusals, errors, and our own bugs, which are told without details."""
        self.ready()
        self.job()
        answers: list[tuple[Any, str, Any]] = [
            ({"nick": "ann"}, "ok", {"nick": "ann"}),
            (PluginRefused("not now"), "refused", "not now"),
            (PluginError("wrong"), "error", "wrong"),
            (RuntimeError("secret"), "error", "the server failed at this call"),
        ]
        for number, (answer, outcome, value) in enumerate(answers, 1):
            self.answer = answer
            self.says(op="api", id=number, name="get_user", args=["x"])
            [reply] = self.process.frames()
            self.assertEqual(reply, {"op": "reply", "id": number, "outcome": outcome, "value": value})

    def test_short_of_memory(self) -> None:
        """A plugin that ran out of memory is ended, also if it caught the error."""
        self.ready()
        number, result = self.job()
        self.says(op="done", id=number, memory=1, short=True)
        self.assertEqual(result[0].value.kind, "memory")
        self.assertKilled("memory", "more than 32 MB")


class Deadlines(ProcessTestCase):
    """Nobody waits longer than the deadline."""

    def test_start(self) -> None:
        """A child that does not say that it is ready."""
        failures: list[Any] = []
        self.child.ready.addErrback(failures.append)
        self.reactor.advance(1.9)
        self.assertFalse(self.process.killed)
        self.reactor.advance(0.2)
        self.assertKilled("timeout", "did not start within 2 s")
        self.assertEqual(failures[0].value.kind, "timeout")

    def test_a_child_that_stops_reading(self) -> None:
        """What waits for it is bounded, and its call is over at the deadline; everybody who waits is told."""
        self.ready()
        _, result = self.job()
        waiting: list[Any] = []
        self.child.run({"op": "call"}, 0.25).addBoth(waiting.append)
        for _ in range(20):
            self.deliver(b'{"type":"user.connect"}')
        self.assertEqual(self.process.frames(), [])
        self.reactor.advance(0.26)
        self.assertKilled("timeout", "longer than 250 ms")
        self.assertEqual(result[0].value.kind, "timeout")
        self.assertEqual(waiting[0].value.kind, "timeout")

    def test_time_of_the_server_does_not_count(self) -> None:
        """While the child waits for a reply its deadline stands still."""
        self.ready()
        number, result = self.job()
        self.reactor.advance(0.2)
        self.answer = Deferred()
        self.says(op="api", id=1, name="x", args=[])
        self.reactor.advance(60)
        self.answer.callback(1)
        self.reactor.advance(0.04)
        self.assertFalse(self.process.killed)
        self.says(op="done", id=number, memory=1)
        self.assertEqual(result[0]["op"], "done")
        self.reactor.advance(60)
        self.assertFalse(self.process.killed)
        self.job()
        self.reactor.advance(0.3)
        self.assertTrue(self.process.killed)

    def test_many_slow_events(self) -> None:
        """A batch of events may take longer than one call, as long as each of them does not."""
        self.ready()
        self.deliver(b'{"type":"a"}', b'{"type":"a"}')
        number = self.process.frames()[-1]["id"]
        for _ in range(5):
            self.reactor.advance(0.2)
            self.says(op="alive", id=number)
        self.assertFalse(self.process.killed)
        self.reactor.advance(0.26)
        self.assertKilled("timeout", "250 ms")

    def test_nobody_waits_for_a_batch(self) -> None:
        """A child that is killed over a batch of events leaves no "Unhandled error in Deferred" in the server's log."""
        said: list[Any] = []
        globalLogPublisher.addObserver(said.append)
        self.addCleanup(globalLogPublisher.removeObserver, said.append)
        self.ready()
        self.deliver(b'{"type":"a"}')
        self.reactor.advance(0.26)
        self.assertKilled("timeout", "250 ms")
        self.process.protocol = self.child = None  # type: ignore[assignment]
        gc.collect()
        self.assertEqual([event for event in said if event.get("log_level") is LogLevel.critical], [])

    def test_one_call_cannot_go_on(self) -> None:
        """`alive` is for batches only."""
        self.ready()
        number, _ = self.job()
        self.says(op="alive", id=number)
        self.assertKilled("protocol", "goes on")


class Floods(ProcessTestCase):
    """Neither side can flood the other."""

    def test_events_that_nobody_takes(self) -> None:
        """More events than may wait end the child."""
        self.ready()
        self.job()
        for _ in range(101):
            self.deliver(b'{"type":"user.connect"}')
        self.assertKilled("overflow", "101 events")
        self.deliver(b"{}")

    def test_large_events_that_nobody_takes(self) -> None:
        """So do few events of many bytes."""
        self.ready()
        self.job()
        for _ in range(90):
            self.deliver(b"x" * 100_000)
        self.assertKilled("overflow", "bytes")

    def test_frames_in_one_turn(self) -> None:
        """A turn of the reactor takes a few frames; the rest waits, and nothing more is read until it is taken."""
        self.ready()
        self.job()
        frame = b'{"op":"print","text":"flood"}\n'
        self.child.outReceived(frame * 100)
        self.assertEqual(len(self.printed), FRAMES_PER_TURN)
        self.assertTrue(self.process.paused)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 2)
        self.reactor.advance(0)
        self.assertEqual(len(self.printed), 100)
        self.assertFalse(self.process.paused)

    def test_errors_are_cut(self) -> None:
        """Of what it writes to stderr the end is kept, for the report."""
        self.ready()
        for _ in range(1000):
            self.child.errReceived(b"x" * 1000)
        self.child.errReceived(b"\nRuntimeError: it broke\n")
        self.child.processEnded(Failure(ProcessTerminated(exitCode=1)))
        [end] = self.ends
        self.assertEqual(end.text, "it ended with status 1: RuntimeError: it broke")


@pytest.mark.parametrize(
    ("reason", "kind", "text"),
    [
        (ProcessDone(0), "exit", "status 0"),
        (ProcessTerminated(signal=31), "exit", "a system call that it may not make"),
        (ProcessTerminated(signal=27), "timeout", "too much time"),
        (ProcessTerminated(signal=11), "exit", "signal 11"),
    ],
)
def test_ends(reason: Exception, kind: str, text: str) -> None:
    """How a child ended by itself, in words."""
    case = Protocol()
    case.setUp()
    case.ready()
    case.child.processEnded(Failure(reason))
    [end] = case.ends
    assert end.kind == kind
    assert text in end.text
    late: list[Any] = []
    case.child.run({"op": "call"}, 0.25).addBoth(late.append)
    assert late[0].value is end
