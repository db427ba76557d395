"""Finding customers: by zone, and by the last time of an event type whose absence is looked for."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # Event types of which last times are kept.
    "ALTER TABLE listened ADD COLUMN absence text[] NOT NULL DEFAULT '{}'",
    # The trait `zone` of those who have one; a table of its own, for an index on the traits would be written
    # at each change of any trait.
    "CREATE TABLE customer_zone (customer bigint PRIMARY KEY, zone text NOT NULL) WITH (fillfactor = 90)",
    "CREATE INDEX customer_zone_walk ON customer_zone (zone, customer)",
    # When each customer's last event of a type happened, for types of `listened.absence` only.
    """
    CREATE TABLE last_time (
        type text NOT NULL,
        customer bigint NOT NULL,
        time_micros bigint NOT NULL,
        PRIMARY KEY (type, customer)
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX last_time_walk ON last_time (type, time_micros, customer)",
    # How far both are filled from profiles that were there before: `filling` (customers up to `reached` are
    # in), `ready`, or `leaving` (wanted no more).
    """
    CREATE TABLE gathering (
        name text PRIMARY KEY,
        state text NOT NULL,
        reached bigint NOT NULL DEFAULT 0
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE gathering, last_time, customer_zone")
    op.execute("ALTER TABLE listened DROP COLUMN absence")
