"""What the decision service alone is told by its environment."""

from dataclasses import dataclass
from typing import Final

from services.decision.domain.release import ReleaseRules
from services.runtime.errors import SettingError
from services.runtime.settings import Settings
from services.vocabulary.catalogue import Catalogue

SERVICE: Final = "decision"
REVIEWED: Final = "reviewed"
ALONE: Final = "alone"
"""One person may have a version live without review and canary: a stack on one's own machine."""

_MOST_PROCESSES = 64


@dataclass(frozen=True, slots=True)
class DecisionSettings:
    """`release`: whether `release` in catalogue/operator.yaml holds (RAPPORT_RELEASE: reviewed, or alone).

    `simulation_processes`: into how many processes one simulation may be shared
    (RAPPORT_SIMULATION_PROCESSES: 1 to 64).
    """

    release: str = REVIEWED
    simulation_processes: int = 2

    @classmethod
    def of(cls, settings: Settings) -> "DecisionSettings":
        """Read from the settings of the process; SettingError names what is wrong."""
        text = settings.extra.get("release", REVIEWED)
        if text not in {REVIEWED, ALONE}:
            raise SettingError(
                f"RAPPORT_RELEASE is {text!r}",
                field="RAPPORT_RELEASE",
                suggestion="say reviewed, or alone where one person may do everything",
            )
        processes = settings.extra.get("simulation_processes", "") or "2"
        if not processes.isdecimal() or not 1 <= int(processes) <= _MOST_PROCESSES:
            raise SettingError(
                f"RAPPORT_SIMULATION_PROCESSES is {processes!r}",
                field="RAPPORT_SIMULATION_PROCESSES",
                suggestion=f"say 1 to {_MOST_PROCESSES}",
            )
        return cls(text, int(processes))

    def release_rules(self, catalogue: Catalogue) -> ReleaseRules:
        """What is asked of a version before it goes live here."""
        if self.release == ALONE:
            return ReleaseRules(approval=False, canary=False)
        return ReleaseRules(approval=catalogue.needs_approval, canary=catalogue.needs_canary)
