"""PostgreSQL, the profile service, providers and templates behind the ports."""
