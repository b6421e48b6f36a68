"""What the bus needs of a store, whatever database is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import Deferred

from slircd.events.pages import HistoryReader
from slircd.events.row import Credential, Head, Rewrite, Row
from slircd.state.model import ServerState

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")


class StoreUnavailable(Exception):
    """The log cannot be written, or read, at the moment; whoever wants that is asked to try again later."""

    def __str__(self) -> str:
        return "the event log cannot be used at the moment"


class Start(NamedTuple):
    """Where a replay begins: a state that is the caller's own, and the place in the log that it was reached at."""

    state: ServerState
    position: Head
    """The last event in the state; id 0 for the empty state at the beginning of a log."""
    digest: str | None = None
    """The digest that the checkpoint came with; None for the empty state."""


class EventStore(Protocol):
    """An append-only log of rows.

    `append` is called in the reactor's thread, never blocks, and may be called again before the commit.  The three
    callbacks are called in the reactor's thread, too.
    """

    on_commit: Callable[[int, int, float], None]
    """Told of each commit: the id of its last row, its number of rows, and the seconds that it took."""
    on_trouble: Callable[[str | None], None]
    """Told why nothing can be written, and None when it can be again."""
    on_fatal: Callable[[str], None]
    """Told why nothing will ever be written again: the log has rows that this server did not write."""
    oldest_pending_since: float | None
    """The clock's seconds when the oldest row that is not committed was appended."""

    def append(
        self,
        rows: Sequence[Row],
        credentials: Sequence[Credential] = (),
        rewrites: Sequence[Rewrite] = (),
        amend: Callable[[Connection], None] | None = None,
    ) -> None:
        """Take the rows of one decision, and what changes with it, committed together.

        `rewrites` are of rows that were appended before, committed or not; nothing of their old payloads stays in the
        files of the database.  `amend` does more in the same transaction, where there is a database.
        """

    def head(self) -> Head:
        """The newest committed row; blocks, for start-up only."""

    def start(self) -> Start:
        """Where a replay of the log begins: its newest good checkpoint; blocks, for start-up.

        Raises DamagedBase (events.checkpoints) if the log cannot be replayed at all.
        """

    def read(self, after_id: int = 0) -> Iterator[Row]:
        """The committed rows with a higher id, in order; blocks."""

    def batches(self, after_id: int = 0) -> Iterator[Sequence[tuple[Any, ...]]]:
        """What state.feed takes, some thousand bare tuples at a time; blocks, for start-up and replay."""

    def read_credentials(self) -> list[Credential]:
        """All committed credentials; blocks, for start-up."""

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
        """The committed rows of one target with a higher id and no later timestamp, in order; does not block.

        The oldest ones up to `limit`, or the newest ones; with or without `messages`.  Fails with StoreUnavailable.
        """

    def ask_history(self, question: Callable[[HistoryReader], T]) -> Deferred[T]:
        """What `question` makes of the committed log; it is called in a thread and does not block.

        Fails with StoreUnavailable while the database is away.
        """


def ignore_commit(last_id: int, rows: int, seconds: float) -> None:
    """An `on_commit` of nobody."""


def ignore_text(text: str | None) -> None:
    """An `on_trouble` or `on_fatal` of nobody."""
