"""What all tests may ask for, and how they are dealt out to the test processes.

By file, and together what shares a running stack.
The longest come first. (The marker `xdist_group` does nothing here: pytest-xdist 3.8 carries it in an
attribute that pytest 9.2 no longer has.)
"""

from functools import lru_cache

import pytest

from services.vocabulary import yaml_section
from tests.servers import (  # noqa: F401 - fixtures for everybody; nothing starts before a test asks
    _database_names,
    _templates,
    fresh_streams,
    make_database,
    nats_server,
    nats_url,
    postgres_server,
    servers_folder,
)

yaml_section.parse = lru_cache(maxsize=256)(yaml_section.parse)
"""The shipped catalogue is loaded hundreds of times, nearly all of which is reading the same YAML again."""

SYSTEM = "tests/system/test_"
STACKS_OF_THEIR_OWN = ("real_input", "crash_", "recovery", "backpressure", "containers")
"""Files under tests/system that share no stack with others."""
TOGETHER = {
    # how files begin: what they share
    f"{SYSTEM}crash_kills.py": "counted",
    f"{SYSTEM}crash_stopped_worker.py": "counted",
    f"{SYSTEM}crash_erasure.py": "counted",
    f"{SYSTEM}drain.py": "counted",
    SYSTEM: "system",
    "tests/integration/cli/": "stack",
}
LONGEST_FIRST = (
    "system",
    f"{SYSTEM}real_input.py",
    f"{SYSTEM}crash_upgrade.py",
    f"{SYSTEM}crash_stalls.py",
    "counted",
    "stack",
    f"{SYSTEM}recovery.py",
    SYSTEM,
)
"""How groups begin; for most of their time these wait, so the others fill the processor meanwhile."""


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist nobody asks
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    def turn(group):
        places = (place for place, start in enumerate(LONGEST_FIRST) if group.startswith(start))
        return next(places, len(LONGEST_FIRST))

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            group = next((group for start, group in TOGETHER.items() if file.startswith(start)), file)
            alone = group == "system" and file.removeprefix(SYSTEM).startswith(STACKS_OF_THEIR_OWN)
            return file if alone else group

        def _assign_work_unit(self, node):
            for group in sorted(self.workqueue, key=turn, reverse=True):
                self.workqueue.move_to_end(group, last=False)
            super()._assign_work_unit(node)

    return ByFile(config, log)
