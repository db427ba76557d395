"""The `rapport` command: the local stack, feeding it, looking into it."""
