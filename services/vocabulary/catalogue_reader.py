"""Reads the catalogue's YAML and the folder of templates, and names every mistake with file and line."""

import re
from collections.abc import Callable, Container, Iterator
from hashlib import sha256
from pathlib import Path

from services.vocabulary.catalogue import (
    CYCLE_DAYS,
    Catalogue,
    CatalogueErrors,
    EventType,
    Field,
    Keep,
    Offer,
    Tariff,
    Template,
    ThingKind,
    Topic,
    Trait,
    traits_check,
)
from services.vocabulary.values import (
    DAY,
    FORMATS,
    Check,
    Value,
    ValueMistake,
    ValueType,
    parse_duration,
    value_check,
    zone,
)
from services.vocabulary.words import Channel, EventStage, Purpose
from services.vocabulary.yaml_section import Mistakes, Section, read_yaml

_TYPE = re.compile(r"(?P<type>[a-z]+)(\((?P<inside>[^()]*)\))?(?P<required>\*)?")
_CYCLES = re.compile(r"([0-9]{1,3}) cycles?")
_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
_HYPHENATED = re.compile(r"[a-z][a-z0-9_.-]*")
_SECTIONS = ("operator", "topics", "traits", "things", "events", "tariffs", "templates", "offers")
_TEXT_FILE = re.compile(r"(?P<locale>[a-z]{2,3}(-[A-Z]{2})?)\.(?P<channel>[a-z]+)\.j2")
_NEVER_KEPT = frozenset({ValueType.MAP, ValueType.LIST})
_MOST_ENTRIES = 1000


def read_catalogue(folder: Path) -> Catalogue:
    """The catalogue of a rules folder; raises CatalogueErrors."""
    rules = folder.parent if folder.name == "catalogue" else folder
    return _Reader(rules).read()


class _TypeExpression:
    """``money``, ``number*`` or ``enum(a, b)*``: type, words and whether it is required."""

    def __init__(self, text: str) -> None:
        match = _TYPE.fullmatch(text.strip())
        if match is None:
            raise ValueMistake(
                f"has the type {text!r}, which cannot be read", "write text, number*, enum(a, b)"
            )
        try:
            self.type = ValueType(match["type"])
        except ValueError:
            raise ValueMistake(
                f"has the unknown type {match['type']!r}", "types are " + ", ".join(ValueType)
            ) from None
        inside = match["inside"]
        self.required = match["required"] is not None
        self.enum: tuple[str, ...] = ()
        if self.type is ValueType.ENUM:
            self.enum = tuple(word.strip() for word in (inside or "").split(",") if word.strip())
            if not self.enum:
                raise ValueMistake("is an enum without words", "write enum(a, b)")
        elif self.type is ValueType.LIST:
            if inside not in {None, "text"}:
                raise ValueMistake("is a list of something other than text", "write list(text)")
        elif inside is not None:
            raise ValueMistake(f"is {self.type} with brackets", f"write {self.type}")


class _Reader:
    def __init__(self, rules: Path) -> None:
        self.rules = rules
        self.mistakes = Mistakes()
        self.traits: dict[str, Trait] = {}
        self.things: dict[str, ThingKind] = {}
        self.events: dict[str, EventType] = {}
        self.topics: dict[str, Topic] = {}
        self.tariffs: dict[str, Tariff] = {}
        self.templates: dict[str, Template] = {}
        self.offers: dict[str, Offer] = {}
        self.digest = sha256()

    def read(self) -> Catalogue:
        catalogue = self.rules / "catalogue"
        shown = str(Path(self.rules.name) / "catalogue")
        if not catalogue.is_dir():
            self.mistakes.add(shown, 1, "is no folder", "name the folder that holds catalogue/events.yaml")
            raise CatalogueErrors(tuple(self.mistakes.found))
        files = self._files(catalogue)
        operator = self._operator(files["operator"])
        for name, read in self._readers():
            for section in files[name]:
                read(section)
        if not self.events and not self.mistakes.found:
            self.mistakes.add(f"{shown}/events.yaml", 1, "holds no event type", "describe at least one")
        self._check_references(files)
        if self.mistakes.found:
            raise CatalogueErrors(tuple(self.mistakes.found))
        zone_name, locale, currency, conversation, except_sources = operator
        return Catalogue(
            version=self.digest.hexdigest()[:16],
            events=self.events,
            traits=self.traits,
            things=self.things,
            offers=self.offers,
            templates=self.templates,
            tariffs=self.tariffs,
            topics=self.topics,
            default_zone=zone_name,
            default_locale=locale,
            currency=currency,
            conversation_micros=conversation,
            creates_customers_except=except_sources,
        )

    def _readers(self) -> tuple[tuple[str, Callable[[Section], None]], ...]:
        return (
            ("topics", self._read_topics),
            ("traits", self._read_traits),
            ("things", self._read_things),
            ("events", self._read_events),
            ("tariffs", self._read_tariffs),
            ("templates", self._read_templates),
            ("offers", self._read_offers),
        )

    def _files(self, catalogue: Path) -> dict[str, list[Section]]:
        """By what they describe: ``events.yaml`` and ``events-anything.yaml`` both hold event types."""
        files: dict[str, list[Section]] = {name: [] for name in _SECTIONS}
        for path in sorted(catalogue.glob("*.yaml"), key=lambda path: path.stem):
            shown = str(path.relative_to(self.rules.parent))
            self._digest(path)
            kind = path.stem.partition("-")[0]
            if kind not in files:
                self.mistakes.add(
                    shown,
                    1,
                    "has a name that says nothing of what it holds",
                    "begin it with " + ", ".join(_SECTIONS),
                )
                continue
            section = read_yaml(path, shown, self.mistakes)
            if section is not None:
                files[kind].append(section)
        return files

    def _digest(self, path: Path) -> None:
        self.digest.update(str(path.relative_to(self.rules)).encode() + b"\0" + path.read_bytes() + b"\0")

    # --- operator ---------------------------------------------------------------------------------------

    def _operator(self, files: list[Section]) -> tuple[str, str, str, int, frozenset[str]]:
        zone_name, locale, currency, conversation = "UTC", "en", "EUR", DAY
        sources: frozenset[str] = frozenset()
        for section in files:
            zone_name = section.text("zone", zone_name)
            locale = section.text("locale", locale)
            currency = section.text("currency", currency)
            conversation = section.duration("conversation", conversation)
            sources |= frozenset(section.texts("sources_that_create_no_customers"))
            try:
                zone(zone_name)
            except ValueMistake as mistake:
                section.wrong("zone", mistake.message, mistake.suggestion)
            if re.fullmatch("[A-Z]{3}", currency) is None:
                section.wrong("currency", "is no ISO 4217 code", "write EUR")
            section.done()
        return zone_name, locale, currency, conversation, sources

    # --- topics, traits, things -------------------------------------------------------------------------

    def _read_topics(self, file: Section) -> None:
        for name in file.content:
            if self._is_new(file, str(name), self.topics, _HYPHENATED):
                self.topics[str(name)] = Topic(str(name), file.text(str(name)))

    def _read_traits(self, file: Section) -> None:
        for name, found in file.content.items():
            if not self._is_new(file, str(name), self.traits, _NAME):
                continue
            if isinstance(found, str):
                expression = self._type(file, str(name), found)
                if expression is not None:
                    check = value_check(expression.type, enum=expression.enum)
                    self.traits[str(name)] = Trait(str(name), expression.type, check, enum=expression.enum)
                continue
            section = file.section(str(name))
            if section is None:
                continue
            expression = self._type(section, "type", section.text("type", "text"))
            if expression is None:
                continue
            check, text_format = self._check(section, expression)
            self.traits[str(name)] = Trait(
                name=str(name),
                type=expression.type,
                check=check,
                purpose=section.word("purpose", Purpose) or Purpose.SERVICE,
                sensitive=section.flag("sensitive"),
                line=section.flag("line"),
                shown=section.flag("shown"),
                enum=expression.enum,
                format=text_format,
            )
            section.done()

    def _read_things(self, file: Section) -> None:
        for kind, section in file.sections():
            if not self._is_new(file, kind, self.things, _NAME):
                continue
            attributes: dict[str, ValueType] = {}
            below = section.section("attributes")
            if below is not None:
                for name in below.content:
                    expression = self._type(below, str(name), below.text(str(name)))
                    if expression is not None:
                        attributes[str(name)] = expression.type
            purpose = section.word("purpose", Purpose) or Purpose.SERVICE
            section.done()
            self.things[kind] = ThingKind(kind, attributes, purpose)

    # --- events -----------------------------------------------------------------------------------------

    def _read_events(self, file: Section) -> None:
        for names, section in file.sections():
            read = self._event(section)
            for name in [word.strip() for word in names.split(",")]:
                if self._is_new(file, name, self.events, _NAME, at=names):
                    self.events[name] = read(name)

    def _event(self, section: Section) -> Callable[[str], EventType]:
        purpose = section.word("purpose", Purpose) or Purpose.SERVICE
        stage = section.word("stage", EventStage)
        if stage is None and section.content.get("stage") is None:
            section.wrong("stage", "is missing", "write one of " + ", ".join(EventStage))
        fields: dict[str, Field] = {}
        below = section.section("fields")
        if below is not None:
            for name in below.content:
                found = self._field(below, str(name), purpose)
                if found is not None:
                    fields[str(name)] = found
        thing = section.text("thing")
        if thing and thing not in self.things:
            section.wrong(
                "thing", f"is {thing!r}, which things.yaml lacks", "known are " + ", ".join(self.things)
            )
        attributes = self.things[thing].attributes if thing in self.things else {}
        thing_sets = self._pairs(section, "thing_sets", set(attributes), fields)
        thing_clears = section.texts("thing_clears")
        for name in thing_clears:
            if name not in attributes:
                section.wrong("thing_clears", f"names {name!r}, which {thing or 'a customer'} has not")
        sets_traits = self._pairs(section, "sets_traits", set(self.traits), fields)
        for trait, field_name in sets_traits.items():
            wanted, given = self.traits[trait].type, fields[field_name].type
            if wanted is not given and {wanted, given} != {ValueType.ENUM, ValueType.TEXT}:
                section.wrong("sets_traits", f"puts {field_name} ({given}) into {trait} ({wanted})")
        keep = self._keep(section, fields)
        own = section.flag("own")
        description = section.text("description")
        section.done()

        def make(name: str) -> EventType:
            return EventType(
                name=name,
                stage=stage or EventStage.OURS,
                fields=fields,
                purpose=purpose,
                keep=keep,
                thing=thing,
                thing_sets=thing_sets,
                thing_clears=thing_clears,
                sets_traits=sets_traits,
                own=own,
                description=description,
            )

        return make

    def _field(self, fields: Section, name: str, purpose: Purpose) -> Field | None:
        if _NAME.fullmatch(name) is None or "." in name:
            fields.wrong(name, "is no name of a field", "write it as days_left")
        found = fields.take(name)
        if isinstance(found, str):
            expression = self._type(fields, name, found)
            if expression is None:
                return None
            return Field(
                name=name,
                type=expression.type,
                check=traits_check(self.traits)
                if expression.type is ValueType.MAP
                else value_check(expression.type, enum=expression.enum),
                required=expression.required,
                enum=expression.enum,
                purpose=purpose,
            )
        section = fields.section(name)
        if section is None:
            if found is None:
                fields.wrong(name, "has no type", "write text, number, money …")
            return None
        expression = self._type(section, "type", section.text("type", "text"))
        if expression is None:
            return None
        check, text_format = self._check(section, expression)
        default = self._default(section, check)
        made = Field(
            name=name,
            type=expression.type,
            check=check,
            required=expression.required,
            enum=expression.enum,
            purpose=section.word("purpose", Purpose) or purpose,
            default=default,
            format=text_format,
        )
        section.done()
        return made

    def _check(self, section: Section, expression: _TypeExpression) -> tuple[Check, str]:
        text_format = section.text("format")
        if text_format and (text_format not in FORMATS or expression.type is not ValueType.TEXT):
            section.wrong(
                "format", f"is {text_format!r}", "write one of " + ", ".join(FORMATS) + ", for a text"
            )
            text_format = ""
        least, most = section.number("least"), section.number("most")
        if (least is not None or most is not None) and expression.type not in {
            ValueType.INT,
            ValueType.NUMBER,
        }:
            section.wrong("type", f"is {expression.type}, which has no least and most", "write int or number")
            least = most = None
        check = value_check(
            expression.type, enum=expression.enum, text_format=text_format, least=least, most=most
        )
        return check, text_format

    def _default(self, section: Section, check: Check) -> Value | None:
        raw = section.take("default")
        if raw is None:
            return None
        try:
            return check(raw)
        except ValueMistake as mistake:
            section.wrong("default", mistake.message, mistake.suggestion)
            return None

    def _keep(self, event: Section, fields: dict[str, Field]) -> Keep:
        keepable = tuple(name for name, known in fields.items() if known.type not in _NEVER_KEPT)
        section = event.section("keep")
        if section is None:
            return Keep(fields=keepable)
        each = self._length(section, "each", 13 * CYCLE_DAYS * DAY)
        by_day = self._length(section, "by day", 0) // (CYCLE_DAYS * DAY)
        kept = keepable
        if "fields" in section.content:
            kept = section.texts("fields")
            for name in kept:
                if name not in keepable:
                    section.wrong(
                        "fields", f"names {name!r}", "fields that can be kept are " + ", ".join(keepable)
                    )
        most = section.whole("most", _MOST_ENTRIES) or _MOST_ENTRIES
        if not 1 <= most <= _MOST_ENTRIES:
            section.wrong("most", f"is {most}", f"write 1 to {_MOST_ENTRIES}")
        section.done()
        return Keep(each, by_day, tuple(name for name in kept if name in keepable), most)

    def _length(self, section: Section, key: str, default: int) -> int:
        """``13 cycles`` or ``35d`` in microseconds."""
        text = section.text(key)
        if not text:
            return default
        cycles = _CYCLES.fullmatch(text)
        if cycles is not None:
            return int(cycles[1]) * CYCLE_DAYS * DAY
        try:
            return parse_duration(text)
        except ValueMistake as mistake:
            section.wrong(key, mistake.message, "write 35d or 13 cycles")
            return default

    def _pairs(
        self, section: Section, key: str, targets: set[str], fields: dict[str, Field]
    ) -> dict[str, str]:
        below = section.section(key)
        if below is None:
            return {}
        pairs: dict[str, str] = {}
        for target in map(str, below.content):
            source = below.text(target)
            if target not in targets:
                below.wrong(target, "is not known", "known are " + ", ".join(sorted(targets)))
            elif source not in fields:
                below.wrong(target, f"reads {source!r}, which is no field of the event")
            else:
                pairs[target] = source
        return pairs

    # --- tariffs, templates, offers ---------------------------------------------------------------------

    def _read_tariffs(self, file: Section) -> None:
        for name, section in file.sections():
            if not self._is_new(file, name, self.tariffs, _HYPHENATED):
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
                self.tariffs[name] = Tariff(name, title, price, data_mb, minutes, messages, extra_gb)

    def _read_templates(self, file: Section) -> None:
        for name, section in file.sections():
            if not self._is_new(file, name, self.templates, _HYPHENATED):
                continue
            topic = section.required_text("topic")
            if topic and topic not in self.topics:
                section.wrong(
                    "topic", f"is {topic!r}, which topics.yaml lacks", "add it there, or write a known one"
                )
            self.templates[name] = Template(
                name=name,
                topic=topic,
                files=dict(self._texts_of(name, section)),
                ground=section.text("ground"),
                breaks_quiet_hours=section.flag("breaks_quiet_hours"),
                parameters=section.texts("parameters"),
            )
            section.done()

    def _texts_of(self, name: str, section: Section) -> Iterator[tuple[tuple[str, Channel], Path]]:
        folder = self.rules / "templates" / name
        paths = sorted(folder.glob("*.j2"))
        if not paths:
            section.mistakes.add(
                section.file,
                section.line,
                f"{name} has no text",
                f"add templates/{name}/en.sms.j2",
            )
        for path in paths:
            self._digest(path)
            shown = str(path.relative_to(self.rules.parent))
            match = _TEXT_FILE.fullmatch(path.name)
            try:
                channel = Channel(match["channel"]) if match else None
            except ValueError:
                channel = None
            if match is None or channel is None:
                self.mistakes.add(
                    shown, 1, "is named unlike a text", "name it fr.sms.j2: language, channel, j2"
                )
                continue
            yield (match["locale"], channel), path

    def _read_offers(self, file: Section) -> None:
        for name, section in file.sections():
            if not self._is_new(file, name, self.offers, _HYPHENATED):
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
            if offer.topic and offer.topic not in self.topics:
                section.wrong("topic", f"is {offer.topic!r}, which topics.yaml lacks")
            if offer.fulfil and offer.fulfil not in self.events:
                section.wrong("fulfil", f"is {offer.fulfil!r}, which events.yaml lacks")
            section.done()
            self.offers[name] = offer

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
            elif template not in self.templates:
                below.wrong(name, f"names {template!r}, which templates.yaml lacks")
            else:
                found[Channel(name)] = template
        return found

    # --- what several need ------------------------------------------------------------------------------

    def _check_references(self, files: dict[str, list[Section]]) -> None:
        """What can be checked only when everything is known."""
        locale = next((section.text("locale", "en") for section in files["operator"]), "en")
        for section in files["templates"]:
            for name in map(str, section.content):
                template = self.templates.get(name)
                for channel in sorted(template.channels if template else ()):
                    if template and (locale, channel) not in template.files:
                        section.wrong(
                            name,
                            f"has no text in {locale} for {channel}, the language of the operator",
                            f"add templates/{name}/{locale}.{channel}.j2",
                        )
        known = {path.name for path in (self.rules / "templates").glob("*") if path.is_dir()}
        for name in sorted(known - self.templates.keys()):
            shown = str(Path(self.rules.name) / "templates" / name)
            self.mistakes.add(shown, 1, "is described nowhere", f"add {name}: {{topic: …}} to templates.yaml")
        for section in files["offers"]:
            for name in map(str, section.content):
                offer = self.offers.get(name)
                for other in offer.excludes if offer else ():
                    if other not in self.offers:
                        section.wrong(name, f"excludes {other!r}, which is no offer")

    def _is_new(
        self, file: Section, name: str, known: Container[str], shape: re.Pattern[str], at: str = ""
    ) -> bool:
        if shape.fullmatch(name) is None:
            file.wrong(
                at or name, f"has the name {name!r}", "write lower-case words, digits, dots and underscores"
            )
            return False
        if name in known:
            file.wrong(at or name, f"describes {name} a second time", "keep one of them")
            return False
        return True

    def _type(self, section: Section, key: str, text: str) -> _TypeExpression | None:
        try:
            return _TypeExpression(text)
        except ValueMistake as mistake:
            section.wrong(key, mistake.message, mistake.suggestion)
            return None
