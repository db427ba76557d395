"""A clock that only moves when it is told to; both its business time and its wall time."""


class HandClock:
    def __init__(self, seconds: float = 1_800_000_000.0):
        self.seconds = seconds

    def now_micros(self) -> int:
        return int(self.seconds * 1_000_000)

    def wall_micros(self) -> int:
        return int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds
