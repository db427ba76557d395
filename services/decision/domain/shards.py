"""Packs rule sets into shards: engine rule sets small enough to be fast and safe."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.decision.domain.engine_rules import PropertyTable, engine_rule
from services.decision.domain.language.ast import Condition
from services.decision.domain.needs import facts_in
from services.decision.domain.program import ActionRule, FactRule, Needs, RuleSet, Shard

# Over about 200 rules, or 64 that match one fact, the engine fails; its cost grows with every rule.
MOST_ENGINE_RULES = 60
# The engine refuses more than 255.
MOST_PROPERTIES = 200
_ROOM = 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Rules of one set that run in one shard. A large set is cut: each piece has all facts, some rules."""

    rule_set: RuleSet
    facts: tuple[FactRule, ...]
    rules: tuple[ActionRule, ...]


def count_engine_rules(conditions: Sequence[Condition]) -> int:
    """How many engine rules the conditions take. Raises TooManyAlternatives."""
    table = PropertyTable()
    return sum(len(table.alternatives(condition)) for condition in conditions)


def pieces_of(rule_set: RuleSet) -> Iterator[Piece]:
    """The rule set, cut so that each piece fits into a shard."""
    facts = [fact.when for fact in rule_set.facts]
    taken: list[ActionRule] = []
    table = PropertyTable()
    size = sum(len(table.alternatives(when)) for when in facts)
    for rule in rule_set.rules:
        size += len(table.alternatives(rule.when))
        # Room is left for what the compiler adds: one property for each set, and for each mix of purposes.
        if taken and (size > MOST_ENGINE_RULES or len(table) > MOST_PROPERTIES - _ROOM):
            yield Piece(rule_set, rule_set.facts, tuple(taken))
            taken, table = [], PropertyTable()
            size = sum(len(table.alternatives(when)) for when in (*facts, rule.when))
        taken.append(rule)
    yield Piece(rule_set, rule_set.facts, tuple(taken))


def pack(key: str, pieces: Sequence[Piece]) -> tuple[Shard, ...]:
    """As few shards as hold the pieces, in their order."""
    shards: list[Shard] = []
    waiting: list[Piece] = []
    size = _Size()
    for piece in pieces:
        size.add(piece)
        if waiting and not size.fits():
            shards.append(_shard(f"{key}#{len(shards)}", waiting))
            waiting, size = [], _Size()
            size.add(piece)
        waiting.append(piece)
    if waiting:
        shards.append(_shard(f"{key}#{len(shards)}", waiting))
    return tuple(shards)


class _Size:
    """How many engine rules and properties some pieces take together, without making them."""

    def __init__(self) -> None:
        self._table = PropertyTable()
        self._rules = 0
        self._sets: set[str] = set()
        self._needs: set[Needs] = set()

    def add(self, piece: Piece) -> None:
        """One more piece."""
        if not piece.rule_set.shared:
            self._sets.add(piece.rule_set.name)
        every: list[FactRule | ActionRule] = [*piece.facts, *piece.rules]
        for rule in every:
            self._rules += len(self._table.alternatives(rule.when))
            if rule.needs != Needs():
                self._needs.add(rule.needs)

    def fits(self) -> bool:
        """Whether they may be one shard."""
        properties = len(self._table) + len(self._sets) + len(self._needs)
        return self._rules <= MOST_ENGINE_RULES and properties <= MOST_PROPERTIES


def _shard(key: str, pieces: Sequence[Piece]) -> Shard:
    facts = [fact for piece in pieces for fact in piece.facts]
    rules = [rule for piece in pieces for rule in piece.rules]
    every: list[FactRule | ActionRule] = [*facts, *rules]
    sets = tuple(dict.fromkeys(piece.rule_set.name for piece in pieces))
    by_name = {piece.rule_set.name: piece.rule_set for piece in pieces}
    last = max((fact.stratum + 1 for fact in facts), default=0)
    table = PropertyTable()
    required = _Required(table, [by_name[name] for name in sets])
    planned = [
        (-rule.priority, order, rule, alternative)
        for order, rule in enumerate(every)
        for alternative in table.alternatives(rule.when)
    ]
    # Low `pri` runs first: 1000 - priority would leave ties to the engine, a rank leaves none.
    planned.sort(key=lambda entry: entry[:2])
    engine_rules = {}
    rule_of = {}
    for rank, (_, _, rule, alternative) in enumerate(planned):
        name = f"r{rank}"
        stratum = rule.stratum if isinstance(rule, FactRule) else last
        engine_rules[name] = engine_rule(alternative, stratum, rank + 1, required.of(rule))
        rule_of[name] = rule.key
    own = frozenset(fact.fact for fact in facts)
    return Shard(
        key=key,
        rule_sets=tuple(by_name[name] for name in sets),
        strata=last + 1 if rules else last,
        engine_rules=engine_rules,
        rule_of=rule_of,
        facts={fact.key: fact for fact in facts},
        rules={rule.key: rule for rule in rules},
        properties=table.functions(),
        uses=frozenset(key for rule in every for key in facts_in(rule.when)) - own,
        infers=own,
    )


class _Required:
    """What every rule of a set asks of the snapshot besides its own conditions."""

    def __init__(self, table: PropertyTable, rule_sets: Sequence[RuleSet]) -> None:
        self._table = table
        self._active: dict[str, str] = {}
        self._allowed: dict[Needs, str] = {}
        for position, rule_set in enumerate(rule_sets):
            if not rule_set.shared:
                name = f"a{position}"
                self._active[rule_set.name] = name
                table.add(name, rule_set.applies)

    def of(self, rule: FactRule | ActionRule) -> list[dict[str, bool]]:
        """The set is active and the event not late; nothing the rule needs is withheld."""
        asked: list[dict[str, bool]] = []
        if rule.rule_set in self._active:
            asked.append({self._active[rule.rule_set]: True})
        if rule.needs != Needs():
            name = self._allowed.get(rule.needs)
            if name is None:
                name = self._allowed[rule.needs] = f"n{len(self._allowed)}"
                needs = rule.needs
                self._table.add(name, lambda situation: not needs.withheld(situation))
            asked.append({name: True})
        return asked
