"""Whom merged customers have become."""

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from services.profile.domain.customer import Customer


class Locking(Protocol):
    """Locks customers in id order, then reads them; of those in `records` also what changes rarely."""

    async def customers(self, ids: Collection[int], records: Collection[int]) -> dict[int, Customer]:
        """As `Work.customers`."""
        ...


class Reading(Protocol):
    """Reads customers whole, without locking."""

    async def read_customers(self, ids: Collection[int]) -> dict[int, Customer]:
        """As `Work.read_customers`."""
        ...


async def with_successors(work: Locking, merged: Iterable[Customer]) -> dict[int, Customer]:
    """Merged customers that are locked, and all that they lead to, locked and with their records."""
    wanted = {number for customer in merged for number in (customer.id, customer.merged_into)}
    while True:
        everyone = await work.customers(wanted, wanted)
        further = {customer.merged_into for customer in everyone.values()} - {0} - wanted
        if not further:
            return everyone
        wanted |= further


async def read_with_successors(work: Reading, ids: Collection[int]) -> dict[int, Customer]:
    """Customers and all that merged ones among them lead to."""
    found = await work.read_customers(ids)
    while True:
        further = {customer.merged_into for customer in found.values()} - {0} - found.keys()
        if not further:
            return found
        found |= await work.read_customers(further)


def successor(customer: Customer, everyone: Mapping[int, Customer]) -> Customer:
    """Whom a customer has become in the end; the same one where there was no merge."""
    while customer.merged_into:
        customer = everyone[customer.merged_into]
    return customer
