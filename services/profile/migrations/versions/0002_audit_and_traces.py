"""An audit log, the age of the outbox, traces that go down the road with it, and old events found."""

from alembic import op

from services.runtime.migrations import build_index
from services.runtime.tables import add_audit_and_traces, drop_audit_and_traces

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # by which old events are found, to be pruned
    build_index(op, "event_accepted", "ON event USING brin (accepted_micros)")
    build_index(op, "thing_event_accepted", "ON thing_event USING brin (accepted_micros)")
    add_audit_and_traces(op)


def downgrade() -> None:
    op.execute("DROP INDEX event_accepted, thing_event_accepted")
    drop_audit_and_traces(op)
