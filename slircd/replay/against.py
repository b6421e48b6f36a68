"""What if: would another version of slircd make the same of this log?  `slircd-replay --against NEW`.

Both versions replay the log side by side, the other one in a process of its own Python, and say the digest of their
state at some positions.  Where two differ, both go back to the last position where they were equal and halve the
distance, so ten million events take one replay and a few digests, and the first event that they take differently is
found exactly.  Between the two go lines of JSON; an older slircd that does not know them is told apart.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from slircd.about import version
from slircd.events.checkpoints import DamagedBase
from slircd.events.reader import LogError, LogReader
from slircd.replay.diff import Change, compare_documents
from slircd.replay.document import to_document
from slircd.replay.reconstructor import Damaged, Replayed, replay
from slircd.state.snapshot import DIGEST_VERSION, decode_snapshot, digest, encode_snapshot

STRETCHES: Final = 64
"""Into how many stretches a log is cut at first."""
SHOWN_CHANGES: Final = 50
MODULE: Final = "slircd.replay.against"


class CannotCompare(Exception):
    """There is no other slircd at that place, or it cannot read this log; the text says why."""


class Outcome(msgspec.Struct, kw_only=True):
    """Where a version is: the digest of its state, or the event that it cannot read."""

    digest: str | None = None
    damaged_id: int | None = None
    error: str | None = None


class FirstDifference(msgspec.Struct, kw_only=True):
    """The first event after which the states differ."""

    id: int
    sequence: int
    timestamp: str
    event_type: str
    actor_uid: str | None
    target: str | None
    this: Outcome
    other: Outcome
    changes: list[Change]
    """How the documents differ after it, from this version's to the other's; the first few."""


class Comparison(msgspec.Struct, kw_only=True):
    """Whether two versions make the same of a log."""

    version: int = 1
    this: str
    """Version of this slircd."""
    other: str
    events: int
    """How many events both replayed."""
    equal: bool
    first_difference: FirstDifference | None = None


class Walker:
    """Replays a log up to positions that it is told, and can go back to one that it marked."""

    def __init__(self, location: str) -> None:
        """Raises LogError and DamagedBase."""
        self._reader = LogReader(location).__enter__()
        start = self._reader.start(only_base=True)
        self._state = start.state
        self.at = start.position.id
        self._mark = (self.at, encode_snapshot(self._state))

    def to(self, event_id: int) -> Outcome:
        """Go on up to an event; its outcome."""
        into = Replayed(self._state)
        rows = self._reader.raw_rows(after_id=self.at, before_id=event_id + 1, for_replay=True)
        try:
            replay(rows, into)
        except Damaged as damaged:
            return Outcome(damaged_id=damaged.event_id, error=str(damaged))
        except Exception as bug:
            # A bug of one version is a difference, too; where it is, bisection finds.
            return Outcome(error=repr(bug))
        self.at = event_id
        return Outcome(digest=digest(self._state))

    def mark(self) -> None:
        """This is the place to go back to."""
        self._mark = (self.at, encode_snapshot(self._state))

    def back(self) -> None:
        """Go back to the mark."""
        self.at, document = self._mark
        self._state = decode_snapshot(document)

    def document(self) -> dict[str, Any]:
        """The state as plain values."""
        found: dict[str, Any] = msgspec.to_builtins(to_document(self._state, "", self.at))
        return found

    def close(self) -> None:
        """Let go of the log."""
        self._reader.close()


# --- the other one ------------------------------------------------------------------------------------------------


class OtherWalker:
    """A Walker in another Python."""

    def __init__(self, python: str, location: str) -> None:
        """Raises CannotCompare."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        try:
            self._process = subprocess.Popen(  # noqa: S603  # running it is what the operator asked for
                [python, "-I", "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=kept,
                text=True,
            )
        except OSError as error:
            raise CannotCompare(f"{python} cannot be run: {error.strerror}") from None
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        if stdin is None or stdout is None or stderr is None:
            raise RuntimeError("the process was started without pipes")
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        try:
            hello = self._ask("open", location=location)
        except CannotCompare:
            self.close()
            raise
        self.version = str(hello["slircd"])
        if hello["digest_version"] != DIGEST_VERSION:
            self.close()
            raise CannotCompare(
                f"slircd {self.version} makes its digests differently (version {hello['digest_version']}, "
                f"here {DIGEST_VERSION}): the two cannot be compared"
            )

    def _send(self, what: str, **arguments: Any) -> None:
        # Where it has ended the answer will say why.
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps({"ask": what, **arguments}) + "\n")
            self._stdin.flush()

    def _receive(self) -> Any:
        line = self._stdout.readline()
        if not line:
            words = self._stderr.read().strip().splitlines() or ["without a word"]
            if f"No module named {MODULE}" in words[-1] or "No module named 'slircd" in words[-1]:
                raise CannotCompare("there is no slircd there, or one that is too old to be compared")
            raise CannotCompare(f"the other slircd ended: {words[-1]}")
        answer = json.loads(line)
        if "refused" in answer:
            raise CannotCompare(f"the other slircd cannot read the log: {answer['refused']}")
        return answer["answer"]

    def _ask(self, what: str, **arguments: Any) -> Any:
        self._send(what, **arguments)
        return self._receive()

    def set_out(self, event_id: int) -> None:
        """Go on up to an event, while this process does something else; `arrived` waits for it."""
        self._send("to", event_id=event_id)

    def arrived(self) -> Outcome:
        """The outcome of the way on which it set out."""
        return msgspec.convert(self._receive(), Outcome)

    def mark(self) -> None:
        """This is the place to go back to."""
        self._ask("mark")

    def back(self) -> None:
        """Go back to the mark."""
        self._ask("back")

    def document(self) -> dict[str, Any]:
        """The state as plain values."""
        found: dict[str, Any] = self._ask("document")
        return found

    def close(self) -> None:
        """End the process."""
        for pipe in (self._stdin, self._stdout, self._stderr):
            with suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()


def serve(source: IO[str], sink: IO[str]) -> None:
    """Be the other one: answer questions, one JSON a line, until they end."""
    walker: Walker | None = None
    for line in source:
        question = json.loads(line)
        what = question.pop("ask")
        answer: Any = None
        try:
            if what == "open":
                walker = Walker(question["location"])
                answer = {"slircd": version(), "digest_version": DIGEST_VERSION}
            elif walker is not None:
                answer = msgspec.to_builtins(getattr(walker, what)(**question))
        except (LogError, DamagedBase) as error:
            sink.write(json.dumps({"refused": str(error)}) + "\n")
        else:
            sink.write(json.dumps({"answer": answer}) + "\n")
        sink.flush()
    if walker is not None:
        walker.close()


# --- comparing ----------------------------------------------------------------------------------------------------


def compare(
    location: str,
    reader: LogReader,
    python: str,
    *,
    until: str | None = None,
    each: Callable[[int], None] | None = None,
) -> Comparison:
    """Compare with the slircd of another Python (or environment), up to a moment or the end of the log.

    Raises CannotCompare, and Damaged for an event that neither version can read.
    """
    last_id = reader.head().id if until is None else reader.last_id(until)
    here = Walker(location)
    try:
        there = OtherWalker(interpreter(python), location)
        try:
            first_id = here.at
            found = _first_difference(here, there, last_id, each)
            difference = None if found is None else _described(reader, here, there, found)
            return Comparison(
                this=version(),
                other=there.version,
                events=(last_id if found is None else found) - first_id,
                equal=found is None,
                first_difference=difference,
            )
        finally:
            there.close()
    finally:
        here.close()


def interpreter(path: str) -> str:
    """The Python of an environment, or the Python itself.  Raises CannotCompare."""
    given = Path(path)
    python = given / "bin" / "python" if given.is_dir() else given
    if not python.exists():
        raise CannotCompare(f"{python}: no such file")
    # Not resolved: a Python finds its environment by the path that it is called by.
    return str(python.absolute())


def _first_difference(here: Walker, there: OtherWalker, last_id: int, each: Callable[[int], None] | None) -> int | None:
    """The id of the first event after which the two differ; None if they never do."""
    position = here.at
    step = max((last_id - position) // STRETCHES, 1)
    if not _equal_at(here, there, position):
        raise CannotCompare("the two read the base of the log differently")
    while position < last_id:
        end = min(position + step, last_id)
        if _equal_at(here, there, end):
            position = end
            here.mark()
            there.mark()
            if each is not None:
                each(position)
        else:
            return _bisect(here, there, position, end)
    return None


def _bisect(here: Walker, there: OtherWalker, good: int, bad: int) -> int:
    """The first event in (good, bad] after which the two differ; both have their mark at `good`."""
    while bad - good > 1:
        middle = (good + bad) // 2
        here.back()
        there.back()
        if _equal_at(here, there, middle):
            good = middle
            here.mark()
            there.mark()
        else:
            bad = middle
    return bad


def _both_to(here: Walker, there: OtherWalker, event_id: int) -> tuple[Outcome, Outcome]:
    there.set_out(event_id)
    return here.to(event_id), there.arrived()


def _equal_at(here: Walker, there: OtherWalker, event_id: int) -> bool:
    this, other = _both_to(here, there, event_id)
    if this.damaged_id is not None and this.damaged_id == other.damaged_id:
        raise Damaged(this.damaged_id, f"neither version can read it: {this.error}")
    return this.digest is not None and this.digest == other.digest


def _described(reader: LogReader, here: Walker, there: OtherWalker, event_id: int) -> FirstDifference:
    here.back()
    there.back()
    this, other = _both_to(here, there, event_id)
    row = next(iter(reader.rows(after_id=event_id - 1, before_id=event_id + 1)))
    readable = this.digest is not None and other.digest is not None
    changes = list(compare_documents(here.document(), there.document())) if readable else []
    return FirstDifference(
        id=row.id,
        sequence=row.sequence,
        timestamp=row.timestamp,
        event_type=row.event_type,
        actor_uid=row.actor_uid,
        target=row.target,
        this=this,
        other=other,
        changes=changes[:SHOWN_CHANGES],
    )


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
