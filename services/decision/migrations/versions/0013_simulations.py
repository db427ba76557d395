"""Results of simulations, for reviewers; no customer is named in them."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE simulation (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            simulation_id uuid NOT NULL UNIQUE,
            caller text NOT NULL,
            created_micros bigint NOT NULL,
            rule_sets text[] NOT NULL,
            since_micros bigint NOT NULL,
            until_micros bigint NOT NULL,
            result bytea NOT NULL
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE simulation")
