"""`rapport keys` on a file: made once, rotated, old keys taken out."""

import stat
from pathlib import Path

from click.testing import CliRunner

from services.cli.main import main
from services.runtime.keys import Keyring


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["keys", *map(str, arguments)])
    return done.exit_code, done.output


def test_a_file_is_made_once_and_rotated_without_losing_a_key(tmp_path: Path):
    path = tmp_path / "keys.json"
    assert run("make", path)[0] == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = Keyring.read(str(path))
    code, said = run("make", path)
    assert code == 1
    assert "is there already" in said
    assert Keyring.read(str(path)) == first
    assert run("rotate", "--file", path)[0] == 0
    second = Keyring.read(str(path))
    assert (second.lookup_key, second.generation) == (first.lookup_key, 1)
    assert second.current not in first.wrapping
    assert first.wrapping.items() <= second.wrapping.items()
    assert run("rotate", "--data", "--file", path)[0] == 0
    assert Keyring.read(str(path)).generation == 2


def test_keys_are_forgotten_only_where_somebody_says_that_nothing_is_wrapped_by_them(tmp_path: Path):
    path = tmp_path / "keys.json"
    run("make", path)
    old = Keyring.read(str(path)).current
    run("rotate", "--file", path)
    assert "does not see who uses" in run("forget", old, "--file", path)[1]
    assert old in Keyring.read(str(path)).wrapping
    assert run("forget", old, "--file", path, "--yes")[0] == 0
    ring = Keyring.read(str(path))
    assert list(ring.wrapping) == [ring.current]
    assert "has no key" in run("forget", "nothing", "--file", path, "--yes")[1]


def test_a_file_that_holds_no_keys_is_named(tmp_path: Path):
    path = tmp_path / "keys.json"
    path.write_text("{}")
    code, said = run("rotate", "--file", path)
    assert code == 1
    assert "the keys file is not JSON" in said
