"""Compiles what the test processes load, once for all of them: `python -m tests.compiled` goes before them.

They begin at the same moment with the same files, so each would do this work for itself; half of the time
that gathering the tests takes is pytest's rewriting of their assertions.
"""

import compileall
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from _pytest.assertion.rewrite import (  # pytest offers this in no other way; the version is locked
    PYC_TAIL,
    _read_pyc,
    _rewrite_test,
    _write_pyc_fp,
    get_cache_dir,
)

ROOT = Path(__file__).parents[1]
PROCESSES = 2


def rewrite(file: Path) -> None:
    """Writes what pytest would, and looks for; one that is there for this very text stays."""
    kept = get_cache_dir(file) / f"{file.stem}{PYC_TAIL}"
    if _read_pyc(file, kept) is not None:
        return
    digest, code = _rewrite_test(file, None)
    kept.parent.mkdir(exist_ok=True)
    fresh = kept.with_suffix(".new")
    with fresh.open("wb") as output:
        _write_pyc_fp(output, digest, code)
    fresh.replace(kept)


def main() -> None:
    """All test files as pytest has them, and all else as Python has it."""
    tests = ROOT / "tests"
    files = sorted({*tests.rglob("test_*.py"), *tests.rglob("conftest.py")})
    with ProcessPoolExecutor(PROCESSES) as processes:
        list(processes.map(rewrite, files, chunksize=8))
    rewritten = set(files)
    for folder in ("tests", "services", "bench", "k8s"):
        for file in (ROOT / folder).rglob("*.py"):
            if file not in rewritten:
                compileall.compile_file(file, quiet=1)


if __name__ == "__main__":
    main()
