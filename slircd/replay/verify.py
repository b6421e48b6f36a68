"""The proof, on an operator's own log, that it says one thing: however it is replayed, the same state comes out.

The log is replayed twice: once from its beginning (the empty state, or its base), comparing with the digest of every
checkpoint on the way; once more from each checkpoint to the next, comparing with the digests of the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal

import msgspec

from slircd.events.checkpoints import Checkpoint, DamagedBase, DamagedCheckpoint
from slircd.events.reader import LogReader
from slircd.replay.reconstructor import Replayed, replay
from slircd.state.model import ServerState
from slircd.state.snapshot import SNAPSHOT_VERSION, digest

Verdict = Literal["good", "stale", "damaged", "wrong"]
Watch = Callable[[str], AbstractContextManager[Callable[[int], None] | None]]


class CheckedCheckpoint(msgspec.Struct, kw_only=True):
    """A checkpoint: good; stale (of another snapshot version, so ignored); damaged; or wrong: the log says otherwise."""

    event_id: int
    timestamp: str
    kind: str
    digest: str
    verdict: Verdict
    reason: str | None = None


class Verification(msgspec.Struct, kw_only=True):
    """What a log was found to be."""

    version: int = 1
    first_id: int
    last_id: int
    events: int
    """How many events there are."""
    digest: str
    checkpoints: list[CheckedCheckpoint]
    skipped: list[int]
    """Damaged events, where these were to be skipped."""
    verified: bool
    reasons: list[str]
    """Why not."""


class OutOfOrder(Exception):
    """Sequence or timestamp of an event do not rise; the text names it."""

    def __init__(self, event_id: int) -> None:
        super().__init__(f"event {event_id} is out of order")


def verify(reader: LogReader, *, skip_damaged: bool = False, watch: Watch) -> Verification:
    """Replay the log twice.  `watch` gives a context, and what is to be told of ids, for each time.

    Raises OutOfOrder, Damaged (unless `skip_damaged`) and DamagedBase.
    """
    return _Verifier(reader, skip_damaged, watch).run()


class _Verifier:
    def __init__(self, reader: LogReader, skip_damaged: bool, watch: Watch) -> None:
        self._reader = reader
        self._skip_damaged = skip_damaged
        self._watch = watch
        self._last_id = reader.head().id
        self._events = 0
        self._skipped: list[int] = []
        self._reasons: list[str] = []
        self._checked: list[CheckedCheckpoint] = []

    def run(self) -> Verification:
        """Both times."""
        known = [each for each in self._reader.checkpoints() if each.is_base or each.event_id <= self._last_id]
        base = next((each for each in known if each.is_base), None)
        points = [each for each in known if not each.is_base and (base is None or each.event_id > base.event_id)]
        with self._watch("from the beginning") as each:
            digests = self._from_the_beginning(base, points, each)
        with self._watch("from checkpoint to checkpoint") as each:
            end = self._in_slices(base, points, digests, each)
        if end != digests[-1]:
            self._reasons.append(f"two replays differ: {digests[-1]} and {end}")
        return Verification(
            first_id=self._reader.first().id,
            last_id=self._last_id,
            events=self._events,
            digest=digests[-1],
            checkpoints=self._checked,
            skipped=self._skipped,
            verified=not self._reasons,
            reasons=self._reasons,
        )

    def _from_the_beginning(
        self, base: Checkpoint | None, points: list[Checkpoint], each: Callable[[int], None] | None
    ) -> list[str]:
        """The digests at each checkpoint, and at the end."""
        into = Replayed(self._begin(base))
        if base is not None:
            self._check(base, digest(into.state))
        rows = self._in_order(self._reader.raw_rows(after_id=base.event_id if base is not None else 0, for_replay=True))
        digests: list[str] = []
        pending: list[tuple[Any, ...]] = []
        for point in [*points, None]:
            until_id = self._last_id if point is None else point.event_id
            _, skipped = replay(_until(rows, pending, until_id), into, skip_damaged=self._skip_damaged, each=each)
            self._skipped.extend(skipped)
            digests.append(digest(into.state))
            if point is not None:
                self._check(point, digests[-1])
        return digests

    def _begin(self, base: Checkpoint | None) -> ServerState:
        return ServerState() if base is None else self._reader.load(base)

    def _in_slices(
        self,
        base: Checkpoint | None,
        points: list[Checkpoint],
        digests: list[str],
        each: Callable[[int], None] | None,
    ) -> str:
        """The digest at the end, where each checkpoint that can be used was the beginning of the next slice."""
        into = Replayed(self._begin(base))
        after_id = base.event_id if base is not None else 0
        ends = [*(point.event_id for point in points), self._last_id]
        for index, end in enumerate(ends):
            rows = self._reader.raw_rows(after_id=after_id, before_id=end + 1, for_replay=True)
            replay(rows, into, skip_damaged=self._skip_damaged, each=each)
            after_id = end
            if digest(into.state) != digests[index]:
                self._reasons.append(f"two replays differ at event {end}")
            if index < len(points):
                into = Replayed(self._loaded(points[index]) or into.state)
        return digest(into.state)

    def _loaded(self, point: Checkpoint) -> ServerState | None:
        try:
            return self._reader.load(point)
        except DamagedBase:
            raise
        except DamagedCheckpoint as error:
            checked = next(each for each in self._checked if each.event_id == point.event_id)
            if checked.verdict == "good":
                checked.verdict, checked.reason = "damaged", str(error)
                self._reasons.append(str(error))
            return None

    def _check(self, point: Checkpoint, found: str) -> None:
        verdict: Verdict = "good"
        reason = None
        if not point.is_base and point.version != SNAPSHOT_VERSION:
            verdict, reason = "stale", f"snapshot version {point.version}, this slircd writes {SNAPSHOT_VERSION}"
        elif point.digest != found and point.version == SNAPSHOT_VERSION:
            verdict, reason = "wrong", f"its digest is {point.digest}, the log makes {found}"
            self._reasons.append(f"the {point.kind} at event {point.event_id} is wrong: {reason}")
        self._checked.append(
            CheckedCheckpoint(
                event_id=point.event_id,
                timestamp=point.timestamp,
                kind=point.kind,
                digest=point.digest,
                verdict=verdict,
                reason=reason,
            )
        )

    def _in_order(self, rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The rows, as long as sequence and timestamp rise."""
        sequence, timestamp = 0, ""
        for row in rows:
            try:
                in_order = row[2] > sequence and row[1] >= timestamp
            except TypeError:  # SQLite keeps whatever it is given, in any column
                in_order = False
            if not in_order:
                raise OutOfOrder(row[0])
            sequence, timestamp = row[2], row[1]
            self._events += 1
            yield row


def _until(rows: Iterator[tuple[Any, ...]], pending: list[tuple[Any, ...]], last_id: int) -> Iterator[tuple[Any, ...]]:
    """The rows up to an id; the first one behind it waits in `pending` for the next call."""
    while True:
        row = pending.pop() if pending else next(rows, None)
        if row is None:
            return
        if row[0] > last_id:
            pending.append(row)
            return
        yield row
