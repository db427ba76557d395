"""What the author of a text should look at before customers read it."""

from collections.abc import Iterable, Iterator, Mapping

from services.channel.app.ports import Rendered
from services.channel.domain.short_text import ShortText, short_text
from services.channel.domain.templates import CompiledText, TextKey, TextWarning
from services.vocabulary.catalogue import Catalogue, Template
from services.vocabulary.words import CATEGORY_FACTS, Category, Channel, OnStop

LONGEST_SUBJECT = 70
"""Characters; most programs show no more."""
_MANY_SEGMENTS = 3
_STOP = "stop"
_NOWHERE = ('="#"', "='#'")

Texts = Mapping[TextKey, CompiledText]


def of_text(
    key: TextKey,
    text: CompiledText,
    template: Template,
    category: Category,
    forms: Iterable[str],
    catalogue: Catalogue,
    texts: Texts,
) -> list[TextWarning]:
    """What can be said of a text without filling it."""
    return [
        *_parameters(key, text, template, texts),
        *_traits(text, catalogue),
        *_plurals(text, tuple(forms)),
        *_links(text),
        *_stop(key, text, category),
        *_subject(key, text),
        *_alphabet(key, text),
    ]


def of_filled(rendered: Rendered, short: ShortText | None) -> list[TextWarning]:
    """What shows only when it is filled."""
    found: list[TextWarning] = []
    if len(rendered.subject) > LONGEST_SUBJECT:
        found.append(
            TextWarning(
                "subject_too_long",
                f"the subject has {len(rendered.subject)} characters; most programs show {LONGEST_SUBJECT}",
            )
        )
    if short is not None and len(short.segments) >= _MANY_SEGMENTS:
        found.append(
            TextWarning("many_segments", f"it takes {len(short.segments)} short messages; say it shorter")
        )
    if any(link in rendered.html for link in _NOWHERE):
        found.append(TextWarning("link_nowhere", "a link leads nowhere: its value is no https link"))
    return found


def missing_locales(name: str, texts: Iterable[TextKey], default_locale: str) -> dict[Channel, TextWarning]:
    """Languages that a channel of a template lacks although another has them, or that must be there."""
    keys = [key for key in texts if key.name == name]
    wanted = {default_locale, *(key.locale for key in keys)}
    found: dict[Channel, TextWarning] = {}
    for channel in sorted({key.channel for key in keys}):
        lacking = sorted(wanted - {key.locale for key in keys if key.channel is channel})
        if lacking:
            files = ", ".join(f"{name}/{locale}.{channel.value}.j2" for locale in lacking)
            found[channel] = TextWarning("locale_missing", f"on {channel.value} there is no {files}")
    return found


def _parameters(key: TextKey, text: CompiledText, template: Template, texts: Texts) -> Iterator[TextWarning]:
    used = text.used.parameters
    for name in used.keys() - set(template.parameters):
        yield TextWarning(
            "unknown_parameter",
            f"line {used[name]}: {{{{ {name} }}}} is no parameter of {template.name} in templates.yaml",
        )
    for name in template.parameters:
        if name not in used:
            others = sorted(
                other.locale
                for other, one in texts.items()
                if other.name == key.name and other.channel is key.channel and name in one.used.parameters
            )
            also = f"; {', '.join(others)} does" if others else ""
            yield TextWarning("parameter_missing", f"it does not say {{{{ {name} }}}}{also}")


def _traits(text: CompiledText, catalogue: Catalogue) -> Iterator[TextWarning]:
    for name in sorted(text.used.traits):
        trait = catalogue.traits.get(name)
        if trait is None or not trait.shown:
            yield TextWarning(
                "unknown_trait",
                f"profile.{name} is always empty: traits.yaml has no trait of that name with shown: true",
            )


def _plurals(text: CompiledText, forms: tuple[str, ...]) -> Iterator[TextWarning]:
    for plural in text.used.plurals:
        lacking = [form for form in forms if form not in plural.forms]
        # fractions and millions fall back to `other` well enough
        lacking = [form for form in lacking if form != "many" or len(forms) > 3]
        if lacking:
            yield TextWarning(
                "plural_form_missing",
                f"line {plural.line}: plural lacks {', '.join(lacking)}, which this language has",
            )


def _links(text: CompiledText) -> Iterator[TextWarning]:
    for line, said in text.used.texts:
        if "http://" in said.lower():
            yield TextWarning("link_without_https", f"line {line}: a link begins with http; write https")


def _stop(key: TextKey, text: CompiledText, category: Category) -> Iterator[TextWarning]:
    if key.channel is not Channel.SMS or CATEGORY_FACTS[category].on_stop is not OnStop.STOPS:
        return
    if not any(_STOP in said.lower() for _, said in text.used.texts):
        yield TextWarning(
            "stop_hint_missing", f"a message for {category.value} says how to stop them: Reply STOP …"
        )


def _subject(key: TextKey, text: CompiledText) -> Iterator[TextWarning]:
    if key.channel is Channel.EMAIL and not text.has_subject:
        yield TextWarning("subject_missing", "a mail has a subject: begin with a line Subject: …")


def _alphabet(key: TextKey, text: CompiledText) -> Iterator[TextWarning]:
    """Characters that make every segment shorter although others would do."""
    if key.channel is not Channel.SMS:
        return
    forced = short_text("".join(said for _, said in text.used.texts)).forced
    if forced and all(one.instead is not None for one in forced):
        instead = ", ".join(f"{one.character} → {one.instead}" for one in forced)
        yield TextWarning("alphabet", f"characters outside the GSM alphabet halve its room: {instead}")
