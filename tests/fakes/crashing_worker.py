"""The decision service's worker as it is, but with the crashing engine, which it waits for only shortly.

The last argument is the marker of `crash-once-…`.
"""

import sys

from services.decision import main as decision
from services.decision.adapters import engine_child


def main():
    marker = sys.argv.pop()
    engine_child.command = lambda rules: [
        *(sys.executable, "-m", "tests.fakes.crashing_engine"),
        *(str(rules), marker),
    ]
    decision.ENGINE_SECONDS = 2.0
    sys.exit(decision.main())


if __name__ == "__main__":
    main()
