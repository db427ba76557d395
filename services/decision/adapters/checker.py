"""Compiles and tries rule sets in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.adapters.engine_process import EngineProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.jobs import Checked, Source

_TRIAL_SECONDS = 60.0


class ProcessChecker:
    """The Checker port: checks in a process that stays, each trial in a fresh one that ends with it."""

    def __init__(self, process: EngineProcess, command: Sequence[str]) -> None:
        self._process = process
        self._command = tuple(command)

    async def check(self, context: Sequence[Source], text: str, file: str) -> Checked:
        """Compiles a text beside others and runs its tests."""
        checked: Checked = await self._process.call("check", tuple(context), text, file, 0, 0)
        return checked

    async def trial(self, context: Sequence[Source], text: str, file: str, version: int) -> Checked:
        """The same, and engine against oracle on 1,000 generated snapshots a shard."""
        alone = EngineProcess(self._command, deadline=_TRIAL_SECONDS)
        try:
            checked: Checked = await alone.call("check", tuple(context), text, file, version, 1_000)
        finally:
            await alone.close()
        return checked
