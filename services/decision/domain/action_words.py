"""What a rule does, as part of a sentence: every key of an action, as it was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.domain.language import grammar
from services.decision.domain.language.nodes import Block, Listing, Scalar
from services.decision.domain.phrases import joined, length_words, path_words, text_words
from services.vocabulary.words import ActionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.decision.domain.language.nodes import Node
    from services.vocabulary.catalogue import Catalogue

    Conditions = Callable[[Node], str]
    """The conditions of a list as one phrase."""

_CHANNELS = {
    "sms": "SMS",
    "email": "e-mail",
    "push": "push message",
    "call": "a call",
    "task": "a task",
    "webhook": "webhook",
    "app": "app",
    "web": "web",
    "preferred": "the channel that the customer prefers",
}
_SIGNS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_VERBS = {
    "offer": "offer {}",
    "message": "send the message {}",
    "survey": "ask the survey {}",
    "task": "give a care agent the task {}",
    "emit": "emit the event {}",
}


def action_words(node: Node, catalogue: Catalogue, conditions: Conditions) -> str:
    """One action or a list: offer “plan-upgrade” (A plan that fits better), as a sales action, by app."""
    if isinstance(node, Listing):
        return joined((action_words(item, catalogue, conditions) for item in node.items), "and")
    if not isinstance(node, Block):
        return ""
    kind = next((key.text for key, _ in node if key.text in {each.value for each in grammar.ACTIONS}), "")
    main = node.get(kind)
    if main is None:
        return ""
    parts = [_main(kind, main, catalogue)]
    names = grammar.ACTIONS[ActionKind(kind)].names
    others = [(key.text, value) for key, value in node if key.text != kind]
    for key, value in sorted(others, key=lambda other: names.index(other[0])):
        parts += _part(key, value, conditions)
    return ", ".join(parts)


def once_words(node: Node) -> str:
    """How often at most: at most once in 30 days for each value of the event's country."""
    if not isinstance(node, Block):
        return f"at most once {_period(written(node))}"
    per, by, scope = (node.get(name) for name in ("per", "by", "scope"))
    text = f"at most once {_period(written(per))}"
    if by is not None:
        path = written(by)
        text += (
            " for each type of event" if path == "event.type" else f" for each value of {path_words(path)}"
        )
    if scope is not None:
        text += f" for each {written(scope)}"
    return text


def _period(text: str) -> str:
    match text:
        case "ever":
            return "ever"
        case "cycle":
            return "in a billing cycle"
        case _:
            return f"in {length_words(text)}"


def _main(kind: str, main: Node, catalogue: Catalogue) -> str:
    match kind:
        case "say":
            return f"let the care agent say “{text_words(written(main))}”"
        case "avoid":
            return f"do not bring up {joined(words(main))}"
        case "set" if isinstance(main, Block):
            trait, to = (written(main.get(name)) for name in ("trait", "to"))
            text = f"set {path_words(f'profile.{trait}')} to {text_words(to)}"
            lasting = main.get("for")
            return text if lasting is None else f"{text} for {length_words(written(lasting))}"
        case _:
            name = written(main)
            text = _VERBS[kind].format(f"“{name}”")
            offer = catalogue.offers.get(name) if kind == "offer" else None
            return f"{text} ({offer.title})" if offer is not None and offer.title else text


def _part(key: str, value: Node, conditions: Conditions) -> Iterator[str]:
    text = written(value)
    match key:
        case "category":
            yield f"as {'an' if text[:1] in 'aeiou' else 'a'} {text} action"
        case "topic":
            yield f"on the topic {text}"
        case "template":
            yield f"with the template {text}"
        case "with" if isinstance(value, Block) and value.entries:
            yield f"with {_values(value)}"
        case "channels":
            yield "by " + " or else ".join(_channel(word) for word in words(value))
        case "to":
            yield f"to the one who {'pays' if text == 'payer' else 'uses the line'}"
        case "value":
            yield f"worth {_number(text)}"
        case "cost":
            yield f"at a cost of {_number(text)}"
        case "propensity":
            yield f"with a yes as likely as {_number(text)}"
        case "expires":
            yield f"good for {length_words(text)} after the event"
        case "due":
            yield f"due within {length_words(text)}"
        case "after":
            yield f"{length_words(text)} after the event"
        case "unless":
            yield f"unless {joined(map(_type, words(value)), 'or')} happens before then"
        case "keep":
            yield f"only if it is then so that {conditions(value)}"
        case "once":
            yield once_words(value)
        case "arms" if isinstance(value, Block):
            for arm, variant in value:
                yield f"in the arm {arm.text} {_variant(variant)}"
        case _:
            yield f"{key} {text}".strip()


def _variant(node: Node) -> str:
    if not isinstance(node, Block) or not node.entries:
        return "as it is"
    template, more = node.get("template"), node.get("with")
    parts = [f"with the template {written(template)}"] if template is not None else []
    if isinstance(more, Block) and more.entries:
        parts.append(f"with {_values(more)}")
    return " and ".join(parts)


def _values(node: Block) -> str:
    return joined(f"{key.text.replace('_', ' ')} {text_words(written(value))}" for key, value in node)


def _number(text: str) -> str:
    """A number, or a formula with what its paths stand for."""
    return " ".join(
        _SIGNS.get(word, path_words(word) if "." in word and word[0].isalpha() else word)
        for word in text.split()
    )


def _type(text: str) -> str:
    return text.removesuffix(" happened")


def _channel(text: str) -> str:
    name, _, wait = text.partition(" after ")
    words_of = _CHANNELS.get(name, name)
    return f"{words_of} after {length_words(wait)}" if wait else words_of


def words(node: Node | None) -> list[str]:
    """The texts of a list, or the one."""
    if isinstance(node, Listing):
        return [written(item) for item in node.items]
    return [] if node is None else [written(node)]


def written(node: Node | None) -> str:
    """A value as it was written, on one line."""
    match node:
        case None:
            return ""
        case Scalar(text=text):
            return text
        case Listing(items=items):
            return joined(map(written, items)) or "nothing"
        case Block(entries=entries):
            return (
                joined(f"{key.text.replace('_', ' ')} {written(value)}" for key, value in entries)
                or "nothing"
            )
