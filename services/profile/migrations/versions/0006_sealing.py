"""Identities are found by a keyed hash and stand sealed; data keys; whom an identity belonged to before."""

from alembic import op

from services.runtime.tables import add_data_keys, drop_data_keys

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

RENAMES = ("identity",)
"""A role of the version before could neither read what is sealed nor keep it when it writes: it must fail."""

_STATEMENTS = (
    # As it was, in plain text; a worker carries its rows over, and it is empty from then on.
    "ALTER TABLE identity RENAME TO identity_plain",
    # `lookup`: keyed hash of kind, colon and value; `sealed` holds the three; `since_micros` 0: always.
    """
    CREATE TABLE identity (
        lookup bytea CONSTRAINT identity_lookup PRIMARY KEY,
        customer bigint NOT NULL,
        line text NOT NULL,
        since_micros bigint NOT NULL DEFAULT 0,
        sealed bytea
    )
    """,
    # Whose it was until a time.
    """
    CREATE TABLE identity_past (
        lookup bytea NOT NULL,
        until_micros bigint NOT NULL,
        since_micros bigint NOT NULL DEFAULT 0,
        customer bigint NOT NULL,
        line text NOT NULL,
        sealed bytea,
        PRIMARY KEY (lookup, until_micros)
    )
    """,
    # `identities` is a keyed hash since, in hexadecimal; what it was stands sealed.
    "ALTER TABLE identity_conflict ADD COLUMN sealed bytea",
)


def upgrade() -> None:
    add_data_keys(op)
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE identity_conflict DROP COLUMN sealed")
    op.execute("DROP TABLE identity_past, identity")
    op.execute("ALTER TABLE identity_plain RENAME TO identity")
    drop_data_keys(op)
