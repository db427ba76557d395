"""Reads a table: the short form of many similar rules. Each row becomes an ordinary rule."""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

from services.decision.domain.language import grammar
from services.decision.domain.language.actions_reader import read_actions
from services.decision.domain.language.ast import All, Comparison, Condition, Literal, placed
from services.decision.domain.language.conditions import parse_line
from services.decision.domain.language.lexer import LineError, Token, cut
from services.decision.domain.language.nodes import Block, Listing, Node, Scalar
from services.decision.domain.language.reading import choose, read_block, read_word
from services.decision.domain.language.report import Report
from services.decision.domain.language.rule_parts import RULE_NAME, read_once, read_priority
from services.decision.domain.language.scope import Scope
from services.decision.domain.problems import did_you_mean
from services.decision.domain.program import ActionRule, Needs

TABLE = "table"
MOST_ROWS = 500
_OWN = ("do", "id", "priority", "once")
_RELATIONS = ("is", "not", "exists", "missing", "contains", "starts", "within", "crosses")


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: a path, or one of the table's own words. `wrong`: already reported."""

    word: str
    own: bool
    wrong: bool = False


def read_table(
    node: Node | None,
    scope: Scope,
    report: Report,
    places: MutableMapping[str, Node],
    version: int,
    beside: Sequence[ActionRule],
) -> tuple[ActionRule, ...]:
    """Its rules, to come after those `beside` it in the file; where each stands goes to `places`."""
    block = read_block(node, report, "table")
    if block is None:
        return ()
    return _TableReader(block, scope, report, places, version, beside).read()


class _TableReader:
    """Reads one table."""

    def __init__(
        self,
        block: Block,
        scope: Scope,
        report: Report,
        places: MutableMapping[str, Node],
        version: int,
        beside: Sequence[ActionRule],
    ) -> None:
        self._block = block
        self._scope = scope
        self._report = report
        self._places = places
        self._version = version
        self._beside = beside
        self._first = True

    def read(self) -> tuple[ActionRule, ...]:
        block, report = self._block, self._report
        report.check_keys(block, grammar.TABLE.names, grammar.TABLE.title)
        self._first = choose(block.get("choose"), report, "choose", grammar.CHOOSE) != "all"
        columns = self._columns(block.get("columns"))
        rows = self._rows(block.get("rows"))
        rules: list[ActionRule] = []
        names = {rule.rule for rule in self._beside}
        for number, row in enumerate(rows, 1):
            rule = self._row(row, number, columns)
            if rule is None:
                continue
            if rule.rule in names:
                report.error(row, f"two rules are named `{rule.rule}`", "name", "give each its own id")
                continue
            names.add(rule.rule)
            rules.append(rule)
        return tuple(rules)

    def _columns(self, node: Node | None) -> tuple[_Column, ...]:
        example = "columns: [event.country, profile.plan_data_mb, do]"
        if not isinstance(node, Listing) or not node.items:
            self._report.error(
                node or self._block,
                "the table does not say what its columns are",
                "table",
                f"write {example}",
            )
            return ()
        columns: list[_Column] = []
        for item in node.items:
            word = item.text.strip() if isinstance(item, Scalar) else ""
            if word and word in {column.word for column in columns}:
                self._report.error(item, f"the column `{word}` stands twice", "table", "keep one")
            columns.append(_Column(word, word in _OWN, not self._column_is_known(item, word)))
        if "do" not in {column.word for column in columns}:
            self._report.error(node, "the table says nothing to do", "table", f"add a column `do`: {example}")
        return tuple(columns)

    def _column_is_known(self, item: Node, word: str) -> bool:
        if word in _OWN:
            return True
        tokens = word.split()
        if len(tokens) != 1 or "." not in word:
            self._report.error(
                item,
                "a column is a path, or one of " + ", ".join(_OWN),
                "table",
                did_you_mean(word, _OWN) or "write event.country, or put the condition into a rule",
            )
            return False
        try:
            self._scope.name(word)
        except LineError as error:
            if error.check != "reported":
                self._report.error(item, error.message, error.check, error.suggestion)
            return False
        return True

    def _rows(self, node: Node | None) -> tuple[Node, ...]:
        if not isinstance(node, Listing) or not node.items:
            self._report.error(
                node or self._block, "the table has no rows", "table", "begin each row with a dash"
            )
            return ()
        if len(node.items) > MOST_ROWS:
            self._report.error(
                node,
                f"the table has {len(node.items)} rows; at most {MOST_ROWS} are possible",
                "table",
                "split it over several rule sets",
            )
            return ()
        return node.items

    def _row(self, row: Node, number: int, columns: Sequence[_Column]) -> ActionRule | None:
        if not isinstance(row, Listing):
            self._report.error(
                row, "a row is a list of cells", "table", "write: - [ES or PT, any, {message: NAME, …}]"
            )
            return None
        if not columns:
            return None
        if len(row.items) != len(columns):
            self._report.error(
                row,
                f"the row has {_counted(len(row.items), 'cell')}, "
                f"the table has {_counted(len(columns), 'column')}",
                "table",
                "write `any` where a column does not matter",
            )
            return None
        cells = list(zip(columns, row.items, strict=True))
        own = {column.word: cell for column, cell in cells if column.own and _is_given(cell)}
        parts = [
            part
            for column, cell in cells
            if not column.own and not column.wrong
            for part in self._conditions(column.word, cell)
        ]
        return self._rule(row, number, tuple(parts), own)

    def _rule(
        self, row: Listing, number: int, parts: tuple[Condition, ...], own: dict[str, Node]
    ) -> ActionRule:
        scope, report = self._scope, self._report
        name = f"row-{number}"
        if "id" in own:
            name = read_word(own["id"], report, "id")
            if not RULE_NAME.fullmatch(name):
                report.error(
                    own["id"],
                    f"`{name}` cannot be the name of a rule",
                    "name",
                    "write a-name, of small letters, digits and -",
                )
        actions = read_actions(own.get("do"), scope, report, row)
        inner = [action.once for action in actions if action.once is not None]
        common = own.get("once", self._block.get("once"))
        if inner and (common is not None or len(actions) > 1):
            report.error(
                inner[0], "`once` belongs to the row as a whole", "once", "give it a column, or a key"
            )
        key = f"{scope.rule_set}/{name}"
        self._places.setdefault(key, row)
        return ActionRule(
            key=key,
            rule_set=scope.rule_set,
            version=self._version,
            rule=name,
            when=All(parts),
            actions=tuple(action.spec for action in actions),
            once=read_once(common if common is not None else next(iter(inner), None), scope, report),
            priority=read_priority(own.get("priority", self._block.get("priority")), report),
            order=len(self._beside) + number - 1,
            needs=Needs(),
            line=row.line,
            first_of=TABLE if self._first else "",
        )

    # --- cells -------------------------------------------------------------------------------------------

    def _conditions(self, path: str, cell: Node) -> tuple[Condition, ...]:
        """What a cell asks of its column: nothing, one condition, or the two ends of a range."""
        if not isinstance(cell, Scalar):
            self._report.error(
                cell, "a cell is one condition", "table", "write: ES or PT, under 5000, any; or a row more"
            )
            return ()
        if _is_empty(cell):
            self._report.error(cell, "the cell is empty", "table", "write `any` if it does not matter")
            return ()
        try:
            tokens = cut(cell.text)
        except LineError as error:
            self._wrong(cell, error, 0)
            return ()
        if _is_any(cell):
            return ()
        found: list[Condition] = []
        for relation, words in _lines(tokens, cell.text):
            written = cell.text[words.start : words.stop]
            if not written.strip():
                self._report.error(cell, "a value is missing", "table", "write: under 5000, 100 to 500")
                return ()
            asked = f"{path} {relation}"
            try:
                found.append(placed(parse_line(asked + written.strip(), self._scope), cell.line))
            except LineError as error:
                start = words.start + len(written) - len(written.lstrip())
                self._wrong(cell, error, start - len(asked))
                return ()
        if len(found) == 2 and _ends_before_it_begins(*found):
            self._report.error(
                cell, "the range ends before it begins", "never-fires", "write the smaller end first"
            )
            return ()
        return tuple(found)

    def _wrong(self, cell: Scalar, error: LineError, shift: int) -> None:
        if error.check == "reported":
            return
        column = cell.column + max(0, error.offset + shift) + (1 if cell.quoted else 0)
        at = Scalar(cell.line, column, cell.text, None)
        self._report.error(at, error.message, error.check, error.suggestion)


def _lines(tokens: Sequence[Token], text: str) -> list[tuple[str, range]]:
    """The relation that each condition of a cell is given, and which part of the cell follows it."""
    first = tokens[0]
    whole = range(len(text))
    if first.is_word("under", "over"):
        rest = range(first.offset + len(first.text), len(text))
        return [("< " if first.text == "under" else "> ", rest)]
    if first.is_word(*_RELATIONS) or first.kind == "operator":
        return [("is " if first.text == "not" else "", whole)]
    middle = next((token for token in tokens if token.is_word("to")), None)
    if middle is not None:
        return [(">= ", range(middle.offset)), ("<= ", range(middle.offset + 2, len(text)))]
    return [("is ", whole)]


def _is_any(cell: Node) -> bool:
    return isinstance(cell, Scalar) and cell.text.strip() == "any"


def _is_empty(cell: Scalar) -> bool:
    return not cell.text.strip() or (cell.value is None and not cell.quoted)


def _is_given(cell: Node) -> bool:
    return not (isinstance(cell, Scalar) and (_is_any(cell) or _is_empty(cell)))


def _ends_before_it_begins(low: Condition, high: Condition) -> bool:
    return (
        isinstance(low, Comparison)
        and isinstance(high, Comparison)
        and isinstance(low.right, Literal)
        and isinstance(high.right, Literal)
        and bool(low.right.value > high.right.value)
    )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
