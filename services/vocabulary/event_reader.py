"""Reads event types: their fields, how they are kept, and what they change; and questions."""

import re
from collections.abc import Callable

from services.vocabulary.catalogue import CYCLE_DAYS, EventType, Field, Keep, Question, traits_check
from services.vocabulary.catalogue_draft import (
    HYPHENATED,
    NAME,
    Draft,
    is_new,
    read_check,
    read_default,
    read_type,
)
from services.vocabulary.values import DAY, ValueMistake, ValueType, parse_duration, value_check
from services.vocabulary.words import EventStage, Purpose
from services.vocabulary.yaml_section import Section

_CYCLES = re.compile(r"([0-9]{1,3}) cycles?")
_NEVER_KEPT = frozenset({ValueType.MAP, ValueType.LIST})
_MOST_ENTRIES = 1000


class EventReader:
    """Reads the files of event types into a draft whose traits and things are known."""

    def __init__(self, draft: Draft) -> None:
        """The draft is added to."""
        self.draft = draft

    def read(self, file: Section) -> None:
        """One file; several names on one line share what stands below them."""
        for names, section in file.sections():
            read = self._event(section)
            for name in [word.strip() for word in names.split(",")]:
                if is_new(file, name, self.draft.events, NAME, at=names):
                    self.draft.events[name] = read(name)

    def read_questions(self, file: Section) -> None:
        """One file of questions with their parameters."""
        for name, section in file.sections():
            if not is_new(file, name, self.draft.questions, HYPHENATED):
                continue
            title = section.text("title")
            below = section.section("parameters")
            parameters: dict[str, Field] = {}
            for parameter in map(str, below.content) if below is not None else ():
                assert below is not None
                found = self._field(below, parameter, Purpose.SERVICE)
                if found is not None and found.type is ValueType.MAP:
                    below.wrong(parameter, "is a map", "give each value a parameter of its own")
                elif found is not None:
                    parameters[parameter] = found
            section.done()
            self.draft.questions[name] = Question(name, title, parameters)

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
        if thing and thing not in self.draft.things:
            section.wrong(
                "thing", f"is {thing!r}, which things.yaml lacks", "known are " + ", ".join(self.draft.things)
            )
        attributes = self.draft.things[thing].attributes if thing in self.draft.things else {}
        thing_sets = self._pairs(section, "thing_sets", set(attributes), fields)
        thing_clears = section.texts("thing_clears")
        for name in thing_clears:
            if name not in attributes:
                section.wrong("thing_clears", f"names {name!r}, which {thing or 'a customer'} has not")
        sets_traits = self._pairs(section, "sets_traits", set(self.draft.traits), fields)
        for trait, field_name in sets_traits.items():
            wanted, given = self.draft.traits[trait].type, fields[field_name].type
            if wanted is not given and {wanted, given} != {ValueType.ENUM, ValueType.TEXT}:
                section.wrong("sets_traits", f"puts {field_name} ({given}) into {trait} ({wanted})")
        keep = self._keep(section, fields)
        direct = self._direct(section, fields, keep)
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
                direct=direct,
            )

        return make

    def _direct(self, section: Section, fields: dict[str, Field], keep: Keep) -> tuple[str, ...]:
        """Fields that identify people: texts that activity does not keep."""
        names = section.texts("direct")
        for name in names:
            if name not in fields or fields[name].type is not ValueType.TEXT:
                section.wrong("direct", f"names {name!r}", "fields that can be sealed are texts of this type")
            elif name in keep.fields:
                section.wrong(
                    "direct", f"names {name!r}, which activity keeps", "leave it out of keep.fields"
                )
        return names

    def _field(self, fields: Section, name: str, purpose: Purpose) -> Field | None:
        if NAME.fullmatch(name) is None or "." in name:
            fields.wrong(name, "is no name of a field", "write it as days_left")
        found = fields.take(name)
        if isinstance(found, str):
            expression = read_type(fields, name, found, with_map=True)
            if expression is None:
                return None
            return Field(
                name=name,
                type=expression.type,
                check=traits_check(self.draft.traits)
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
        expression = read_type(section, "type", section.text("type", "text"))
        if expression is None:
            return None
        check, text_format = read_check(section, expression)
        default = read_default(section, check)
        made = Field(
            name=name,
            type=expression.type,
            check=check,
            required=expression.required,
            enum=expression.enum,
            purpose=section.word("purpose", Purpose) or purpose,
            default=default,
            format=text_format,
            least=expression.least,
            most=expression.most,
        )
        section.done()
        return made

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
