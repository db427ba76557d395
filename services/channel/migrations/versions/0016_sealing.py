"""Texts, addresses and what customers wrote stand sealed; data keys."""

from alembic import op

from services.runtime.tables import add_data_keys, drop_data_keys

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

RENAMES = ("message_body.sender",)
"""A role of the version before would send an empty text to no address: it must fail."""

_STATEMENTS = (
    # The columns beside it hold what was written before; a worker seals that, and empties them.
    "ALTER TABLE message_body ADD COLUMN sealed bytea",
    "ALTER TABLE message_body RENAME COLUMN sender TO sender_plain",
    "ALTER TABLE inbound_text ADD COLUMN sealed bytea",
)


def upgrade() -> None:
    add_data_keys(op)
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE inbound_text DROP COLUMN sealed")
    op.execute("ALTER TABLE message_body RENAME COLUMN sender_plain TO sender")
    op.execute("ALTER TABLE message_body DROP COLUMN sealed")
    drop_data_keys(op)
