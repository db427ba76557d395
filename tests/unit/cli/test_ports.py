"""Two processes never choose the same port, though neither listens on it yet."""

import subprocess
import sys

from services.cli.stack.layout import CHECKOUT
from services.cli.stack.ports import claim, free_port

CLAIM = "import sys; from services.cli.stack.ports import claim; print(claim(int(sys.argv[1])))"


def claimed_elsewhere(port):
    done = subprocess.run(
        [sys.executable, "-c", CLAIM, str(port)], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_one_process_has_chosen_another_does_not():
    port = free_port()
    assert claimed_elsewhere(port) == "False"
    assert not claim(port)


def test_what_a_process_had_chosen_is_free_when_it_has_ended():
    free = next(port for port in range(29_999, 20_000, -1) if claimed_elsewhere(port) == "True")
    assert claim(free)
