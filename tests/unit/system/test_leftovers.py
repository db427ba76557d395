"""Folders of test runs say whose they are, all of it or nothing."""

import os
from pathlib import Path

import pytest

from tests.integration.leftovers import mark_ours, owner_of


def test_a_folder_says_whose_it_is_once_all_of_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before: list[object] = []
    write = Path.write_text

    def half(path: Path, text: str, **how: str) -> int:
        write(path, text[:3], **how)
        before.append(owner_of(tmp_path))
        return write(path, text, **how)

    monkeypatch.setattr(Path, "write_text", half)
    mark_ours(tmp_path)
    owner = owner_of(tmp_path)
    assert owner is not None
    assert (owner.pid, owner.alive, before) == (os.getpid(), True, [None])
    assert not (tmp_path / ".owner").exists()


@pytest.mark.parametrize("written", ["", "123", "12x now"])
def test_what_another_version_left_half_written_is_nobodys(tmp_path: Path, written: str):
    (tmp_path / "owner").write_text(written)
    assert owner_of(tmp_path) is None
