"""How Alembic reaches the database of these tests."""

from services.runtime.migrations import run_environment

run_environment()
