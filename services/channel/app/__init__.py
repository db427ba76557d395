"""Use cases of the channel service, and the ports through which they reach the world."""
