"""Rapport: the three services, what they share, and the `rapport` command.

A child process of ours starts with a fork, at once followed by an exec. gRPC's handlers around that fork now
and then end the child by a segmentation fault (2 of 150 while calls were on their way, none of 600 without
them). They are of use only where a forked process goes on with gRPC itself, which none of ours does.

gRPC's own notes (each TLS handshake that fails, each connection that goes) are no JSON, and whoever scans a
port could fill the log with them: only its errors are shown.

What two libraries load beside themselves if it is there is a sixth of what a process of ours does until it
runs, and none of ours uses it: pictures of errors for a terminal (our log is JSON), and NATS through web
sockets. Where we ask for the same modules ourselves they come as always.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

# before gRPC is imported anywhere: it looks at these once
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # noqa: TID251 - not a setting of ours
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # noqa: TID251 - not a setting of ours

_UNUSED = {"rich": ("structlog.dev", "structlog.tracebacks"), "aiohttp": ("nats.aio.transport",)}


class _Spared:
    """Tells a library that wants a module only if it is there that it is not."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None: let others find it; ModuleNotFoundError as if there were none."""
        if name in _UNUSED and _asking() in _UNUSED[name]:
            raise ModuleNotFoundError(f"{name} is not used here", name=name)
        return None


def _asking() -> str:
    """The module whose import statement runs."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to see who asks
    while frame.f_back is not None:
        frame = frame.f_back
        name: str = frame.f_globals.get("__name__", "")
        if name != __name__ and not name.startswith("importlib"):
            return name
    return ""


sys.meta_path.insert(0, _Spared())
