"""Where customers stand in journeys."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # A customer stands once in each journey of a rule set, or once for each value of its key.
    """
    CREATE TABLE journey_position (
        customer bigint NOT NULL,
        rule_set text NOT NULL,
        key text NOT NULL,
        state text NOT NULL,
        step text NOT NULL,
        reached_micros bigint NOT NULL,
        due_micros bigint NOT NULL,
        started_micros bigint NOT NULL,
        started_sequence bigint NOT NULL,
        start_type text NOT NULL,
        fields text NOT NULL,
        line text NOT NULL,
        hops integer NOT NULL,
        PRIMARY KEY (customer, rule_set, key)
    )
    """,
    "CREATE INDEX journey_position_due ON journey_position (due_micros) WHERE state = 'waiting'",
    "CREATE INDEX journey_position_open ON journey_position (state, due_micros) WHERE state <> 'ended'",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE journey_position")
