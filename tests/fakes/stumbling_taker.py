"""Takes events like the real one, and stumbles over those it is told to."""

from services.profile.app.take_events import EventTaker


class StumblingTaker(EventTaker):
    """Fails in the middle of the transaction whenever an event with one of these ids is in it."""

    def __init__(self, catalogue, packer, ids: set[str]) -> None:
        super().__init__(catalogue, packer)
        self._ids = ids

    async def take(self, work, events, now_micros):
        outcomes = await super().take(work, events, now_micros)
        for event in events:
            if event.id in self._ids:
                raise ZeroDivisionError(event.id)
        return outcomes
