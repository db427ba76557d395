"""Whether the engine's process grows with the decisions it takes: the benchmark runs this as a child.

Usage: python -m bench.engine.memory DECISIONS
"""

import resource
import sys
from pathlib import Path

from bench.engine.levels import make_workbench, recorded
from bench.engine.population import RULES, make_population
from services.decision.adapters.engine_child import keep_memory
from services.decision.app.jobs import Evaluated
from services.runtime.garbage import collect_seldom
from services.vocabulary.catalogue import load_catalogue

_RULES = 200
_EVENTS = 3000
_STEPS = 20


def main() -> int:
    """Prints decisions and resident bytes each twentieth of the way; the first is after warming up."""
    wanted = int(sys.argv[1])
    keep_memory()
    catalogue = load_catalogue(RULES)
    population = make_population(_RULES, _EVENTS)
    workbench = make_workbench(population.sources, catalogue)
    collect_seldom()
    done, told = 0, 0
    step = max(_EVENTS, wanted // _STEPS)
    while done < wanted + step:  # the first step warms up
        for payload in population.batches:
            for item in workbench.evaluate([payload]).items:
                if not isinstance(item, Evaluated):
                    raise SystemExit(f"an event of the benchmark was set aside: {item}")
                recorded(item, catalogue.conversation_micros)
        done += _EVENTS
        if done - told >= step:
            told = done
            print(done, resident_bytes(), flush=True)
    return 0


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())
