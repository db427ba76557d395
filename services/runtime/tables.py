"""Tables that every service has beside its own, made in its first migration."""

from typing import Any

_STATEMENTS = (
    # What is committed and not yet published. EXTERNAL: compressing what is packed costs time.
    """
    CREATE TABLE outbox (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        stream text NOT NULL,
        partition smallint NOT NULL,
        payload bytea NOT NULL
    ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
            autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 20000)
    """,
    "ALTER TABLE outbox ALTER COLUMN payload SET STORAGE EXTERNAL",
    # Keys of stream messages whose effect is committed.
    """
    CREATE TABLE taken_message (
        key text PRIMARY KEY,
        taken_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "CREATE INDEX taken_message_taken_at ON taken_message USING brin (taken_at)",
    # Items that failed alone.
    """
    CREATE TABLE dead_letter (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL,
        item_id text NOT NULL,
        item_type text NOT NULL,
        customer bigint NOT NULL,
        payload bytea NOT NULL,
        reason text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        resent_at timestamptz
    )
    """,
    "CREATE INDEX dead_letter_waiting ON dead_letter (id) WHERE resent_at IS NULL",
    # First answers of mutations by request id (AIP-155).
    """
    CREATE TABLE request_key (
        rpc text NOT NULL,
        request_id text NOT NULL,
        digest bytea NOT NULL,
        failed boolean NOT NULL DEFAULT false,
        response bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (rpc, request_id)
    )
    """,
    "CREATE INDEX request_key_created_at ON request_key USING brin (created_at)",
    # Exact counters, spread over rows so that transactions do not queue for one.
    """
    CREATE TABLE total (
        name text NOT NULL,
        shard smallint NOT NULL,
        value bigint NOT NULL,
        PRIMARY KEY (name, shard)
    ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)
    """,
)


def create_runtime_tables(op: Any) -> None:
    """Create outbox, taken_message, dead_letter, request_key and total; `op` is Alembic's."""
    for statement in _STATEMENTS:
        op.execute(statement)


def drop_runtime_tables(op: Any) -> None:
    """Undo create_runtime_tables."""
    op.execute("DROP TABLE total, request_key, dead_letter, taken_message, outbox")


_SECOND = (
    # When a message was put there, which tells how long the oldest waits; and the trace it belongs to.
    "ALTER TABLE outbox ADD COLUMN created_at timestamptz NOT NULL DEFAULT now(), ADD COLUMN trace text",
    # Who changed what of rules, consent and configuration; written in the transaction of the change.
    """
    CREATE TABLE audit_entry (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        time timestamptz NOT NULL DEFAULT clock_timestamp(),
        actor text NOT NULL,
        action text NOT NULL,
        target text NOT NULL,
        before jsonb,
        after jsonb,
        request_id text NOT NULL DEFAULT ''
    )
    """,
    # also for what stands below a target: LIKE 'customer/7/%'
    "CREATE INDEX audit_entry_of_target ON audit_entry (target text_pattern_ops, id)",
    "CREATE INDEX audit_entry_of_actor ON audit_entry (actor, id)",
    "CREATE INDEX audit_entry_time ON audit_entry USING brin (time)",
    """
    CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'the audit log is append-only';
    END $$
    """,
    """
    CREATE TRIGGER audit_entry_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
    """,
)


def add_audit_and_traces(op: Any) -> None:
    """Create audit_entry; give outbox the time of its rows and their trace (W3C traceparent)."""
    for statement in _SECOND:
        op.execute(statement)


def drop_audit_and_traces(op: Any) -> None:
    """Undo add_audit_and_traces."""
    op.execute("DROP TABLE audit_entry")
    op.execute("DROP FUNCTION audit_is_append_only")
    op.execute("ALTER TABLE outbox DROP COLUMN created_at, DROP COLUMN trace")


_THIRD = (
    # `epoch` grows with each restore, `state` is working, restored or recovering; see runtime/recovery.py.
    """
    CREATE TABLE installation (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        epoch bigint NOT NULL DEFAULT 1,
        state text NOT NULL DEFAULT 'working',
        restored_at timestamptz,
        known_at timestamptz
    )
    """,
    "INSERT INTO installation DEFAULT VALUES",
    """
    CREATE TABLE recovery (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        gap_start_micros bigint NOT NULL,
        gap_end_micros bigint NOT NULL,
        replay_start_micros bigint NOT NULL,
        began_micros bigint NOT NULL,
        position text NOT NULL DEFAULT '',
        replayed_at timestamptz,
        ended_at timestamptz
    )
    """,
)


def add_installation(op: Any) -> None:
    """Create installation, with its one row, and recovery."""
    for statement in _THIRD:
        op.execute(statement)


def drop_installation(op: Any) -> None:
    """Undo add_installation."""
    op.execute("DROP TABLE recovery, installation")


_DATA_KEYS = (
    # Keys that seal values, themselves wrapped by a key of the keys file; `wrapped` NULL: destroyed.
    """
    CREATE TABLE data_key (
        number integer PRIMARY KEY,
        wrapping text NOT NULL,
        wrapped bytea,
        lookup_check bytea NOT NULL,
        made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        destroyed_at timestamptz
    )
    """,
    # How far sealing anew (by data key `number`) has come: the part in hand, and the last row of it.
    """
    CREATE TABLE resealing (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        number integer NOT NULL DEFAULT 0,
        part text NOT NULL DEFAULT '',
        place text NOT NULL DEFAULT '',
        sealed bigint NOT NULL DEFAULT 0,
        found bigint NOT NULL DEFAULT 0,
        began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz
    )
    """,
    "INSERT INTO resealing DEFAULT VALUES",
)


def add_data_keys(op: Any) -> None:
    """Create data_key, and resealing with its one row."""
    for statement in _DATA_KEYS:
        op.execute(statement)


def drop_data_keys(op: Any) -> None:
    """Undo add_data_keys."""
    op.execute("DROP TABLE resealing, data_key")
