"""Rapport: the three services, what they share, and the `rapport` command.

A child process of ours starts with a fork, at once followed by an exec. gRPC's handlers around that fork now
and then end the child by a segmentation fault (2 of 150 while calls were on their way, none of 600 without
them). They are of use only where a forked process goes on with gRPC itself, which none of ours does.

gRPC's own notes (each TLS handshake that fails, each connection that goes) are no JSON, and whoever scans a
port could fill the log with them: only its errors are shown.
"""

import os

# before gRPC is imported anywhere: it looks at these once
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # noqa: TID251 - not a setting of ours
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # noqa: TID251 - not a setting of ours
