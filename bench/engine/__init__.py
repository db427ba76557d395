"""Decisions a second on one core, beside the bare engine and three other rule engines."""
