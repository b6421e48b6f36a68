"""Credentials of accounts: what must never be in an event.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table `credentials`."""
    op.create_table(
        "credentials",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("account", "kind", name="pk_credentials"),
    )


def downgrade() -> None:
    """Remove the credentials."""
    op.drop_table("credentials")
