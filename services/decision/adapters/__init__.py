"""PostgreSQL, the engine and its process, the other services, YAML."""
