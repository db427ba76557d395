"""Accounts, subscriptions and households."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_STATEMENTS = (
    # `lookup` is that of the identity account:<number>, which says whose it is; `sealed` holds the number and
    # what is known of it.
    """
    CREATE TABLE account (
        lookup bytea PRIMARY KEY,
        sealed bytea
    )
    """,
    # `customer` uses it; `payer` only where somebody was said to pay who need not be the account's.
    """
    CREATE TABLE subscription (
        lookup bytea PRIMARY KEY,
        account bytea,
        customer bigint,
        payer bigint,
        sealed bytea
    )
    """,
    "CREATE INDEX subscription_account ON subscription (account, lookup)",
    "CREATE INDEX subscription_customer ON subscription (customer)",
    "CREATE INDEX subscription_payer ON subscription (payer) WHERE payer IS NOT NULL",
    # `lookup`: of the account that makes it one, or of the name that an operator gave it. No names are in it.
    """
    CREATE TABLE household (
        id bigint PRIMARY KEY,
        lookup bytea NOT NULL UNIQUE,
        members bigint[] NOT NULL,
        packed bytea NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE household, subscription, account")
