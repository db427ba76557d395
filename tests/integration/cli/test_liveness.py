"""A role that hangs while its process lives is given up and started anew; one that is only slow is not."""

import asyncio
import signal
import sys

import pytest

from services.cli.stack.keeper import Keeper
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.ports import LOOPBACK, free_port
from services.cli.stack.probes import READY, Liveness, serves
from services.cli.stack.programs import Program
from tests.fakes.trust import trust


@pytest.fixture
async def kept(tmp_path):
    """A small service under a keeper, which looks whether it is alive."""
    target = f"{LOOPBACK}:{free_port()}"
    environment = {
        **trust().environment(),
        "PYTHONPATH": f"{CHECKOUT}:{CHECKOUT / 'proto'}",
        "RAPPORT_HEALTH_LISTEN": target,
    }
    # run from the checkout, wherever the keeper runs it
    start = (
        f"import os, runpy, sys; os.chdir({str(CHECKOUT)!r}); sys.argv[1:] = ['server']; "
        "runpy.run_module('tests.integration.runtime.small_service', run_name='__main__')"
    )
    program = Program(
        name="small",
        stage=0,
        command=(sys.executable, "-c", start),
        ready=lambda _start: serves(target, READY),
        environment=environment,
        needs_restart=Liveness(target, patience=60.0, alive=lambda to, name: serves(to, name, seconds=1.0)),
        given_up_seconds=0.5,
        stop_seconds=10.0,
    )
    keeper = Keeper(program, tmp_path / "small.log", lambda: None)
    await keeper.start()
    yield keeper
    await keeper.stop()


async def test_a_process_that_hangs_is_given_up_and_started_anew(kept):
    first = kept.state.birth
    kept.program.needs_restart.patience = 2.0
    first.send(signal.SIGSTOP)
    await until(lambda: not first.alive)
    kept.program.needs_restart.patience = 60.0  # to start takes longer
    await until(lambda: kept.state.state == "running" and kept.state.birth != first)
    assert kept.state.restarts == 1


async def until(holds):
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - the keeper's state
            await asyncio.sleep(0.05)
