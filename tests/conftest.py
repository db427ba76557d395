"""How tests are dealt out to the test processes: by file, and together what shares a running stack.

The longest come first. (The marker `xdist_group` does nothing here: pytest-xdist 3.8 carries it in an
attribute that pytest 9.2 no longer has.)
"""

import pytest

TOGETHER = {
    # files under: what they share
    "tests/system/test_real_input.py": "real-input",
    "tests/system/": "system",
    "tests/integration/cli/": "stack",
}
LONGEST_FIRST = ("system", "real-input", "stack")


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist nobody asks
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return next((group for prefix, group in TOGETHER.items() if file.startswith(prefix)), file)

        def _assign_work_unit(self, node):
            for group in reversed(LONGEST_FIRST):
                if group in self.workqueue:
                    self.workqueue.move_to_end(group, last=False)
            super()._assign_work_unit(node)

    return ByFile(config, log)
