"""Every behaviour from 1 to 25 has a test of its own, and each test stands in its module's list."""

import re
from pathlib import Path

import pytest

FILES = [path for path in sorted(Path(__file__).parent.glob("test_*.py")) if "machine" not in path.name]
_NAME = re.compile(r"^(?:async )?def (test_(\d\d)_\w+)", re.MULTILINE)


@pytest.mark.parametrize(
    "path", [path for path in FILES if path != Path(__file__)], ids=lambda path: path.stem
)
def test_each_test_is_listed_under_its_number(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    listed = text.split('"""')[1]
    found = [name for name, _ in _NAME.findall(text)]
    assert [name for name in re.findall(r"test_\d\d_\w+", listed) if name not in found] == []
    assert [name for name in found if name not in listed] == []


def test_no_behaviour_is_without_a_test() -> None:
    numbers = {int(number) for path in FILES for _, number in _NAME.findall(path.read_text(encoding="utf-8"))}
    assert sorted(set(range(1, 26)) - numbers) == []
