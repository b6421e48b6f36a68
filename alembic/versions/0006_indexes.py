"""Events of a type in order, and an index over actors: any question is answered by walking one index.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes; on a large log this takes a while."""
    op.drop_index("idx_events_type", "events")
    op.create_index("idx_events_type", "events", ["event_type", "id"])
    op.create_index("idx_events_actor", "events", ["actor_uid", "id"])


def downgrade() -> None:
    """Go back to what was before."""
    op.drop_index("idx_events_actor", "events")
    op.drop_index("idx_events_type", "events")
    op.create_index("idx_events_type", "events", ["event_type"])
