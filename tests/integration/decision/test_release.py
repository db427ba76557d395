"""The life of a version: reviewed, met by a share of the customers, live, taken back, replaced."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import orjson
import pytest

from services.decision.adapters.checking import check_text
from services.decision.adapters.running import compile_whole, differences_of
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import SetAside
from services.decision.app.keep_schedule import KeepSchedule
from services.decision.app.release import ReleaseVersions, Withdrawal
from services.decision.app.replace_broken import BlameKillers, ReplaceBroken
from services.decision.app.review import ReviewVersions
from services.decision.app.simulation_ports import KeptSimulation
from services.decision.app.versions import digest_of
from services.decision.domain.canary import meets
from services.decision.domain.oracle import Oracle
from services.decision.domain.release import Refused, Refusing, ReleaseRules
from services.runtime.audit import AuditFilter, list_audit
from services.runtime.caller import Caller, set_caller
from services.vocabulary.words import ActionOutcome, RefusalReason
from tests.integration.decision.conftest import HOUR, NOON, event, snapshot
from tests.integration.decision.test_journeys import DAY, WELCOME, go_on, said, started
from tests.integration.decision.test_rule_sets import SMALL
from tests.integration.decision.test_runs import SCHEDULE, THING, AudiencesFake, calling
from tests.integration.decision.test_worker import complaint

ONCE = SMALL.replace("  - id: call\n", "  - id: call\n    once: ever\n")
SECOND = ONCE.replace("queue: care", "queue: second")
THIRD = ONCE.replace("queue: care", "queue: third")
HALF = 5_000
STRICT = ReleaseRules()


class Compiling:
    """Compiles in this process, with a catalogue that may change; nothing is made up in a trial."""

    def __init__(self, catalogue):
        self.catalogue = catalogue

    async def check(self, context, text, file):
        return check_text(Oracle(), self.catalogue, read_yaml, context, text, file, 0, 0)

    async def trial(self, context, text, file, version):
        return check_text(Oracle(), self.catalogue, read_yaml, context, text, file, version, 0)

    async def compile(self, sources):
        return compile_whole(sources, self.catalogue, read_yaml)

    async def differences(self, context, old, new):
        return differences_of(context, old, new, self.catalogue, read_yaml)


class KeptSimulations:
    """What was simulated, by id: the names of the drafts, and the texts of some."""

    def __init__(self):
        self.kept = {}

    def keep(self, *names, **texts):
        simulation_id = str(uuid4())
        result = {"digests": {name: digest_of(text) for name, text in texts.items()}}
        self.kept[simulation_id] = KeptSimulation(
            simulation_id, "ann", NOON, names or tuple(texts), 0, NOON, orjson.dumps(result).decode()
        )
        return simulation_id

    async def find(self, simulation_id):
        return self.kept.get(str(UUID(simulation_id)))


class Releasing:
    """A worker's rule sets in the hands of several people."""

    def __init__(self, worker, rules=STRICT):
        self.worker = worker
        self.compiling = Compiling(worker.catalogue)
        self.versions = ReleaseVersions(
            worker.rule_sets, self.compiling, worker.listening, worker.clock, "c-1", rules
        )
        self.simulations = KeptSimulations()
        self.reviews = ReviewVersions(worker.rule_sets, self.compiling, self.simulations, worker.clock)
        self.replacing = ReplaceBroken(
            worker.database, worker.rule_sets, self.compiling, worker.listening, worker.clock, "c-2"
        )

    def as_(self, name):
        set_caller(Caller(name))
        return self

    async def put(self, text):
        checked = await self.compiling.check(await self.worker.rule_sets.context(), text, "small.yaml")
        async with self.worker.database.transaction() as transaction:
            return await self.worker.manage.put(transaction, checked, text, "small.yaml")

    async def submit(self, version=0, **more):
        ready = await self.reviews.prepare_review("small", version, **more)
        async with self.worker.database.transaction() as transaction:
            return await self.reviews.submit(transaction, ready)

    async def review(self, version, *, approve=True):
        async with self.worker.database.transaction() as transaction:
            return await self.reviews.review(transaction, "small", version, "looked", approve=approve)

    async def run(self, version=0, share=0):
        tried = await self.versions.trial("small", version, share)
        return await self._do(tried)

    async def rollback(self, version=0):
        return await self._do(await self.versions.prepare_rollback("small", version, "complaints"))

    async def retire(self, version=0):
        return await self._do(await self.versions.prepare_retirement("small", version, "over"))

    async def schedule(self, version, at_micros):
        async with self.worker.database.transaction() as transaction:
            return await self.versions.schedule(transaction, "small", version, at_micros)

    async def _do(self, ready):
        done = getattr(ready, "refused", None)
        if isinstance(ready, Withdrawal) or ready.ready is not None:
            async with self.worker.database.transaction() as transaction:
                if isinstance(ready, Withdrawal):
                    done = await self.versions.withdraw(transaction, ready)
                else:
                    done = await self.versions.activate(transaction, ready.ready)
        await self.worker.follow.refresh()
        return done

    async def release(self, text):
        """All the way to everybody, by four people."""
        row = await self.as_("ann").put(text)
        await self.as_("ann").submit(row.version)
        await self.as_("ben").review(row.version)
        await self.as_("olga").run(row.version, HALF)
        live = await self.run(row.version)
        assert live.state == "live", live
        return live

    async def states(self):
        rows = await self.worker.manage.page(None, 100, all_versions=True)
        return {row.version: row.state for row in rows}

    async def live(self):
        return [(source.name, source.version) for source in (await self.worker.rule_sets.live()).sources]

    async def steps(self, version):
        return [(step.action, step.actor) for step in await self.worker.rule_sets.steps("small", version)]

    async def asked(self, customer, event_id):
        """Queue and outcome of what was decided for a complaint."""
        await self.worker.take((complaint(customer=customer, event_id=event_id), snapshot(customer)))
        one = (await self.worker.decided())[-1]
        assert one.event_id == event_id
        (action,) = one.actions
        return action.candidate.parameters["queue"][1], action.outcome, action.reason


@pytest.fixture
def releasing(make_worker_here):
    return Releasing(make_worker_here())


def reason(done):
    assert isinstance(done, Refused), done
    return done.reason


DONE, TAKEN = (ActionOutcome.DISPATCHED, None), (ActionOutcome.REFUSED, RefusalReason.ONCE)


async def test_from_draft_to_everybody_by_several_people(releasing):
    await releasing.release(ONCE)
    await releasing.as_("ann").put(SECOND)
    assert reason(await releasing.run(2, HALF)) is Refusing.NOT_APPROVED
    simulated = releasing.simulations.keep(small=SECOND)
    row = await releasing.as_("amy").submit(2, simulation_id=simulated, comment="second queue")
    assert (row.state, row.compared_version, row.simulation_id) == ("in_review", 1, simulated)
    assert row.differences == (
        "the rule call: parameters of task call-back: queue “care” became queue “second”",
    )
    for own in ("ann", "amy"):
        assert reason(await releasing.as_(own).review(2)) is Refusing.OWN_WORK

    async def says(name, *, approve):
        set_caller(Caller(name))
        return await releasing.review(2, approve=approve)

    both = await asyncio.gather(
        asyncio.create_task(says("ben", approve=True)), asyncio.create_task(says("cleo", approve=True))
    )
    (told,) = [done for done in both if isinstance(done, Refused)]
    (won,) = [done for done in both if not isinstance(done, Refused)]
    assert told.reason is Refusing.ALREADY_REVIEWED
    assert won.approver in {"ben", "cleo"}
    assert won.approver in told.detail
    releasing.as_("olga")
    assert reason(await releasing.run(2)) is Refusing.NO_CANARY
    await releasing.run(2, HALF)
    assert await releasing.states() == {1: "live", 2: "canary"}
    met = {customer: meets("small", HALF, customer) for customer in range(10, 22)}
    assert set(met.values()) == {True, False}
    for customer, second in met.items():
        queue = "second" if second else "care"
        assert await releasing.asked(customer, f"a-{customer}") == (queue, *DONE)
    await releasing.run(2)
    assert await releasing.states() == {1: "retired", 2: "live"}
    # what an earlier version used up stays used up, whoever met which
    for customer in list(met)[:4]:
        assert await releasing.asked(customer, f"b-{customer}") == ("second", *TAKEN)
    actors = ["ann", "amy", won.approver, "olga", "olga"]
    actions = ["put", "submit", "approve", "canary", "activate"]
    assert await releasing.steps(2) == list(zip(actions, actors, strict=True))
    async with releasing.worker.database.transaction() as transaction:
        entries = await list_audit(transaction, AuditFilter(target="rule_set/small"))
    assert {f"rules.{word}" for word in ("put", "submit", "approve", "canary", "activate", "retire")} == {
        entry.action for entry in entries
    }
    assert {entry.after["version"] for entry in entries} == {1, 2}
    assert all(entry.before != entry.after for entry in entries)
    (approved,) = [
        entry for entry in entries if entry.action == "rules.approve" and entry.after["version"] == 2
    ]
    assert (approved.before, approved.after["state"]) == ({"state": "in_review"}, "approved")
    assert {entry.actor for entry in entries} == {"ann", "amy", "ben", won.approver, "olga"}
    for one in await releasing.worker.decided():
        found = await releasing.worker.look_back.explain(one.decision_id, "")
        assert found.reproduced, one.event_id


async def test_a_simulation_is_attached_only_to_the_very_text_that_was_simulated(releasing):
    keep = releasing.simulations.keep
    await releasing.as_("ann").put(ONCE)
    for simulation_id, words in (
        ("nonsense", "there is no simulation nonsense"),
        (str(UUID(int=7)), "there is no simulation 00000000"),
        (keep(other=ONCE), "is of other, not of small"),
        (keep(small=SECOND), "another text of small than version 1"),
        (keep("small"), "another text of small than version 1"),
    ):
        refused = await releasing.submit(1, simulation_id=simulation_id)
        assert reason(refused) is Refusing.WRONG_SIMULATION
        assert words in refused.detail
        assert "simulate small version 1" in refused.suggestion
    assert await releasing.states() == {1: "tested"}
    both = keep(other=SECOND, small=ONCE)
    assert (await releasing.submit(1, simulation_id=both.upper())).simulation_id == both


async def test_who_approves_approves_what_was_read(releasing):
    await releasing.as_("ann").put(ONCE)
    await releasing.submit(1)
    await releasing.put(SECOND)
    assert reason(await releasing.as_("ben").review(2)) is Refusing.WRONG_STATE
    assert (await releasing.review(1)).state == "approved"
    assert (await releasing.worker.rule_sets.find("small", 2)).state == "tested"
    assert reason(await releasing.as_("olga").run(2, HALF)) is Refusing.NOT_APPROVED


async def test_a_rejected_version_is_a_draft_and_may_come_again(releasing):
    await releasing.as_("ann").put(ONCE)
    await releasing.submit()
    rejected = await releasing.as_("ben").review(1, approve=False)
    assert rejected.state == "draft"
    assert reason(await releasing.review(1)) is Refusing.ALREADY_REVIEWED
    again = await releasing.as_("ann").submit(1)
    assert again.state == "in_review"
    assert (await releasing.as_("ben").review(1)).state == "approved"


async def test_a_version_whose_tests_fail_is_not_submitted(releasing):
    await releasing.put(ONCE.replace("fires: [call]", "fires: []"))
    assert reason(await releasing.submit()) is Refusing.NOT_SOUND
    assert await releasing.states() == {1: "draft"}


async def test_rollback_takes_back_step_after_step_and_never_to_what_was_bad(releasing):
    await releasing.release(ONCE)
    await releasing.release(SECOND)
    await releasing.as_("ann").put(THIRD)
    await releasing.submit(3)
    await releasing.as_("ben").review(3)
    await releasing.as_("olga").run(3, HALF)
    await releasing.rollback()
    assert await releasing.states() == {1: "retired", 2: "live", 3: "retired"}
    assert await releasing.asked(next(n for n in range(9, 99) if meets("small", HALF, n)), "a") == (
        "second",
        *DONE,
    )
    back = await releasing.rollback()
    assert (back.version, back.state) == (1, "live")
    assert await releasing.states() == {1: "live", 2: "retired", 3: "retired"}
    assert await releasing.asked(8, "b") == ("care", *DONE)
    assert reason(await releasing.rollback()) is Refusing.NOTHING_BEFORE
    # without a word from a second person only what was live before comes back, and by its number
    assert reason(await releasing.run(2)) is Refusing.NOT_APPROVED
    assert reason(await releasing.rollback(3)) is Refusing.NOTHING_BEFORE
    assert (await releasing.rollback(2)).state == "live"
    assert (await releasing.retire()).state == "retired"
    assert await releasing.live() == []


def without_call_back(catalogue, event_type="complaint.opened"):
    """A catalogue that has lost an event type."""
    return replace(
        catalogue, events={name: kind for name, kind in catalogue.events.items() if name != event_type}
    )


OTHER = ONCE.replace("complaint.opened", "case.opened").replace(
    "{type: case.opened, topic: calls}", "{type: case.opened, case: c, topic: calls}"
)


async def test_a_rollback_to_what_no_longer_compiles_says_why_and_offers_what_does(releasing):
    await releasing.release(OTHER)
    await releasing.release(ONCE)
    await releasing.release(OTHER.replace("title: Small", "title: Other"))
    releasing.compiling.catalogue = without_call_back(releasing.worker.catalogue)
    refused = await releasing.rollback()
    assert reason(refused) is Refusing.NO_LONGER_COMPILES
    assert "version 2" in refused.detail
    assert "complaint.opened" in refused.detail
    assert refused.offered == 1
    assert (await releasing.rollback(refused.offered)).version == 1
    assert reason(await releasing.rollback(2)) is Refusing.NO_LONGER_COMPILES


async def test_a_rollback_to_what_fails_its_tests_today_is_refused_with_the_test(releasing):
    await releasing.release(ONCE)
    await releasing.release(SECOND)
    failing = ONCE.replace("fires: [call]", "fires: []")
    async with releasing.worker.database.transaction() as transaction:
        # as if what is looked at beside it had changed
        await transaction.execute("UPDATE rule_set SET source = %s WHERE version = 1", (failing,))
    refused = await releasing.rollback()
    assert (reason(refused), refused.offered) == (Refusing.NO_LONGER_COMPILES, 0)
    assert "version 1 was live: its tests no longer pass: test 'it calls' failed" in refused.detail
    assert await releasing.live() == [("small", 2)]


async def test_what_no_longer_compiles_is_replaced_by_the_last_good_one_with_an_alert(releasing):
    worker = releasing.worker
    await releasing.release(OTHER)
    await releasing.release(ONCE)
    releasing.compiling.catalogue = without_call_back(worker.catalogue)
    assert await releasing.replacing.mend(await worker.rule_sets.live())
    assert await releasing.live() == [("small", 1)]
    async with worker.database.transaction() as transaction:
        entries = await list_audit(transaction, AuditFilter(action="rules.replace"))
    assert sorted((entry.after["version"], entry.after["state"], entry.actor) for entry in entries) == [
        (1, "live", "system"),
        (2, "retired", "system"),
    ]
    assert await worker.rule_sets.trouble() == {"replace": 1, "refused": 0}
    assert (await releasing.steps(2))[-1] == ("replace", "system")
    assert (await releasing.steps(1))[-1] == ("replace", "system")
    assert "case.opened" in worker.listening.types
    # who comes second finds nothing to do
    assert not await releasing.replacing.mend(await worker.rule_sets.live())
    releasing.compiling.catalogue = without_call_back(releasing.compiling.catalogue, "case.opened")
    assert await releasing.replacing.mend(await worker.rule_sets.live())
    assert await releasing.live() == []
    releasing.compiling.catalogue = worker.catalogue
    await releasing.rollback(2)
    assert await worker.rule_sets.trouble() == {"replace": 0, "refused": 0}


async def test_a_process_that_starts_with_what_does_not_compile_mends_it_and_goes_on(releasing):
    worker = releasing.worker
    await releasing.release(ONCE)
    await releasing.release(ONCE.replace("title: Small", "title: Two"))
    async with worker.database.transaction() as transaction:
        await transaction.execute("UPDATE rule_set SET source = 'ruleset: [' WHERE version = 2")
        await transaction.execute("UPDATE program SET catalogue = 'x'")
    assert not await worker.follow.refresh() or worker.follow.version
    mended = []

    async def mend(live, died):
        mended.append((live.version, died))
        return await releasing.replacing.mend(live)

    worker.follow.on_broken(mend)
    worker.follow._tried = -1
    assert await worker.follow.refresh()
    assert [died for _, died in mended] == [None]
    assert await releasing.live() == [("small", 1)]
    assert await releasing.asked(5, "a") == ("care", *DONE)


async def test_events_that_end_the_engine_since_the_last_change_take_it_back(releasing):
    worker = releasing.worker
    await releasing.release(ONCE)
    await releasing.release(SECOND)
    guilty = (await worker.rule_sets.live()).version

    async def survives(program, payload):
        return payload == b"harmless" or (payload == b"killer" and program.version < guilty)

    blame = BlameKillers(worker.rule_sets, releasing.replacing, survives)

    def item(event_id, payload=b"killer", event_type="complaint.opened"):
        return SetAside(0, 1, event_id, event_type, payload, "killed", killed_engine=True)

    assert not await blame.judge(item("always", b"always"))  # it does with the one before as well
    assert not await blame.judge(item("never", b"harmless"))  # it does not by itself
    assert not await blame.judge(item("due", event_type="action.due"))
    assert not await blame.judge(item("one"))
    assert not await blame.judge(item("one"))
    assert await releasing.live() == [("small", 2)]
    assert await blame.judge(item("two"))
    # the version is still the live one, as the last change made a canary of it live for everybody
    assert await releasing.live() == [("small", 1)]
    assert await releasing.states() == {1: "live", 2: "retired"}


async def test_a_version_goes_live_at_its_time_or_says_why_not(releasing):
    worker = releasing.worker
    await releasing.release(ONCE)
    await releasing.as_("ann").put(SECOND)
    assert reason(await releasing.schedule(2, NOON + HOUR)) is Refusing.NOT_APPROVED
    await releasing.submit(2)
    await releasing.as_("ben").review(2)
    await releasing.as_("olga").run(2, HALF)
    assert reason(await releasing.schedule(2, 0)) is Refusing.WRONG_STATE
    await releasing.schedule(2, NOON + HOUR)
    keeping = KeepSchedule(
        worker.database, worker.clock, worker.rule_sets, releasing.versions, worker.follow.refresh
    )
    releasing.as_("system")
    assert await keeping.look() == 0
    worker.clock.advance_to(NOON + HOUR)
    assert await keeping.look() == 1
    assert await keeping.look() == 0
    assert await releasing.states() == {1: "retired", 2: "live"}
    assert (await releasing.steps(2))[-1] == ("activate", "olga")
    await releasing.as_("ann").put(THIRD)
    await releasing.submit(3)
    await releasing.as_("ben").review(3)
    await releasing.as_("olga").run(3, HALF)
    await releasing.schedule(3, NOON + 2 * HOUR)
    releasing.compiling.catalogue = without_call_back(worker.catalogue)
    worker.clock.advance_to(NOON + 3 * HOUR)
    assert await keeping.look() == 0
    assert (await releasing.steps(3))[-1] == ("refused", "olga")
    assert await worker.rule_sets.trouble() == {"replace": 0, "refused": 1}
    assert (await worker.rule_sets.find("small", 3)).scheduled_micros == 0


FREE = ReleaseRules(approval=False, canary=False)


async def install_canary(worker, text, share):
    """Makes a text a canary without a trial."""
    releasing = Releasing(worker, FREE)
    name = text.split("ruleset: ")[1].split()[0]
    await releasing.put(text.partition("tests:")[0])
    tried = await releasing.versions.trial(name, 0, share)
    assert tried.ready is not None, tried.problems
    async with worker.database.transaction() as transaction:
        await releasing.versions.activate(transaction, tried.ready)
    await worker.follow.refresh()


async def test_who_meets_a_canary_is_called_at_its_times_and_nobody_twice(make_worker_here):
    customers = range(1, 12)
    it = await calling(make_worker_here, SCHEDULE, audiences=AudiencesFake(dict.fromkeys(customers, 0)))
    await install_canary(it.worker, SCHEDULE.replace("09:00", "10:00"), HALF)
    met = [customer for customer in customers if meets("morning", HALF, customer)]
    others = [customer for customer in customers if customer not in met]
    assert met
    assert others
    await it.opening.look()
    await it.at("2026-12-11T09:00:00Z")
    assert await it.finish() == [("morning", "2026-12-11T09:00", customer) for customer in others]
    await it.at("2026-12-11T10:00:00Z")
    assert await it.finish() == [("morning", "2026-12-11T10:00", customer) for customer in met]
    assert [(run.version, run.canary, run.asked) for run in await it.runs()] == [
        (1, False, len(others)),
        (2, True, len(met)),
    ]
    releasing = Releasing(it.worker, FREE)
    await releasing._do(await releasing.versions.trial("morning", 2))
    await it.at("2026-12-12T10:00:00Z")
    assert await it.finish() == [("morning", "2026-12-12T10:00", customer) for customer in customers]
    await install_canary(it.worker, SCHEDULE.replace("09:00", "11:00"), HALF)
    await it.opening.look()
    assert await it.pending() == (0, 0)
    await releasing._do(await releasing.versions.prepare_rollback("morning", 0, ""))
    assert await it.pending() == (1, 0)  # nobody has looked at the times of what runs now


async def test_a_thing_calls_for_both_versions_each_for_its_own_customers(make_worker_here):
    customers = range(1, 8)
    it = await calling(make_worker_here, THING, audiences=AudiencesFake(dict.fromkeys(customers, 0)))
    other = "[profile.last_cell is event.cell, profile.plan is s-5gb]"
    await install_canary(it.worker, THING.replace("[profile.last_cell is event.cell]", other), HALF)
    happened = event(
        "network.outage_started", customer=0, thing="cell:FR-1", data={"cell": "FR-1", "incident": "INC7"}
    )
    await it.worker.take((happened, None))
    assert [run.canary for run in await it.runs()] == [False, True]
    assert sorted(await it.finish()) == [("outage", "e-1", customer) for customer in customers]
    assert {run.canary: run.asked for run in await it.runs()} == {
        True: sum(meets("outage", HALF, customer) for customer in customers),
        False: sum(not meets("outage", HALF, customer) for customer in customers),
    }


async def test_a_journey_goes_on_through_canary_and_rollback(make_worker_here):
    worker = make_worker_here()
    await worker.install(WELCOME)
    customer = next(number for number in range(1, 99) if meets("welcome", HALF, number))
    await worker.take((started(customer=customer), snapshot(customer)))
    assert await said(worker) == [("hello", "o-1")]
    await install_canary(worker, WELCOME.replace("three-days", "later").replace("silent", "quiet"), HALF)
    assert await go_on(worker, NOON + 3 * DAY) == ["step-2"]
    assert await said(worker) == [("later", "o-1")]
    releasing = Releasing(worker, FREE)
    await releasing._do(await releasing.versions.prepare_rollback("welcome", 0, ""))
    assert await go_on(worker, NOON + 8 * DAY) == ["step-4"]
    assert [queue for queue, _ in await said(worker)] == ["silent", "goodbye"]
