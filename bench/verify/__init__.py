"""Recorded decisions made by the real road, and run again."""
