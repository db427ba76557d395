"""Whom a run asked is found by the id of the call, and counted when it comes."""

from collections import Counter
from types import SimpleNamespace

from services.decision.app.jobs import CameBack, Evaluated, SetAside
from services.decision.app.run_progress import CAME, came_back


class Runs:
    """Calls that wait, by id, with their run."""

    def __init__(self, **waiting):
        self.waiting = waiting

    async def take_calls(self, transaction, ids):
        del transaction
        return {one: self.waiting.pop(one) for one in list(self.waiting) if one in ids}


def evaluated(event_id, event_type="trigger.due"):
    return Evaluated(0, "d", event_id, "decision", event_type, 0, 1, 1, (1,), "", 0, SimpleNamespace(), b"")


async def test_a_decision_knows_the_run_that_called_for_it_and_a_call_counts_once():
    runs, counts = Runs(a=7, b=7, c=8), Counter()
    items = [
        CameBack(0, 1, "a"),
        evaluated("a"),
        CameBack(1, 2, "c"),
        CameBack(2, 3, "pair"),
        evaluated("pair"),
    ]
    found = await came_back(None, runs, items, counts)
    assert [item.run for item in found if isinstance(item, Evaluated)] == [7, 0]
    assert counts == {(7, CAME): 1, (8, CAME): 1}
    assert runs.waiting == {"b": 7}
    await came_back(None, runs, items, counts)
    assert counts == {(7, CAME): 1, (8, CAME): 1}


async def test_what_was_set_aside_has_not_come():
    runs, counts = Runs(a=7), Counter()
    await came_back(None, runs, [CameBack(0, 1, "a"), SetAside(0, 1, "a", "trigger.due", b"", "E")], counts)
    assert (counts, runs.waiting) == ({}, {"a": 7})


async def test_an_event_of_another_name_is_nobodys_call():
    (found,) = await came_back(None, Runs(a=7), [evaluated("a", "bill.issued")], Counter())
    assert found.run == 0
