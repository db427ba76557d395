"""Who looked at which customer."""

from collections.abc import Collection

from services.profile.adapters.rows.base import Rows
from services.runtime.access_log import note_reads


class AccessRows(Rows):
    """Table `access_entry`."""

    async def note_reads(self, customers: Collection[int], method: str, reason: str = "") -> None:
        """Write down that whoever asks is told of these customers, unless it is a service of ours."""
        await note_reads(self.transaction, customers, method, reason)
