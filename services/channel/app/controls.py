"""What the controls need of the service's database and of the policies in force."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.channel.domain.campaigns import CampaignUse
from services.channel.domain.controls import CareLoad, Controls, KillSwitch, SwitchScope
from services.channel.domain.policies import Policies

Documents = Mapping[str, str]
"""Texts of policies by the names of the files in whose place they hold."""


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """Documents that were put into force together; the newest version is in force."""

    version: int
    """From 1."""
    documents: Documents
    comment: str
    author: str
    reverts_to: int | None = None
    """It puts that version, 0: the files, into force again."""
    applied_micros: int = 0
    """By the wall's clock."""


class ControlTransaction(Protocol):
    """One transaction over the controls."""

    async def change(self) -> None:
        """Something is about to change: others who change wait, and every process reads anew afterwards."""

    async def controls(self) -> Controls:
        """All that was thrown and reported."""

    async def put_switch(self, switch: KillSwitch) -> None:
        """Throws a switch, or replaces it."""

    async def lift_switch(self, scope: SwitchScope, name: str) -> None:
        """Lifts a switch."""

    async def put_load(self, load: CareLoad) -> None:
        """Keeps the figure of a queue in the place of the one before."""

    async def versions(self, before: int, limit: int) -> list[PolicyVersion]:
        """Versions of policies below that number, newest first; 0: from the newest."""

    async def add_version(self, version: PolicyVersion) -> PolicyVersion:
        """Puts a version into force; as it is kept, with its time."""

    async def campaign_uses(self, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
        """What these campaigns have used, not locked; one never used is left out."""


class PolicySource(Protocol):
    """The policies of this process."""

    def current(self) -> Policies:
        """Those in force."""

    def names(self) -> Sequence[str]:
        """The files in whose place documents may hold."""

    def only_files(self) -> Sequence[str]:
        """Files that are read too, in whose place none may."""

    def check(self, documents: Documents) -> None:
        """Raises PolicyError when policies with these documents in the place of files would not be right."""

    def texts(self, documents: Documents) -> dict[str, str]:
        """All policies by file name, these documents before the files."""
