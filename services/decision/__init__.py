"""The decision service: whether to say something, what, and why."""
