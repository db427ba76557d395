"""What authors may do to values: `{{ price | money }}`. Each filter is bounded, and none takes a pattern."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast, get_args

from jinja2 import Undefined, pass_context
from jinja2.exceptions import FilterArgumentError, SecurityError
from jinja2.runtime import Context
from markupsafe import Markup, escape

from services.channel.adapters.templating.links import checked_link, link_part
from services.channel.adapters.templating.sandbox import (
    Run,
    Sandbox,
    bounded_number,
    join_texts,
    plain_text,
)
from services.channel.adapters.templating.wording import FORMATS, DateFormat, Shown, ShownNumber, Words
from services.vocabulary.values import Money, ValueType

PLURAL_FORMS = ("zero", "one", "two", "few", "many", "other")
_MOST_DECIMALS = 10
_STEPS_OF_A_VALUE = 40
Number = int | float


def _run(context: Context) -> Run:
    environment = context.environment
    assert isinstance(environment, Sandbox), "filters belong to the sandbox"
    return environment.run


def _words(context: Context) -> Words:
    """The words of the rendering's language; saying a value in another way costs as much as many steps."""
    run = _run(context)
    run.step(_STEPS_OF_A_VALUE)
    return run.words


def _raw(value: Any) -> Any:
    return value.value if isinstance(value, Shown) else value


def _number(value: Any, name: str) -> Number:
    raw = _raw(value)
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        if isinstance(raw, Undefined):
            str(raw)  # says which name is missing
        raise FilterArgumentError(f"{name} needs a number")
    return raw


def _places(decimals: Any) -> int | None:
    if decimals is None:
        return None
    if not isinstance(decimals, int) or not 0 <= decimals <= _MOST_DECIMALS:
        raise FilterArgumentError(f"decimals go from 0 to {_MOST_DECIMALS}")
    return decimals


def _form(form: Any) -> DateFormat:
    if form not in FORMATS:
        raise FilterArgumentError(f"write {', '.join(get_args(DateFormat))}")
    return cast("DateFormat", form)


# --- values in the customer's language -------------------------------------------------------------------


@pass_context
def _date(context: Context, value: Any, form: Any = "long") -> str:
    """A date, or the day of a time in the recipient's zone."""
    words, raw = _words(context), _raw(value)
    if isinstance(raw, date):
        return words.day(raw, _form(form))
    return words.day(datetime.date(_moment(context, value, "date")), _form(form))


@pass_context
def _time(context: Context, value: Any, form: Any = "short") -> str:
    """The time of day in the recipient's zone."""
    return _words(context).time(_moment(context, value, "time"), _form(form))


def _moment(context: Context, value: Any, name: str) -> datetime:
    if isinstance(value, Shown) and value.type is ValueType.TIME:
        moment = _words(context).local(int(cast("int", value.value)))
        if moment is not None:
            return moment
    if isinstance(value, Undefined):
        str(value)
    raise FilterArgumentError(f"{name} needs a parameter of type time")


@pass_context
def _money(context: Context, value: Any, currency: Any = "") -> str:
    """An amount; a bare number needs its currency: `{{ 5 | money('EUR') }}`."""
    raw = _raw(value)
    if isinstance(raw, Money):
        return _words(context).money(raw)
    number = _number(raw, "money")
    if not isinstance(currency, str) or len(currency) != 3 or not currency.isascii():
        raise FilterArgumentError("money needs a parameter of type money, or a currency: money('EUR')")
    return _words(context).money(Money(Decimal(repr(float(number))), currency.upper()))


@pass_context
def _grouped(context: Context, value: Any, decimals: Any = None) -> str:
    """A number with the language's signs: `1,234.5`."""
    return _words(context).number(_number(value, "number"), _places(decimals))


@pass_context
def _percent(context: Context, value: Any, decimals: Any = 0) -> str:
    """A share: 0.8 is `80%`."""
    return _words(context).percent(_number(value, "percent"), _places(decimals) or 0)


@pass_context
def _duration(context: Context, value: Any) -> str:
    """A length of time."""
    if isinstance(value, Shown) and value.type is ValueType.DURATION:
        return _words(context).duration(int(cast("int", value.value)))
    if isinstance(value, Undefined):
        str(value)
    raise FilterArgumentError("duration needs a parameter of type duration")


@pass_context
def _plural(context: Context, value: Any, **forms: Any) -> str:
    """The form that the number takes in this language; `#` in it stands for the number."""
    run, words = _run(context), _words(context)
    number = _number(value, "plural")
    if not forms.keys() <= set(PLURAL_FORMS) or "other" not in forms:
        raise FilterArgumentError(f"plural takes {', '.join(PLURAL_FORMS)}, and needs other")
    form = forms.get(words.plural(number), forms["other"])
    said = plain_text(run, form)
    text = words.number(number)
    run.spend(len(said) + said.count("#") * len(text))
    return said.replace("#", text)


@pass_context
def _list(context: Context, value: Any, style: Any = "and") -> str:
    """`a, b and c`, or with `list('or')` `a, b or c`."""
    if style not in {"and", "or"}:
        raise FilterArgumentError("list takes 'and' or 'or'")
    run, words = _run(context), _words(context)
    items = _items(run, value, "list")
    text = words.list(items, "or" if style == "or" else "standard")
    run.spend(len(text))
    return text


# --- texts and numbers -----------------------------------------------------------------------------------


def _on_text(change: Callable[[str], str]) -> Callable[..., str]:
    @pass_context
    def apply(context: Context, value: Any) -> str:
        run = _run(context)
        text = value if isinstance(value, str) else plain_text(run, value)
        run.spend(2 * len(text))  # capitals may be longer
        return change(text)

    return apply


@pass_context
def _replace(context: Context, value: Any, old: Any, new: Any) -> str:
    """All of one text by another."""
    run = _run(context)
    text = value if isinstance(value, str) else plain_text(run, value)
    new = plain_text(run, new)
    old = plain_text(run, old)
    if not old:
        raise FilterArgumentError("replace needs something to replace")
    # in HTML what is put in may become five times as long
    run.spend(len(text) + text.count(old) * 6 * len(new))
    return text.replace(old, new)


def _items(run: Run, value: Any, name: str) -> list[str]:
    if isinstance(value, Undefined):
        str(value)
    if not isinstance(value, tuple | list):
        raise FilterArgumentError(f"{name} needs a list")
    return [item if isinstance(item, str) else plain_text(run, item) for item in value]


@pass_context
def _join(context: Context, value: Any, between: Any = "") -> str:
    """All items of a list in a row."""
    run = _run(context)
    items = _items(run, value, "join")
    gap = between if isinstance(between, str) else plain_text(run, between)
    parts = [part for item in items for part in (gap, item)][1:]
    return join_texts(run, parts)


def _default(value: Any, instead: Any = "", boolean: Any = False) -> Any:  # noqa: FBT002 - as in Jinja
    """What to say when there is no value; with `true` also when it is empty."""
    return instead if isinstance(value, Undefined) or (boolean and not value) else value


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, str | tuple | list) and value else ""


def _last(value: Any) -> Any:
    return value[-1] if isinstance(value, str | tuple | list) and value else ""


def _length(value: Any) -> int:
    if not isinstance(value, str | tuple | list):
        raise FilterArgumentError("length needs a text or a list")
    return len(value)


def _whole(value: Any, instead: Any = 0) -> Any:
    try:
        return bounded_number(int(_raw(value)))
    except (TypeError, ValueError, OverflowError):
        return instead


def _decimal(value: Any, instead: Any = 0.0) -> Any:
    try:
        return float(_raw(value))
    except (TypeError, ValueError, OverflowError):
        return instead


@pass_context
def _round(context: Context, value: Any, decimals: Any = 0) -> Any:
    number = round(float(_number(value, "round")), _places(decimals) or 0)
    return ShownNumber.of(number, _words(context).number(number, grouped=False))


def _abs(value: Any) -> Number:
    return abs(_number(value, "abs"))


def _escape(value: Any) -> Markup:
    return escape(value)


# --- what the compiler puts in, which no author can name -------------------------------------------------


@pass_context
def _step(context: Context, steps: int) -> bool:
    _run(context).step(steps)
    return True


@pass_context
def _joined(context: Context, parts: Any) -> str:
    return join_texts(_run(context), parts)


@pass_context
def _flat(context: Context, items: Any) -> Any:
    for item in items:
        plain_text(_run(context), item)
    return items


@pass_context
def _part(context: Context, part: Any) -> Any:
    """A part of a text or list; Jinja cuts it without asking the sandbox."""
    if not isinstance(part, str | tuple | list):
        raise SecurityError("takes a part of what is neither a text nor a list")
    _run(context).spend(len(part))
    return part


@pass_context
def _attribute(context: Context, value: Any) -> str:
    """Text for a quoted attribute, whatever markup it came with."""
    return _unmarked(_run(context), value)


@pass_context
def _link(context: Context, value: Any) -> str:
    return checked_link(_unmarked(_run(context), value))


@pass_context
def _link_part(context: Context, value: Any) -> str:
    return link_part(_unmarked(_run(context), value))


def _unmarked(run: Run, value: Any) -> str:
    text = value if isinstance(value, str) else plain_text(run, value)
    run.spend(6 * len(text))
    return str(text.unescape()) if isinstance(text, Markup) else str(text)


AUTHORS: dict[str, Callable[..., Any]] = {
    "date": _date,
    "time": _time,
    "money": _money,
    "number": _grouped,
    "percent": _percent,
    "duration": _duration,
    "plural": _plural,
    "list": _list,
    "upper": _on_text(lambda text: text.upper()),
    "lower": _on_text(lambda text: text.lower()),
    "capitalize": _on_text(lambda text: text.capitalize()),
    "title": _on_text(lambda text: text.title()),
    "trim": _on_text(lambda text: text.strip()),
    "replace": _replace,
    "join": _join,
    "default": _default,
    "d": _default,
    "first": _first,
    "last": _last,
    "length": _length,
    "int": _whole,
    "float": _decimal,
    "round": _round,
    "abs": _abs,
    "escape": _escape,
    "e": _escape,
}
"""Filters that authors may use."""

STEP, JOINED, FLAT, PART = "_step", "_joined", "_flat", "_part"
ATTRIBUTE, LINK, LINK_PART = "_attribute", "_link", "_link_part"
OWN: dict[str, Callable[..., Any]] = {
    STEP: _step,
    JOINED: _joined,
    FLAT: _flat,
    PART: _part,
    ATTRIBUTE: _attribute,
    LINK: _link,
    LINK_PART: _link_part,
}
"""Filters that only the compiler puts in."""
