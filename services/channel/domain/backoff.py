"""How long to wait before a provider is tried again."""

FIRST_MICROS = 1_000_000
LONGEST_MICROS = 60_000_000
_DOUBLINGS = 16


def wait_micros(attempts: int, chance: float) -> int:
    """Doubles with each attempt (from 1) up to a minute; `chance` in [0, 1) spreads its upper half.

    On the wall's clock: a provider recovers in real time, whatever business time does.
    """
    full = min(LONGEST_MICROS, FIRST_MICROS << min(max(attempts - 1, 0), _DOUBLINGS))
    return int(full * (0.5 + chance / 2))
