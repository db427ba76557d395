"""Simulated providers over real TCP, and transports that end with their test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.channel.adapters.smpp import Patience, SmppSettings, SmppTransport
from services.cli.providers.smsc import Smsc
from tests.integration.channel_adapters.smsc_at_work import QUICK, REFERENCE_TAG, SmscAtWork

PATIENCE = frozenset(Patience.__dataclass_fields__)


@pytest.fixture
async def smsc_place(tmp_path: Path) -> AsyncIterator[SmscAtWork]:
    place = SmscAtWork(tmp_path / "smsc.jsonl")
    yield place
    await place.down()


@pytest.fixture
async def smsc(smsc_place: SmscAtWork) -> Smsc:
    return await smsc_place.up()


@pytest.fixture
async def make_transport(smsc_place: SmscAtWork) -> AsyncIterator[Callable[..., SmppTransport]]:
    async with AsyncExitStack() as stack:

        def make(**changes: Any) -> SmppTransport:
            settings = SmppSettings(
                host="127.0.0.1",
                port=smsc_place.port,
                system_id="rapport",
                password="secret12",
                sender="Rapport",
                reference_tag=REFERENCE_TAG,
                limits=QUICK,
                shortest_pause=0.02,
                longest_pause=0.1,
            )
            patience = replace(
                Patience(write=2.0), **{name: changes.pop(name) for name in PATIENCE & changes.keys()}
            )
            transport = SmppTransport(replace(settings, **changes), patience=patience)
            stack.push_async_callback(transport.close)
            return transport

        yield make
