"""The commands that talk to the running services."""
