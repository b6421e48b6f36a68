"""The parent's side of a plugin's process: frames, one job at a time, deadlines, and the kill.

Rules that hold here.  The child has one job at a time; what comes meanwhile waits in a queue that is bounded, and a
child that lets it overflow is killed.  Events that wait go many in one frame.  Each job has a deadline,
which stands still while the child waits for the server.  Whatever is not a frame that is expected now is the end of the
child.  Few frames are taken in one turn of the reactor, so that a child that floods the pipe waits for the server, and
never the other way round.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
import txaio
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from slircd.plugins.functions import FUNCTIONS
from slircd.plugins.interface import CallContext, PluginError, PluginFailed, PluginRefused

txaio.use_twisted()
log = txaio.make_logger()

FRAME_BYTES: Final = 65_536
"""Bytes of a frame of the child; a longer one is its end."""

FRAMES_PER_TURN: Final = 16
EVENTS_PER_JOB: Final = 256

QUEUE_BYTES: Final = 8 << 20
STDERR_BYTES: Final = 2000
LUA: Final = Path(__file__).with_name("lua")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Job:
    """Something that the child is to do: a frame of its own."""

    __slots__ = ("context", "deadline_s", "done", "fields", "started")

    def __init__(self, fields: dict[str, Any], deadline_s: float, context: CallContext | None = None) -> None:
        self.fields = fields
        self.deadline_s = deadline_s
        self.context = context
        self.started = 0.0
        self.done: Deferred[dict[str, Any]] = Deferred()


def command(memory_bytes: int, cpu_s: float) -> list[str]:
    """How a child is started: an interpreter without site-packages, which finds only slircd and lupa."""
    spec = find_spec("lupa")
    if spec is None or spec.origin is None:
        raise PluginFailed("load", "the library lupa is not installed", fatal=True)
    folders = os.pathsep.join([str(Path(__file__).resolve().parents[2]), str(Path(spec.origin).parents[1])])
    return [sys.executable, "-I", "-S", "-B", str(LUA / "child.py"), folders, str(memory_bytes), str(cpu_s)]


class ChildProcess(ProcessProtocol):
    """One child.

    `invoke` is called with the name and arguments of each call of the API; `output` with what the plugin prints;
    `ended` once, with why, when the child is gone.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        deadline_s: float,
        start_s: float,
        queue_events: int,
        memory_bytes: int,
        invoke: Callable[[str, list[Any]], Any],
        output: Callable[[str], None],
        ended: Callable[[PluginFailed], None],
    ) -> None:
        self.transport: Any = None
        self.deadline_s = deadline_s
        self.start_s = start_s
        self.memory_bytes = 0
        """What Lua used at the end of the last job."""
        self.holds: list[str] = []
        """What confines the child on this system."""
        self.started_s: float | None = None
        """Seconds from the start of the process until it was ready."""
        self.call: tuple[int, CallContext] | None = None
        self.job_done: Callable[[float, dict[str, Any], dict[str, Any]], None] = lambda seconds, job, done: None
        """Told of each job that is done: how long it took, what it was, and what the child says of it."""
        self.pid: int | None = None
        self.ready: Deferred[None] = Deferred()
        self._reactor = reactor
        self._queue_events = queue_events
        self._memory_limit = memory_bytes
        self._invoke = invoke
        self._output = output
        self._ended = ended
        self._queue: deque[Job | list[bytes]] = deque()
        self._waiting_events = 0
        self._waiting_bytes = 0
        self._job: Job | None = None
        self._ids = 0
        self._buffer = bytearray()
        self._frames: deque[bytes] = deque()
        self._paused = False
        self._working = False
        self._replying = False
        self._errors = b""
        self._why: PluginFailed | None = None
        self._gone = False
        self._deadline_at: float | None = None
        self._timer: IDelayedCall | None = None
        self._spawned_at = 0.0

    # --- start and end --------------------------------------------------------------------------------------------

    def start(self, argv: list[str], first: dict[str, Any]) -> None:
        """Start the process and give it its first frame."""
        self._spawned_at = self._reactor.seconds()
        self._reactor.spawnProcess(self, argv[0], argv, env={}, path=None)
        self.pid = self.transport.pid
        self._set_deadline(self.start_s)
        self._write(_encode(first) + b"\n")

    def kill(self, why: PluginFailed) -> None:
        """End the child at once; `ended` will be told why."""
        if self._why is None:
            self._why = why
        if not self._gone:
            self._stop_timers()
            self._frames.clear()
            try:
                self.transport.signalProcess("KILL")
            except Exception as error:
                # It is gone already: the reactor will say so.
                log.debug("kill: {error}", error=error)
            # What is in its pipes is of no interest, and what is on its way to it must not stay.
            self.transport.loseConnection()

    @property
    def is_dying(self) -> bool:
        """Whether the child is killed or gone."""
        return self._gone or self._why is not None

    def processEnded(self, reason: Failure) -> None:  # noqa: N802  # Twisted's name
        """The child is gone."""
        if self._gone:
            return
        self._gone = True
        self._stop_timers()
        why = self._why or self._exit(reason)
        self._why = why
        job, self._job = self._job, None
        waiting = [item for item in self._queue if isinstance(item, Job)]
        self._queue.clear()
        self._frames.clear()
        ready, self.ready = self.ready, Deferred()
        if not ready.called:
            ready.errback(why)
        for each in [*([job] if job is not None else []), *waiting]:
            each.done.errback(why)
        self._ended(why)

    def _exit(self, reason: Failure) -> PluginFailed:
        error = reason.value
        text = self._errors.decode("utf-8", "replace").strip().splitlines()
        last = f": {text[-1][:200]}" if text else ""
        if isinstance(error, ProcessTerminated) and error.signal is not None:
            names = {27: "it used too much time", 31: "it made a system call that it may not make", 9: "it was killed"}
            kind = "timeout" if error.signal == 27 else "exit"
            return PluginFailed(
                kind, names.get(error.signal, f"it ended with signal {error.signal}") + last, fatal=True
            )
        status = 0 if isinstance(error, ProcessDone) else getattr(error, "exitCode", "?")
        return PluginFailed("exit", f"it ended with status {status}{last}", fatal=True)

    def _stop_timers(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._deadline_at = None

    # --- deadlines ------------------------------------------------------------------------------------------------

    def _set_deadline(self, seconds: float | None) -> None:
        """Give the child until then; None: it owes nothing.  One timer is moved only when it is met."""
        if seconds is None:
            self._deadline_at = None
            return
        self._deadline_at = self._reactor.seconds() + seconds
        if self._timer is None:
            self._timer = self._reactor.callLater(seconds, self._check_deadline)
        elif self._timer.getTime() > self._deadline_at:
            self._timer.reset(seconds)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._deadline_at is None:
            return
        left = self._deadline_at - self._reactor.seconds()
        if left > 0:
            self._timer = self._reactor.callLater(left, self._check_deadline)
        elif self._job is None:
            self.kill(PluginFailed("timeout", f"it did not start within {self.start_s:g} s", fatal=True))
        else:
            ms = self._job.deadline_s * 1000
            self.kill(PluginFailed("timeout", f"a call took longer than {ms:.0f} ms", fatal=True))

    # --- jobs -----------------------------------------------------------------------------------------------------

    def run(self, fields: dict[str, Any], deadline_s: float, context: CallContext | None = None) -> Deferred[Any]:
        """Have the child do a job, after those before it.  The Deferred fails with PluginFailed."""
        job = Job(fields, deadline_s, context)
        if self._gone:
            job.done.errback(self._why or PluginFailed("exit", "it is gone", fatal=True))
            return job.done
        self._queue.append(job)
        self._waiting_events += 1
        self._check_queue()
        self._next()
        return job.done

    def deliver(self, events: list[bytes], size: int) -> None:
        """Have the child handle events, of `size` bytes together, in jobs of many."""
        if self.is_dying or not events:
            return
        queue = self._queue
        if queue and isinstance(queue[-1], list):
            queue[-1].extend(events)
        else:
            queue.append(list(events))
        self._waiting_events += len(events)
        self._waiting_bytes += size
        self._check_queue()
        self._next()

    def _check_queue(self) -> None:
        if self._waiting_events > self._queue_events or self._waiting_bytes > QUEUE_BYTES:
            text = f"{self._waiting_events} events ({self._waiting_bytes} bytes) wait for it"
            self.kill(PluginFailed("overflow", text, fatal=True))

    def _next(self) -> None:
        """Start the next job, if the child is free."""
        if self._job is not None or not self._queue or self.is_dying or self.started_s is None:
            return
        self._ids += 1
        item = self._queue[0]
        if isinstance(item, Job):
            self._queue.popleft()
            self._waiting_events -= 1
            job = item
            if job.context is not None:
                self.call = (self._ids, job.context)
            frame = _encode({**job.fields, "id": self._ids, "call": self._ids if job.context is not None else None})
        else:
            events = item[:EVENTS_PER_JOB]
            del item[:EVENTS_PER_JOB]
            if not item:
                self._queue.popleft()
            self._waiting_events -= len(events)
            self._waiting_bytes -= sum(map(len, events))
            job = Job({"op": "events", "count": len(events)}, self.deadline_s)
            # Nobody waits for it; what is wrong with it is told where the child is killed, and by job_done.
            job.done.addErrback(lambda failure: failure.trap(PluginFailed) and None)
            frame = b'{"op":"events","id":%d,"events":[%b]}' % (self._ids, b",".join(events))
        self._job = job
        job.started = self._reactor.seconds()
        self._set_deadline(job.deadline_s)
        self._write(frame + b"\n")

    def _write(self, data: bytes) -> None:
        """Write to the child's pipe: at once where nothing is buffered, which spares the reactor a turn and its calls."""
        pipe = getattr(self.transport, "pipes", {}).get(0)
        if pipe is not None and pipe.connected and not pipe.dataBuffer and not pipe._tempDataBuffer:
            sent = pipe.writeSomeData(data)
            if isinstance(sent, int) and sent >= 0:
                data = data[sent:]
        if data:
            self.transport.write(data)

    # --- what the child says --------------------------------------------------------------------------------------

    def outReceived(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        """Bytes from the child."""
        if self.is_dying:
            return
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        if len(rest) > FRAME_BYTES or any(len(line) > FRAME_BYTES for line in lines):
            self.kill(PluginFailed("protocol", f"a frame of more than {FRAME_BYTES} bytes", fatal=True))
            return
        self._frames.extend(bytes(line) for line in lines)
        self._work()

    def errReceived(self, data: bytes) -> None:  # noqa: N802  # Twisted's name
        """What Python says when it fails in the child; the end of it is kept for the report."""
        self._errors = (self._errors + data)[-STDERR_BYTES:]

    def _work(self) -> None:
        """Take some frames; the rest in later turns, and until then nothing more is read."""
        if self._working:
            return
        for _ in range(FRAMES_PER_TURN):
            if not self._frames or self.is_dying:
                break
            self._take(self._frames.popleft())
        if self._frames and not self.is_dying:
            self._working = True
            if not self._paused:
                self._paused = True
                self.transport.pauseProducing()
            self._reactor.callLater(0, self._again)
        elif self._paused and not self.is_dying:
            self._paused = False
            self.transport.resumeProducing()

    def _again(self) -> None:
        self._working = False
        self._work()

    def _take(self, line: bytes) -> None:
        try:
            frame = _decode(line)
            op = frame["op"]
            handler = self._OPS[op]
        except (
            ValueError,
            RecursionError,
            KeyError,
            TypeError,
        ):  # msgspec's errors and UnicodeDecodeError are ValueErrors
            self.kill(PluginFailed("protocol", "what it wrote is no frame", fatal=True))
            return
        try:
            handler(self, frame)
        except _Unexpected as error:
            self.kill(PluginFailed("protocol", str(error), fatal=True))

    def _take_ready(self, frame: dict[str, Any]) -> None:
        if self.started_s is not None:
            raise _Unexpected("it said twice that it is ready")
        self.started_s = self._reactor.seconds() - self._spawned_at
        self.holds = [str(item) for item in _field(frame, "holds", list)][:10]
        self._set_deadline(None)
        self.ready.callback(None)
        self._next()

    def _take_print(self, frame: dict[str, Any]) -> None:
        self._output(_field(frame, "text", str))

    def _take_alive(self, frame: dict[str, Any]) -> None:
        job = self._current(frame)
        if "count" not in job.fields:
            raise _Unexpected("it goes on with a job that is one call")
        self._set_deadline(job.deadline_s)

    def _take_done(self, frame: dict[str, Any]) -> None:
        job = self._current(frame)
        if self._replying:
            raise _Unexpected("a job is done while the child waits for a reply")
        self._job = None
        self.call = None
        self._set_deadline(None)
        self.memory_bytes = _field(frame, "memory", int)
        self.job_done(self._reactor.seconds() - job.started, job.fields, frame)
        error = frame.get("error")
        if frame.get("short"):
            self.kill(PluginFailed("memory", f"more than {self._memory_limit >> 20} MB of memory", fatal=True))
            job.done.errback(self._why or PluginFailed("memory", "", fatal=True))
        elif error is not None:
            job.done.errback(PluginFailed("timeout" if error == "timeout" else "error", str(error)[:400]))
        else:
            job.done.callback(frame)
        self._next()

    def _current(self, frame: dict[str, Any]) -> Job:
        if self._job is None or frame.get("id") != self._ids:
            raise _Unexpected("it answers what nobody has asked")
        return self._job

    # --- calls of the API -----------------------------------------------------------------------------------------

    def _take_api(self, frame: dict[str, Any]) -> None:
        job = self._job
        if job is None or self._replying:
            raise _Unexpected("it calls the API while it has nothing to do")
        number = _field(frame, "id", int)
        name = _field(frame, "name", str)
        arguments = _field(frame, "args", list)
        # The server's time is not the plugin's.
        left = (self._deadline_at or 0.0) - self._reactor.seconds()
        self._set_deadline(None)
        self._replying = True
        done = maybeDeferred(self._invoke, name, arguments)
        done.addCallbacks(lambda value: ("ok", value), self._refused)
        done.addCallback(self._reply, number, job, max(left, 0.0))
        done.addErrback(lambda failure: log.failure("a reply to a plugin failed", failure=failure))

    def _refused(self, failure: Failure) -> tuple[str, str]:
        error = failure.value
        if isinstance(error, PluginRefused):
            return "refused", str(error)
        if isinstance(error, PluginError):
            return "error", str(error)
        log.failure("a call of a plugin failed", failure=failure)
        return "error", "the server failed at this call"

    def _reply(self, answer: tuple[str, Any], number: int, job: Job, left: float) -> None:
        if self.is_dying or self._job is not job:
            return
        self._replying = False
        outcome, value = answer
        self._set_deadline(left)
        self._write(_encode({"op": "reply", "id": number, "outcome": outcome, "value": value}) + b"\n")

    _OPS: Final = {
        "ready": _take_ready,
        "print": _take_print,
        "alive": _take_alive,
        "done": _take_done,
        "api": _take_api,
    }


class _Unexpected(Exception):
    """A frame that may not come now."""


def _field(frame: dict[str, Any], name: str, kind: type) -> Any:
    value = frame.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _Unexpected(f"a frame without a proper {name!r}")
    return value


def first_frame(deadline_s: float) -> dict[str, Any]:
    """What a child needs before it confines itself."""
    names = [name for name in FUNCTIONS if name not in ("register_event_listener", "reply")]
    prelude = (LUA / "prelude.lua").read_text(encoding="utf-8")
    # The friendly error comes before the kill.
    return {"op": "start", "prelude": prelude, "names": names, "seconds": deadline_s * 0.8}
