"""The operator's policies: how often, and when not."""

from dataclasses import dataclass, field

from services.channel.domain.campaigns import Campaigns
from services.channel.domain.caps import Cap, SalesShare, longest_window
from services.channel.domain.controls import Controls
from services.channel.domain.inbound import Replies
from services.channel.domain.quiet_hours import QuietHours


@dataclass(frozen=True, slots=True)
class Policies:
    """What `rules/policies`, or what was put into force in its place, says."""

    caps: tuple[Cap, ...] = ()
    sales_share: SalesShare | None = None
    """Of the policy of arbitration. Decisions judge it by what was sent, gates by what they let through."""
    quiet_hours: QuietHours = field(default_factory=QuietHours)
    campaigns: Campaigns = field(default_factory=Campaigns)
    replies: Replies = field(default_factory=Replies)
    controls: Controls = field(default_factory=Controls)
    """What was thrown and reported while it runs; it comes from the database."""

    @property
    def looks_back_micros(self) -> int:
        """How far back contacts matter at all."""
        longest = longest_window(self.caps)
        return longest if self.sales_share is None else max(longest, self.sales_share.window_micros)
