"""The consent ledger as a chain per customer: its lines are numbered, and each holds the digest before it."""

from alembic import op

from services.runtime.migrations import build_index

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # A worker fills these in lines of the version before, and then nobody changes a line any more but for
    # texts that are erased.
    (
        "ALTER TABLE consent_ledger ADD COLUMN IF NOT EXISTS number bigint, "
        "ADD COLUMN IF NOT EXISTS recorded_micros bigint, ADD COLUMN IF NOT EXISTS salt bytea, "
        "ADD COLUMN IF NOT EXISTS texts bytea, ADD COLUMN IF NOT EXISTS previous bytea, "
        "ADD COLUMN IF NOT EXISTS hash bytea"
    ),
    # Where each customer's chain ends, under a seal. A table of its own: the version before writes
    # customer_record anew and would drop from it what it does not know.
    """
    CREATE TABLE IF NOT EXISTS consent_head (
        customer bigint PRIMARY KEY,
        length bigint NOT NULL,
        hash bytea NOT NULL,
        seal bytea NOT NULL
    ) WITH (fillfactor = 80)
    """,
    # Since when lines of the version before are put into their chains, and whether that is over.
    """
    CREATE TABLE IF NOT EXISTS consent_chaining (
        one boolean PRIMARY KEY CHECK (one),
        began_micros bigint NOT NULL,
        over boolean NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
    build_index(op, "consent_ledger_unchained", "ON consent_ledger (customer, position) WHERE number IS NULL")


def downgrade() -> None:
    op.execute("DROP INDEX consent_ledger_unchained")
    op.execute("DROP TABLE consent_chaining, consent_head")
    op.execute(
        "ALTER TABLE consent_ledger DROP COLUMN number, DROP COLUMN recorded_micros, DROP COLUMN salt, "
        "DROP COLUMN texts, DROP COLUMN previous, DROP COLUMN hash"
    )
