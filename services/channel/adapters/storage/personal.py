"""What the channel service's tables hold of persons: how it is shown to them, and how it is erased."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from services.channel.adapters.storage.rows import read_history
from services.channel.adapters.storage.sealed import open_wording, open_written
from services.channel.domain.messages import Change
from services.runtime import personal
from services.runtime.keys import Sealer
from services.runtime.personal import Personal, Shown, deleted
from services.vocabulary.values import format_time


def _message(row: personal.Row) -> Iterable[personal.Row]:
    """A message with its steps."""
    steps = read_history(bytes(row.pop("history")))
    told = row | {"steps": [_step(step) for step in steps]}
    return ({name: value for name, value in told.items() if value not in ("", None)},)


def _step(step: Change) -> personal.Row:
    reason = step.reason.value if step.reason is not None else ""
    told = {"time": format_time(step.time_micros), "state": step.state.value, "reason": reason}
    return told | {"detail": step.detail}


PERSONAL: tuple[Personal, ...] = (
    Personal(
        "message",
        shown=(
            Shown(
                "messages",
                "SELECT m.customer, m.message_id, m.action_id, m.decision_id, m.rule_set, m.rule, m.kind, "
                "m.name, m.category, m.topic, m.line, m.accepted_micros, m.expires_micros, m.state, "
                "m.reason, m.detail, m.channel, m.due_micros, m.sent_micros, m.receipt_micros, m.zone, "
                "m.template, m.segments, m.campaign, m.history, b.text, b.subject, b.html, b.sender_plain, "
                "b.address, b.sealed, "
                "m.recipient <> 0 AND m.$mine AS to_payer "
                "FROM message AS m LEFT JOIN message_body AS b ON b.customer = m.customer "
                "AND b.message_id = m.message_id AND (m.recipient = 0 OR m.$theirs) "
                "WHERE m.$mine OR m.$theirs ORDER BY m.number",
                _message,
            ),
        ),
        erase=(
            """
            UPDATE message SET line = '', topic = '', zone = '', trace = NULL, escalates_micros = 0,
                asked_wall_micros = 0
            WHERE $mine OR $theirs
            """,
        ),
        kept="that something of this name was said on a channel at a time, under a bare id: what was sent "
        "and spent is reconciled with providers; goes with the retention class `messages`",
        keeps=frozenset(
            {
                *("decision_id", "rule_set", "rule", "kind", "name", "category", "state", "reason", "detail"),
                *("channel", "history", "template", "campaign"),
            }
        ),
    ),
    Personal(
        "message_body",
        hidden="shown with the messages",
        erase=(
            *deleted("message_body"),
            """
            DELETE FROM message_body USING message WHERE message.$theirs
                AND message_body.customer = message.customer AND message_body.message_id = message.message_id
            """,
        ),
    ),
    Personal(
        "contact",
        shown=(
            Shown(
                "contacts",
                "SELECT message_id, channel, category, name, topic, time_micros FROM contact "
                "WHERE $mine ORDER BY time_micros, message_id",
            ),
        ),
        erase=deleted("contact"),
    ),
    Personal(
        "suppression_entry",
        shown=(
            Shown(
                "suppressions",
                "SELECT channel, reason, time_micros, evidence, message_id FROM suppression_entry "
                "WHERE $mine ORDER BY number",
            ),
        ),
        erase=(
            """
            INSERT INTO suppressed_address (lookup, channel, reason, time_micros)
            SELECT DISTINCT ON (lookup, channel, reason) lookup, channel, reason, time_micros
            FROM suppression_entry
                JOIN unnest(%(channels)s::text[], %(lookups)s::bytea[]) AS address (channel, lookup)
                USING (channel)
            WHERE $mine ORDER BY lookup, channel, reason, time_micros
            ON CONFLICT DO NOTHING
            """,
            *deleted("suppression_entry"),
        ),
    ),
    Personal(
        "suppressed_address",
        hidden="keyed hashes of addresses whose owners were erased; nobody's by any id",
        kept="an address that must not be contacted stays so, whoever has it next (GDPR art. 17 (3) and 21): "
        "a keyed hash, the channel and the reason",
        keeps=frozenset({"lookup", "channel", "reason"}),
    ),
    Personal("suppression", hidden="the same for the version before", erase=deleted("suppression")),
    Personal(
        "receipt",
        shown=(
            Shown(
                "receipts",
                "SELECT provider, provider_id, message_id, state, time_micros, detail FROM receipt "
                "WHERE $mine ORDER BY noted_at, provider_id",
            ),
        ),
        erase=deleted("receipt"),
    ),
    Personal(
        "inbox",
        shown=(Shown("inbox", "SELECT cursor, message_id, seen FROM inbox WHERE $mine ORDER BY cursor"),),
        erase=(
            "DELETE FROM inbox WHERE $mine AND cursor < (SELECT max(cursor) FROM inbox)",
            # cursors go on from the newest entry: it stays, as nobody's
            "UPDATE inbox SET customer = 0, seen = true WHERE $mine",
        ),
    ),
    Personal(
        "inbound_text",
        hidden="shown with what the person wrote",
        erase=(
            """
            DELETE FROM inbound_text USING inbound WHERE inbound.inbound_id = inbound_text.inbound_id
                AND inbound.customer <> 0 AND inbound.$mine
            """,
        ),
    ),
    Personal(
        "inbound",
        shown=(
            Shown(
                "written_by_them",
                "SELECT inbound_id, inbound.time_micros, channel, provider, intent, text, recipient, "
                "sealed, message_id, action_id, answer_id "
                "FROM inbound LEFT JOIN inbound_text USING (inbound_id) "
                "WHERE customer <> 0 AND $mine ORDER BY number",
            ),
        ),
        erase=("DELETE FROM inbound WHERE customer <> 0 AND $mine",),
    ),
    Personal(
        "mail_report",
        shown=(
            Shown(
                "mail_reports",
                "SELECT kind, status, message_id, time_micros FROM mail_report "
                "WHERE $mine ORDER BY time_micros",
            ),
        ),
        erase=deleted("mail_report"),
    ),
    Personal(
        "customer_gate",
        hidden="a row to lock",
        kept="the bare id, with the time of the erasure: what still comes for it is refused",
    ),
    *personal.EVERYWHERE,
)
"""To show them, take `tables`."""
NOBODYS: Mapping[str, str] = {
    **personal.NOBODYS,
    "data_key": "keys, wrapped",
    "resealing": "how far values were sealed anew",
    "rate": "rates of providers and campaigns",
    "template_version": "what templates say",
    "template_active": "which templates are in force",
    "template_test": "previews for staff; an address goes as soon as the provider has answered",
    "control_state": "whether controls changed",
    "kill_switch": "what operators switched off",
    "care_load": "how much waits at care desks",
    "policy_version": "policies in force",
    "campaign_use": "what campaigns have used",
    "campaign_bucket": "what campaigns have used",
}


def tables(sealer: Sealer) -> tuple[Personal, ...]:
    """PERSONAL, with what is sealed opened where it is shown."""

    def message(row: personal.Row) -> Iterable[personal.Row]:
        said = [row.pop(name) for name in ("text", "subject", "html", "sender_plain", "address", "sealed")]
        wording = open_wording(sealer, str(row["message_id"]), said)
        words = {name: getattr(wording, name) for name in ("text", "subject", "html", "sender", "address")}
        return _message(row | words)

    def written(row: personal.Row) -> Iterable[personal.Row]:
        columns = [row.pop(name) for name in ("recipient", "text", "sealed")]
        recipient, text = open_written(sealer, str(row.pop("inbound_id")), columns)
        return (row | {"text": text, "recipient": recipient},)

    readers = {"message": message, "inbound": written}
    return tuple(
        replace(one, shown=tuple(replace(part, read=readers[one.name]) for part in one.shown))
        if one.name in readers
        else one
        for one in PERSONAL
    )
