"""Versions of templates, which of them is in force, and tests sent to staff; which version said a message."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE message ADD COLUMN template text NOT NULL DEFAULT ''",
    "ALTER TABLE message ADD COLUMN segments int NOT NULL DEFAULT 0",
    # Every version ever saved; the files of rules/templates are version 0 and are not kept here.
    """
    CREATE TABLE template_version (
        name text NOT NULL,
        locale text NOT NULL,
        channel text NOT NULL,
        version int NOT NULL,
        source text NOT NULL,
        author text NOT NULL,
        saved_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (name, locale, channel, version)
    )
    """,
    # What is in force where it is not the file.
    """
    CREATE TABLE template_active (
        name text NOT NULL,
        locale text NOT NULL,
        channel text NOT NULL,
        version int NOT NULL,
        activated_by text NOT NULL,
        activated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (name, locale, channel)
    )
    """,
    # Previews on their way to staff; the address goes as soon as the provider has answered.
    """
    CREATE TABLE template_test (
        test_id uuid PRIMARY KEY,
        channel text NOT NULL,
        state text NOT NULL,
        detail text NOT NULL DEFAULT '',
        address text NOT NULL,
        text text NOT NULL,
        subject text NOT NULL,
        html text NOT NULL,
        sender text NOT NULL,
        asked_at timestamptz NOT NULL DEFAULT now(),
        changed_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE INDEX template_test_open ON template_test (channel, asked_at)
    WHERE state IN ('waiting', 'sending')
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE template_test, template_active, template_version")
    op.execute("ALTER TABLE message DROP COLUMN segments")
    op.execute("ALTER TABLE message DROP COLUMN template")
