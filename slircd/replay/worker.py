"""What the server has another process do, because it would hold up the reactor: `python -m slircd.replay.worker`.

It reads one job as a line of JSON on its standard input, answers with one line of JSON on its standard output, and ends.
The input stays open while somebody wants the answer; when it ends the process does, too, so it never outlives a server
that was killed.  Everything it knows it reads from the log; what it writes, a checkpoint, it writes itself, in one
short transaction: "one daemon for each log" is about who gives events their order, and a checkpoint is no event.
"""

from __future__ import annotations

import base64
import os
import sys
import threading
import time
from typing import IO, Any, Final

import msgspec
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from slircd.events import checkpoints
from slircd.events.checkpoints import BeforeHorizon, DamagedBase, Packed
from slircd.events.reader import LogError, LogReader, log_url
from slircd.replay.reconstructor import BeforeTheLog, Damaged, Replayed, StateReconstructor, replay
from slircd.state.model import Channel
from slircd.state.snapshot import digest

NICENESS: Final = 10
BUSY_MS: Final = 10_000
"""How long a checkpoint waits for the daemon's own transactions."""

FAILED: Final = 1
RETENTION_WORKS: Final = "retention works on the log"
"""What a replay says that could not be trusted for that reason."""


class Job(msgspec.Struct, kw_only=True, tag=True):
    """Something to do with the log at `url`."""

    url: str


class Replay(Job, kw_only=True):
    """Replay the log up to the event `until_id`, and say what comes out."""

    until_id: int
    whole: bool = False
    """From the beginning of the log, and not from its newest checkpoint."""
    keep: int = 0
    """Write a checkpoint there, and keep so many; 0 writes none."""
    thin_events: int = 1


class Outcome(msgspec.Struct, kw_only=True):
    """The answer to Replay."""

    digest: str
    events: int
    """How many lay between where it began and where it ended."""
    size: int = 0
    """Bytes of the checkpoint; 0 if none was written."""
    ignored: list[str] = []
    """Checkpoints that could not be used, and why."""


class PastChannel(Job, kw_only=True):
    """A channel as it was at a moment."""

    key: str
    at: str


class Found(msgspec.Struct, kw_only=True):
    """The answer to PastChannel: the channel in MessagePack and base64; None if there was none, or the log began later."""

    channel: str | None

    def decoded(self) -> Channel | None:
        """The channel."""
        return None if self.channel is None else msgspec.msgpack.decode(base64.b64decode(self.channel), type=Channel)


def run(job: Job) -> msgspec.Struct:
    """Do it.  Raises LogError, Damaged, DamagedBase, SQLAlchemyError."""
    if isinstance(job, Replay):
        return _replay(job)
    if isinstance(job, PastChannel):
        return _past_channel(job)
    raise TypeError(f"no such job: {job}")


def _replay(job: Replay) -> Outcome:
    ignored: list[str] = []
    with LogReader(job.url) as reader:
        before = reader.generation()
        start = reader.start(until_id=job.until_id, only_base=job.whole, ignored=ignored)
        into = Replayed(start.state)
        replay(reader.raw_rows(after_id=start.position.id, before_id=job.until_id + 1, for_replay=True), into)
        # What was read while events were removed or rewritten may not fit together.
        if not before.quiet or reader.generation() != before:
            raise LogError(RETENTION_WORKS)
    events = job.until_id - start.position.id
    answer = Outcome(digest=digest(into.state), events=events, ignored=ignored)
    if job.keep and events:
        packed = checkpoints.pack(into.state, job.until_id)
        write_checkpoint(job.url, packed, keep=job.keep, thin_events=job.thin_events)
        answer.size = len(packed.state)
    return answer


def write_checkpoint(url: str, packed: Packed, *, keep: int, thin_events: int) -> None:
    """Write a checkpoint beside a log that a daemon may be writing to, and remove those that are too many by now."""
    engine = writing_engine(url)
    try:
        with engine.begin() as connection:
            checkpoints.write(connection, packed)
        # Reading and writing in one transaction could meet a commit of the daemon between the two.
        with engine.connect() as connection:
            going = checkpoints.superfluous(checkpoints.find(connection), keep, thin_events)
        for event_id in going:
            with engine.begin() as connection:
                checkpoints.remove(connection, [event_id])
    finally:
        engine.dispose()


def writing_engine(url: str) -> Engine:
    """An engine for short transactions beside the daemon's."""
    engine = create_engine(log_url(url))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Without a sync of its own the lock is held for some milliseconds only: what a crash takes with it is made again,
    # and the next commit of the daemon, which syncs, makes it last.
    for pragma in (f"busy_timeout={BUSY_MS}", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _past_channel(job: PastChannel) -> Found:
    with LogReader(job.url) as reader:
        try:
            channel = StateReconstructor(reader).state_at(job.at).channels.get(job.key)
        except BeforeTheLog:
            channel = None
    return Found(channel=None if channel is None else base64.b64encode(msgspec.msgpack.encode(channel)).decode())


# --- the process --------------------------------------------------------------------------------------------------

JOBS: Final = Replay | PastChannel


def main() -> None:
    """Do the job that stands on the standard input."""
    job: Job = msgspec.json.decode(sys.stdin.buffer.readline(), type=JOBS)
    threading.Thread(target=_end_with_parent, args=(sys.stdin.buffer,), daemon=True).start()
    os.nice(NICENESS)
    try:
        answer = run(job)
    except (LogError, Damaged, DamagedBase, BeforeHorizon, SQLAlchemyError) as error:
        print(getattr(error, "orig", None) or error, file=sys.stderr, flush=True)  # noqa: T201  # that is its answer
        os._exit(FAILED)
    sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
    sys.stdout.flush()
    # Not through the interpreter's end: the thread still reads, and a big state would be freed piece by piece.
    os._exit(0)


def _end_with_parent(pipe: IO[bytes]) -> None:
    while pipe.read(4096):
        time.sleep(0)
    os._exit(FAILED)


if __name__ == "__main__":
    main()
