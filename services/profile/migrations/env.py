"""Where Alembic enters."""

from services.runtime.migrations import run_environment

run_environment()
