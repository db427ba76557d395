"""A sandbox for templates in which every step and every character is paid for out of a budget."""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateRuntimeError, Undefined, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from services.channel.adapters.templating.wording import Words

MOST_STEPS: Final = 10_000
"""Parts of a template that one rendering may work on, those in loops as often as they are passed."""
MOST_CHARACTERS: Final = 100_000
"""Characters that one rendering may make, those of what is thrown away again included."""
MOST_NANOSECONDS: Final = 4_000_000
"""Processor time that one rendering may take; looked at now and then, so that short ones pay nothing."""
MOST_DEPTH: Final = 12
"""Macros inside macros."""

_LOOK_EVERY = 250
_LONGEST_NUMBER = 256
_BINARY_OPERATORS = frozenset({"+", "-", "*", "/", "//", "**", "%"})
_OF_LOOPS = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem", "depth"}
)
_TESTS = frozenset(
    {
        *("boolean", "defined", "divisibleby", "even", "false", "float", "in", "integer", "none"),
        *("number", "odd", "string", "true", "undefined", "lower", "upper"),
        *("==", "!=", "<", "<=", ">", ">=", "eq", "ne", "lt", "le", "gt", "ge", "equalto"),
        *("lessthan", "greaterthan"),
    }
)


class OverBudgetError(TemplateRuntimeError):
    """A template that would take too long or grow too large; the message says which, and what would help."""


class Run:
    """What one rendering may still use up, and the words of its language."""

    __slots__ = ("_characters", "_clock", "_deadline", "_look_at", "_steps", "depth", "words")

    def __init__(self, words: Words, clock: Callable[[], int] = time.thread_time_ns) -> None:
        self.words = words
        self.depth = 0
        self._clock = clock
        self._steps = 0
        self._characters = 0
        self._look_at = _LOOK_EVERY
        self._deadline = clock() + MOST_NANOSECONDS

    def step(self, steps: int) -> None:
        """Pays for parts of the template; raises OverBudgetError."""
        self._steps += steps
        if self._steps > MOST_STEPS:
            raise OverBudgetError(f"takes more than {MOST_STEPS} steps; make its loops shorter")
        if self._steps >= self._look_at:
            self._look()

    def spend(self, characters: int) -> None:
        """Pays for text that was made; raises OverBudgetError."""
        self._characters += characters
        if self._characters > MOST_CHARACTERS:
            raise OverBudgetError(f"makes more than {MOST_CHARACTERS} characters; say less")

    def _look(self) -> None:
        self._look_at = self._steps + _LOOK_EVERY
        if self._clock() > self._deadline:
            raise OverBudgetError("takes more than 4 ms; make its loops shorter")


class Traits:
    """Traits by name; one that the customer lacks is an empty text."""

    __slots__ = ("_shown",)

    def __init__(self, shown: dict[str, str]) -> None:
        self._shown = shown

    def named(self, name: object) -> str:
        """The trait's text."""
        return self._shown.get(name, "") if isinstance(name, str) else ""


class Sandbox(ImmutableSandboxedEnvironment):
    """Nothing can be called but macros, values have no attributes, and no text or number grows unseen.

    `run` is what the rendering at hand may use; renderings never overlap, since none of them waits.
    """

    intercepted_binops = _BINARY_OPERATORS
    run: Run

    def __init__(self, filters: dict[str, Callable[..., Any]], *, autoescape: bool) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=autoescape,
            lstrip_blocks=True,
            optimized=False,
            finalize=_printed,
        )
        self.globals.clear()
        self.filters = dict(filters)
        self.tests = {name: function for name, function in self.tests.items() if name in _TESTS}

    def is_safe_callable(self, obj: Any) -> bool:
        """Only macros of the template itself; a method such as center() could make any length."""
        return isinstance(obj, Macro)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Calls a macro, if it is not called too deep inside others."""
        run = self.run
        if run.depth >= MOST_DEPTH:
            raise OverBudgetError(f"calls macros more than {MOST_DEPTH} deep; a macro must not call itself")
        run.depth += 1
        try:
            return super().call(context, obj, *args, **kwargs)
        finally:
            run.depth -= 1

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Traits and what a loop knows of itself; nothing else has attributes."""
        if isinstance(obj, Traits):
            return obj.named(attribute)
        if isinstance(obj, LoopContext) and attribute in _OF_LOOPS:
            return getattr(obj, attribute)
        if isinstance(obj, Undefined):
            return self.undefined(name=obj._undefined_name)  # noqa: SLF001 - says which name is missing
        raise SecurityError("takes an attribute of a value; only profile and loop have any")

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A trait, or an item of a list or text by its place."""
        if isinstance(obj, Traits):
            return obj.named(argument)
        if isinstance(obj, Undefined):
            return self.undefined(name=obj._undefined_name)  # noqa: SLF001 - says which name is missing
        if isinstance(obj, str | tuple | list) and isinstance(argument, int):
            try:
                return obj[argument]
            except IndexError:
                return ""
        raise SecurityError("takes an item of a value; only texts and lists have any, by their place")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on small numbers; + also joins two texts."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            self.run.spend(len(left) + len(right))
            return left + right
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            if isinstance(left, Undefined) or isinstance(right, Undefined):
                return super().call_binop(context, operator, left, right)  # says which name is missing
            raise SecurityError(f"{operator} works on numbers only")
        if operator == "**" and abs(right) > 16:
            raise SecurityError("** takes an exponent up to 16")
        return bounded_number(super().call_binop(context, operator, left, right))


def bounded_number(number: Any) -> Any:
    """The number; raises SecurityError for one that is larger than any that is said to people."""
    if isinstance(number, int) and number.bit_length() > _LONGEST_NUMBER:
        raise SecurityError("makes a number of more than 77 digits")
    return number


def join_texts(run: Run, parts: Iterable[Any]) -> str:
    """One text of several values, paid for before it is made."""
    texts = [part if isinstance(part, str) else plain_text(run, part) for part in parts]
    run.spend(sum(map(len, texts)))
    if any(isinstance(text, Markup) for text in texts):
        return Markup().join(texts)
    return "".join(texts)


def plain_text(run: Run, value: Any) -> str:
    """How a value is printed; raises SecurityError for what is none, UndefinedError for what is missing."""
    if isinstance(value, str | int | float | Undefined):
        return str(value)
    if isinstance(value, tuple | list) and all(isinstance(item, str | int | float) for item in value):
        return run.words.list(value)
    raise SecurityError("prints something that is no value")


@pass_context
def _printed(context: Context, value: Any) -> str:
    """What `{{ … }}` prints; pays for it."""
    environment = context.environment
    assert isinstance(environment, Sandbox), "the finalizer belongs to it"
    text = value if isinstance(value, str) else plain_text(environment.run, value)
    environment.run.spend(len(text))
    return text
