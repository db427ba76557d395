"""Alembic's entry; everything is in the runtime."""

from services.runtime.migrations import run_environment

run_environment()
