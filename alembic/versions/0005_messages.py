"""Messages: an index over them alone, and who talks to whom.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_IS_MESSAGE = sa.text("event_type IN ('message.notice', 'message.privmsg', 'message.tagmsg')")


def upgrade() -> None:
    """Make the index and the table `conversations`."""
    op.create_index(
        "idx_events_words",
        "events",
        ["target", "id"],
        sqlite_where=_IS_MESSAGE,
        postgresql_where=_IS_MESSAGE,
    )
    op.create_table(
        "conversations",
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("other", sa.Text, nullable=False),
        sa.Column("last_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("side", "other", name="pk_conversations"),
    )


def downgrade() -> None:
    """Remove them; messages stay."""
    op.drop_table("conversations")
    op.drop_index("idx_events_words", "events")
