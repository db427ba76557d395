"""What differs between two versions of a rule set, in words: how it is written does not count."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from services.decision.domain.language.ast import All, Expression, Text
from services.decision.domain.phrases import condition_words, joined, length_words, named
from services.decision.domain.program import ActionSpec, ArmVariant, ChannelChoice, Once
from services.vocabulary.values import format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from services.decision.domain.language.ast import Window
    from services.decision.domain.program import ActionRule, FactRule, RuleSet

_HEAD = {
    "name": "its name",
    "title": "its title",
    "owner": "its owner",
    "stage": "its stage",
    "shared": "whether it is shared",
    "triggers": "its triggers",
    "occasion": "its occasion",
    "late_micros": "how late an event may come",
    "from_micros": "its first moment",
    "to_micros": "its end",
    "zone": "its zone",
    "choose_first": "whether only the first rule counts",
    "limits": "its limits",
    "experiment": "its experiment",
    "journey": "its journey",
}
_NOT_COMPARED = frozenset({"position", "keep_needs"})


def differences(old: RuleSet, new: RuleSet) -> tuple[str, ...]:
    """One sentence for each thing that differs; tests, comments and the order of keys are not looked at."""
    return (*_head(old, new), *_windows(old.windows, new.windows), *_facts(old, new), *_rules(old, new))


def _head(old: RuleSet, new: RuleSet) -> Iterator[str]:
    for name, words in _HEAD.items():
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{words}: {_shown(before, name)} became {_shown(after, name)}"


def _windows(old: Mapping[str, Window], new: Mapping[str, Window]) -> Iterator[str]:
    for name in (name for name in old if name not in new):
        yield f"the window {named(name)} was removed"
    for name in new:
        if name not in old:
            yield f"the window {named(name)} was added"
        elif _window(old[name]) != _window(new[name]):
            changed = [
                f"{each.name} {_shown(getattr(old[name], each.name), each.name)} became "
                f"{_shown(getattr(new[name], each.name), each.name)}"
                for each in fields(new[name])
                if _comparable(getattr(old[name], each.name)) != _comparable(getattr(new[name], each.name))
            ]
            yield f"the window {named(name)} changed: {'; '.join(changed)}"


def _window(window: Window) -> list[Any]:
    return [_comparable(getattr(window, each.name)) for each in fields(window)]


def _facts(old: RuleSet, new: RuleSet) -> Iterator[str]:
    before, after = _by_fact(old.facts), _by_fact(new.facts)
    for name in (name for name in before if name not in after):
        yield f"the fact {named(name)} is no longer inferred"
    for name, found in after.items():
        if name not in before:
            yield f"the fact {named(name)} is inferred: {_ways(found)}"
            continue
        earlier = before[name]
        if len(earlier) == len(found) == 1:
            yield from (
                f"the fact {named(name)}: {text}" for text in _conditions(earlier[0].when, found[0].when)
            )
        elif [condition_words(fact.when) for fact in earlier] != [
            condition_words(fact.when) for fact in found
        ]:
            yield f"the fact {named(name)} was inferred {_ways(earlier)}; it is now {_ways(found)}"
        if [fact.priority for fact in earlier] != [fact.priority for fact in found]:
            yield f"the fact {named(name)}: its priority changed"
        if [_comparable(fact.because) for fact in earlier] != [_comparable(fact.because) for fact in found]:
            yield f"the fact {named(name)}: how it is explained changed"


def _by_fact(facts: Sequence[FactRule]) -> dict[str, list[FactRule]]:
    found: dict[str, list[FactRule]] = {}
    for fact in facts:
        found.setdefault(fact.fact.rpartition("/")[2], []).append(fact)
    return found


def _ways(facts: Sequence[FactRule]) -> str:
    return joined((f"when {condition_words(fact.when)}" for fact in facts), "or")


def _rules(old: RuleSet, new: RuleSet) -> Iterator[str]:
    before, after = ({rule.rule: rule for rule in each.rules} for each in (old, new))
    gone = [rule for name, rule in before.items() if name not in after]
    come = [rule for name, rule in after.items() if name not in before]
    for rule in list(come):
        twin = next((each for each in gone if _content(each) == _content(rule)), None)
        if twin is not None:
            yield f"the rule {twin.rule} is now called {rule.rule}"
            gone.remove(twin)
            come.remove(rule)
    yield from (f"the rule {rule.rule} was removed" for rule in gone)
    yield from (f"the rule {rule.rule} was added: if {_when(rule.when)}, {_does(rule)}" for rule in come)
    for name in after:
        if name in before:
            what = "rule" if after[name].step is None else "step"
            yield from (f"the {what} {name}: {text}" for text in _rule(before[name], after[name]))
    kept = [name for name in before if name in after]
    if kept != [name for name in after if name in before]:
        yield "the rules stand in another order, which decides between those of the same priority"


def _rule(old: ActionRule, new: ActionRule) -> Iterator[str]:
    if old.moves and new.moves:
        yield from _moves(old, new)
        return
    yield from _conditions(old.when, new.when)
    if old.priority != new.priority:
        yield f"its priority {old.priority} became {new.priority}"
    if _comparable(old.once) != _comparable(new.once):
        yield f"{_shown(old.once, 'once')} became {_shown(new.once, 'once')}"
    if len(old.actions) != len(new.actions):
        yield f"it does {_does(new)} instead of {_does(old)}"
        return
    for before, after in zip(old.actions, new.actions, strict=True):
        if (before.kind, before.name) != (after.kind, after.name):
            yield f"it does {_action(after)} instead of {_action(before)}"
        for each in fields(ActionSpec):
            was, now = getattr(before, each.name), getattr(after, each.name)
            if each.name not in {*_NOT_COMPARED, "kind", "name"} and _comparable(was) != _comparable(now):
                label = f"{_label(each.name)} of {_action(after)}"
                yield f"{label}: {_shown(was, each.name)} became {_shown(now, each.name)}"


def _moves(old: ActionRule, new: ActionRule) -> Iterator[str]:
    """Where a journey goes on, and after how long."""
    for before, after in zip(old.actions, new.actions, strict=False):
        if before.name != after.name:
            yield f"it goes on to {after.name or 'the end'}, not to {before.name or 'the end'}"
        if before.for_micros != after.for_micros:
            took, takes = (_shown(each.for_micros, "for_micros") for each in (before, after))
            yield f"it takes at most {takes}, not {took}"
    if _content(old)[0] != _content(new)[0]:
        yield "what leads to it changed"


def _conditions(old: All, new: All) -> Iterator[str]:
    before, after = (Counter(condition_words(part) for part in when.parts) for when in (old, new))
    for text in (before - after).elements():
        yield f"no longer asks that {text}"
    for text in (after - before).elements():
        yield f"asks that {text}"


def _content(rule: ActionRule) -> tuple[Any, ...]:
    actions = [
        [_comparable(getattr(action, each.name)) for each in fields(ActionSpec)] for action in rule.actions
    ]
    return [condition_words(part) for part in rule.when.parts], actions, rule.priority, _comparable(rule.once)


def _when(when: All) -> str:
    return joined(map(condition_words, when.parts)) if when.parts else "nothing at all is asked"


def _does(rule: ActionRule) -> str:
    return joined(map(_action, rule.actions)) or "nothing"


def _action(action: ActionSpec) -> str:
    return f"{action.kind} {action.name}".strip()


def _label(name: str) -> str:
    return name.removesuffix("_micros").replace("_", " ")


def _comparable(value: Any) -> Any:
    """A value so that two are equal when they mean the same, however they were written."""
    match value:
        case All():
            return [condition_words(part) for part in value.parts]
        case Text(source=source):
            return source
        case Once():
            return (
                value.period_micros,
                value.cycle,
                None if value.by is None else value.by.source,
                value.household,
            )
        case ArmVariant():
            return value.template, {name: text.source for name, text in value.parameters.items()}
        case dict():
            return {name: _comparable(each) for name, each in value.items()}
        case _:
            return value


def _shown(value: Any, name: str) -> str:
    match value:
        case None | "" | ():
            return "none"
        case bool():
            return "yes" if value else "no"
        case int() if name in {"from_micros", "to_micros"}:
            return format_time(value)
        case int() if name.endswith("_micros") or name in {"before", "last"}:
            return length_words(format_duration(value)) if value > 1000 else str(value)
        case All():
            return _when(value)
        case Text(source=source):
            return f"“{source}”"
        case Once():
            return _once(value)
        case ChannelChoice(channel=channel, after_micros=wait):
            return f"{channel or 'preferred'}" + (f" after {format_duration(wait)}" if wait else "")
        case tuple() | frozenset():
            return joined(_shown(each, "") for each in value)
        case dict():
            return joined(f"{key} {_shown(each, key)}" for key, each in value.items()) or "none"
        case _:
            return _plain(value)


def _plain(value: Any) -> str:
    """Anything else; of a value with fields those that are set."""
    if isinstance(value, Expression):
        return value.source
    if not hasattr(value, "__dataclass_fields__"):
        return str(value)
    parts = [
        f"{_label(each.name)} {_shown(found, each.name)}"
        for each in fields(value)
        if (found := getattr(value, each.name)) not in (None, "", ())
    ]
    return f"({', '.join(parts)})"


def _once(once: Once) -> str:
    if once.cycle:
        text = "once a billing cycle"
    elif once.period_micros is None:
        text = "once ever"
    else:
        text = f"once in {length_words(format_duration(once.period_micros))}"
    text += "" if once.by is None else f" for each {once.by.source}"
    return f"{text} in a household" if once.household else text
