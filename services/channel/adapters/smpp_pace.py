"""How fast one SMSC is spoken to: its agreed rate, and less for a while after it has asked to slow down."""

_LEAST = 1.0
_BURST_SECONDS = 0.05
_REACTION_SECONDS = 1.0
"""What was under way when we slowed down may still be refused; it does not slow us down again."""
_HOLD_SECONDS = 0.15
"""Nothing goes for about so long after a refusal: many SMSCs count by the second."""
_WINDOW_SECONDS = 0.5
_STALE_SECONDS = 2.0
_GUESS = 100.0
"""What an SMSC may take per second that slows us down before we have seen what it takes."""
_LEAST_GAIN = 5.0
_GAIN = 0.1
"""What the rate gains in a second, of what the SMSC took before it asked to slow down."""


class Pace:
    """Additive increase, multiplicative decrease (as TCP's congestion avoidance, RFC 5681 §3.1).

    Times are monotonic, in seconds. Without an agreed rate there is no limit until the SMSC asks to slow
    down, and none again once twice what it took then goes through.
    """

    def __init__(self, per_second: float = 0.0) -> None:
        """`per_second`: the agreed rate; 0: none."""
        self._agreed = per_second
        self._rate = per_second
        self._next = 0.0
        self._base = 0.0
        self._cut = float("-inf")
        self._grown = 0.0
        self._window = float("-inf")
        self._count = 0
        self._measured = 0.0

    @property
    def rate(self) -> float:
        """Submits per second that may go now; 0: no limit."""
        return self._rate

    def free_at(self, now: float) -> float:
        """When the next submit may go; not later than `now`: at once."""
        return now if not self._rate else self._next - _BURST_SECONDS

    def spend(self, now: float) -> None:
        """A submit goes."""
        if self._rate:
            self._next = max(self._next, now) + 1.0 / self._rate

    def accepted(self, now: float) -> None:
        """The SMSC took a submit."""
        if now - self._window >= _STALE_SECONDS:
            self._window, self._count, self._measured = now, 0, 0.0
        self._count += 1
        if now - self._window >= _WINDOW_SECONDS:
            self._measured = self._count / (now - self._window)
            self._window, self._count = now, 0
        if not self._base or not self._rate:
            return
        gain = max(_LEAST_GAIN, self._base * _GAIN, self._agreed * _GAIN)
        self._rate += gain * max(0.0, now - self._grown)
        self._grown = now
        if self._agreed and self._rate >= self._agreed:
            self._rate, self._base = self._agreed, 0.0
        elif not self._agreed and self._rate >= 2 * self._base:
            self._rate, self._base = 0.0, 0.0

    def throttled(self, now: float) -> None:
        """The SMSC asked to slow down."""
        self._next = max(self._next, now + _HOLD_SECONDS)
        if now - self._cut < _REACTION_SECONDS:
            return
        self._base = self._rate or self._took(now)
        self._rate = max(_LEAST, self._base / 2)
        self._cut = self._grown = now
        self._next = max(self._next, now + 1.0 / self._rate)

    def _took(self, now: float) -> float:
        """What the SMSC took per second until now, as far as that was seen."""
        took = 0.0
        if now - self._window < _STALE_SECONDS:
            took = max(self._measured, self._count / max(now - self._window, _WINDOW_SECONDS))
        return took or _GUESS
