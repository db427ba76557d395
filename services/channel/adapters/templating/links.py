"""Links made from values: only those that lead to a page, a mailbox or a telephone."""

from urllib.parse import quote

SCHEMES = ("https", "http", "mailto", "tel")
NOWHERE = "#"
"""What stands in place of a link that is none of these."""


def scheme_of(link: str) -> str:
    """The scheme of a link, as a browser reads it: blanks and control characters inside it do not count.

    Empty: it has none.
    """
    compact = "".join(character for character in link if character > " " and character != "\x7f")
    head, colon, _ = compact.partition(":")
    return "" if not colon or any(mark in head for mark in "/?#") else head.lower()


def checked_link(link: str) -> str:
    """The link as it may stand in an attribute; NOWHERE for one that could do anything but lead somewhere."""
    link = link.strip()
    if scheme_of(link) not in SCHEMES:
        return NOWHERE
    return quote(link, safe=":/?#[]@!$&'()*+,;=%-._~")


def link_part(text: str) -> str:
    """A value inside a link: everything that could end its part of it is written as %xx."""
    return quote(text, safe="-._~")
