"""The operator's policies: how often, and when not."""

from dataclasses import dataclass, field

from services.channel.domain.caps import Cap
from services.channel.domain.quiet_hours import QuietHours


@dataclass(frozen=True, slots=True)
class Policies:
    """What `rules/policies` says."""

    caps: tuple[Cap, ...] = ()
    quiet_hours: QuietHours = field(default_factory=QuietHours)
