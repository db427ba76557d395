"""What customers answered, who takes outcomes, and what waits for a customer."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # What came of an action after it was decided. `number` is from the sequence of decisions, taken under the
    # customer's lock, so that both can be told in one order. `data`: of the event which asks for delivery.
    """
    CREATE TABLE IF NOT EXISTS action_outcome (
        customer bigint NOT NULL,
        action_id uuid NOT NULL,
        number bigint NOT NULL,
        decision_id uuid NOT NULL,
        outcome text NOT NULL,
        offer text NOT NULL,
        reason text NOT NULL,
        agent text NOT NULL,
        line text NOT NULL,
        fulfil text NOT NULL,
        data text NOT NULL,
        recorded_micros bigint NOT NULL,
        PRIMARY KEY (customer, action_id, number)
    )
    """,
    "CREATE UNIQUE INDEX IF NOT EXISTS action_outcome_newest ON action_outcome (number)",
    # Up to where each consumer has taken outcomes; `stream` is the one that counts. Times by the wall clock.
    """
    CREATE TABLE IF NOT EXISTS outcome_consumer (
        name text PRIMARY KEY,
        acknowledged bigint NOT NULL,
        acknowledged_micros bigint,
        stream uuid NOT NULL,
        stream_micros bigint NOT NULL,
        caller text NOT NULL
    )
    """,
)


def upgrade() -> None:
    # An index is built outside of the transaction: what stands before may have been done already.
    build_index(op, "planned_action_of_customer", "ON planned_action (customer) WHERE state <> 'done'")
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP INDEX planned_action_of_customer")
    op.execute("DROP TABLE outcome_consumer, action_outcome")
