"""gRPC ignores an option whose name it does not know, so that a slip in a name goes unseen."""

import re
from pathlib import Path

import grpc._cython.cygrpc

ROOT = Path(__file__).parents[3]
_OPTION = re.compile(rb'"(grpc\.[a-z0-9_.]+)"')


def test_grpc_knows_every_option_that_is_set():
    library = Path(grpc._cython.cygrpc.__file__).read_bytes()
    named = {
        (name, str(path.relative_to(ROOT)))
        for path in (ROOT / "services").rglob("*.py")
        for name in _OPTION.findall(path.read_bytes())
    }
    assert len(named) > 5
    unknown = sorted((name.decode(), path) for name, path in named if name + b"\0" not in library)
    assert unknown == []
