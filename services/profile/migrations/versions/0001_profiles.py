"""Customers, identities, events, things, consents: the first shape of the profile's database."""

from alembic import op

from services.runtime.tables import create_runtime_tables, drop_runtime_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    "CREATE SEQUENCE customer_id",
    # Rewritten with every event: narrow, room for the next version on the same page, no index but the key.
    """
    CREATE TABLE customer (
        id bigint PRIMARY KEY,
        sequence bigint NOT NULL,
        hot bytea NOT NULL
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1)
    """,
    "ALTER TABLE customer ALTER COLUMN hot SET STORAGE EXTERNAL",
    # Identities, consents, preferences, merges.
    """
    CREATE TABLE customer_record (
        customer bigint PRIMARY KEY,
        record bytea NOT NULL
    ) WITH (fillfactor = 70)
    """,
    "ALTER TABLE customer_record ALTER COLUMN record SET STORAGE EXTERNAL",
    # A projection for queries; the truth is in customer.hot.
    """
    CREATE TABLE customer_traits (
        customer bigint PRIMARY KEY,
        traits jsonb NOT NULL
    ) WITH (fillfactor = 70)
    """,
    # `identity` is the kind, a colon and the value.
    """
    CREATE TABLE identity (
        identity text PRIMARY KEY,
        customer bigint NOT NULL,
        line text NOT NULL
    )
    """,
    """
    CREATE TABLE identity_conflict (
        customer bigint NOT NULL,
        identities text NOT NULL,
        time_micros bigint NOT NULL,
        PRIMARY KEY (customer, identities)
    )
    """,
    # 16 bytes that stand for (source, id), kept as long as events of that age are taken.
    """
    CREATE TABLE event_key (
        key bytea PRIMARY KEY,
        time_micros bigint NOT NULL
    )
    """,
    "CREATE INDEX event_key_time ON event_key USING brin (time_micros)",
    """
    CREATE TABLE event (
        customer bigint NOT NULL,
        sequence bigint NOT NULL,
        time_micros bigint NOT NULL,
        accepted_micros bigint NOT NULL,
        type text NOT NULL,
        source text NOT NULL,
        event_id text NOT NULL,
        line text NOT NULL,
        hops smallint NOT NULL,
        history boolean NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (customer, sequence)
    )
    """,
    """
    CREATE TABLE thing_event (
        thing text NOT NULL,
        sequence bigint NOT NULL,
        time_micros bigint NOT NULL,
        accepted_micros bigint NOT NULL,
        type text NOT NULL,
        source text NOT NULL,
        event_id text NOT NULL,
        line text NOT NULL,
        hops smallint NOT NULL,
        history boolean NOT NULL,
        data bytea NOT NULL,
        PRIMARY KEY (thing, sequence)
    )
    """,
    """
    CREATE TABLE thing (
        kind text NOT NULL,
        key text NOT NULL,
        sequence bigint NOT NULL,
        attributes bytea NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITH (fillfactor = 70)
    """,
    # Append-only; channel NULL: every channel.
    """
    CREATE TABLE consent_ledger (
        customer bigint NOT NULL,
        position bigint GENERATED ALWAYS AS IDENTITY,
        purpose text NOT NULL,
        channel text,
        state text NOT NULL,
        said_by text NOT NULL,
        time_micros bigint NOT NULL,
        expiry_micros bigint NOT NULL,
        evidence text NOT NULL,
        wording text NOT NULL,
        source text NOT NULL,
        event_id text NOT NULL,
        recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (customer, position)
    )
    """,
    """
    CREATE TABLE listened (
        one boolean PRIMARY KEY CHECK (one),
        version bigint NOT NULL,
        types text[] NOT NULL
    )
    """,
    """
    CREATE TABLE stream_position (
        stream_id text PRIMARY KEY,
        acknowledged bigint NOT NULL
    )
    """,
    """
    CREATE TABLE clock (
        one boolean PRIMARY KEY CHECK (one),
        business_micros bigint NOT NULL
    )
    """,
)


def upgrade() -> None:
    create_runtime_tables(op)
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP TABLE clock, stream_position, listened, consent_ledger, thing, thing_event, event, event_key, "
        "identity_conflict, identity, customer_traits, customer_record, customer"
    )
    op.execute("DROP SEQUENCE customer_id")
    drop_runtime_tables(op)
