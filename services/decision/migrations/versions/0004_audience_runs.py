"""What calls for rule sets beside events: times of schedules, runs over audiences, pairs that stay open."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # Event types whose absence rule sets look for, and how many rule sets are called at times.
    "ALTER TABLE program ADD COLUMN absences text[] NOT NULL DEFAULT '{}'",
    "ALTER TABLE program ADD COLUMN schedules integer NOT NULL DEFAULT 0",
    # The program for which times were looked at last; the row is what transactions lock that look at times.
    "CREATE TABLE looked_at_times (one boolean PRIMARY KEY CHECK (one), program bigint NOT NULL)",
    # Up to when times of a rule set were looked at in a zone, and the next one. Of an absence also which, and
    # up to which last time customers were found.
    """
    CREATE TABLE schedule_time (
        rule_set text NOT NULL,
        zone text NOT NULL,
        looked_micros bigint NOT NULL,
        next_micros bigint NOT NULL,
        silence text NOT NULL,
        silence_micros bigint NOT NULL,
        PRIMARY KEY (rule_set, zone)
    )
    """,
    # One audience asked page by page; `next_micros` is for when the next page is planned. While a worker asks
    # for a page it is leased.
    """
    CREATE TABLE audience_run (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        rule_set text NOT NULL,
        key text NOT NULL,
        version integer NOT NULL,
        kind text NOT NULL,
        name text NOT NULL,
        zone text NOT NULL,
        due_micros bigint NOT NULL,
        next_micros bigint NOT NULL,
        after_micros bigint NOT NULL,
        until_micros bigint NOT NULL,
        page_token text NOT NULL DEFAULT '',
        state text NOT NULL DEFAULT 'open',
        asked bigint NOT NULL DEFAULT 0,
        pages bigint NOT NULL DEFAULT 0,
        hops integer NOT NULL,
        data text NOT NULL,
        leased_until timestamptz,
        UNIQUE (rule_set, key)
    ) WITH (fillfactor = 70)
    """,
    "CREATE INDEX audience_run_open ON audience_run (next_micros) WHERE state = 'open'",
    # What happened and is to be followed by something else; checked at its time.
    """
    CREATE TABLE open_pair (
        id uuid PRIMARY KEY,
        rule_set text NOT NULL,
        customer bigint NOT NULL,
        run text NOT NULL,
        opened_micros bigint NOT NULL,
        due_micros bigint NOT NULL,
        line text NOT NULL,
        hops integer NOT NULL,
        data text NOT NULL,
        state text NOT NULL DEFAULT 'planned'
    )
    """,
    "CREATE INDEX open_pair_due ON open_pair (due_micros) WHERE state = 'planned'",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE open_pair, audience_run, schedule_time, looked_at_times")
    op.execute("ALTER TABLE program DROP COLUMN schedules, DROP COLUMN absences")
