"""Which mails about our mails were acted on, in PostgreSQL."""

from services.channel.adapters.storage.transaction import PostgresTransaction
from services.channel.app.store import MessageTransaction
from services.channel.domain.mail_reports import MailReport


class PostgresReportLog:
    """Notes reports in the transaction that acts on them."""

    async def note(self, tx: MessageTransaction, report: MailReport, customer: int, time_micros: int) -> bool:
        """Notes a report; False: it was noted before. A second one meanwhile waits for the first."""
        assert isinstance(tx, PostgresTransaction)
        return bool(
            await tx.raw.execute(
                "INSERT INTO mail_report (key, kind, status, customer, message_id, time_micros) "
                "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (report.key, report.kind.value, report.status, customer, report.message_id, time_micros),
            )
        )

    async def soft_failures(self, tx: MessageTransaction, customer: int, after_micros: int) -> int:
        """How many messages failed softly; several reports about one message are one."""
        assert isinstance(tx, PostgresTransaction)
        row = await tx.raw.row(
            "SELECT count(DISTINCT message_id) FROM mail_report "
            "WHERE kind = 'soft' AND customer = %s AND time_micros > %s",
            (customer, after_micros),
        )
        return 0 if row is None else int(row[0])
