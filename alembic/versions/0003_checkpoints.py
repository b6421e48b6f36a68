"""Checkpoints: states after some events, so that a replay need not begin at the beginning.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the table `checkpoints`."""
    op.create_table(
        "checkpoints",
        sa.Column("event_id", _BIG, autoincrement=False, nullable=False),
        sa.Column("sequence", _BIG, nullable=False),
        sa.Column("timestamp", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("checksum", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_checkpoints"),
    )


def downgrade() -> None:
    """Remove the checkpoints; a log with a base cannot go back, because its beginning is only there."""
    connection = op.get_bind()
    if connection.execute(sa.text("SELECT count(*) FROM checkpoints WHERE kind = 'base'")).scalar():
        raise RuntimeError("retention removed this log's beginning, which only the table `checkpoints` still holds")
    op.drop_table("checkpoints")
