"""Reads tariffs, templates and offers."""

import re
from collections.abc import Iterator
from pathlib import Path

from services.vocabulary.catalogue import Offer, Tariff, Template
from services.vocabulary.catalogue_draft import HYPHENATED, Draft, is_new
from services.vocabulary.values import ValueType
from services.vocabulary.words import Category, Channel
from services.vocabulary.yaml_section import Section

_TEXT_FILE = re.compile(
    r"(?P<locale>[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?)\.(?P<channel>[a-z]+)\.j2"
)


class OfferReader:
    """Reads what can be said and offered into a draft whose topics and event types are known."""

    def __init__(self, draft: Draft) -> None:
        """The draft is added to."""
        self.draft = draft

    def read_tariffs(self, file: Section) -> None:
        """One file of tariffs."""
        for name, section in file.sections():
            if not is_new(file, name, self.draft.tariffs, HYPHENATED):
                continue
            price, data_mb = section.money("price"), section.whole("data_mb")
            if price is None:
                section.wrong("price", "is missing", "write 19.99 EUR")
            if data_mb is None:
                section.wrong("data_mb", "is missing", "write megabytes a month: 20000")
            title = section.required_text("title")
            minutes, messages = section.whole("minutes"), section.whole("messages")
            extra_gb = section.money("extra_gb")
            section.done()
            if price is not None and data_mb is not None:
                self.draft.tariffs[name] = Tariff(name, title, price, data_mb, minutes, messages, extra_gb)

    def read_templates(self, file: Section) -> None:
        """One file of templates."""
        for name, section in file.sections():
            if not is_new(file, name, self.draft.templates, HYPHENATED):
                continue
            topic = section.required_text("topic")
            if topic and topic not in self.draft.topics:
                section.wrong(
                    "topic", f"is {topic!r}, which topics.yaml lacks", "add it there, or write a known one"
                )
            self.draft.templates[name] = Template(
                name=name,
                topic=topic,
                files=dict(self._texts_of(name, section)),
                ground=section.text("ground"),
                breaks_quiet_hours=section.flag("breaks_quiet_hours"),
                parameters=tuple(types := self._parameters(section)),
                types={key: kind for key, kind in types.items() if kind is not None},
                category=section.word("category", Category),
            )
            section.done()

    def _parameters(self, section: Section) -> dict[str, ValueType | None]:
        """A list of names, or a map of names to types."""
        if not isinstance(section.content.get("parameters"), dict):
            return dict.fromkeys(section.texts("parameters"))
        below = section.section("parameters")
        assert below is not None, "it is a map"
        return {str(name): below.word(str(name), ValueType) for name in below.content}

    def _texts_of(self, name: str, section: Section) -> Iterator[tuple[tuple[str, Channel], Path]]:
        folder = self.draft.rules / "templates" / name
        paths = sorted(folder.glob("*.j2"))
        if not paths:
            section.mistakes.add(
                section.file,
                section.line,
                f"{name} has no text",
                f"add templates/{name}/en.sms.j2",
            )
        for path in paths:
            shown = self.draft.take(path)
            match = _TEXT_FILE.fullmatch(path.name)
            try:
                channel = Channel(match["channel"]) if match else None
            except ValueError:
                channel = None
            if match is None or channel is None:
                self.draft.mistakes.add(
                    shown, 1, "is named unlike a text", "name it fr.sms.j2: language, channel, j2"
                )
                continue
            yield (match["locale"], channel), path

    def read_offers(self, file: Section) -> None:
        """One file of offers."""
        for name, section in file.sections():
            if not is_new(file, name, self.draft.offers, HYPHENATED):
                continue
            valid = section.section("valid")
            valid_from = valid.day("from") if valid else None
            valid_to = valid.day("to") if valid else None
            if valid is not None:
                valid.done()
                if valid_from and valid_to and valid_to < valid_from:
                    valid.wrong("to", "is before from", "both days are included")
            offer = Offer(
                name=name,
                title=section.required_text("title"),
                titles=self._texts_below(section, "titles"),
                price=section.money("price"),
                valid_from=valid_from,
                valid_to=valid_to,
                eligible=section.texts("eligible"),
                excludes=section.texts("excludes"),
                templates=self._offer_templates(section),
                topic=section.text("topic"),
                accept=section.texts("accept") or ("YES",),
                fulfil=section.text("fulfil"),
            )
            if offer.topic and offer.topic not in self.draft.topics:
                section.wrong("topic", f"is {offer.topic!r}, which topics.yaml lacks")
            if offer.fulfil and offer.fulfil not in self.draft.events:
                section.wrong("fulfil", f"is {offer.fulfil!r}, which events.yaml lacks")
            section.done()
            self.draft.offers[name] = offer

    def _texts_below(self, section: Section, key: str) -> dict[str, str]:
        below = section.section(key)
        return {} if below is None else {str(name): below.text(str(name)) for name in below.content}

    def _offer_templates(self, section: Section) -> dict[Channel, str]:
        below = section.section("templates")
        if below is None:
            return {}
        found: dict[Channel, str] = {}
        for name in map(str, below.content):
            template = below.text(name)
            if name not in set(Channel):
                below.wrong(name, "is no channel", "channels are " + ", ".join(Channel))
            elif template not in self.draft.templates:
                below.wrong(name, f"names {template!r}, which templates.yaml lacks")
            else:
                found[Channel(name)] = template
        return found
