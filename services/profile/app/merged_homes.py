"""The households of customers who are merged, and taken apart again."""

from collections.abc import Mapping

from services.profile.app.ports import Work
from services.profile.domain.customer import Customer
from services.profile.domain.households import Household
from services.vocabulary.catalogue import Catalogue


async def move_home(
    work: Work, into: Customer, other: Customer, catalogue: Catalogue, now_micros: int
) -> None:
    """A household has one member less, or who stays in the place of who was merged away."""
    homes = await work.homes({into.home_id, other.home_id} - {0}, lock=True)
    home = homes.get(other.home_id)
    if home is not None and other.id in home.members:
        said = home.members[other.id].said
        if not into.home_id:
            home.join(into.id, into.record.lines, said=said)
            into.enter(home, catalogue)
        # after who takes the place: a household without members would lose what they shared
        home.leave(other.id)
    await _hold_lines(work, into, homes, now_micros)


async def return_home(work: Work, into: Customer, other: Customer, before: int, now_micros: int) -> None:
    """Both belong to the households they came from."""
    homes = await work.homes({into.home_id, other.home_id} - {0}, lock=True)
    home = homes.get(other.home_id)
    if home is not None:
        said = into.id in home.members and home.members[into.id].said
        home.join(other.id, other.record.lines, said=said)
        other.home = home
        if into.home_id == home.id and not before:
            home.leave(into.id)
            into.leave_home()
    await _hold_lines(work, into, homes, now_micros)


async def _hold_lines(work: Work, into: Customer, homes: Mapping[int, Household], now_micros: int) -> None:
    if into.home_id in homes:
        homes[into.home_id].hold_lines(into.id, into.record.lines)
        into.home = homes[into.home_id]
    changed = [home for home in homes.values() if home.changed]
    if changed:
        await work.save_homes(changed, now_micros)
