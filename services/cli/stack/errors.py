"""What can go wrong with the local stack, said so that its user can act on it."""


class StackError(Exception):
    """The local stack cannot do what was asked; the text says why and what to do about it."""


class FolderInUseError(StackError):
    """Another `rapport up` holds this folder."""


class PortTakenError(StackError):
    """Another program listens on a port that this stack was to use."""
