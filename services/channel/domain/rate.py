"""A provider's rate: so many messages a second, with a burst of one second's worth."""

from dataclasses import dataclass

_SECOND = 1_000_000


@dataclass(slots=True)
class Rate:
    """A token bucket on the wall's clock; `per_second` 0: no limit."""

    per_second: int
    _tokens: float = 0.0
    _at_micros: int = 0

    def room(self, wall_micros: int) -> int | None:
        """How many may go now; None: any number."""
        if self.per_second <= 0:
            return None
        if self._at_micros == 0:
            self._tokens = float(self.per_second)
        else:
            gained = max(0, wall_micros - self._at_micros) * self.per_second / _SECOND
            self._tokens = min(float(self.per_second), self._tokens + gained)
        self._at_micros = max(self._at_micros, wall_micros)
        return int(self._tokens)

    def spend(self, count: int) -> None:
        """So many were handed over."""
        if self.per_second > 0:
            self._tokens -= count

    def wait_micros(self) -> int:
        """How long until one more may go; 0: now."""
        if self.per_second <= 0 or self._tokens >= 1:
            return 0
        return int((1 - self._tokens) * _SECOND / self.per_second) + 1
