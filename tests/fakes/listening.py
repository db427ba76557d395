"""The profile service's list of listened types, in memory."""


class ListeningFake:
    """Keeps what it was told; `away` makes it unreachable."""

    def __init__(self):
        self.types: tuple[str, ...] = ()
        self.absences: tuple[str, ...] = ()
        self.away = False

    async def set_listened(self, types, absences, request_id):
        from services.runtime.errors import UnavailableError

        assert request_id
        if self.away:
            raise UnavailableError("the profile service does not answer; try again")
        self.types, self.absences = tuple(types), tuple(absences)
