"""Which actions hold a slot of `once` that is a household's."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # The slot itself stands in once_slot under the household's id, which is no customer's.
    """
    CREATE TABLE household_holder (
        action_id uuid PRIMARY KEY,
        household bigint NOT NULL,
        ends_micros bigint NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE household_holder")
