"""How texts look before anybody reads them: filled, measured, priced, and with what is wrong with them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from typing import Generic, Protocol, TypeVar

from services.channel.app.ports import MissingTemplate, Rendered, ToRender
from services.channel.app.template_warnings import missing_locales, of_filled, of_text
from services.channel.domain.errors import InvalidTemplateError, UnknownTemplateError
from services.channel.domain.policies import Policies
from services.channel.domain.short_text import ShortText, short_text
from services.channel.domain.templates import CompiledText, TextKey, TextWarning
from services.vocabulary.catalogue import Catalogue, Template
from services.vocabulary.values import DAY, FieldError, Money, Value, ValueMistake, ValueType, value_check
from services.vocabulary.words import Category, Channel

DRAFT = "draft"
_AT_ONCE = 2
"""Texts compiled beside the event loop."""
_SAMPLE_TIME = 1_796_148_000_000_000
CompiledT = TypeVar("CompiledT", bound=CompiledText)


class Smith(Protocol[CompiledT]):
    """Knows the texts in force, and makes and fills others."""

    problems: tuple[str, ...]
    default_locale: str

    def normal(self, locale: str) -> str:
        """The language tag as files are named; empty: it is none."""

    def plural_forms(self, locale: str) -> tuple[str, ...]:
        """The plural forms of the language."""

    def texts(self) -> dict[TextKey, CompiledT]:
        """What is in force."""

    def find(self, name: str, channel: Channel, locale: str) -> tuple[TextKey, CompiledT] | None:
        """The text that a customer with this language reads."""

    def compile(self, source: str, version: str) -> CompiledT:
        """The text of a source; raises InvalidTemplateError. Takes up to half a second, in any thread."""

    def fill(self, key: TextKey, text: CompiledT, wanted: ToRender) -> Rendered | MissingTemplate:
        """Fills one text, in force or not."""


@dataclass(frozen=True, slots=True)
class PreviewWish:
    """What to fill, and with what."""

    name: str
    channel: Channel
    locale: str = ""
    source: str | None = None
    """A draft, as the text of exactly this language; None: what is in force."""
    version: str = DRAFT
    """What the draft is called."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """As JSON has them."""
    traits: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""
    category: Category | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """One text, filled."""

    key: TextKey
    said: Rendered | MissingTemplate
    version: str
    short: ShortText | None = None
    cost: Decimal | None = None
    """None: nobody said what a message costs."""
    currency: str = ""
    warnings: tuple[TextWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """One text that is in force."""

    key: TextKey
    version: str
    warnings: tuple[TextWarning, ...]


class Previews(Generic[CompiledT]):
    """Looks at texts; nothing is stored, and no customer is touched."""

    def __init__(
        self, catalogue: Catalogue, smith: Smith[CompiledT], policies: Callable[[], Policies]
    ) -> None:
        self._catalogue = catalogue
        self.smith = smith
        self._policies = policies
        self._compiling = asyncio.Semaphore(_AT_ONCE)

    def template(self, name: str) -> Template:
        """What templates.yaml says of it; raises UnknownTemplateError with the nearest known one."""
        found = self._catalogue.templates.get(name)
        if found is None:
            near = get_close_matches(name, list(self._catalogue.templates), n=1)
            right = f"did you mean {near[0]}?" if near else "templates.yaml lists the known ones"
            raise UnknownTemplateError(f"there is no template of that name; {right}")
        return found

    def key(self, name: str, locale: str, channel: Channel) -> TextKey:
        """The text of that name; raises UnknownTemplateError or FieldError."""
        self.template(name)
        normal = self.smith.normal(locale)
        if not normal:
            raise FieldError("locale", "is no language", "write it as fr, fr-CA or zh-Hant")
        return TextKey(name, normal, channel)

    def listed(self, name: str = "") -> list[Listed]:
        """All texts in force, or those of one template, by name, channel and language."""
        texts = self.smith.texts()
        keys = sorted(texts, key=lambda key: (key.name, key.channel, key.locale))
        found: list[Listed] = []
        for key in keys:
            template = self._catalogue.templates.get(key.name)
            if template is None or (name and key.name != name):
                continue
            warnings = self._warnings(key, texts[key], template, None, texts)
            if key.locale == next(
                one.locale for one in keys if (one.name, one.channel) == (key.name, key.channel)
            ):
                lacking = missing_locales(key.name, keys, self.smith.default_locale).get(key.channel)
                warnings += [lacking] if lacking is not None else []
            found.append(Listed(key, texts[key].version, tuple(warnings)))
        return found

    async def check(self, key: TextKey, source: str) -> tuple[TextWarning, ...]:
        """What the author of a new version should look at; raises InvalidTemplateError if it cannot be used.

        It must say every parameter that templates.yaml names, and no other.
        """
        template = self.template(key.name)
        text = await self._compile(source, DRAFT)
        used = text.used.parameters
        for name, line in used.items():
            if name not in template.parameters:
                near = get_close_matches(name, template.parameters, n=1)
                known = ", ".join(template.parameters) or "it has none"
                right = f"did you mean {near[0]}?" if near else f"its parameters: {known}"
                raise InvalidTemplateError(line, f"{{{{ {name} }}}} is no parameter of {key.name}", right)
        for name in template.parameters:
            if name not in used:
                last = source.rstrip().count("\n") + 1
                raise InvalidTemplateError(
                    last, f"the parameter {name} is not said", f"write {{{{ {name} }}}} where it belongs"
                )
        texts = dict(self.smith.texts())
        return tuple(self._warnings(key, text, template, None, texts))

    async def preview(self, wish: PreviewWish) -> tuple[Filled, list[Filled]]:
        """The text asked for, and those of all other languages of its channel.

        Raises UnknownTemplateError, FieldError for a parameter of the wrong type, InvalidTemplateError.
        """
        template = self.template(wish.name)
        values, types, samples = self._values(template, wish.parameters)
        key, text = await self._wanted(wish)
        texts = dict(self.smith.texts())
        texts[key] = text
        others = [
            one for one in sorted(texts) if (one.name, one.channel) == (key.name, key.channel) and one != key
        ]
        filled: list[Filled] = []
        for one in (key, *others):
            wanted = ToRender(
                name=wish.name,
                # the region asked for, where the text is of its language
                locale=wish.locale if one == key and wish.locale else one.locale,
                channel=wish.channel,
                category=wish.category or template.category or Category.SERVICE,
                parameters=values,
                types=types,
                zone=wish.zone,
                traits=wish.traits,
            )
            warnings = self._warnings(one, texts[one], template, wish.category, texts)
            filled.append(self._filled(one, texts[one], wanted, warnings))
            await asyncio.sleep(0)  # others have their turn
        lacking = missing_locales(wish.name, texts, self.smith.default_locale).get(wish.channel)
        extra = [*samples, *([lacking] if lacking is not None else [])]
        first = filled[0]
        first = Filled(
            *(first.key, first.said, first.version, first.short, first.cost, first.currency),
            (*first.warnings, *extra),
        )
        return first, filled[1:]

    async def _wanted(self, wish: PreviewWish) -> tuple[TextKey, CompiledT]:
        if wish.source is not None:
            key = self.key(wish.name, wish.locale or self.smith.default_locale, wish.channel)
            return key, await self._compile(wish.source, wish.version)
        found = self.smith.find(wish.name, wish.channel, wish.locale)
        if found is None:
            raise UnknownTemplateError(
                f"{wish.name} has no text on {wish.channel.value} in that language or the default one; "
                f"save one, or write {wish.name}/{self.smith.default_locale}.{wish.channel.value}.j2"
            )
        return found

    async def _compile(self, source: str, version: str) -> CompiledT:
        async with self._compiling:
            return await asyncio.to_thread(self.smith.compile, source, version)

    def _filled(
        self, key: TextKey, text: CompiledT, wanted: ToRender, warnings: Sequence[TextWarning]
    ) -> Filled:
        said = self.smith.fill(key, text, wanted)
        if isinstance(said, MissingTemplate):
            return Filled(key, said, text.version, warnings=tuple(warnings))
        short = short_text(said.text) if key.channel is Channel.SMS else None
        campaigns = self._policies().campaigns
        micros = campaigns.cost(key.channel, said.segments)
        return Filled(
            key=key,
            said=said,
            version=text.version,
            short=short,
            cost=Decimal(micros) / 1_000_000 if key.channel in campaigns.costs else None,
            currency=campaigns.currency or self._catalogue.currency,
            warnings=(*warnings, *of_filled(said, short)),
        )

    def _warnings(
        self,
        key: TextKey,
        text: CompiledT,
        template: Template,
        category: Category | None,
        texts: Mapping[TextKey, CompiledT],
    ) -> list[TextWarning]:
        kind = category or template.category or self._of_offer(key)
        forms = self.smith.plural_forms(key.locale)
        return of_text(key, text, template, kind, forms, self._catalogue, texts)

    def _of_offer(self, key: TextKey) -> Category:
        sold = any(offer.template_for(key.channel) == key.name for offer in self._catalogue.offers.values())
        return Category.SALES if sold else Category.SERVICE

    def _values(
        self, template: Template, given: Mapping[str, object]
    ) -> tuple[dict[str, Value], dict[str, ValueType], list[TextWarning]]:
        """Typed parameters, with samples for those that were not given."""
        values: dict[str, Value] = {}
        types: dict[str, ValueType] = {}
        for name, raw in given.items():
            if name not in template.parameters:
                known = ", ".join(template.parameters) or "it has none"
                raise FieldError(
                    f"parameters.{name}", f"is no parameter of {template.name}", f"known: {known}"
                )
            kind = template.types.get(name) or _type_of(raw)
            try:
                values[name] = value_check(kind)(raw)
            except ValueMistake as mistake:
                raise FieldError(f"parameters.{name}", mistake.message, mistake.suggestion) from None
            types[name] = kind
        samples: list[TextWarning] = []
        for name in template.parameters:
            if name not in values:
                types[name] = template.types.get(name, ValueType.TEXT)
                values[name] = _sample(name, types[name], self._catalogue.currency)
                samples.append(TextWarning("sample", f"{name} was not given: a sample stands in its place"))
        return values, types, samples


def _type_of(raw: object) -> ValueType:
    """Of a parameter whose type templates.yaml does not name, by its JSON."""
    match raw:
        case bool():
            return ValueType.BOOL
        case int():
            return ValueType.INT
        case float():
            return ValueType.NUMBER
        case list():
            return ValueType.LIST
        case dict():
            return ValueType.MONEY
        case _:
            return ValueType.TEXT


def _sample(name: str, kind: ValueType, currency: str) -> Value:
    match kind:
        case ValueType.INT:
            return 2
        case ValueType.NUMBER:
            return 2.5
        case ValueType.MONEY:
            return Money(Decimal("12.50"), currency or "EUR")
        case ValueType.BOOL:
            return True
        case ValueType.TIME:
            return _SAMPLE_TIME
        case ValueType.DATE:
            return date(2026, 12, 1)
        case ValueType.DURATION:
            return 2 * DAY
        case ValueType.LIST:
            return (f"{name}-1", f"{name}-2")
        case _:
            return name
