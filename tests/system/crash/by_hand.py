"""A role of a stack that the test runs itself, in place of one that the stack was started without."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.cli.stack.ports import LOOPBACK, free_port
from services.cli.stack.probes import READY, serves
from tests.system.conftest import Rapport, until

_OWN_PORTS = ("RAPPORT_LISTEN", "RAPPORT_TOKEN_LISTEN", "RAPPORT_HEALTH_LISTEN", "RAPPORT_METRICS_LISTEN")


def settings_like(rapport: Rapport, program: str) -> dict[str, str]:
    """The environment of a running role, but with ports of its own."""
    process = Path("/proc") / str(rapport.birth(program).pid)
    told = process.joinpath("environ").read_bytes().decode().rstrip("\0").split("\0")
    environment = dict(entry.split("=", 1) for entry in told)
    return environment | {name: f"{LOOPBACK}:{free_port()}" for name in _OWN_PORTS if environment.get(name)}


@contextmanager
def role_by_hand(
    rapport: Rapport, name: str, command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[Path]:
    """Runs a role (a module and its arguments) until the block is left; given is its log.

    It must get ready, must not end before it is told to, and must end well then.
    """
    log = rapport.layout.log(name)
    with (
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "-P", "-m", *command],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            health = environment["RAPPORT_HEALTH_LISTEN"]
            until(lambda: process.poll() is not None or serves(health, READY), seconds=120)
            assert process.poll() is None, log.read_text(encoding="utf-8")[-2000:]
            yield log
            assert process.poll() is None, "it ended before it was told to"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
    assert process.returncode == 0
