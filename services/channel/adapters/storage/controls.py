"""Controls in PostgreSQL, and what keeps each process in step with them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
import psycopg
import structlog
from psycopg import sql

from services.channel.adapters.policies.folder import PolicyFolder
from services.channel.adapters.storage import campaigns
from services.channel.app.controls import PolicyVersion
from services.channel.domain.campaigns import CampaignUse
from services.channel.domain.controls import CareLoad, Controls, KillSwitch, SwitchScope
from services.channel.domain.errors import PolicyError
from services.runtime.database import Database, Transaction
from services.runtime.log import describe_failure

CONTROLS_NOTICE = "channel_controls"
"""NOTIFY channel on which every process hears that something was thrown, reported or put into force."""

_SWEEP_SECONDS = 0.5
_ANSWER_SECONDS = 2.0
_AGAIN_SECONDS = 0.25
_REVISION = "SELECT revision FROM control_state"
# one statement sees one state of the database
_STATE = """
    SELECT revision, (SELECT coalesce(max(version), 0) FROM policy_version),
        (SELECT coalesce(jsonb_agg(to_jsonb(k) ORDER BY scope, name), '[]')::text FROM kill_switch AS k),
        (SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY queue), '[]')::text FROM care_load AS c)
    FROM control_state
"""
_DOCUMENTS = "SELECT documents::text FROM policy_version WHERE version = %s"
_VERSIONS = """
    SELECT version, documents::text, comment, author, reverts_to,
        (extract(epoch FROM applied_at) * 1000000)::bigint
    FROM policy_version WHERE %s::int = 0 OR version < %s ORDER BY version DESC LIMIT %s
"""
_log = structlog.get_logger(__name__)

_Rows = Callable[[str, Sequence[Any]], Awaitable[list[tuple[Any, ...]]]]


class PostgresControls:
    """The controls within one transaction."""

    def __init__(self, raw: Transaction) -> None:
        self._raw = raw

    async def change(self) -> None:
        """Others who change wait; every process reads anew afterwards."""
        await self._raw.execute("UPDATE control_state SET revision = revision + 1")

    async def controls(self) -> Controls:
        """All that was thrown and reported."""
        return (await _read(self._raw.rows))[0]

    async def put_switch(self, switch: KillSwitch) -> None:
        """Throws a switch, or replaces it."""
        await self._raw.execute(
            "INSERT INTO kill_switch (scope, name, hold, reason, author, since_micros, until_micros) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (scope, name) DO UPDATE SET "
            "hold = excluded.hold, reason = excluded.reason, author = excluded.author, "
            "since_micros = excluded.since_micros, until_micros = excluded.until_micros",
            (
                switch.scope.value,
                switch.name,
                switch.hold,
                switch.reason,
                switch.author,
                switch.since_micros,
                switch.until_micros,
            ),
        )

    async def lift_switch(self, scope: SwitchScope, name: str) -> None:
        """Lifts a switch."""
        await self._raw.execute("DELETE FROM kill_switch WHERE scope = %s AND name = %s", (scope.value, name))

    async def put_load(self, load: CareLoad) -> None:
        """Keeps the figure of a queue."""
        await self._raw.execute(
            "INSERT INTO care_load (queue, depth, time_micros, valid_micros, author) "
            "VALUES (%s, %s, %s, %s, %s) ON CONFLICT (queue) DO UPDATE SET depth = excluded.depth, "
            "time_micros = excluded.time_micros, valid_micros = excluded.valid_micros, "
            "author = excluded.author",
            (load.queue, load.depth, load.time_micros, load.valid_micros, load.author),
        )

    async def versions(self, before: int, limit: int) -> list[PolicyVersion]:
        """Versions of policies, newest first."""
        found = await self._raw.rows(_VERSIONS, (before, before, limit))
        return [
            PolicyVersion(version, orjson.loads(documents), comment, author, reverts_to, applied)
            for version, documents, comment, author, reverts_to, applied in found
        ]

    async def add_version(self, version: PolicyVersion) -> PolicyVersion:
        """Puts a version into force."""
        await self._raw.execute(
            "INSERT INTO policy_version (version, documents, reverts_to, comment, author) "
            "VALUES (%s, %s::text::jsonb, %s, %s, %s)",
            (
                version.version,
                orjson.dumps(dict(version.documents)).decode(),
                version.reverts_to,
                version.comment,
                version.author,
            ),
        )
        return (await self.versions(0, 1))[0]

    async def campaign_uses(self, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
        """What campaigns have used, not locked."""
        return await campaigns.read_campaigns(self._raw, since)


class ControlWatch:
    """Keeps the policies of this process in step with the database: what changes there is in force at once.

    On a connection of its own, so that no busy pool delays it; a database that is away leaves everything as
    it was last known.
    """

    def __init__(
        self, database: Database, policies: PolicyFolder, *, sweep_seconds: float = _SWEEP_SECONDS
    ) -> None:
        self._database = database
        self._policies = policies
        self._sweep_seconds = sweep_seconds
        self._version = 0
        self._thrown: tuple[KillSwitch, ...] | None = None
        self.switches_changed = asyncio.Event()
        """Set whenever the kill switches have changed, and at the start; who waits for it clears it."""

    async def load(self) -> None:
        """What is there now, before anything is judged; raises when it cannot be read."""
        async with self._database.transaction() as raw:
            await self._take(raw.rows)

    async def run(self) -> None:
        """Listens, and looks twice a second, until cancelled."""
        failing = False
        while True:
            try:
                await self._watch()
            except (psycopg.Error, OSError, TimeoutError) as error:
                if not failing:
                    _log.warning("controls_not_read", **describe_failure(error))
                failing = True
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _watch(self) -> None:
        async with asyncio.timeout(5 * _ANSWER_SECONDS):
            driver = await self._database.connect_driver()
        try:
            await driver.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CONTROLS_NOTICE)))

            async def rows(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
                cursor = await driver.execute(statement.encode(), values or None)
                return await cursor.fetchall()

            while True:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    if (await rows(_REVISION, ()))[0][0] != self._policies.current().controls.revision:
                        await self._take(rows)
                async for _ in driver.notifies(timeout=self._sweep_seconds, stop_after=1):
                    pass
        finally:
            await driver.close()

    async def _take(self, rows: _Rows) -> None:
        controls, version = await _read(rows)
        if version != self._version:
            documents = orjson.loads((await rows(_DOCUMENTS, (version,)))[0][0]) if version else {}
            self._version = version
            try:
                self._policies.put(documents)
            except PolicyError as error:
                if self._thrown is None:
                    raise  # begun under other policies than those in force it would say what they forbid
                _log.error("policies_not_read", version=version, reason=str(error))
            else:
                _log.info("policies_in_force", version=version)
        self._policies.control(controls)
        if controls.switches != self._thrown:
            self._thrown = controls.switches
            self.switches_changed.set()


async def _read(rows: _Rows) -> tuple[Controls, int]:
    """The controls, and the version of the policies in force."""
    revision, version, switches, loads = (await rows(_STATE, ()))[0]
    read = [
        KillSwitch(
            SwitchScope(one["scope"]),
            one["name"],
            one["hold"],
            one["reason"],
            one["author"],
            one["since_micros"],
            one["until_micros"],
        )
        for one in orjson.loads(switches)
    ]
    found = {one["queue"]: CareLoad(**one) for one in orjson.loads(loads)}
    return Controls(tuple(read), found, revision), version
