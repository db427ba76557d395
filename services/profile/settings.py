"""What the profile service alone is told by its environment."""

from dataclasses import dataclass
from typing import Final

from services.runtime.errors import SettingError
from services.runtime.settings import Settings

SERVICE: Final = "profile"


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """`lanes`: transactions of ingest at the same time (RAPPORT_INGEST_LANES)."""

    lanes: int = 2

    @classmethod
    def of(cls, settings: Settings) -> "ProfileSettings":
        """Read from the settings of the process; SettingError names what is wrong."""
        text = settings.extra.get("ingest_lanes", "2")
        if not text.isdecimal() or not 1 <= int(text) <= 16:
            raise SettingError(
                f"RAPPORT_INGEST_LANES is {text!r}", field="RAPPORT_INGEST_LANES", suggestion="say 1 to 16"
            )
        return cls(int(text))
