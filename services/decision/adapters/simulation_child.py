"""A process of a simulation, at the other end of engine_process; whatever is live goes before it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.decision.adapters.arbitration_file import ArbitrationFile
from services.decision.adapters.engine_child import serve
from services.decision.adapters.simulation_bench import SimulationBench
from services.decision.adapters.yaml_reader import read_yaml
from services.vocabulary.catalogue import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.decision.adapters.engine_child import Progress

_NICE = 10


def make_jobs(rules_folder: Path) -> Callable[[Progress], Mapping[str, Callable[..., Any]]]:
    """The jobs of a simulation, for a rules folder."""

    def make(progress: Progress) -> Mapping[str, Callable[..., Any]]:
        catalogue = load_catalogue(rules_folder)
        policy = ArbitrationFile(rules_folder, catalogue)
        return SimulationBench(catalogue, read_yaml, progress, policy.current).jobs()

    return make


def command(rules_folder: Path) -> list[str]:
    """How the parent starts this program; it adds the descriptor of the shared memory."""
    return [sys.executable, "-m", "services.decision.adapters.simulation_child", str(rules_folder)]


if __name__ == "__main__":
    os.nice(_NICE)
    serve(int(sys.argv[2]), make_jobs(Path(sys.argv[1])))
