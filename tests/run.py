"""`python -m tests.run [flags for pytest]`: all tests, and what failed once more alone.

Some tests kill processes and watch others take over while three of them share two cores. One that fails
there is run again with the machine to itself; it counts as passed only then, and is named, so that nobody
overlooks a test that does not always pass. More than a few failures are not looked at twice.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click

MOST = 3
"""Failures that may have come from the crowd."""
_TESTS_FAILED = 1


def _pytest(cache: str, *flags: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *flags], check=False
    ).returncode


def main(flags: list[str]) -> int:
    """The exit status of the last run."""
    with tempfile.TemporaryDirectory() as cache:
        status = _pytest(cache, *flags)
        record = Path(cache, "v/cache/lastfailed")
        failed = sorted(json.loads(record.read_text())) if record.exists() else []
        if status != _TESTS_FAILED or not 0 < len(failed) <= MOST:
            return status
        click.echo("\n  ".join([f"\n{len(failed)} failed; once more, alone:", *failed]))
        status = _pytest(cache, "-n", "0", *failed)
        if status == 0:
            click.echo("\n  ".join(["PASSED ONLY ALONE, failed beside the others:", *failed]))
        return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
