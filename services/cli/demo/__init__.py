"""The demo: a small town, streamed through the real parts, explained and reconciled."""
