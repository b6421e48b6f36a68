"""A row of the log as every store gives and takes it."""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """The eight columns of the table `events`, in their order."""

    id: int
    timestamp: str
    sequence: int
    event_type: str
    actor_uid: str | None
    target: str | None
    payload: str
    session_id: str


REPLAYED: Final = ("id", "timestamp", "sequence", "event_type", "target", "payload")
"""The columns that apply asks for; a replay reads no others, because each is a twentieth of its time."""


class Credential(NamedTuple):
    """A row of the table `credentials`, or that it is to be removed (None); an empty kind stands for all of an account."""

    account: str
    kind: str
    value: str | None


class Rewrite(NamedTuple):
    """A row of the log gets another payload: a redaction, or an erasure."""

    id: int
    payload: str
    columns: tuple[str | None, str | None] | None = None
    """Another actor and target, where they are rewritten, too."""

    def applied(self, row: Row) -> Row:
        """The row as it is afterwards."""
        actor_uid, target = self.columns or (row.actor_uid, row.target)
        return row._replace(payload=self.payload, actor_uid=actor_uid, target=target)


class Head(NamedTuple):
    """The newest row of a log; 0, 0 and an empty text for an empty one."""

    id: int
    sequence: int
    timestamp: str
