"""What rule sets have used of their limits."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # One row per rule set that ever had limits: it is what transactions lock, after the customers.
    """
    CREATE TABLE rule_set_limit (
        rule_set text PRIMARY KEY,
        spent numeric NOT NULL DEFAULT 0,
        free_micros bigint NOT NULL DEFAULT 0
    )
    """,
    # Actions by day of the operator's calendar (days since 1970-01-01).
    """
    CREATE TABLE rule_set_day (
        rule_set text NOT NULL,
        day integer NOT NULL,
        actions integer NOT NULL,
        PRIMARY KEY (rule_set, day)
    )
    """,
    # What one action took, to be given back when it is refused; looked up by what the refusal names.
    """
    CREATE TABLE limit_use (
        action_id uuid PRIMARY KEY,
        rule_set text NOT NULL,
        day integer NOT NULL,
        cost numeric NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE limit_use, rule_set_day, rule_set_limit")
