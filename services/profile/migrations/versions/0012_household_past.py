"""Households as they were, for telling the past: of them no event tells, but those of all their members."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # One row for each change, in their order. `packed` names nobody; an erasure takes the ids of the person
    # out of `members`.
    """
    CREATE TABLE household_past (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        household bigint NOT NULL,
        accepted_micros bigint NOT NULL,
        members bigint[] NOT NULL,
        packed bytea NOT NULL
    )
    """,
    "CREATE INDEX household_past_household ON household_past (household, number)",
    "CREATE INDEX household_past_members ON household_past USING gin (members)",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE household_past")
