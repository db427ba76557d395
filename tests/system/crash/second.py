"""A second worker beside the one that the supervisor runs."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.cli.stack.ports import LOOPBACK, free_port
from services.cli.stack.probes import READY, serves
from services.cli.stack.processes import Birth
from tests.system.conftest import Rapport, until

_OWN_PORTS = ("RAPPORT_HEALTH_LISTEN", "RAPPORT_METRICS_LISTEN")


@contextmanager
def second_worker(rapport: Rapport, service: str) -> Iterator[Birth]:
    """Runs another worker with the settings of the first, which is given; ends it, both running again."""
    first = rapport.birth(f"{service}-worker")
    process = Path("/proc") / str(first.pid)
    command = process.joinpath("cmdline").read_bytes().decode().rstrip("\0").split("\0")
    environment = dict(
        entry.split("=", 1)
        for entry in process.joinpath("environ").read_bytes().decode().rstrip("\0").split("\0")
    )
    for name in _OWN_PORTS:
        if name in environment:
            environment[name] = f"{LOOPBACK}:{free_port()}"
    log = rapport.layout.log(f"{service}-worker-second")
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command, cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as second,
    ):
        try:
            until(lambda: serves(environment["RAPPORT_HEALTH_LISTEN"], READY))
            yield first
            assert second.poll() is None
        finally:
            first.send(signal.SIGCONT)
            second.terminate()
