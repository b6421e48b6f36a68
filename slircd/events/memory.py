"""A log in memory: for tests, which decide when it commits, fails and crashes; and for trying things out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed

from slircd.events.history import ListHistoryReader
from slircd.events.interface import Start, ignore_commit, ignore_text
from slircd.events.pages import MESSAGES, HistoryReader
from slircd.events.row import Credential, Head, Rewrite, Row
from slircd.state.model import ServerState
from slircd.state.snapshot import decode_snapshot, encode_snapshot

T = TypeVar("T")


class MemoryStore:
    """An EventStore that keeps its rows in a list.

    `automatic` commits at once; otherwise rows wait for `commit`.
    """

    def __init__(
        self, rows: Sequence[Row] = (), *, automatic: bool = True, seconds: Callable[[], float] = float
    ) -> None:
        """`rows` is a log that is there already; `seconds` is the clock."""
        self.rows = list(rows)
        self.automatic = automatic
        self.on_commit: Callable[[int, int, float], None] = ignore_commit
        self.on_trouble: Callable[[str | None], None] = ignore_text
        self.on_fatal: Callable[[str], None] = ignore_text
        self.oldest_pending_since: float | None = None
        self._pending: list[Row] = []
        self._pending_credentials: list[Credential] = []
        self._pending_rewrites: list[Rewrite] = []
        self._credentials: dict[tuple[str, str], str] = {}
        self._seconds = seconds
        self._failing = False
        self._checkpoint: tuple[Head, bytes] | None = None

    @property
    def pending(self) -> int:
        """How many rows wait for their commit."""
        return len(self._pending)

    def append(
        self,
        rows: Sequence[Row],
        credentials: Sequence[Credential] = (),
        rewrites: Sequence[Rewrite] = (),
        amend: object = None,
    ) -> None:
        """Take the rows of one decision; there is no database that anything could be amended in."""
        self._pending_rewrites.extend(rewrites)
        self._pending_credentials.extend(credentials)
        if not self._pending:
            self.oldest_pending_since = self._seconds()
        self._pending.extend(rows)
        if self.automatic:
            self.commit()

    def commit(self) -> None:
        """Commit what waits; nothing while the store fails."""
        if self._failing or not self._pending:
            return
        rows, self._pending = self._pending, []
        self.oldest_pending_since = None
        self.rows.extend(rows)
        for account, kind, value in self._pending_credentials:
            for key in [key for key in self._credentials if key[0] == account and kind in ("", key[1])]:
                del self._credentials[key]
            if value is not None:
                self._credentials[account, kind] = value
        self._pending_credentials.clear()
        new = {rewrite.id: rewrite for rewrite in self._pending_rewrites}
        if new:
            self.rows = [new[row.id].applied(row) if row.id in new else row for row in self.rows]
            self._pending_rewrites.clear()
        self.on_commit(rows[-1].id, len(rows), 0.0)

    def fail(self, reason: str) -> None:
        """Commit nothing until `recover`."""
        self._failing = True
        self.on_trouble(reason)

    def recover(self) -> None:
        """The opposite of `fail`; what waits is committed."""
        self._failing = False
        self.on_trouble(None)
        self.commit()

    def surviving(self) -> MemoryStore:
        """What a crash leaves: a store with the committed rows."""
        store = MemoryStore(self.rows, automatic=self.automatic, seconds=self._seconds)
        store._credentials = dict(self._credentials)
        store._checkpoint = self._checkpoint
        return store

    def save(self, state: ServerState, position: Head) -> None:
        """Keep a checkpoint: the state after the row at `position`."""
        self._checkpoint = (position, encode_snapshot(state))

    def start(self) -> Start:
        """The checkpoint, or the empty state."""
        if self._checkpoint is None:
            return Start(ServerState(), Head(0, 0, ""))
        position, saved = self._checkpoint
        return Start(decode_snapshot(saved), position)

    def head(self) -> Head:
        """The newest committed row."""
        if not self.rows:
            return Head(0, 0, "")
        last = self.rows[-1]
        return Head(last.id, last.sequence, last.timestamp)

    def read(self, after_id: int = 0) -> Iterator[Row]:
        """The committed rows with a higher id."""
        return (row for row in list(self.rows) if row.id > after_id)

    def batches(self, after_id: int = 0) -> Iterator[list[Row]]:
        """As `read`, in one batch."""
        yield list(self.read(after_id))

    def read_credentials(self) -> list[Credential]:
        """All committed credentials."""
        return [Credential(account, kind, value) for (account, kind), value in self._credentials.items()]

    def query_by_target(
        self,
        target: str,
        *,
        after_id: int = 0,
        until: str | None = None,
        limit: int = 1000,
        newest: bool = False,
        messages: bool = True,
    ) -> Deferred[list[Row]]:
        """The committed rows of one target."""
        found = [
            row
            for row in self.rows
            if row.target == target
            and row.id > after_id
            and (until is None or row.timestamp <= until)
            and (messages or row.event_type not in MESSAGES)
        ]
        return succeed(found[-limit:] if newest else found[:limit])

    def ask_history(self, question: Callable[[HistoryReader], T]) -> Deferred[T]:
        """What `question` makes of the committed rows."""
        return succeed(question(ListHistoryReader(self.rows)))
