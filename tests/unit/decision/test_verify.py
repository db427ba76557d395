"""Verifying recorded decisions: all are counted once, whatever dies, and one verification runs at a time."""

import pytest

from services.decision.app.jobs import Verified
from services.decision.app.ports import LiveProgram
from services.decision.app.verify import MOST_ROWS, Kept, Slice, VerifyDecisions
from services.decision.domain.errors import EngineDiedError
from services.runtime.errors import ConflictError


class Table:
    """Decisions; those with these numbers differ, cannot be run, or kill the process."""

    def __init__(self, count, *, differ=(), fail=(), kill=()):
        self.rows = [
            Kept(number, f"d{number}", number % 3, "c", b"%d" % number, b"") for number in range(1, count + 1)
        ]
        self.differ, self.fail, self.kill = set(differ), set(fail), set(kill)
        self.made = self.closed = 0
        self.programs = set()

    async def measure(self, since_micros, until_micros):
        return Slice(since_micros, until_micros, len(self.rows)), len(self.rows)

    async def read(self, part, after, most):
        assert part.last == len(self.rows)
        return self.rows[after : after + most]

    async def live(self, version=None):
        return LiveProgram(version, (), ())

    async def files(self, version):
        return version.encode()

    def make(self):
        self.made += 1
        return self

    async def verify(self, then, rows):
        assert then.files == b"c"
        numbers = [int(material) for material, _ in rows]
        assert {number % 3 for number in numbers} == {then.version}
        self.programs.add(then.version)
        if self.kill & {*numbers}:
            raise EngineDiedError("died", None)
        different = tuple(
            (place, "facts[0]") for place, number in enumerate(numbers) if number in self.differ
        )
        failed = sum(number in self.fail for number in numbers)
        return Verified(len(numbers) - len(different) - failed, different, {"why": failed} if failed else {})

    async def close(self):
        self.closed += 1

    def use_case(self):
        return VerifyDecisions(self, self, self, self.make, 2)


async def result(table, processes=2):
    last, differences = None, []
    async for progress in table.use_case().run(0, 0, processes):
        last = progress
        differences += progress.differences
    return last, differences


async def test_each_is_counted_once_by_what_came_of_it():
    table = Table(MOST_ROWS + 100, differ=(5, MOST_ROWS + 1), fail=(7, 8), kill=(9,))
    progress, differences = await result(table)
    assert progress.done
    assert sorted(differences) == [(f"d{MOST_ROWS + 1}", "facts[0]"), ("d5", "facts[0]")]
    assert dict(progress.failed) == {"why": 2, "the engine's process could not run it": 1}
    assert progress.equal + progress.different + progress.failed.total() == progress.total == MOST_ROWS + 100
    assert table.programs == {0, 1, 2}


@pytest.mark.parametrize(("asked", "made"), [(0, 1), (1, 1), (2, 2), (9, 2)])
async def test_there_are_as_many_processes_as_asked_for_and_allowed(asked, made):
    table = Table(3)
    await result(table, asked)
    assert (table.made, table.closed) == (made, made)


async def test_one_at_a_time_and_who_goes_ends_it():
    table = Table(10)
    verify = table.use_case()
    first = verify.run(0, 0, 1)
    await anext(first)
    with pytest.raises(ConflictError):
        await anext(verify.run(0, 0, 1))
    await first.aclose()
    assert table.made == table.closed == 1
    assert [progress.equal async for progress in verify.run(0, 0, 1)][-1] == 10
