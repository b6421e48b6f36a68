"""Checkpoints: the state after some event, kept beside the log, so that replay need not begin at its beginning.

There are two kinds.  A *checkpoint* only saves time: it is made from the log by a process of its own, and one that is
damaged, of another snapshot version, or of another history than the log's is ignored and can be deleted at any time.
The *base* is part of the log: the state at the retention horizon, whose events are gone.  There is at most one; it is
never ignored, and where it cannot be read nothing can be replayed.

The functions take a connection and neither begin nor end a transaction, so a caller can write a base and remove what it
stands for in one.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import zstandard
from sqlalchemy import Connection, delete, func, insert, inspect, select

from slircd.events.interface import Start
from slircd.events.row import Head
from slircd.events.schema import CHECKPOINTS, EVENTS
from slircd.state.model import ServerState
from slircd.state.snapshot import SNAPSHOT_VERSION, SnapshotError, decode_snapshot, digest, encode_snapshot

CHECKPOINT: Final = "checkpoint"
BASE: Final = "base"
LEVEL: Final = 3
"""Zstandard's: the higher ones take three times as long for a tenth less."""
BASE_LEVEL: Final = 1
"""zlib's, likewise."""
ZSTANDARD: Final = zstandard.FRAME_HEADER
"""How a state begins that is packed so; others are zlib's, as all were before, and as the base still is: a checkpoint
that an older slircd cannot read costs it time, a base that it cannot read costs the log."""


class Checkpoint(NamedTuple):
    """What is known of a checkpoint without its state; `size` is the compressed one, in bytes."""

    event_id: int
    sequence: int
    timestamp: str
    kind: str
    version: int
    digest: str
    size: int

    @property
    def is_base(self) -> bool:
        """Whether it is the base, the log's beginning."""
        return self.kind == BASE

    @property
    def position(self) -> Head:
        """The last event in it."""
        return Head(self.event_id, self.sequence, self.timestamp)


class DamagedCheckpoint(Exception):
    """A checkpoint cannot be used; the text says which and why."""


class BeforeHorizon(Exception):
    """The moment lies before the base: its events were removed by retention.  The text names the horizon."""

    def __init__(self, base: Checkpoint) -> None:
        super().__init__(
            f"the log begins at {base.timestamp} (event {base.event_id}): what was before was removed by retention"
        )
        self.base = base


class DamagedBase(DamagedCheckpoint):
    """The base cannot be used, so the log cannot be replayed at all; the text says what to do."""

    def __init__(self, event_id: int, reason: str) -> None:
        super().__init__(
            f"the base of the log, at event {event_id}, is damaged ({reason}): the events before it were removed by "
            "retention, so it cannot be made anew; restore the database from a backup"
        )


def exist(connection: Connection) -> bool:
    """Whether this log has the table; those of old versions have not."""
    return inspect(connection).has_table(CHECKPOINTS.name)


# --- writing ------------------------------------------------------------------------------------------------------


class Packed(NamedTuple):
    """A checkpoint that is ready to be written, so that the transaction which writes it is short."""

    event_id: int
    sequence: int
    timestamp: str
    kind: str
    version: int
    digest: str
    checksum: str
    state: bytes


def pack(state: ServerState, event_id: int, *, kind: str = CHECKPOINT) -> Packed:
    """The checkpoint of `state`, whose last event has the id `event_id`."""
    snapshot = encode_snapshot(state)
    if kind == BASE:
        packed = zlib.compress(snapshot, BASE_LEVEL)
    else:
        packed = zstandard.ZstdCompressor(level=LEVEL).compress(snapshot)
    return Packed(
        event_id=event_id,
        sequence=state.sequence,
        timestamp=state.timestamp,
        kind=kind,
        version=SNAPSHOT_VERSION,
        digest=digest(state),
        checksum=_checksum(packed),
        state=packed,
    )


def unpack(packed: bytes) -> bytes:
    """The snapshot in the state of a checkpoint.  Raises zlib.error or ZstdError for what is none."""
    if packed.startswith(ZSTANDARD):
        return zstandard.ZstdDecompressor().decompress(packed)
    return zlib.decompress(packed)


def write(connection: Connection, packed: Packed) -> None:
    """Put a checkpoint beside the log; it takes the place of another one at the same event, a base that of the base."""
    remove(connection, [packed.event_id])
    if packed.kind == BASE:
        connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.kind == BASE))
    connection.execute(insert(CHECKPOINTS), [packed._asdict()])


def remove(connection: Connection, event_ids: Iterable[int]) -> None:
    """Delete checkpoints."""
    for event_id in event_ids:
        connection.execute(delete(CHECKPOINTS).where(CHECKPOINTS.c.event_id == event_id))


def superfluous(found: Iterable[Checkpoint], keep: int, thin_events: int) -> list[int]:
    """The ids of checkpoints that can go: the newest `keep` stay, of older ones the first in each `thin_events` events.

    The base always stays.
    """
    ids = sorted(each.event_id for each in found if not each.is_base)
    going: list[int] = []
    stretches: set[int] = set()
    for event_id in ids[: max(len(ids) - keep, 0)]:
        # Fixed stretches of the log, so that one that stayed yesterday stays tomorrow.
        stretch = event_id // thin_events
        if stretch in stretches:
            going.append(event_id)
        stretches.add(stretch)
    return going


# --- reading ------------------------------------------------------------------------------------------------------

_FACTS: Final = tuple(CHECKPOINTS.c[name] for name in Checkpoint._fields if name != "size")


def find(
    connection: Connection,
    *,
    until_id: int | None = None,
    until: str | None = None,
    base: bool | None = None,
    limit: int | None = None,
) -> Iterator[Checkpoint]:
    """The checkpoints that hold no event behind `until_id` or later than `until`, the newest first; all without them.

    `base` says whether only bases, or only others, are wanted; there are at most `limit`.
    """
    query = select(*_FACTS, func.length(CHECKPOINTS.c.state)).order_by(CHECKPOINTS.c.event_id.desc()).limit(limit)
    if until_id is not None:
        query = query.where(CHECKPOINTS.c.event_id <= until_id)
    if until is not None:
        query = query.where(CHECKPOINTS.c.timestamp <= until)
    if base is not None:
        query = query.where((CHECKPOINTS.c.kind == BASE) == base)
    for row in connection.execute(query).all():
        yield Checkpoint._make(row)


def find_base(connection: Connection) -> Checkpoint | None:
    """The base, if events before it were removed."""
    return next(find(connection, base=True), None)


def load(connection: Connection, checkpoint: Checkpoint) -> ServerState:
    """The state of a checkpoint.

    Raises DamagedCheckpoint if its bytes are not those that were written, if this version of slircd cannot read it, or
    if the log has another event in its place; DamagedBase where that is the base.
    """
    try:
        return _load(connection, checkpoint)
    except (zlib.error, zstandard.ZstdError, SnapshotError, _Unusable) as error:
        if checkpoint.is_base:
            raise DamagedBase(checkpoint.event_id, str(error)) from None
        raise DamagedCheckpoint(f"the checkpoint at event {checkpoint.event_id} is ignored: {error}") from None


class _Unusable(Exception):
    pass


def _load(connection: Connection, checkpoint: Checkpoint) -> ServerState:
    event_id = checkpoint.event_id
    wanted = select(CHECKPOINTS.c.checksum, CHECKPOINTS.c.state).where(CHECKPOINTS.c.event_id == event_id)
    found = connection.execute(wanted).first()
    if found is None:
        raise _Unusable("it is gone")
    if not checkpoint.is_base:
        if checkpoint.version != SNAPSHOT_VERSION:
            raise _Unusable(f"it has snapshot version {checkpoint.version}, this slircd writes {SNAPSHOT_VERSION}")
        if not _belongs(connection, checkpoint):
            raise _Unusable("the log has another event in its place, or ends before it")
    packed = bytes(found.state)
    if _checksum(packed) != found.checksum:
        raise _Unusable("its bytes are not those that were written")
    state = decode_snapshot(unpack(packed), checkpoint.version)
    if (state.sequence, state.timestamp) != (checkpoint.sequence, checkpoint.timestamp):
        raise _Unusable("it holds the state of another event")
    return state


def _belongs(connection: Connection, checkpoint: Checkpoint) -> bool:
    """Whether the log leads to this checkpoint: its event is there, or there is a gap in which it was (retention)."""
    facts = select(EVENTS.c.id, EVENTS.c.sequence, EVENTS.c.timestamp)
    event_id, place = checkpoint.event_id, (checkpoint.sequence, checkpoint.timestamp)
    before = connection.execute(facts.where(EVENTS.c.id <= event_id).order_by(EVENTS.c.id.desc()).limit(1)).first()
    if before is not None and before.id == event_id:
        return tuple(before[1:]) == place
    after = connection.execute(facts.where(EVENTS.c.id > event_id).order_by(EVENTS.c.id).limit(1)).first()
    if after is None or not (place[0] < after.sequence and place[1] <= after.timestamp):
        return False
    return before is None or (before.sequence < place[0] and before.timestamp <= place[1])


def newest(
    connection: Connection,
    *,
    until_id: int | None = None,
    until: str | None = None,
    only_base: bool = False,
    ignored: list[str] | None = None,
) -> Start:
    """The best place for a replay to begin that leads to `until_id` or `until`, or to the end of the log.

    What had to be ignored, and why, is added to `ignored`.  `only_base` uses no ordinary checkpoint.  Without any good
    one it is the empty state.  Raises DamagedBase, and BeforeHorizon for what lies before the base.
    """
    if exist(connection):
        kind = True if only_base else None
        # One by one: there may be a thousand, and the first is nearly always good.
        while found := list(find(connection, until_id=until_id, until=until, base=kind, limit=1)):
            [checkpoint] = found
            try:
                state = load(connection, checkpoint)
            except DamagedBase:
                raise
            except DamagedCheckpoint as error:
                if ignored is not None:
                    ignored.append(str(error))
                until_id = checkpoint.event_id - 1
                continue
            return Start(state, checkpoint.position, checkpoint.digest)
        base = find_base(connection)
        if base is not None:
            raise BeforeHorizon(base)
    return Start(ServerState(), Head(0, 0, ""))


def _checksum(packed: Any) -> str:
    return hashlib.sha256(packed).hexdigest()
