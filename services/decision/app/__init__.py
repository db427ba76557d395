"""What the decision service does, one use case a module."""
