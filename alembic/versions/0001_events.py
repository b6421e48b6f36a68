"""The event log.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table `events` and its indexes."""
    op.create_table(
        "events",
        sa.Column("id", _BIG, autoincrement=True, nullable=False),
        sa.Column("timestamp", sa.Text, nullable=False),
        sa.Column("sequence", _BIG, nullable=False),
        sa.Column("event_type", sa.Text, nullable=False),
        sa.Column("actor_uid", sa.Text),
        sa.Column("target", sa.Text),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("idx_events_timestamp", "events", ["timestamp"])
    op.create_index("idx_events_type", "events", ["event_type"])
    op.create_index("idx_events_target", "events", ["target", "id"])


def downgrade() -> None:
    """Remove the log."""
    op.drop_table("events")
