"""The catalogue of each decision, and the files of each catalogue, so that old decisions can be run again."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE decision ADD COLUMN IF NOT EXISTS catalogue text NOT NULL DEFAULT ''")
    op.execute(
        """
        CREATE TABLE catalogue_kept (
            version text PRIMARY KEY,
            files bytea NOT NULL,
            kept_time timestamptz NOT NULL DEFAULT clock_timestamp()
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE catalogue_kept")
    op.execute("ALTER TABLE decision DROP COLUMN catalogue")
