"""What the profile service alone is told by its environment."""

from dataclasses import dataclass
from typing import Final

from services.runtime.errors import SettingError
from services.runtime.settings import Settings

SERVICE: Final = "profile"


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """`lanes`: transactions of ingest at the same time (RAPPORT_INGEST_LANES).

    `replays`: processes at the same time that tell the past (RAPPORT_REPLAYS), each a core's work and some
    200 MB; who asks for more waits.
    """

    lanes: int = 2
    replays: int = 2

    @classmethod
    def of(cls, settings: Settings) -> "ProfileSettings":
        """Read from the settings of the process; SettingError names what is wrong."""
        extra = settings.extra
        return cls(
            _number("RAPPORT_INGEST_LANES", extra.get("ingest_lanes", "2"), 16),
            _number("RAPPORT_REPLAYS", extra.get("replays", "2"), 64),
        )


def _number(name: str, text: str, most: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise SettingError(f"{name} is {text!r}", field=name, suggestion=f"say 1 to {most}")
    return int(text)
