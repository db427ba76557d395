"""What keeps templates at the versions in force, and hands tests of them over."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence

from services.channel.app.template_trials import TrialSender
from services.runtime.database import Database
from services.runtime.errors import UnavailableError

POLL_SECONDS = 1.0


async def keep_templates(database: Database, notice: str, refresh: Callable[[], Awaitable[bool]]) -> None:
    """Looks at every notice, and once a second for those that got lost."""
    async for _ in database.listen(notice, sweep_seconds=POLL_SECONDS):
        with contextlib.suppress(UnavailableError):
            await refresh()


async def send_trials(database: Database, notice: str, senders: Sequence[TrialSender]) -> None:
    """Hands tests over at every notice, and looks now and then for those that wait for their provider."""
    async for _ in database.listen(notice):
        for sender in senders:
            with contextlib.suppress(UnavailableError):
                await sender.turn()
