"""Makes renderers over folders of templates, for the tests of templates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.channel.adapters.templates import JinjaRenderer
from services.channel.app.ports import MissingTemplate, Rendered, ToRender
from services.vocabulary.words import Category, Channel


def renderer(folder: Path, **files: str) -> JinjaRenderer:
    """`offer__fr_sms="…"` is the file offer/fr.sms.j2."""
    for key, source in files.items():
        name, _, rest = key.partition("__")
        locale, _, channel = rest.rpartition("_")
        path = folder / name.replace("_", "-") / f"{locale.replace('_', '-')}.{channel}.j2"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return JinjaRenderer(folder, default_locale="en", default_zone="Europe/Paris")


def wanted(channel: Channel = Channel.SMS, locale: str = "", **changes: Any) -> ToRender:
    """What the test asks for, of the template `offer`."""
    fields: dict[str, Any] = {"name": "offer", "category": Category.SALES}
    return ToRender(**(fields | {"channel": channel, "locale": locale} | changes))


def text(answer: Rendered | MissingTemplate) -> str:
    """What was said."""
    assert isinstance(answer, Rendered), answer
    return answer.text


def missing(answer: Rendered | MissingTemplate) -> str:
    """Why nothing was said."""
    assert isinstance(answer, MissingTemplate), answer
    return answer.detail


def filled(
    folder: Path,
    source: str,
    values: Mapping[str, Any],
    *,
    channel: Channel = Channel.SMS,
    locale: str = "en",
    **more: Any,
) -> Rendered | MissingTemplate:
    """A template of one text, filled."""
    made = renderer(folder, **{f"offer__en_{channel.value}": source})
    key, one = next(iter(made.texts().items()), (None, None))
    assert key is not None, made.problems
    assert one is not None
    return made.fill(key, one, wanted(channel, locale, parameters=values, **more))
