"""The profile's tables, each part of a transaction in a module of its own."""
