"""A test that fails beside the others is run once more alone; one that fails for good fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOMETIMES = """
import pathlib

def test_it():
    been = pathlib.Path("been").exists()
    pathlib.Path("been").touch()
    assert been
"""


@pytest.mark.parametrize(
    ("tests", "status", "says"),
    [
        ({"test_one.py": SOMETIMES}, 0, "PASSED ONLY ALONE"),
        ({"test_one.py": "def test_it():\n    assert 0\n"}, 1, "once more, alone"),
        ({f"test_{n}.py": SOMETIMES.replace('"been"', f'"been{n}"') for n in range(4)}, 1, "4 failed"),
    ],
)
def test_failures_are_looked_at_twice_when_they_are_few(tmp_path, tests, status, says):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name, text in tests.items():
        (tmp_path / name).write_text(text)
    run = subprocess.run(
        [sys.executable, "-m", "tests.run", "-p", "no:randomly"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # noqa: TID251 - a process of its own
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == status, run.stdout + run.stderr
    assert says in run.stdout
    assert ("once more" in run.stdout) == (says in {"PASSED ONLY ALONE", "once more, alone"})
