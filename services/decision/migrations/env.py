"""Alembic's way into this service's migrations."""

from services.runtime.migrations import run_environment

run_environment()
