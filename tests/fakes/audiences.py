"""What asking audiences needs of others: who is concerned, whether events lag, and whether there is room."""

from services.decision.app.run_ports import Page
from services.decision.domain.run_room import Room
from services.runtime.errors import UnavailableError


class AudiencesFake:
    """The profile's audiences: everybody in `members` (customer to last time), a few a page."""

    def __init__(self, members=(), zones=("UTC",)):
        self.members = dict(members)
        self.living = tuple(zones)
        self.filling = False
        self.away = False
        self.asked = []
        self.zones_asked = 0

    async def page(self, run, called, wanted, size):
        assert called.rule_set == run.rule_set
        if self.away:
            raise UnavailableError("away")
        self.asked.append((run, wanted, size))
        if self.filling:
            return Page(filling=True)
        after = int(run.page_token or 0)
        found = sorted(
            (customer, last)
            for customer, last in self.members.items()
            if customer > after and (run.kind != "absence" or run.after_micros < last <= run.until_micros)
        )
        members = tuple((customer, last if run.kind == "absence" else 0) for customer, last in found[:size])
        token = str(members[-1][0]) if len(found) > size else ""
        return Page(members, token, walked=len(members) / len(found) if found else 1.0)

    async def zones(self):
        if self.away:
            raise UnavailableError("away")
        self.zones_asked += 1
        return self.living


class LagFake:
    """Says what it is told to."""

    def __init__(self):
        self.is_behind = False

    async def behind(self):
        return self.is_behind


class RoomsFake:
    """There is the room that it is told, and the rule set's own pace."""

    def __init__(self):
        self.found = Room()

    async def room(self, called, now_micros):
        assert now_micros
        return self.found.paced(called.per_second)
