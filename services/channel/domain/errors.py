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


class InvalidTemplateError(ChannelError):
    """A template's source cannot be used: the line (from 1), what is wrong and what would be right."""

    field = "source"

    def __init__(self, line: int, message: str, suggestion: str = "") -> None:
        """Neither text names anything of a customer."""
        self.line = line
        self.message = f"line {line}: {message}"
        super().__init__(self.message + (f"; {suggestion}" if suggestion else ""))
        self.suggestion = suggestion


class UnknownTemplateError(ChannelError):
    """There is no such template, or no such version of it."""


class TemplateChangedError(ChannelError):
    """Somebody else saved a version since the one that the author saw."""


class RecipientRefusedError(ChannelError):
    """Tests go only to the addresses that the operator listed."""

    field = "recipient"
