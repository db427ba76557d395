"""What a customer wants, told from the words of a message: STOP, START, HELP, yes and no in many languages.

A message counts as a word of an intent when that word is all it says, in any case, with or without accents,
punctuation, quotes or emoji, and with polite or idle words around it: "Stop!", "« ARRÊT »", "STOP please",
"please stop sending me SMS". What says anything else is no keyword: "stop by tomorrow?", "do not stop".
"""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from services.channel.domain.replies import Intent

_LOOKS_LIKE = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ى": "ي", "ۀ": "ه", "ة": "ه", "ک": "ك"}
)
"""Letters that no decomposition reduces to those which people write instead."""
_UNSEEN = frozenset({"Mn", "Me", "Cf", "Cc", "Cs", "Co", "Cn"})
_APOSTROPHES = "'’`´ʼ"
_STRETCHED = "\u0640"
"""Arabic tatweel, which only lengthens."""
_LONGEST = 300
"""Characters of a message that are looked at: a longer one says more than a keyword."""

Words = tuple[str, ...]

LEAST_WORDS: Mapping[Intent, tuple[str, ...]] = {
    Intent.STOP: ("STOP",),
    Intent.START: ("START",),
    Intent.HELP: ("HELP",),
    Intent.YES: ("YES",),
    Intent.NO: ("NO",),
}
"""Words that count whatever the operator's file says, or where there is none."""


def plain_words(text: str) -> Words:
    """The words of a text without case, accents and punctuation; those spelt out letter by letter as one."""
    seen: list[str] = []
    for letter in unicodedata.normalize("NFKD", text[:_LONGEST].casefold()).translate(_LOOKS_LIKE):
        if letter.isalnum():
            seen.append(letter)
        elif letter in _APOSTROPHES or letter == _STRETCHED:
            continue
        elif letter.isspace() or unicodedata.category(letter) not in _UNSEEN:
            seen.append(" ")
    words = tuple("".join(seen).casefold().split())
    if len(words) > 1 and all(len(word) == 1 for word in words):
        return ("".join(words),)
    return words


@dataclass(frozen=True, slots=True)
class Heard:
    """What a message wants; `languages` are those in which its word says so, empty where it has none."""

    intent: Intent
    languages: frozenset[str] = frozenset()


NOTHING_KNOWN = Heard(Intent.OTHER)


@dataclass(frozen=True, slots=True)
class Keywords:
    """The words of each intent with the languages that have them, and words that say nothing of their own."""

    intents: Mapping[Words, Heard] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()

    def hear(self, text: str) -> Heard:
        """What the text wants, by its words alone."""
        words = plain_words(text) if len(text) <= _LONGEST else ()
        found = self.intents.get(words)
        if found is not None:
            return found
        rest = _without_idle(words, self._is_idle)
        return self.intents.get(rest, NOTHING_KNOWN)

    def says_one_of(self, text: str, accepted: Iterable[str]) -> bool:
        """Whether the text is one of these words, as loosely as for the intents."""
        if len(text) > _LONGEST:
            return False
        words = plain_words(text)
        rest = _without_idle(words, self._is_idle)
        return any(plain in {words, rest} for plain in map(plain_words, accepted) if plain)

    def _is_idle(self, word: str) -> bool:
        return word in self.idle or word.isdecimal()


def keywords_of(listed: Mapping[Intent, Mapping[str, Collection[str]]], idle: Collection[str]) -> Keywords:
    """Keywords by intent and language, with those that always count.

    Raises ValueError for a word that says nothing, and for one that stands for two intents.
    """
    intents: dict[Words, Heard] = {
        plain_words(word): Heard(intent) for intent, words in LEAST_WORDS.items() for word in words
    }
    for intent, by_language in listed.items():
        for language, words in by_language.items():
            for word in words:
                plain = plain_words(word)
                if not plain:
                    raise ValueError(f"{word!r} has neither a letter nor a digit")
                known = intents.get(plain, Heard(intent))
                if known.intent is not intent:
                    raise ValueError(f"{word!r} stands for {known.intent.value} and {intent.value}")
                intents[plain] = Heard(intent, known.languages | {language})
    plain_idle = frozenset(part for word in idle for part in plain_words(word))
    both = sorted({words[0] for words in intents if len(words) == 1} & plain_idle)
    if both:
        raise ValueError(f"{both[0]!r} is a keyword and an idle word")
    return Keywords(intents, plain_idle)


def _without_idle(words: Words, is_idle: Callable[[str], bool]) -> Words:
    """The words between the idle ones at both ends."""
    first, last = 0, len(words)
    while first < last and is_idle(words[first]):
        first += 1
    while last > first and is_idle(words[last - 1]):
        last -= 1
    return words[first:last]
