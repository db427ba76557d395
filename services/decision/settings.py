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


@dataclass(frozen=True, slots=True)
class DecisionSettings:
    """`release`: whether `release` in catalogue/operator.yaml holds (RAPPORT_RELEASE: reviewed, or alone)."""

    release: str = REVIEWED

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
        return cls(text)

    def release_rules(self, catalogue: Catalogue) -> ReleaseRules:
        """What is asked of a version before it goes live here."""
        if self.release == ALONE:
            return ReleaseRules(approval=False, canary=False)
        return ReleaseRules(approval=catalogue.needs_approval, canary=catalogue.needs_canary)
