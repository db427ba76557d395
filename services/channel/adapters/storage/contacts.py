"""Slots of frequency caps in PostgreSQL: by person, and by the household that the person belonged to then."""

from collections.abc import Sequence

from services.channel.domain.contact import Contact
from services.runtime.database import Transaction
from services.vocabulary.words import Category, Channel

_COLUMNS = "customer, message_id::text, channel, category, name, time_micros, topic, household"
_OF_CUSTOMERS = f"""
    SELECT c.* FROM unnest(%s::bigint[]) AS wanted (customer), LATERAL (
        SELECT {_COLUMNS} FROM contact
        WHERE contact.customer = wanted.customer AND time_micros > %s OFFSET 0
    ) AS c
"""  # noqa: S608 - columns are our own
_OF_HOUSEHOLDS = f"""
    SELECT c.* FROM unnest(%s::bigint[]) AS wanted (household), LATERAL (
        SELECT {_COLUMNS} FROM contact
        WHERE contact.household = wanted.household AND contact.household <> 0 AND time_micros > %s OFFSET 0
    ) AS c
"""  # noqa: S608 - columns are our own
_ADD = """
    INSERT INTO contact (customer, message_id, channel, category, name, time_micros, topic, campaign,
        cost_micros, household)
    SELECT * FROM unnest(%(customers)s::bigint[], %(ids)s::text[]::uuid[], %(channels)s::text[],
        %(categories)s::text[], %(names)s::text[], %(times)s::bigint[], %(topics)s::text[],
        %(campaigns)s::text[], %(costs)s::bigint[], %(households)s::bigint[])
"""


async def of_customers(
    raw: Transaction, customers: Sequence[int], after_micros: int
) -> dict[int, list[Contact]]:
    """Slots taken after that time, by customer."""
    found: dict[int, list[Contact]] = {}
    for row in await raw.rows(_OF_CUSTOMERS, (list(customers), after_micros)):
        contact = _contact(*row)
        found.setdefault(contact.customer, []).append(contact)
    return found


async def of_households(
    raw: Transaction, households: Sequence[int], after_micros: int
) -> dict[int, list[Contact]]:
    """Slots taken after that time by whoever belonged to these households then."""
    found: dict[int, list[Contact]] = {}
    for row in await raw.rows(_OF_HOUSEHOLDS, (list(households), after_micros)):
        contact = _contact(*row)
        found.setdefault(contact.household, []).append(contact)
    return found


async def add(raw: Transaction, contacts: Sequence[Contact]) -> None:
    """Slots taken."""
    await raw.execute(
        _ADD,
        {
            "customers": [contact.customer for contact in contacts],
            "ids": [contact.message_id for contact in contacts],
            "channels": [contact.channel.value for contact in contacts],
            "categories": [contact.category.value if contact.category else "" for contact in contacts],
            "names": [contact.name for contact in contacts],
            "times": [contact.time_micros for contact in contacts],
            "topics": [contact.topic for contact in contacts],
            "campaigns": [contact.campaign for contact in contacts],
            "costs": [contact.cost_micros for contact in contacts],
            "households": [contact.household for contact in contacts],
        },
    )


def _contact(
    customer: int,
    message_id: str,
    channel: str,
    category: str,
    name: str,
    time_micros: int,
    topic: str,
    household: int,
) -> Contact:
    return Contact(
        customer,
        message_id,
        Channel(channel),
        Category(category),
        name,
        time_micros,
        topic,
        household=household,
    )
