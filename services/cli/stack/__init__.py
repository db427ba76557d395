"""The local stack: PostgreSQL, NATS, the three services and the demo's providers on one machine."""
