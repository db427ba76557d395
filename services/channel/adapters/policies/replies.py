"""Reads replies.yaml."""

from ruamel.yaml.comments import CommentedMap

from services.channel.adapters.policies.reading import Mistakes, Source, line_of, only, read
from services.channel.domain.inbound import Replies
from services.channel.domain.keywords import Keywords, keywords_of
from services.channel.domain.replies import Intent
from services.vocabulary.values import parse_duration

_KEYS = ("answers", "answers_a_day", "never_answer", "idle", "words")
_INTENTS = tuple(intent.value for intent in Intent if intent is not Intent.OTHER)


def read_replies(file: Source) -> Replies:
    """What the operator says about what customers write; raises PolicyError."""
    content, mistakes = read(file)
    only(content, _KEYS, mistakes, content)
    return Replies(
        keywords=_keywords(content, mistakes),
        answers_micros=_duration(content, mistakes),
        answers_a_day=_count(content, mistakes),
        never_answer=frozenset(_texts(content, "never_answer", mistakes)),
    )


def _duration(content: CommentedMap, mistakes: Mistakes) -> int:
    said = content.get("answers", "72h")
    try:
        return parse_duration(str(said))
    except ValueError as error:
        raise mistakes.at(line_of(content, "answers"), f"answers is {said!r}", "write 72h, 3d") from error


def _count(content: CommentedMap, mistakes: Mistakes) -> int:
    most = content.get("answers_a_day", 6)
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        raise mistakes.at(
            line_of(content, "answers_a_day"), f"answers_a_day is {most!r}", "write a whole number from 0"
        )
    return most


def _keywords(content: CommentedMap, mistakes: Mistakes) -> Keywords:
    listed: dict[Intent, dict[str, tuple[str, ...]]] = {}
    words = _map(content, "words", mistakes)
    only(words, _INTENTS, mistakes, words)
    for intent in words:
        by_language = _map(words, str(intent), mistakes)
        listed[Intent(str(intent))] = {
            str(language): _texts(by_language, str(language), mistakes) for language in by_language
        }
    idle = _map(content, "idle", mistakes)
    try:
        return keywords_of(listed, [word for language in idle for word in _texts(idle, language, mistakes)])
    except ValueError as error:
        right = "a word stands for one intent in all languages, and is not idle as well"
        raise mistakes.at(line_of(content, "words"), str(error), right) from error


def _map(content: CommentedMap, key: str, mistakes: Mistakes) -> CommentedMap:
    found = content.get(key)
    if found is None:
        return CommentedMap()
    if not isinstance(found, CommentedMap):
        raise mistakes.at(line_of(content, key), f"{key} is not a map", "write a line for each language")
    return found


def _texts(content: CommentedMap, key: str, mistakes: Mistakes) -> tuple[str, ...]:
    found = content.get(key) or []
    if not isinstance(found, list) or not all(isinstance(word, str) and word.strip() for word in found):
        raise mistakes.at(
            line_of(content, key), f"{key} is not a list of words", "write [WORD, TWO WORDS]; quote digits"
        )
    return tuple(found)
