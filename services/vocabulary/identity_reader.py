"""Reads `identities.yaml`: the kinds of identities, strongest first."""

import re
from collections.abc import Container, Mapping
from typing import Final

from services.vocabulary.identities import IDENTITY_KINDS, MAX_IDENTITIES
from services.vocabulary.identity_rules import IdentityKind, Joins
from services.vocabulary.yaml_section import Section

_KIND = re.compile(r"[a-z][a-z_]{0,19}")
_RESERVED: Final = frozenset({"customer", "household"})


def read_kinds(file: Section, known: dict[str, IdentityKind], things: Container[str]) -> None:
    """Kinds of one file, strongest first; mistakes are noted there."""
    for name, section in file.sections():
        if _KIND.fullmatch(name) is None or name in _RESERVED or name in things:
            file.wrong(
                name, "is no name for a kind of identity", "a lower-case word that names nothing else yet"
            )
            continue
        exact = section.take("exact")
        if not isinstance(exact, bool):
            section.wrong(
                "exact", "is not said", "exact: true where one such identity is one person's, else false"
            )
            exact = False
        most = section.whole("most", MAX_IDENTITIES) or 0
        if not 1 <= most <= 1000:
            section.wrong("most", f"is {most}", "write how many one person has at most, 1 to 1000")
        joins = section.word("joins", Joins) or Joins.SUGGEST
        if joins is Joins.MERGE and not exact:
            section.wrong("joins", "is merge, but the kind is not exact", "write suggest or never")
        known[name] = IdentityKind(
            name, len(known), exact, most, frozenset(section.texts("assigned_by")), joins
        )
        section.done()


def lacking(known: Mapping[str, IdentityKind]) -> list[str]:
    """Kinds of the core vocabulary that a catalogue does not describe, although it describes others."""
    return [kind for kind in IDENTITY_KINDS if kind not in known] if known else []
