"""What the profile's tables hold of persons: how it is shown to them, and how it is erased."""

import math
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from services.profile.adapters.account_packing import ACCOUNT, SUBSCRIPTION, open_facts, unpack_household
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packing import Kept
from services.profile.adapters.rows.identities import conflict_context, open_identity
from services.profile.adapters.rows.kept import open_event
from services.profile.domain.accounts import PAYER, USER, Account, Facts, Subscription
from services.profile.domain.activity import Column, TextColumn, TypeActivity
from services.profile.domain.consent import Consent
from services.profile.domain.customer import Record
from services.profile.domain.identities import ERASED
from services.profile.domain.traits import Trait
from services.runtime import personal
from services.runtime.personal import Personal, Row, Shown, deleted
from services.vocabulary.values import format_time, to_json

_BY_LOOKUP = "DELETE FROM {0} WHERE $mine AND lookup = ANY(%(lookups)s::bytea[])"
_OF_EITHER = "DELETE FROM {0} WHERE $mine OR other = ANY(%(customers)s::bigint[])"
_KEPT = (
    Personal(
        "consent_head",
        hidden="where the chain of the ledger ends",
        kept="it proves that the ledger is whole, by a bare id",
        keeps=frozenset({"hash", "seal"}),
    ),
    Personal(
        "erased_customer",
        hidden="ids that lead nowhere",
        kept="bare ids of erased persons: what still comes for them is refused",
        keeps=frozenset({"erasure_id"}),
    ),
    Personal(
        "erased_identity",
        hidden="keyed hashes of identities of erased persons; nobody's by any id",
        kept="keyed hashes with a time: what happened before it is not taken any more",
        keeps=frozenset({"lookup", "kind"}),
    ),
    Personal(
        "erasure",
        hidden="receipts, by ids that lead nowhere",
        kept="the receipt",
        keeps=frozenset({"erasure_id", "ground", "said_by", "reference"}),
    ),
    Personal(
        "erasure_part",
        hidden="receipts, by ids that lead nowhere",
        kept="the receipt",
        keeps=frozenset({"erasure_id", "service", "erased"}),
    ),
)
NOBODYS: Mapping[str, str] = {
    **personal.NOBODYS,
    "event_key": "digests of the sources and ids of events, by which a repeat is known",
    "thing_event": "events about cells, areas, stores and countries",
    "thing": "cells, areas, stores and countries",
    "listened": "event types that rule sets listen to",
    "gathering": "how far projections were filled",
    "stream_position": "how far callers' streams have come",
    "clock": "business time",
    "consent_chaining": "how far lines of the version before were chained",
    "data_key": "keys, wrapped",
    "resealing": "how far values were sealed anew",
    "pruned_until": "how far old events were pruned",
}
_NOBODYS_NOW: Final = (
    f"UPDATE identity_past SET customer = 0, line = '', sealed = NULL, via = {ERASED} "  # noqa: S608 - a number
    "WHERE $mine"
)


def tables(types: Types) -> tuple[Personal, ...]:
    """Every table with rows of persons, in the order in which they are erased."""
    reader = _Reader(types)
    hot = "SELECT id, hot FROM customer WHERE id = ANY(%(customers)s::bigint[]) ORDER BY id"
    record = "SELECT customer, record FROM customer_record WHERE $mine ORDER BY customer"
    return (
        Personal(
            "customer",
            shown=(Shown("traits", hot, reader.traits), Shown("activity", hot, reader.activity)),
            erase=("DELETE FROM customer WHERE id = ANY(%(customers)s::bigint[])",),
        ),
        Personal(
            "customer_record",
            shown=(
                Shown("identities", record, reader.identities),
                Shown("agreed", record, reader.agreed),
                Shown("preferences", record, reader.preferences),
            ),
            erase=deleted("customer_record"),
        ),
        Personal("customer_traits", hidden="the traits again, for queries", erase=deleted("customer_traits")),
        Personal("customer_zone", hidden="a trait again, for queries", erase=deleted("customer_zone")),
        Personal(
            "last_time",
            hidden="times of events again, for queries",
            # by the types that there are: rows are found by them
            erase=(
                """
                DELETE FROM last_time WHERE $mine
                    AND type IN (SELECT substr(name, 6) FROM gathering WHERE starts_with(name, 'last:'))
                """,
            ),
        ),
        Personal("identity", hidden="shown with the record", erase=(_BY_LOOKUP.format("identity"),)),
        Personal(
            "identity_plain",
            hidden="identities not carried over yet, shown with the record",
            erase=("DELETE FROM identity_plain WHERE $mine AND identity = ANY(%(texts)s::text[])",),
        ),
        Personal(
            "identity_past",
            shown=(
                Shown(
                    "former_identities",
                    "SELECT lookup, since_micros, until_micros, line, sealed FROM identity_past "
                    "WHERE $mine ORDER BY until_micros, lookup",
                    reader.past,
                ),
            ),
            # who had it then is nobody: what happened to them is told apart from what happened to nobody
            erase=(_NOBODYS_NOW,),
            kept="that somebody who was erased had it then, by a keyed hash: what happened before is refused",
            keeps=frozenset({"lookup"}),
        ),
        Personal(
            "identity_conflict",
            shown=(
                Shown(
                    "identities_of_several",
                    "SELECT customer, identities, time_micros, sealed FROM identity_conflict "
                    "WHERE $mine ORDER BY time_micros, identities",
                    reader.conflict,
                ),
            ),
            erase=deleted("identity_conflict"),
        ),
        Personal(
            "identity_suggestion",
            hidden="that somebody else may be the same person; it names them as well",
            erase=(_OF_EITHER.format("identity_suggestion"),),
        ),
        Personal(
            "customer_merge",
            shown=(
                Shown(
                    "merges",
                    "SELECT kind, time_micros, undone_micros FROM customer_merge "
                    "WHERE $mine OR other = ANY(%(customers)s::bigint[]) ORDER BY id",
                ),
            ),
            erase=(_OF_EITHER.format("customer_merge"),),
        ),
        Personal(
            "account",
            shown=(
                Shown(
                    "accounts",
                    "SELECT lookup, sealed FROM account WHERE lookup = ANY(%(lookups)s::bytea[]) "
                    "AND sealed IS NOT NULL ORDER BY lookup",
                    reader.account,
                ),
            ),
            erase=("DELETE FROM account WHERE lookup = ANY(%(lookups)s::bytea[])",),
        ),
        Personal(
            "subscription",
            shown=(
                Shown(
                    "subscriptions",
                    "SELECT lookup, sealed FROM subscription WHERE $mine AND sealed IS NOT NULL "
                    "ORDER BY lookup",
                    reader.subscription,
                ),
                Shown(
                    # who uses it, and by which number, is that person's own
                    "paid_for_others",
                    "SELECT lookup, sealed FROM subscription WHERE payer = ANY(%(customers)s::bigint[]) "
                    "AND NOT coalesce(customer = ANY(%(customers)s::bigint[]), false) AND sealed IS NOT NULL "
                    "ORDER BY lookup",
                    reader.paid,
                ),
            ),
            erase=deleted("subscription"),
        ),
        Personal(
            "household",
            shown=(
                Shown(
                    "household",
                    "SELECT id, lookup, packed FROM household WHERE id = ANY(%(homes)s::bigint[]) "
                    "ORDER BY id",
                    reader.household,
                ),
            ),
            kept="what the others of the household share; the person has left it",
            keeps=frozenset({"lookup", "packed"}),
        ),
        Personal(
            "household_past",
            hidden="what households shared and how many they were, again, for telling the past",
            kept="what the others of the household shared then; the person's id goes, and it names nobody",
            keeps=frozenset({"packed"}),
            erase=(
                """
                UPDATE household_past SET members = ARRAY(
                    SELECT one FROM unnest(members) AS one
                    WHERE one <> ALL(%(customers)s::bigint[]) ORDER BY one)
                WHERE members && %(customers)s::bigint[]
                """,
            ),
        ),
        Personal(
            "event",
            shown=(
                Shown(
                    "events",
                    "SELECT customer, sequence, time_micros, accepted_micros, type, source, event_id, line, "
                    "history, data FROM event WHERE $mine ORDER BY time_micros, sequence",
                    reader.event,
                ),
            ),
            erase=deleted("event"),
        ),
        Personal(
            "consent_ledger",
            shown=(
                Shown(
                    "consents",
                    "SELECT number, purpose, coalesce(channel, 'all') AS channel, state, said_by, "
                    "time_micros, expiry_micros, evidence, wording, source, recorded_at "
                    "FROM consent_ledger WHERE $mine ORDER BY customer, position",
                ),
            ),
            kept="who agreed to what and when, by a bare id: proof that what was said rested on a consent, "
            "as long as claims can be made (GDPR art. 17 (3) (e)); evidence, wording and the event's id go, "
            "and digests keep the chain whole",
            keeps=frozenset(
                {"purpose", "channel", "state", "said_by", "source", "texts", "previous", "hash"}
            ),
        ),
        *_KEPT,
        *personal.EVERYWHERE,
    )


class _Reader:
    """Opens what is packed and sealed."""

    def __init__(self, types: Types) -> None:
        self._types = types

    def traits(self, row: Row) -> Iterable[Row]:
        """Traits that hold, with who said so and when."""
        kept = Kept(bytes(row["hot"]), b"", row["id"], self._types.sealer)
        found = kept.open_traits().values()
        return [self._trait(trait) for trait in sorted(found, key=_name) if trait.value is not None]

    def _trait(self, trait: Trait) -> Row:
        words = [
            {
                "value": to_json(word.value, self._types.trait_types.get(trait.name)),
                "source": word.source,
                "since_time": format_time(word.time_micros),
            }
            for word in trait.words
            if word.value is not None
        ]
        return {
            "name": trait.name,
            **words[0],
            "line": trait.line,
            "until_micros": trait.until_micros,
            "others_say": words[1:],
        }

    def activity(self, row: Row) -> Iterable[Row]:
        """What is remembered of each event type beside the events themselves."""
        kept = Kept(bytes(row["hot"]), b"")
        opened = [kept.open_activity(name) for name in sorted(kept.event_types)]
        return [_activity(one) for one in opened if one is not None]

    def identities(self, row: Row) -> Iterable[Row]:
        """Identities with their lines."""
        return [
            {"customer": row["customer"], "identity": identity.text, "line": line}
            for identity, line in self._record(row).identities
        ]

    def agreed(self, row: Row) -> Iterable[Row]:
        """What counts now, of all that the ledger says."""
        return [_consent(consent) for consent in self._record(row).consents.all_recorded()]

    def preferences(self, row: Row) -> Iterable[Row]:
        """What the person likes."""
        return [{"key": key, "value": value} for key, value in sorted(self._record(row).preferences.items())]

    def _record(self, row: Row) -> Record:
        return Kept(b"", bytes(row["record"]), row["customer"], self._types.sealer).open_record()

    def account(self, row: Row) -> Iterable[Row]:
        """What is known of an account of theirs."""
        return (self._facts(Account(bytes(row["lookup"]), ""), row, ACCOUNT),)

    def subscription(self, row: Row) -> Iterable[Row]:
        """A line that they use."""
        return (self._facts(Subscription(bytes(row["lookup"]), ""), row, SUBSCRIPTION),)

    def paid(self, row: Row) -> Iterable[Row]:
        """A line that somebody else uses: that there is one, and its plan."""
        told = self._facts(Subscription(bytes(row["lookup"]), ""), row, SUBSCRIPTION)
        return ({name: told[name] for name in ("plan", "status") if name in told},)

    def _facts(self, facts: Facts, row: Row, table: str) -> Row:
        open_facts(facts, bytes(row["sealed"]), table, self._types.sealer)
        # others are named by ids alone, and those are ours
        return {"name": facts.name} | {
            name: value if isinstance(value, str) else format_time(int(value))  # type: ignore[arg-type]
            for name, (value, _) in sorted(facts.attributes.items())
            if value is not None and name not in {USER, PAYER}
        }

    def household(self, row: Row) -> Iterable[Row]:
        """What the members of their household share, and how many they are."""
        home = unpack_household(row["id"], bytes(row["lookup"]), bytes(row["packed"]))
        shared = {
            trait.name: to_json(trait.value, self._types.trait_types.get(trait.name))
            for trait in home.traits.values()
            if trait.value is not None
        }
        return ({"members": len(home.members), **shared},)

    def past(self, row: Row) -> Iterable[Row]:
        """An identity that was theirs for a time."""
        lookup, sealed = bytes(row.pop("lookup")), row.pop("sealed")
        if sealed is None:
            return ()
        return ({"identity": open_identity(self._types.sealer, lookup, bytes(sealed)), **row},)

    def conflict(self, row: Row) -> Iterable[Row]:
        """Identities of several customers that came together."""
        sealed, context = row.pop("sealed"), conflict_context(row.pop("customer"))
        text = row.pop("identities")
        opened = text if sealed is None else self._types.sealer.open_text(bytes(sealed), context)
        return (row | {"identities": opened},)

    def event(self, row: Row) -> Iterable[Row]:
        """An event as it was taken."""
        customer, sequence = row.pop("customer"), row.pop("sequence")
        data = open_event(self._types.sealer, customer, sequence, bytes(row["data"]))
        return (row | {"data": orjson.loads(data)},)


def _activity(activity: TypeActivity) -> Row:
    return {
        "type": activity.type,
        "times": [format_time(time_micros) for time_micros in activity.times],
        "fields": {name: _values(column) for name, column in activity.columns.items()},
        "days": [
            {"day": day, "events": count}
            for day, count in zip(activity.days, activity.day_counts, strict=True)
        ],
        "sums": {name: list(sums) for name, sums in activity.day_sums.items()},
    }


def _values(column: Column) -> list[str | float | None]:
    """A value for each entry; None: missing."""
    if isinstance(column, TextColumn):
        known = (None, *column.texts)
        return [known[index] for index in column.indexes]
    return [None if math.isnan(value) else value for value in column.values]


def _consent(consent: Consent) -> Row:
    return {
        "purpose": consent.purpose.value,
        "channel": "all" if consent.channel is None else consent.channel.value,
        "state": consent.state.value,
        "by": consent.by.value,
        "time_micros": consent.time_micros,
        "expiry_micros": consent.expiry_micros,
    }


def _name(trait: Trait) -> tuple[str, str]:
    return trait.name, trait.line
