"""An upgrade under way: old and new version side by side over one migration, while events flow."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.cli.stack.layout import CHECKOUT
from services.cli.stack.options import ROLES
from services.cli.stack.progress import advance_clock
from tests.system.conftest import RULE_SETS, START, until
from tests.system.crash.books import read_books, totals_now
from tests.system.crash.reconcile import reconcile
from tests.system.crash.run import feed_evenly, move_clock, settle
from tests.system.crash.town import SURVEY_AFTER, Town, make_town
from tests.system.crash.versions import NoHistoryError, Roles, Version, version_before_newest_migration

NEW = Version("new", CHECKOUT)
SERVERS = tuple(role for role in ROLES if role.endswith("-server"))
WORKERS = tuple(role for role in ROLES if role.endswith("-worker"))
KILLED = {*WORKERS, "decision-server"}
"""Old ones that are not asked to end but killed in the middle of their work."""


@pytest.fixture
def old(tmp_path_factory):
    try:
        return version_before_newest_migration(tmp_path_factory.mktemp("old"))
    except NoHistoryError as error:
        pytest.skip(str(error))


class Flow:
    """A town's events, fed piece by piece, so that some are on their way whenever something is done."""

    def __init__(self, rapport, town, pieces):
        self._rapport = rapport
        self._town = town
        each = -(-len(town.events) // pieces)
        self._pieces = [town.events[at : at + each] for at in range(0, len(town.events), each)]

    def during(self, act):
        """Feeds the next piece, and does something when a part of it has been accepted."""
        piece = Town(self._town.customers, self._pieces.pop(0))
        before = self._rapport.total("profile", "events.accepted")
        with ThreadPoolExecutor(1) as threads:
            feeding = threads.submit(feed_evenly, self._rapport, piece, seconds=2)
            until(lambda: self._rapport.total("profile", "events.accepted") > before or feeding.done())
            act()
            feeding.result()

    @property
    def ended(self):
        return not self._pieces


@pytest.mark.timeout(400)
def test_roles_are_swapped_one_by_one_while_events_flow(make_stack, old):
    rapport = make_stack(without=ROLES)
    with Roles(rapport) as roles:
        roles.make_databases()
        roles.migrate(old)
        roles.start(old, ROLES)
        advance_clock(rapport.stack, START)
        done = rapport("rules", "activate", *map(str, RULE_SETS))
        assert done.returncode == 0, done.stderr
        noon = rapport.noon()
        town = make_town(noon, events=2_400, seed=3)
        flow = Flow(rapport, town, pieces=2 + len(ROLES))
        before = totals_now(rapport)

        flow.during(lambda: roles.migrate(NEW))
        roles.start(NEW, WORKERS)  # beside the old ones, which do not mind the new shape
        for name in WORKERS:
            flow.during(lambda name=name: roles.end(old, name, gently=name not in KILLED))
        for name in SERVERS:  # the new one takes the address of the old one

            def swap(name=name):
                roles.end(old, name, gently=name not in KILLED)
                roles.start(NEW, [name])

            flow.during(swap)
        flow.during(lambda: None)
        assert flow.ended
        assert roles.all_run()
        assert {version for version, _ in roles.running} == {"new"}

        move_clock(rapport, noon + SURVEY_AFTER + dt.timedelta(hours=2), seconds=0)
        settle(rapport)
        result = reconcile(read_books(rapport, town, before))
        assert result.holds, result.table()
