"""Reads conditions: one line each, or `any`, `all` and `none` with lines inside."""

import re
from collections.abc import Sequence

from services.decision.domain.language.arithmetic import SIGNS, ArithmeticParser
from services.decision.domain.language.ast import (
    All,
    AnyOf,
    ArmIs,
    Comparison,
    Condition,
    Contains,
    Crosses,
    EntryField,
    Exists,
    Expression,
    FactIs,
    Literal,
    NoneOf,
    NowBetween,
    OneOf,
    StartsWith,
    TodayIs,
    Trait,
    WindowValue,
    Within,
    leaves_of,
    placed,
)
from services.decision.domain.language.lexer import LineError, Token, cut
from services.decision.domain.language.nodes import Block, Listing, Node, Scalar
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Named, Scope
from services.decision.domain.language.types import (
    IN_WORDS,
    ORDERED,
    Check,
    Kind,
    comparable,
    read_literal,
)
from services.decision.domain.problems import did_you_mean
from services.vocabulary.values import ValueMistake, parse_duration

_RELATIONS = ("is", "exists", "missing", "contains", "starts", "within", "crosses", "under", "happened")
_ORDER = ("<", "<=", ">", ">=")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_GROUPS: dict[str, type[AnyOf] | type[All] | type[NoneOf]] = {"any": AnyOf, "all": All, "none": NoneOf}


def read_conditions(node: Node | None, scope: Scope, report: Report, where: str) -> All:
    """A list of conditions, all of which must hold. What is wrong goes to the report and is left out."""
    return All(_read_list(node, scope, report, where))


def _read_list(node: Node | None, scope: Scope, report: Report, where: str) -> tuple[Condition, ...]:
    if node is None:
        return ()
    if not isinstance(node, Listing):
        report.error(node, f"`{where}` must be a list of conditions", "condition", "write each after a dash")
        return ()
    found = [_read_node(item, scope, report) for item in node.items]
    return tuple(condition for condition in found if condition is not None)


def _read_node(node: Node, scope: Scope, report: Report) -> Condition | None:
    if isinstance(node, Block):
        return _read_group(node, scope, report)
    if isinstance(node, Listing) or not isinstance(node.value, str):
        report.error(
            node,
            "this is not a condition",
            "condition",
            "write it as windows.drops_24h >= 3, or as fact bad_day",
        )
        return None
    try:
        return placed(parse_line(node.value, scope), node.line)
    except LineError as error:
        if error.check != "reported":
            column = node.column + error.offset + (1 if node.quoted else 0)
            at = Scalar(node.line, column, node.text, None)
            report.error(at, error.message, error.check, error.suggestion)
        return None


def _read_group(node: Block, scope: Scope, report: Report) -> Condition | None:
    if len(node.entries) != 1:
        report.error(
            node,
            "each group of conditions stands alone",
            "condition",
            "write - any: [ … ] and - all: [ … ], each after a dash",
        )
        return None
    key, inside = node.entries[0]
    group = _GROUPS.get(key.text)
    if group is None:
        report.error(
            key,
            f"`{key.text}` with a colon is no condition",
            "condition",
            did_you_mean(key.text, _GROUPS) or f"write {key.text} is …, without a colon; or any: [ … ]",
        )
        return None
    if not isinstance(inside, Listing):
        report.error(
            inside, f"`{key.text}` must be a list of conditions", "condition", f"{key.text}: [… , …]"
        )
        return None
    parts = _read_list(inside, scope, report, key.text)
    if len(parts) < len(inside.items):
        return None
    return group(parts, f"{key.text} of: " + "; ".join(part.source for part in parts))


def parse_line(line: str, scope: Scope) -> Condition:
    """One condition; raises LineError."""
    tokens = cut(line)
    if not tokens:
        raise LineError("the condition is empty", "condition", "write one, or remove the line")
    return _Line(line.strip(), tokens, scope).condition()


class _Line:
    """The parser of one line."""

    def __init__(self, line: str, tokens: list[Token], scope: Scope) -> None:
        self._line = line
        self._tokens = tokens
        self._scope = scope

    def condition(self) -> Condition:
        first, *rest = self._tokens
        if first.is_word("not"):
            if rest and rest[0].is_word("fact"):
                return self._fact(rest[1:], negated=True)
            raise LineError(
                "`not` can only stand before `fact`",
                "condition",
                "use `is not`, `missing` or none: […]",
                first.offset,
            )
        if first.is_word("fact"):
            return self._fact(rest, negated=False)
        if self._scope.audience and first.is_word("now", "today", "arm"):
            raise LineError(
                f"an audience cannot ask for `{first.text}`",
                "audience",
                "ask for traits and consents here, for the rest in `when` of the rules",
            )
        if first.is_word("now"):
            return self._now(rest)
        if first.is_word("today"):
            return self._today(rest)
        if first.is_word("arm"):
            return self._arm(rest)
        return self._relation()

    def _fact(self, rest: Sequence[Token], *, negated: bool) -> FactIs:
        if len(rest) != 1:
            raise LineError(
                "after `fact` stands the name of one fact", "condition", "write fact bad_day, one fact a line"
            )
        try:
            return FactIs(self._scope.fact(rest[0].text), negated, self._line)
        except LineError as error:
            error.offset = rest[0].offset
            raise

    def _now(self, rest: Sequence[Token]) -> NowBetween:
        if len(rest) != 4 or not rest[0].is_word("between") or not rest[2].is_word("and"):
            raise LineError(
                "`now` can only be asked with `between`", "condition", "write now between 11:00 and 14:00"
            )
        start, end = (_minute(token) for token in (rest[1], rest[3]))
        if start == end:
            raise LineError(
                "the two times are the same", "condition", "leave the condition out, or change one"
            )
        return NowBetween(start, end, self._line)

    def _today(self, rest: Sequence[Token]) -> TodayIs:
        negated, words = self._choices(rest, "today is sat or sun")
        days = set()
        for token in words:
            word = token.text.lower()
            found = [index for index, day in enumerate(_DAYS) if word in {day, day[:3]}]
            if not found:
                raise LineError(
                    f"`{token.text}` is no weekday",
                    "condition",
                    did_you_mean(word, _DAYS) or "write mon, tue, wed, thu, fri, sat or sun",
                    token.offset,
                )
            days.add(found[0])
        return TodayIs(frozenset(days), negated, self._line)

    def _arm(self, rest: Sequence[Token]) -> ArmIs:
        negated, words = self._choices(rest, "arm is savings-copy")
        arms = self._scope.arms
        if arms is None:
            raise LineError("this rule set has no experiment", "unknown-arm", "add `experiment` with `arms`")
        for token in words:
            if token.text not in arms:
                raise LineError(
                    f"the experiment has no arm `{token.text}`",
                    "unknown-arm",
                    did_you_mean(token.text, arms) or "write one of " + ", ".join(arms),
                    token.offset,
                )
        return ArmIs(self._scope.experiment, frozenset(token.text for token in words), negated, self._line)

    def _choices(self, rest: Sequence[Token], example: str) -> tuple[bool, list[Token]]:
        if not rest or not rest[0].is_word("is"):
            raise LineError("`is` is missing here", "condition", f"write {example}")
        rest = rest[1:]
        negated = bool(rest) and rest[0].is_word("not")
        groups = _split(rest[1:] if negated else rest)
        if any(len(group) != 1 for group in groups):
            raise LineError("several choices are joined by `or`", "condition", f"write {example}")
        return negated, [group[0] for group in groups]

    def _relation(self) -> Condition:
        index = next(
            (
                position
                for position, token in enumerate(self._tokens)
                if token.is_word(*_RELATIONS) or (token.kind == "operator" and token.text in _ORDER)
            ),
            None,
        )
        if index is None:
            raise self._no_relation()
        relation, rest = self._tokens[index], self._tokens[index + 1 :]
        if index == 0:
            raise LineError(
                f"there is nothing before `{relation.text}`",
                "condition",
                "begin with a path, such as profile.plan",
            )
        if relation.text == "happened":
            raise LineError(
                "`happened` can only be asked under `unless`",
                "condition",
                "count it: windows: {seen: {count: TYPE, last: 30d}}, and write windows.seen > 0",
                relation.offset,
            )
        left = self._expression(self._tokens[:index])
        if self._scope.entry is not None and not any(
            isinstance(leaf, EntryField) for leaf in leaves_of(left.expression)
        ):
            raise LineError(
                "`where` asks for fields of the counted events, by their bare names",
                "condition",
                "write country is ES; a path such as event.country may stand on the right",
            )
        if self._scope.audience and not any(isinstance(leaf, Trait) for leaf in leaves_of(left.expression)):
            raise LineError(
                "an audience asks about customers, by their traits",
                "audience",
                "write the trait first: profile.last_cell is event.cell",
            )
        match relation.text:
            case "exists" | "missing":
                self._nothing_after(relation, rest)
                return Exists(left.expression, relation.text == "missing", self._line)
            case "is":
                return self._is(left, rest)
            case "contains":
                return self._contains(left, rest)
            case "starts":
                return self._starts_with(left, rest)
            case "within":
                return self._within(left, rest)
            case "crosses":
                return self._crosses(left, rest)
            case "under":
                raise LineError("`under` belongs to tables", "condition", "write <", relation.offset)
            case operator:
                return self._order(left, operator, rest)

    def _no_relation(self) -> LineError:
        for token in self._tokens:
            if token.kind == "operator" and token.text in {"=", "==", "!=", "<>"}:
                right = "is" if token.text in {"=", "=="} else "is not"
                return LineError(
                    f"`{token.text}` is not part of the language",
                    "condition",
                    f"write `{right}`",
                    token.offset,
                )
        known = (*_RELATIONS[:7], *_ORDER)
        for token in self._tokens[1:2]:
            suggestion = did_you_mean(token.text, known)
            if suggestion:
                return LineError(f"`{token.text}` is no operator", "condition", suggestion, token.offset)
        return LineError(
            "this is not a condition",
            "condition",
            "write it as windows.drops_24h >= 3, or as fact bad_day",
        )

    def _nothing_after(self, relation: Token, rest: Sequence[Token]) -> None:
        if rest:
            raise LineError(
                f"nothing may follow `{relation.text}`",
                "condition",
                "write one condition a line",
                rest[0].offset,
            )

    def _is(self, left: Named, rest: Sequence[Token]) -> Condition:
        negated = bool(rest) and rest[0].is_word("not")
        rest = rest[1:] if negated else rest
        if not rest:
            raise LineError("there is nothing after `is`", "condition", "write a value")
        kind = left.expression.kind
        if kind is Kind.LIST:
            raise LineError(
                f"{left.expression.source} is a list, which is never one value",
                "unlike-types",
                f"write {left.expression.source} contains {rest[0].text}",
                rest[0].offset,
            )
        operator, groups = "is not" if negated else "is", _split(rest)
        paths = [group for group in groups if group and self._is_expression(left, group)]
        written = [self._literal(group, left) for group in groups if group not in paths]
        if paths:
            return self._is_path(left, operator, paths, written)
        if len(written) == 1:
            return Comparison(operator, left.expression, written[0], self._line)
        return OneOf(left.expression, tuple(value.value for value in written), negated, self._line)

    def _is_path(
        self, left: Named, operator: str, paths: Sequence[Sequence[Token]], written: Sequence[Literal]
    ) -> Condition:
        """`is` with at least one path among its choices: each compared on its own."""
        compared: list[Expression] = list(written)
        for tokens in paths:
            right = self._expression(tokens)
            self._check_like(left, right, tokens[0])
            compared.append(right.expression)
        if len(compared) == 1:
            return Comparison(operator, left.expression, compared[0], self._line)
        parts = tuple(
            Comparison(
                operator, left.expression, right, f"{left.expression.source} {operator} {right.source}"
            )
            for right in compared
        )
        return AnyOf(parts, self._line) if operator == "is" else All(parts, self._line)

    def _order(self, left: Named, operator: str, rest: Sequence[Token]) -> Condition:
        kind = left.expression.kind
        if not rest:
            raise LineError(f"there is nothing after `{operator}`", "condition", "write a value")
        if kind not in ORDERED:
            raise LineError(
                f"{left.expression.source} is {IN_WORDS[kind]}, which is never more or less",
                "unlike-types",
                "use `is` or `is not`",
                rest[0].offset,
            )
        if self._is_expression(left, rest):
            right = self._expression(rest)
            self._check_like(left, right, rest[0])
            return Comparison(operator, left.expression, right.expression, self._line)
        return Comparison(operator, left.expression, self._literal(rest, left), self._line)

    def _contains(self, left: Named, rest: Sequence[Token]) -> Contains:
        if left.expression.kind is not Kind.LIST:
            raise LineError(
                f"`contains` is for lists; {left.expression.source} is {IN_WORDS[left.expression.kind]}",
                "unlike-types",
                "use `is`",
            )
        texts, paths = self._texts(rest, "contains")
        for group in _split(rest):
            if left.item is not None and not group[0].is_path:
                self._value(group[0].text, Kind.TEXT, left.item, group[0])
        return Contains(left.expression, texts, self._line, paths=paths)

    def _starts_with(self, left: Named, rest: Sequence[Token]) -> StartsWith:
        if not rest or not rest[0].is_word("with"):
            raise LineError("after `starts` comes `with`", "condition", "write starts with abc")
        if left.expression.kind is not Kind.TEXT:
            raise LineError(
                f"`starts with` is for texts; {left.expression.source} is {IN_WORDS[left.expression.kind]}",
                "unlike-types",
                "use `is`",
            )
        texts, paths = self._texts(rest[1:], "starts with")
        return StartsWith(left.expression, texts, self._line, paths=paths)

    def _texts(self, rest: Sequence[Token], word: str) -> tuple[tuple[str, ...], tuple[Expression, ...]]:
        """The texts written, and the paths of texts, on the right of a word."""
        groups = _split(rest)
        if any(len(group) != 1 for group in groups):
            raise LineError(f"`{word}` takes texts", "condition", "put texts with spaces in quotes")
        tokens = [group[0] for group in groups]
        paths = [self._path_of_text(token, word) for token in tokens if token.is_path]
        return tuple(token.text for token in tokens if not token.is_path), tuple(paths)

    def _path_of_text(self, token: Token, word: str) -> Expression:
        found = self._expression([token]).expression
        if found.kind is not Kind.TEXT:
            raise LineError(
                f"`{word}` takes texts; {found.source} is {found.kind}",
                "unlike-types",
                "write a text, or the path of one",
                token.offset,
            )
        return found

    def _within(self, left: Named, rest: Sequence[Token]) -> Within:
        if left.expression.kind not in {Kind.TIME, Kind.DATE}:
            kind = IN_WORDS[left.expression.kind]
            raise LineError(
                f"`within` is for times and days; {left.expression.source} is {kind}",
                "unlike-types",
                "compare with <, <=, > or >=",
            )
        if len(rest) != 2 or not rest[0].is_word("next", "last"):
            raise LineError(
                "after `within` comes `next` or `last` and a time", "condition", "write within next 60d"
            )
        micros = _duration(rest[1])
        if left.expression.kind is Kind.DATE and micros % parse_duration("1d"):
            raise LineError(
                "days are compared by whole days",
                "condition",
                "write a number of days, such as 3d",
                rest[1].offset,
            )
        return Within(left.expression, rest[0].text, micros, self._line)

    def _crosses(self, left: Named, rest: Sequence[Token]) -> Crosses:
        window = left.expression
        if not isinstance(window, WindowValue) or window.window.function not in {"count", "distinct", "sum"}:
            raise LineError(
                "`crosses` is for windows that count or sum", "unlike-types", "write windows.mb crosses 800"
            )
        if not window.window.this or window.window.before:
            raise LineError(
                "`crosses` needs a window in which the event being decided counts",
                "never-fires",
                "leave out `before` and `this: excluded`",
            )
        types = set() if self._scope.called_by else {event.name for event in self._scope.triggers}
        if window.window.type not in types:
            raise LineError(
                f"{window.source} counts {window.window.type}, which is no trigger here: it never crosses",
                "never-fires",
                f"add {window.window.type} to `trigger`",
            )
        if not rest:
            raise LineError("there is nothing after `crosses`", "condition", "write a number, or a path")
        if self._is_expression(left, rest):
            right = self._expression(rest)
            self._check_like(left, right, rest[0])
            return Crosses(window, right.expression, self._line)
        return Crosses(window, self._literal(rest, left), self._line)

    # --- expressions and literals ------------------------------------------------------------------------

    def _is_expression(self, left: Named, rest: Sequence[Token]) -> bool:
        if left.expression.source == "event.type":
            return False
        if any(token.is_path for token in rest):
            return True
        signs = any(token.kind in {"word", "operator"} and token.text in SIGNS for token in rest)
        return signs and left.expression.kind is not Kind.TEXT

    def _check_like(self, left: Named, right: Named, at: Token) -> None:
        if not comparable(left.expression.kind, right.expression.kind):
            raise LineError(
                f"{left.expression.source} is {IN_WORDS[left.expression.kind]}, "
                f"{right.expression.source} is {IN_WORDS[right.expression.kind]}; they cannot be compared",
                "unlike-types",
                "compare values of one type",
                at.offset,
            )

    def _literal(self, tokens: Sequence[Token], left: Named) -> Literal:
        kind = left.expression.kind
        if not tokens:
            raise LineError("a value is missing", "condition", "write one after `or`")
        first = tokens[0]
        quoted = first.kind == "quoted"
        most = 2 if kind is Kind.MONEY and not quoted else 1
        if len(tokens) > most or any(token.kind == "operator" for token in tokens):
            comma = any(token.text == "," and token.kind == "operator" for token in tokens)
            raise LineError(
                "several words stand where one value belongs",
                "condition",
                "join choices by `or`" if comma else "put texts with spaces in quotes; one condition a line",
                tokens[1].offset if comma and len(tokens) > 1 else first.offset,
            )
        if not quoted and first.text in {"missing", "exists", "not"}:
            raise LineError(
                f"`{first.text}` has a meaning of its own",
                "condition",
                f"write {left.expression.source} {self._alone(first.text)}, or put it in quotes",
                first.offset,
            )
        text = " ".join(token.text for token in tokens)
        return Literal(self._value(text, kind, left.check, first), kind, text)

    def _alone(self, word: str) -> str:
        """`missing` and `exists` without `is`; turned round after `is not`."""
        turned = {"missing": "exists", "exists": "missing"}
        return turned.get(word, word) if any(token.is_word("not") for token in self._tokens) else word

    def _value(self, text: str, kind: Kind, check: Check | None, at: Token) -> object:
        try:
            return read_literal(text, kind, check, self._scope.catalogue.currency)
        except ValueMistake as mistake:
            raise LineError(
                f"`{text}` {mistake.message}",
                "unlike-types" if kind is not Kind.TEXT else "unknown-value",
                mistake.suggestion,
                at.offset,
            ) from None

    def _expression(self, tokens: Sequence[Token]) -> Named:
        parser = ArithmeticParser(list(tokens), self._scope)
        return parser.parse()


def _split(tokens: Sequence[Token]) -> list[list[Token]]:
    groups: list[list[Token]] = [[]]
    for token in tokens:
        if token.is_word("or"):
            groups.append([])
        else:
            groups[-1].append(token)
    return groups


def _minute(token: Token) -> int:
    match = _CLOCK.fullmatch(token.text)
    if match is None:
        raise LineError(f"`{token.text}` is no time of day", "condition", "write it as 09:30", token.offset)
    return int(match[1]) * 60 + int(match[2])


def _duration(token: Token) -> int:
    try:
        return parse_duration(token.text)
    except ValueMistake as mistake:
        raise LineError(
            f"`{token.text}` {mistake.message}", "condition", mistake.suggestion, token.offset
        ) from None
