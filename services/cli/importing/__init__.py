"""Bulk loads: files of other systems read by DuckDB, checked, and sent as events."""
