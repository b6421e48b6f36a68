"""The tables of the log.  Names and types of `events` are a public interface: operators query it in SQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint, text

from slircd.events.pages import MESSAGE_TYPES

METADATA: Final = MetaData(
    naming_convention={
        "ix": "idx_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_BIG: Final = BigInteger().with_variant(Integer, "sqlite")

_IS_MESSAGE: Final = text(f"event_type IN ({', '.join(map(repr, MESSAGE_TYPES))})")

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("id", _BIG, primary_key=True, autoincrement=True),
    Column("timestamp", Text, nullable=False),
    Column("sequence", _BIG, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("actor_uid", Text),
    Column("target", Text),
    Column("payload", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Index("idx_events_timestamp", "timestamp"),
    Index("idx_events_type", "event_type", "id"),
    Index("idx_events_target", "target", "id"),
    Index("idx_events_actor", "actor_uid", "id"),
    Index("idx_events_words", "target", "id", sqlite_where=_IS_MESSAGE, postgresql_where=_IS_MESSAGE),
    sqlite_autoincrement=True,
)

CREDENTIALS: Final = Table(
    "credentials",
    METADATA,
    Column("account", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""Hashes, verifiers, addresses and codes: what must never be in an event, written in the transaction of its event."""

CHECKPOINTS: Final = Table(
    "checkpoints",
    METADATA,
    Column("event_id", _BIG, primary_key=True, autoincrement=False),
    Column("sequence", _BIG, nullable=False),
    Column("timestamp", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("checksum", Text, nullable=False),
    Column("state", LargeBinary, nullable=False),
)
"""States after some events (events.checkpoints): `kind` is checkpoint or base, `version` that of the snapshot, `digest`
the state's, `checksum` the SHA-256 of `state`, which is compressed MessagePack."""

ADMIN_TOKENS: Final = Table(
    "admin_tokens",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("last_used_at", Text),
    UniqueConstraint("name"),
)
"""Tokens of the admin API; `digest` is the SHA-256 of a secret of 192 random bits, which is nowhere else."""

WEBHOOK_CURSORS: Final = Table(
    "webhook_cursors",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("sequence", _BIG, nullable=False),
    Column("updated_at", Text, nullable=False),
)
"""The sequence up to which each webhook has been told."""

CONVERSATIONS: Final = Table(
    "conversations",
    METADATA,
    Column("side", Text, primary_key=True),
    Column("other", Text, primary_key=True),
    Column("last_id", _BIG, nullable=False),
)
"""Who talks to whom, and the newest message of it: what `message.*` says, by side, so that it is found at once."""

RETENTION_RUNS: Final = Table(
    "retention_runs",
    METADATA,
    Column("id", _BIG, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("began_at", Text, nullable=False),
    Column("ask", Text, nullable=False),
    Column("question", LargeBinary, nullable=False),
    Column("answer", Text, nullable=False),
    Column("plan", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""Work of retention that rewrites or removes rows, and what it asks of the server that holds the log (events.runs)."""

HEAD_REVISION: Final = "0007"
"""The newest migration, which makes what stands above."""
