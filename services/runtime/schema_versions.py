"""Which migrations a database lacks, told from the files' own words: a role that asks runs none of them."""

import ast
import re
from collections.abc import Collection
from pathlib import Path

_SAID = re.compile(r"^(revision|down_revision)\b[^=\n]*=\s*(.+)$", re.MULTILINE)


def missing_migrations(folder: Path | str, present: Collection[str]) -> list[str]:
    """Which migrations in `folder` a database lacks whose version table holds `present`, in their order.

    A version that is not in the folder was made by a newer release, and so comes after all that is in it.
    """
    before = _chain(Path(folder))
    if any(version not in before for version in present):
        return []
    had: set[str] = set()
    for version in present:
        step: str | None = version
        while step is not None:
            had.add(step)
            step = before[step]
    missing = [revision for revision in before if revision not in had]
    return sorted(missing, key=lambda revision: _depth(before, revision))


def _chain(folder: Path) -> dict[str, str | None]:
    """Each migration and the one before it."""
    before: dict[str, str | None] = {}
    for path in sorted((folder / "versions").glob("*.py")):
        said = {
            name: ast.literal_eval(value) for name, value in _SAID.findall(path.read_text(encoding="utf-8"))
        }
        if "revision" not in said or not isinstance(said.get("down_revision"), str | None):
            raise ValueError(f"{path} does not name itself and the one migration before it")
        before[said["revision"]] = said["down_revision"]
    return before


def _depth(before: dict[str, str | None], revision: str) -> int:
    depth = 0
    step = before[revision]
    while step is not None:
        depth, step = depth + 1, before[step]
    return depth
