"""What a local stack is asked to be, as `rapport up` hands it to the supervisor."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

SERVICES = ("profile", "decision", "channel")
ROLES = (
    *(f"{service}-server" for service in SERVICES),
    *(f"{service}-worker" for service in SERVICES),
)
PORT_NAMES = (
    *SERVICES,  # for callers with a certificate: the services among themselves
    "nats",
    "smsc",
    "smtp-sink",
    *(f"{service}-tokens" for service in SERVICES),  # for callers with a token
    *(f"{role}-health" for role in ROLES),
    *(f"{role}-metrics" for role in ROLES),
)
PROGRAM_NAMES = ("postgres", "nats", "smsc", "smtp-sink", *ROLES)


@dataclass(frozen=True)
class StackOptions:
    """How to run the local stack; paths are absolute."""

    folder: Path
    rules: Path
    clock: str | None = None
    """wall or events; None: the one that the folder was first used with, for a new one wall."""
    without: tuple[str, ...] = ()
    """Programs left out; their ports are kept for them, and the others are told of these."""
    port_base: int | None = None
    """The first of the ports, in the order of PORT_NAMES; None: those of the last run, else free ones."""
    database_user: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    """More RAPPORT_<NAME> settings for every role of every service."""
    liveness_seconds: float = 60.0
    """How long a role's process may run without a sign of life before it is started anew; 0: as long as it
    likes."""

    def services(self) -> list[str]:
        """The services of which at least one role is to run."""
        return [
            service
            for service in SERVICES
            if not {f"{service}-server", f"{service}-worker"} <= set(self.without)
        ]

    def to_json(self) -> str:
        """As text for the supervisor's command line; it holds no secret."""
        return json.dumps({**asdict(self), "folder": str(self.folder), "rules": str(self.rules)})

    @classmethod
    def from_json(cls, text: str) -> "StackOptions":
        """What `to_json` wrote."""
        told = json.loads(text)
        return cls(
            **{
                **told,
                "folder": Path(told["folder"]),
                "rules": Path(told["rules"]),
                "without": tuple(told["without"]),
            }
        )
