"""What can go wrong in the channel service."""


class ChannelError(Exception):
    """The channel service could not do what was asked."""


class IllegalTransitionError(ChannelError):
    """A message cannot go from the state it is in to the one asked for."""


class InvalidActionError(ChannelError):
    """An action that cannot be taken, whatever the state of the system; `field` says which part is wrong."""

    def __init__(self, field: str, message: str, suggestion: str = "") -> None:
        super().__init__(f"{field}: {message}; {suggestion}" if suggestion else f"{field}: {message}")
        self.field = field
        self.message = message
        self.suggestion = suggestion


class ProfileUnavailableError(ChannelError):
    """The profile service did not answer; nothing may be sent on what it might have said."""


class StaleWriteError(ChannelError):
    """The database holds something else than what was just read; the batch is to be done again."""


class PolicyError(ChannelError):
    """A policy file is not as it should be; the message says where, and what would be right."""
