"""Where a local stack keeps who trusts whom: all that a command needs to call it."""

from pathlib import Path

from services.cli.stack.layout import Layout
from services.runtime.client import TokenFiles

OPERATOR = "operator"
"""Whose token the command line uses: it may do everything."""


def keys_file(layout: Layout) -> Path:
    """What seals values in the databases; never made anew by itself: without it they cannot be opened."""
    return layout.secret("keys.json")


def authority_file(layout: Layout) -> Path:
    """The certificate of the authority that all parts trust."""
    return layout.secret("ca.crt")


def token_file(layout: Layout, subject: str = OPERATOR) -> Path:
    """The token of a caller."""
    return layout.secret(f"{subject}.token")


def caller(layout: Layout, subject: str = OPERATOR) -> TokenFiles:
    """For `connect`: a caller with that token."""
    return TokenFiles(token_file(layout, subject), authority_file(layout))
