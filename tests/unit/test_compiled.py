"""What is compiled before the tests is what pytest would have made."""

import pytest
from _pytest.assertion.rewrite import PYC_TAIL, _read_pyc, get_cache_dir

from tests.compiled import rewrite


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "test_something.py"
    file.write_text("def test(given):\n    assert given == 1\n")
    return file


def kept(file):
    return _read_pyc(file, get_cache_dir(file) / f"test_something{PYC_TAIL}")


def test_pytest_finds_its_assertions_rewritten(file):
    rewrite(file)
    found = {}
    exec(kept(file), found)
    with pytest.raises(AssertionError, match=r"assert 2 == 1"):
        found["test"](2)


def test_a_file_that_changed_is_rewritten_again(file):
    rewrite(file)
    file.write_text("def test(given):\n    assert given == 5\n")
    assert kept(file) is None
    rewrite(file)
    assert kept(file) is not None
