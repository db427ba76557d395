"""Brings a service's database up to date, loading nothing of the service's own.

`python -m services.runtime.migrating SERVICE FOLDER` does what the service's `migrate` does: half of the time
of a first start went into loading, three times over, all that the services are made of.
"""

import sys
from pathlib import Path

import structlog

from services.runtime.errors import RapportError
from services.runtime.log import configure_logging, describe_failure
from services.runtime.migrations import migrate
from services.runtime.settings import Settings

_log = structlog.get_logger(__name__)


def run(service: str, folder: Path) -> int:
    """All migrations in `folder` on the database that the service's settings name; the exit status."""
    try:
        settings = Settings.from_environment(service, "migrate")
    except RapportError as error:
        sys.stderr.write(f"{error.message}; {error.suggestion}\n")
        return 2
    configure_logging(service, "migrate", settings.log_level)
    try:
        migrate(settings.database_url, folder)
    except Exception as error:  # noqa: BLE001 - the edge of the process
        _log.error("migration_failed", **describe_failure(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Path(sys.argv[2])))
