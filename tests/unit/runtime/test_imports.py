"""What a process loads before it does anything."""

import json
import subprocess
import sys

import pytest

from services.cli.stack.programs import python_environment


def loaded(module: str, *also: str) -> set[str]:
    """All modules that are there when a fresh process has imported these."""
    imports = "; ".join(f"import {name}" for name in (module, *also))
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{imports}; import json, sys; print(json.dumps(list(sys.modules)))"],
        env=python_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("services.decision.adapters.engine_child", {"asyncio", "grpc", "sqlalchemy", "nats", "structlog"}),
        ("services.cli.commands.ingest", {"nats", "sqlalchemy", "prometheus_client", "cryptography", "rich"}),
        ("services.cli.stack.supervisor", {"nats", "sqlalchemy", "prometheus_client", "aiohttp", "rich"}),
        ("services.profile.main", {"alembic", "aiohttp", "rich"}),
        ("services.channel.main", {"alembic", "aiohttp", "dkim"}),
        ("services.runtime.migrating", {"nats", "prometheus_client", "services.runtime.process"}),
    ],
)
def test_a_process_does_without_what_it_does_not_use(module, spared):
    assert not spared & loaded(module)


def test_what_a_library_is_spared_comes_when_we_ask_for_it():
    assert {"aiohttp", "rich"} <= loaded("services.runtime.streams", "aiohttp", "rich")
