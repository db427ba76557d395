"""Reads the operator's policies from rules/policies; every mistake names file and line."""
