"""Reads `purposes.yaml`: who answers for the data, and what each purpose rests on."""

import re
from typing import Final

from services.vocabulary.catalogue_draft import Draft
from services.vocabulary.purposes import Controller, LawfulBasis, PurposeTerms, Texts
from services.vocabulary.words import UNKNOWN_MEANS_YES, Channel, Purpose
from services.vocabulary.yaml_section import Section

_LOCALE: Final = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
_CONFIRMED_BY: Final = frozenset({Channel.SMS, Channel.EMAIL, Channel.PUSH, Channel.APP, Channel.WEB})
"""Channels by which a person can be asked to confirm."""
_CONTACT: Final = frozenset({Purpose.SERVICE, Purpose.MARKETING, Purpose.RESEARCH})


class PurposeReader:
    """Notes every mistake with its line."""

    def __init__(self, draft: Draft, locale: str) -> None:
        self._draft = draft
        self._locale = locale

    def read(self, file: Section) -> None:
        """One file; `purposes` may be spread over several."""
        controller = file.section("controller")
        if controller is not None:
            self._draft.controller = Controller(
                name=controller.required_text("name"),
                address=controller.text("address"),
                contact=controller.required_text("contact"),
                officer=controller.text("officer"),
            )
            controller.done()
        purposes = file.section("purposes")
        if purposes is not None:
            for name, section in purposes.sections():
                self._purpose(purposes, name, section)
        file.done()

    def _purpose(self, file: Section, name: str, section: Section) -> None:
        if name not in {word.value for word in Purpose}:
            file.wrong(name, "is no purpose", "purposes are " + ", ".join(Purpose))
            return
        purpose = Purpose(name)
        if purpose in self._draft.purposes:
            file.wrong(name, "is described twice", "keep one of them")
            return
        basis = section.word("basis", LawfulBasis)
        if basis is None and section.content.get("basis") is None:
            section.wrong("basis", "is missing", "name a ground of GDPR art. 6(1): " + ", ".join(LawfulBasis))
        if basis is LawfulBasis.CONSENT and purpose in UNKNOWN_MEANS_YES:
            section.wrong(
                "basis",
                f"is consent, but {name} is allowed until the person objects",
                "name another ground of GDPR art. 6(1), such as legitimate_interests",
            )
        interest = self._texts(section, "interest", needed=basis is LawfulBasis.LEGITIMATE_INTERESTS)
        kept = section.duration("kept", 0)
        if not kept and "kept" not in section.content:
            section.wrong("kept", "is missing", "say how long at most: 400d")
        terms = PurposeTerms(
            purpose=purpose,
            basis=basis or LawfulBasis.CONSENT,
            titles=self._texts(section, "title", needed=True),
            descriptions=self._texts(section, "description", needed=True),
            kept_micros=kept,
            recipients=section.texts("recipients"),
            interest=interest,
            double_opt_in=self._channels(section, purpose),
        )
        section.done()
        self._draft.purposes[purpose] = terms

    def _channels(self, section: Section, purpose: Purpose) -> frozenset[Channel]:
        found: set[Channel] = set()
        for word in section.texts("double_opt_in"):
            if word not in _CONFIRMED_BY:
                section.wrong(
                    "double_opt_in",
                    f"names {word!r}, by which nobody can confirm",
                    "use " + ", ".join(sorted(_CONFIRMED_BY)),
                )
            else:
                found.add(Channel(word))
        if found and purpose not in _CONTACT:
            section.wrong(
                "double_opt_in",
                f"stands at {purpose}, which is about no contact",
                "use it at " + ", ".join(sorted(_CONTACT)),
            )
        return frozenset(found)

    def _texts(self, section: Section, key: str, *, needed: bool) -> Texts:
        if key not in section.content:
            section.take(key)
            if needed:
                section.wrong(key, "is missing", f"write {key}: {{{self._locale}: …}}")
            return {}
        below = section.section(key)
        if below is None:
            return {}
        texts: dict[str, str] = {}
        for locale in map(str, below.content):
            if _LOCALE.fullmatch(locale) is None:
                below.wrong(locale, "is no locale", "write en, fr or fr-CA")
            texts[locale] = below.text(locale)
        if self._locale not in texts:
            section.wrong(key, f"has no text in {self._locale}, the language of the operator", "add it")
        return texts
