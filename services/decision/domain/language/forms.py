"""What may be written at a place of a rule set: the shapes of which the grammar is made.

Readers take the names of keys and the words to choose from; the JSON Schema and the reference are drawn from
the whole. A shape says nothing of meaning that only the catalogue or the rest of the file can tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """A text. `pattern`: what the whole of it must look like, as both Python and ECMAScript read it."""

    pattern: str = ""
    numbers: bool = False
    """A number without quotes will do too."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number between two bounds, both included."""

    least: float
    most: float
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Formula:
    """A number between two bounds, both included, or arithmetic over paths that comes to one."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Known:
    """A name of the catalogue. `of`: event, thing-event, field, trait, offer, template, topic, question."""

    of: str


@dataclass(frozen=True, slots=True)
class Anything:
    """A value whose type depends on what stands beside it."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """A list of conditions, all of which must hold."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of these; `least` of them."""

    item: "Form"
    least: int = 0


@dataclass(frozen=True, slots=True)
class OneOrList:
    """One of these, or a list of them."""

    item: "Form"


@dataclass(frozen=True, slots=True)
class Named:
    """A block whose keys the author chooses. `names`: of which shape they are."""

    value: "Form"
    names: "Words | Choice | Known" = Words()


@dataclass(frozen=True, slots=True)
class Either:
    """One of several shapes."""

    forms: tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Refer:
    """A part described elsewhere in the grammar, by its name there."""

    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a block: what it means to an author, and what may stand there."""

    name: str
    means: str
    form: "Form"
    required: bool = False


@dataclass(frozen=True, slots=True)
class BlockOf:
    """A block with fixed keys. `title` as messages name it: "a rule"."""

    title: str
    means: str
    keys: tuple[Key, ...]
    among: tuple[str, ...] = ()
    """Of these keys exactly one must be there."""
    any_of: tuple[str, ...] = ()
    """Of these keys at least one must be there."""
    with_key: tuple[tuple[str, str], ...] = ()
    """(key, other): where the key is, the other must be."""
    with_word: tuple[tuple[str, str, str], ...] = ()
    """(key, word, other): where the key has this word, the other must be."""
    open: bool = False
    """Further keys may stand beside, which only the catalogue knows."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all keys."""
        return tuple(key.name for key in self.keys)


Form = (
    Words
    | Choice
    | Flag
    | Number
    | Formula
    | Known
    | Anything
    | Conditions
    | ListOf
    | OneOrList
    | Named
    | Either
    | Refer
    | BlockOf
)

Parts = Mapping[str, Form]
"""The parts of the grammar that have a name of their own."""
