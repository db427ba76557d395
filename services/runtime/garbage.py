"""How often Python's collector looks for cycles."""

import gc


def collect_seldom() -> None:
    """What was made so far stays and is not looked at; what a job or a row makes is gone by counting."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
