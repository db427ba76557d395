"""What a servicer asks of the call that it answers, where no call came over the network."""


class Call:
    """A call without metadata."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()
