"""Who looked at which customer, and how far events are pruned by their type."""

from alembic import op

from services.runtime.access_log import TABLE

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATEMENTS = (
    TABLE,
    # Up to when of acceptance the events of types with the same period of keeping are looked through.
    """
    CREATE TABLE pruned_until (
        kept_micros bigint PRIMARY KEY,
        types text[] NOT NULL,
        reached_micros bigint NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE pruned_until, access_entry")
