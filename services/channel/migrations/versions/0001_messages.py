"""Messages, the slots they take, what may not be contacted, receipts and the inbox."""

from alembic import op

from services.runtime.tables import create_runtime_tables, drop_runtime_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    # One row to lock per customer: whoever holds it may judge and take slots.
    "CREATE TABLE customer_gate (customer bigint PRIMARY KEY) WITH (fillfactor = 70)",
    # One message per action. What never changes after the gates is in message_body: this row stays small.
    """
    CREATE TABLE message (
        customer bigint NOT NULL,
        message_id uuid NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY,
        action_id uuid NOT NULL,
        decision_id text NOT NULL,
        rule_set text NOT NULL,
        rule text NOT NULL,
        kind text NOT NULL,
        name text NOT NULL,
        category text NOT NULL,
        priority int NOT NULL,
        hops int NOT NULL,
        line text NOT NULL,
        to_payer boolean NOT NULL,
        accepted_micros bigint NOT NULL,
        expires_micros bigint NOT NULL,
        state text NOT NULL,
        reason text NOT NULL,
        detail text NOT NULL,
        channel text NOT NULL,
        due_micros bigint NOT NULL,
        retry_wall_micros bigint NOT NULL,
        sent_micros bigint NOT NULL,
        receipt_micros bigint NOT NULL,
        attempts int NOT NULL,
        resent boolean NOT NULL,
        asked_wall_micros bigint NOT NULL,
        zone text NOT NULL,
        any_hour boolean NOT NULL,
        changes int NOT NULL,
        history bytea NOT NULL,
        PRIMARY KEY (customer, message_id)
    ) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000)
    """,
    "CREATE UNIQUE INDEX message_by_id ON message (message_id)",
    "CREATE UNIQUE INDEX message_by_number ON message (number)",
    # What senders, the gates' second turn and the recovery look for: short indexes over what is not done.
    "CREATE INDEX message_planned ON message (channel, retry_wall_micros, number) WHERE state = 'planned'",
    "CREATE INDEX message_waiting ON message (due_micros) WHERE state IN ('accepted', 'deferred')",
    "CREATE INDEX message_sending ON message (retry_wall_micros) WHERE state = 'sending'",
    # What the customer reads and where it goes; the action itself, for messages that may be judged again.
    """
    CREATE TABLE message_body (
        customer bigint NOT NULL,
        message_id uuid NOT NULL,
        record bytea NOT NULL,
        text text NOT NULL,
        subject text NOT NULL,
        html text NOT NULL,
        sender text NOT NULL,
        address text NOT NULL,
        PRIMARY KEY (customer, message_id)
    )
    """,
    # Slots taken, for frequency caps.
    """
    CREATE TABLE contact (
        customer bigint NOT NULL,
        message_id uuid NOT NULL,
        channel text NOT NULL,
        category text NOT NULL,
        name text NOT NULL,
        time_micros bigint NOT NULL,
        PRIMARY KEY (customer, message_id)
    )
    """,
    # Channels on which a customer may not be contacted.
    """
    CREATE TABLE suppression (
        customer bigint NOT NULL,
        channel text NOT NULL,
        reason text NOT NULL,
        time_micros bigint NOT NULL,
        PRIMARY KEY (customer, channel)
    )
    """,
    # What a provider's id names, and the provider's final word; either may come first.
    """
    CREATE TABLE receipt (
        provider text NOT NULL,
        provider_id text NOT NULL,
        customer bigint,
        message_id uuid,
        state text NOT NULL DEFAULT '',
        time_micros bigint NOT NULL DEFAULT 0,
        detail text NOT NULL DEFAULT '',
        noted_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (provider, provider_id)
    )
    """,
    "CREATE INDEX receipt_awaited ON receipt (provider) WHERE state = '' AND message_id IS NOT NULL",
    # In-app messages in the order of their commits: cursors are given out under a lock held until the commit.
    """
    CREATE TABLE inbox (
        cursor bigint PRIMARY KEY,
        customer bigint NOT NULL,
        message_id uuid NOT NULL UNIQUE,
        seen boolean NOT NULL DEFAULT false
    )
    """,
    "CREATE INDEX inbox_of_customer ON inbox (customer, cursor)",
    "CREATE INDEX inbox_unseen ON inbox (cursor) WHERE NOT seen",
)


def upgrade() -> None:
    create_runtime_tables(op)
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP TABLE inbox, receipt, suppression, contact, message_body, message, customer_gate",
    )
    drop_runtime_tables(op)
