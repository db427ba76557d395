"""The tables of the decision service."""

from alembic import op

from services.runtime.tables import create_runtime_tables, drop_runtime_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    # Every version of every rule set, as written.
    """
    CREATE TABLE rule_set (
        name text NOT NULL,
        version integer NOT NULL,
        state text NOT NULL,
        source text NOT NULL,
        file text NOT NULL,
        title text NOT NULL,
        owner text NOT NULL,
        stage text NOT NULL,
        triggers text[] NOT NULL,
        rules integer NOT NULL,
        created_micros bigint NOT NULL,
        activated_micros bigint,
        PRIMARY KEY (name, version)
    )
    """,
    "CREATE UNIQUE INDEX rule_set_live ON rule_set (name) WHERE state = 'live'",
    # What was live together: the newest row is what runs; decisions name theirs, to be run again.
    """
    CREATE TABLE program (
        version bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        names text[] NOT NULL,
        versions integer[] NOT NULL,
        listened text[] NOT NULL,
        catalogue text NOT NULL,
        activated_micros bigint NOT NULL
    )
    """,
    # One row per customer with any standing: it is what transactions lock, in id order.
    "CREATE TABLE customer_state (customer bigint PRIMARY KEY)",
    # `once`: who holds a slot since when.
    """
    CREATE TABLE once_slot (
        customer bigint NOT NULL,
        rule_set text NOT NULL,
        rule text NOT NULL,
        key text NOT NULL,
        taken_micros bigint NOT NULL,
        holders text[] NOT NULL,
        PRIMARY KEY (customer, rule_set, rule, key)
    )
    """,
    # Sales and retention actions that won a conversation.
    """
    CREATE TABLE conversation (
        customer bigint NOT NULL,
        action_id text NOT NULL,
        won_micros bigint NOT NULL,
        PRIMARY KEY (customer, action_id)
    )
    """,
    # Holdout and arms, for good.
    """
    CREATE TABLE assignment (
        customer bigint NOT NULL,
        experiment text NOT NULL,
        arm text NOT NULL,
        assigned_micros bigint NOT NULL,
        PRIMARY KEY (customer, experiment)
    )
    """,
    # Decisions that had a candidate: what went in, compressed, and what came out.
    """
    CREATE TABLE decision (
        customer bigint NOT NULL,
        decision_id uuid NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY,
        event_id text NOT NULL,
        event_source text NOT NULL,
        event_type text NOT NULL,
        event_micros bigint NOT NULL,
        decided_micros bigint NOT NULL,
        program bigint NOT NULL,
        material bytea NOT NULL,
        record bytea NOT NULL,
        PRIMARY KEY (customer, decision_id)
    )
    """,
    "ALTER TABLE decision ALTER COLUMN material SET STORAGE EXTERNAL",
    "ALTER TABLE decision ALTER COLUMN record SET STORAGE EXTERNAL",
    "CREATE INDEX decision_newest ON decision (number)",
    """
    CREATE TABLE decision_action (
        customer bigint NOT NULL,
        decision_id uuid NOT NULL,
        action_id uuid NOT NULL,
        rule_set text NOT NULL,
        rule text NOT NULL,
        outcome text NOT NULL,
        reason text NOT NULL,
        PRIMARY KEY (customer, decision_id, action_id)
    )
    """,
    # From a decision's or an action's id to its customer; an action's newest decision counts.
    """
    CREATE TABLE decision_lookup (
        id uuid PRIMARY KEY,
        customer bigint NOT NULL,
        decision_id uuid NOT NULL
    )
    """,
    # Actions that wait for their time; looked up by what the event of their due time names.
    """
    CREATE TABLE planned_action (
        action_id uuid PRIMARY KEY,
        customer bigint NOT NULL,
        decision_id uuid NOT NULL,
        due_micros bigint NOT NULL,
        since_micros bigint NOT NULL,
        since_sequence bigint NOT NULL,
        state text NOT NULL,
        line text NOT NULL,
        hops integer NOT NULL,
        candidate bytea NOT NULL
    )
    """,
    "CREATE INDEX planned_action_due ON planned_action (due_micros) WHERE state = 'planned'",
    "CREATE INDEX planned_action_open ON planned_action (state, due_micros) WHERE state <> 'done'",
)


def upgrade() -> None:
    create_runtime_tables(op)
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP TABLE planned_action, decision_lookup, decision_action, decision, assignment, conversation, "
        "once_slot, customer_state, program, rule_set"
    )
    drop_runtime_tables(op)
