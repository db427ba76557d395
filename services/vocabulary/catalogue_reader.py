"""Reads the catalogue's YAML and the folder of templates, and names every mistake with file and line."""

import re
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path

from services.vocabulary.arbitration_policy import ARBITRATION_FILE, NO_POLICY, ArbitrationPolicy
from services.vocabulary.arbitration_reader import read_arbitration
from services.vocabulary.catalogue import (
    CONSENTS,
    HOUSEHOLD_COUNTS,
    Catalogue,
    CatalogueErrors,
    Precedence,
    ThingKind,
    Topic,
    Trait,
)
from services.vocabulary.catalogue_draft import HYPHENATED, NAME, Draft, is_new, read_check, read_type
from services.vocabulary.event_reader import EventReader
from services.vocabulary.identity_reader import lacking, read_kinds
from services.vocabulary.identity_rules import core_kinds
from services.vocabulary.offer_reader import OfferReader
from services.vocabulary.purpose_reader import PurposeReader
from services.vocabulary.values import DAY, ValueMistake, ValueType, value_check, zone
from services.vocabulary.words import Asked, ConversationScope, Households, Purpose
from services.vocabulary.yaml_section import Section, read_yaml

_SECTIONS = (
    "operator",
    "topics",
    "traits",
    "sources",
    "things",
    "identities",
    "events",
    "questions",
    "tariffs",
    "templates",
    "offers",
    "purposes",
)

MOST_SOURCES = 8
"""Sources in one order: of each a word is kept with every customer."""


def read_catalogue(folder: Path) -> Catalogue:
    """The catalogue of a rules folder; raises CatalogueErrors."""
    rules = folder.parent if folder.name == "catalogue" else folder
    return _Reader(rules).read()


class _Reader:
    def __init__(self, rules: Path) -> None:
        self.draft = Draft(rules, sha256())
        self._approval = self._canary = Asked.REQUIRED

    def read(self) -> Catalogue:
        catalogue = self.draft.rules / "catalogue"
        shown = str(Path(self.draft.rules.name) / "catalogue")
        if not catalogue.is_dir():
            self.draft.mistakes.add(
                shown, 1, "is no folder", "name the folder that holds catalogue/events.yaml"
            )
            raise CatalogueErrors(tuple(self.draft.mistakes.found))
        files = self._files(catalogue)
        operator = self._operator(files["operator"])
        for name, read in self._readers():
            for section in files[name]:
                read(section)
        if not self.draft.events and not self.draft.mistakes.found:
            self.draft.mistakes.add(f"{shown}/events.yaml", 1, "holds no event type", "describe at least one")
        for section in files["purposes"]:
            PurposeReader(self.draft, operator[1]).read(section)
        self._check_references(files)
        arbitration = self._arbitration()
        if self.draft.mistakes.found:
            raise CatalogueErrors(tuple(self.draft.mistakes.found))
        zone_name, locale, currency, country, conversation, except_sources, households, scope = operator
        return Catalogue(
            version=self.draft.digest.hexdigest()[:16],
            events=self.draft.events,
            traits=self.draft.traits,
            things=self.draft.things,
            offers=self.draft.offers,
            templates=self.draft.templates,
            tariffs=self.draft.tariffs,
            topics=self.draft.topics,
            default_zone=zone_name,
            default_locale=locale,
            currency=currency,
            country=country,
            conversation_micros=conversation,
            creates_customers_except=except_sources,
            questions=self.draft.questions,
            households=households,
            identities=self.draft.identities or core_kinds(),
            purposes=self.draft.purposes,
            controller=self.draft.controller,
            arbitration=arbitration,
            conversation_scope=scope,
            needs_approval=self._approval is Asked.REQUIRED,
            needs_canary=self._canary is Asked.REQUIRED,
        )

    def _arbitration(self) -> ArbitrationPolicy:
        """The policy beside the catalogue; a folder without one says nothing of it."""
        path = self.draft.rules / ARBITRATION_FILE
        if not path.is_file():
            return NO_POLICY
        section = read_yaml(path, self.draft.take(path), self.draft.mistakes)
        return NO_POLICY if section is None else read_arbitration(section, self.draft.offers)

    def _readers(self) -> tuple[tuple[str, Callable[[Section], None]], ...]:
        """In an order in which what is referred to is read first."""
        offers = OfferReader(self.draft)
        return (
            ("topics", self._read_topics),
            ("traits", self._read_traits),
            ("sources", self._read_sources),
            ("things", self._read_things),
            ("identities", self._read_identities),
            ("events", EventReader(self.draft).read),
            ("questions", EventReader(self.draft).read_questions),
            ("tariffs", offers.read_tariffs),
            ("templates", offers.read_templates),
            ("offers", offers.read_offers),
        )

    def _files(self, catalogue: Path) -> dict[str, list[Section]]:
        """By what they describe: ``events.yaml`` and ``events-anything.yaml`` both hold event types."""
        files: dict[str, list[Section]] = {name: [] for name in _SECTIONS}
        for path in sorted(catalogue.glob("*.yaml"), key=lambda path: path.stem):
            shown = self.draft.take(path)
            kind = path.stem.partition("-")[0]
            if kind not in files:
                self.draft.mistakes.add(
                    shown,
                    1,
                    "has a name that says nothing of what it holds",
                    "begin it with " + ", ".join(_SECTIONS),
                )
                continue
            section = read_yaml(path, shown, self.draft.mistakes)
            if section is not None:
                files[kind].append(section)
        return files

    # --- operator ---------------------------------------------------------------------------------------

    def _operator(
        self, files: list[Section]
    ) -> tuple[str, str, str, str, int, frozenset[str], Households, ConversationScope]:
        zone_name, locale, currency, country, conversation = "UTC", "en", "EUR", "", DAY
        sources: frozenset[str] = frozenset()
        households, scope = Households.ACCOUNT, ConversationScope.CUSTOMER
        for section in files:
            zone_name = section.text("zone", zone_name)
            locale = section.text("locale", locale)
            currency = section.text("currency", currency)
            country = section.text("country", country)
            conversation = section.duration("conversation", conversation)
            households = section.word("households", Households) or households
            scope = section.word("conversation_scope", ConversationScope) or scope
            sources |= frozenset(section.texts("sources_that_create_no_customers"))
            release = section.section("release")
            if release is not None:
                self._approval = release.word("approval", Asked) or self._approval
                self._canary = release.word("canary", Asked) or self._canary
                release.done()
            try:
                zone(zone_name)
            except ValueMistake as mistake:
                section.wrong("zone", mistake.message, mistake.suggestion)
            if re.fullmatch("[A-Z]{3}", currency) is None:
                section.wrong("currency", "is no ISO 4217 code", "write EUR")
            if country and re.fullmatch("[A-Z]{2}", country) is None:
                section.wrong("country", "is no ISO 3166-1 code of two letters", "write FR")
            section.done()
        return zone_name, locale, currency, country, conversation, sources, households, scope

    # --- topics, traits, things -------------------------------------------------------------------------

    def _read_topics(self, file: Section) -> None:
        for name in file.content:
            if is_new(file, str(name), self.draft.topics, HYPHENATED):
                self.draft.topics[str(name)] = Topic(str(name), file.text(str(name)))

    def _read_traits(self, file: Section) -> None:
        for name, found in file.content.items():
            if not is_new(file, str(name), self.draft.traits, NAME):
                continue
            if name in HOUSEHOLD_COUNTS:
                file.wrong(name, "is what rules count of a household", "give the trait another name")
                continue
            if name == CONSENTS:
                file.wrong(name, "is what rules read consents by", "give the trait another name")
                continue
            if isinstance(found, str):
                expression = read_type(file, str(name), found)
                if expression is not None:
                    check = value_check(expression.type, enum=expression.enum)
                    self.draft.traits[str(name)] = Trait(
                        str(name), expression.type, check, enum=expression.enum
                    )
                continue
            section = file.section(str(name))
            if section is None:
                continue
            expression = read_type(section, "type", section.text("type", "text"))
            if expression is None:
                continue
            check, text_format = read_check(section, expression)
            self.draft.traits[str(name)] = Trait(
                name=str(name),
                type=expression.type,
                check=check,
                purpose=section.word("purpose", Purpose) or Purpose.SERVICE,
                sensitive=section.flag("sensitive"),
                line=section.flag("line"),
                shown=section.flag("shown"),
                enum=expression.enum,
                format=text_format,
                least=expression.least,
                most=expression.most,
                household=section.flag("household"),
                direct=section.flag("direct"),
            )
            self._check_direct(section, self.draft.traits[str(name)])
            if self.draft.traits[str(name)].household and self.draft.traits[str(name)].line:
                section.wrong(
                    "household", "is of a household, which has no line", "keep one of line and household"
                )
            section.done()

    def _check_direct(self, section: Section, trait: Trait) -> None:
        """What is worked with in the open cannot be sealed."""
        if trait.direct and (trait.household or trait.format == "zone" or trait.name.startswith("last_")):
            section.wrong(
                "direct",
                "seals what must be known in the open: a zone, a place or what a household shares",
                "leave it out",
            )

    def _read_sources(self, file: Section) -> None:
        """Who is believed about which trait: a list of sources, or a mapping with ``order`` and ``fresh``."""
        for name, found in file.content.items():
            trait = self.draft.traits.get(str(name))
            if trait is None:
                near = get_close_matches(str(name), sorted(self.draft.traits), n=1)
                file.wrong(name, "is no trait", f"did you mean {near[0]}?" if near else "see traits.yaml")
            elif trait.precedence is not None:
                file.wrong(name, "has an order of sources already", "keep one of them")
            elif isinstance(found, list):
                self._order(file, trait, file.texts(str(name)), 0)
            elif (section := file.section(str(name))) is not None:
                self._order(section, trait, section.texts("order"), section.duration("fresh", 0), at="order")
                section.done()

    def _order(
        self, section: Section, trait: Trait, sources: tuple[str, ...], fresh_micros: int, at: str = ""
    ) -> None:
        if not sources or len(set(sources)) < len(sources) or not all(sources) or len(sources) > MOST_SOURCES:
            section.wrong(
                at or trait.name,
                "is no order of sources",
                f"write 1 to {MOST_SOURCES} sources, each once, the one believed first at the front",
            )
            return
        self.draft.traits[trait.name] = replace(trait, precedence=Precedence(sources, fresh_micros))

    def _read_things(self, file: Section) -> None:
        for kind, section in file.sections():
            if not is_new(file, kind, self.draft.things, NAME):
                continue
            attributes: dict[str, ValueType] = {}
            below = section.section("attributes")
            if below is not None:
                for name in below.content:
                    expression = read_type(below, str(name), below.text(str(name)))
                    if expression is not None:
                        attributes[str(name)] = expression.type
            purpose = section.word("purpose", Purpose) or Purpose.SERVICE
            section.done()
            self.draft.things[kind] = ThingKind(kind, attributes, purpose)

    def _read_identities(self, file: Section) -> None:
        read_kinds(file, self.draft.identities, self.draft.things)
        for kind in lacking(self.draft.identities):
            file.wrong(kind, "is not described", "events name it: say what holds for it")

    def _check_references(self, files: dict[str, list[Section]]) -> None:
        """What can be checked only when everything is known."""
        locale = next((section.text("locale", "en") for section in files["operator"]), "en")
        for section in files["templates"]:
            for name in map(str, section.content):
                template = self.draft.templates.get(name)
                for channel in sorted(template.channels if template else ()):
                    if template and (locale, channel) not in template.files:
                        section.wrong(
                            name,
                            f"has no text in {locale} for {channel}, the language of the operator",
                            f"add templates/{name}/{locale}.{channel}.j2",
                        )
        known = {path.name for path in (self.draft.rules / "templates").glob("*") if path.is_dir()}
        for name in sorted(known - self.draft.templates.keys()):
            shown = str(Path(self.draft.rules.name) / "templates" / name)
            self.draft.mistakes.add(
                shown, 1, "is described nowhere", f"add {name}: {{topic: …}} to templates.yaml"
            )
        for section in files["offers"]:
            for name in map(str, section.content):
                offer = self.draft.offers.get(name)
                for other in offer.excludes if offer else ():
                    if other not in self.draft.offers:
                        section.wrong(name, f"excludes {other!r}, which is no offer")
