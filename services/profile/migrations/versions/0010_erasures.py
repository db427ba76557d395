"""Erasures with what each service did, and what must be known of erased persons: ids, and keyed hashes."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE IF NOT EXISTS erasure (
        erasure_id text PRIMARY KEY,
        number bigint GENERATED ALWAYS AS IDENTITY,
        customers bigint[] NOT NULL,
        requested_micros bigint NOT NULL,
        ground text NOT NULL,
        said_by text NOT NULL,
        reference text NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX IF NOT EXISTS erasure_by_number ON erasure (number)",
    # What a service did for one id; `finished_micros` 0: not yet.
    """
    CREATE TABLE IF NOT EXISTS erasure_part (
        erasure_id text NOT NULL,
        service text NOT NULL,
        customer bigint NOT NULL,
        finished_micros bigint NOT NULL DEFAULT 0,
        erased jsonb NOT NULL DEFAULT '{}',
        PRIMARY KEY (erasure_id, service, customer)
    )
    """,
    "CREATE TABLE IF NOT EXISTS erased_customer (customer bigint PRIMARY KEY, erasure_id text NOT NULL)",
    # By keyed hash, and by no id: nobody may be found by it who is not asked for by the identity itself.
    """
    CREATE TABLE IF NOT EXISTS erased_identity (
        lookup bytea PRIMARY KEY,
        kind text NOT NULL,
        time_micros bigint NOT NULL
    )
    """,
)


def upgrade() -> None:
    # An index is built outside of the transaction: what stands before may have been done already.
    for statement in _STATEMENTS:
        op.execute(statement)
    build_index(op, "dead_letter_of_customer", "ON dead_letter (customer)")
    build_index(op, "identity_past_of_customer", "ON identity_past (customer)")


def downgrade() -> None:
    op.execute("DROP INDEX dead_letter_of_customer, identity_past_of_customer")
    op.execute("DROP TABLE erased_identity, erased_customer, erasure_part, erasure")
