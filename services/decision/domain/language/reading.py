"""Small readers of single values, each of which reports what is wrong and goes on."""

from datetime import date

from services.decision.domain.language.ast import Expression, Text
from services.decision.domain.language.lexer import LineError
from services.decision.domain.language.nodes import Block, Listing, Node, Scalar, brief
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Scope
from services.decision.domain.problems import suggest
from services.vocabulary.values import ValueMistake, parse_date, parse_duration


def read_word(node: Node | None, report: Report, what: str) -> str:
    """A text; empty when there is none or it is something else."""
    if node is None:
        return ""
    if isinstance(node, Scalar) and isinstance(node.value, str) and node.value.strip():
        return node.value.strip()
    if isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return node.text
    report.error(
        node, f"`{what}` must be one word or one text", "value", "write it in quotes, without brackets"
    )
    return ""


def read_flag(node: Node | None, report: Report, what: str) -> bool:
    """True or false; false when left out."""
    if node is None:
        return False
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    report.error(node, f"`{what}` must be true or false", "value", f"write {what}: true")
    return False


def read_duration(node: Node | None, report: Report, what: str) -> int | None:
    """A length of time in micros."""
    if node is None:
        return None
    try:
        return parse_duration(node.text if isinstance(node, Scalar) else "")
    except ValueMistake as mistake:
        report.error(node, f"`{what}: {brief(node)}` {mistake.message}", "value", mistake.suggestion)
        return None


def read_number(node: Node | None, report: Report, what: str, *, least: float, most: float) -> float | None:
    """A number between two bounds, both included."""
    if node is None:
        return None
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    report.error(
        node,
        f"`{what}` must be a number from {least:.10g} to {most:.10g}",
        "value",
        f"write {what}: 50, without quotes",
    )
    return None


def read_date(node: Node | None, report: Report, what: str) -> date | None:
    """A calendar day."""
    if node is None:
        return None
    try:
        return parse_date(node.text if isinstance(node, Scalar) else "")
    except ValueMistake as mistake:
        report.error(node, f"`{what}: {brief(node)}` {mistake.message}", "value", mistake.suggestion)
        return None


def read_words(node: Node | None, report: Report, what: str) -> tuple[Scalar, ...]:
    """One word, or a list of words."""
    if node is None:
        return ()
    items = node.items if isinstance(node, Listing) else (node,)
    words = [item for item in items if isinstance(item, Scalar) and isinstance(item.value, str) and item.text]
    if len(words) < len(items) or not items:
        report.error(
            node, f"`{what}` must be a word, or a list of words", "value", f"write {what}: [one, two]"
        )
    return tuple(words)


def read_block(node: Node | None, report: Report, what: str) -> Block | None:
    """Keys with values."""
    if node is None or isinstance(node, Block):
        return node
    if " " in what:
        report.error(node, f"{what} is written as keys with values", "value", "write {key: value}")
    else:
        report.error(node, f"`{what}` needs keys with values", "value", f"write {what}: {{key: value}}")
    return None


def read_items(node: Node | None, report: Report, what: str) -> tuple[Node, ...]:
    """The items of a list."""
    if node is None:
        return ()
    if isinstance(node, Listing):
        return node.items
    report.error(node, f"`{what}` must be a list", "value", f"write {what}: [ … ], or each after a dash")
    return ()


def choose(node: Node | None, report: Report, what: str, known: tuple[str, ...]) -> str:
    """One of several known words; empty when left out or wrong."""
    word = read_word(node, report, what)
    if word and word not in known:
        suggestion = suggest(word, known)
        report.error(node, f"`{what}` cannot be `{word}`", "value", suggestion)
        return ""
    return word


def read_text(node: Node, scope: Scope, report: Report, what: str) -> Text | None:
    """A text with `{path}` places to fill; `{{` and `}}` stand for braces."""
    if not isinstance(node, Scalar) or node.value is None:
        report.error(node, f"`{what}` must be one text", "value", f'write {what}: "…", in quotes')
        return None
    try:
        return Text(tuple(_pieces(node.text, scope)), node.text)
    except LineError as error:
        if error.check != "reported":
            report.error(node, error.message, error.check, error.suggestion)
        return None


def _pieces(text: str, scope: Scope) -> list[str | Expression]:
    pieces: list[str | Expression] = []
    literal = ""
    position = 0
    while position < len(text):
        two = text[position : position + 2]
        if two in {"{{", "}}"}:
            literal += two[0]
            position += 2
        elif text[position] == "{":
            end = text.find("}", position)
            if end < 0:
                raise LineError(
                    "a brace is not closed", "placeholder", "write {profile.better_plan}, or {{ for a brace"
                )
            if literal:
                pieces.append(literal)
                literal = ""
            pieces.append(_place(text[position + 1 : end].strip(), scope))
            position = end + 1
        elif text[position] == "}":
            raise LineError("a brace is closed that was not opened", "placeholder", "write }} for a brace")
        else:
            literal += text[position]
            position += 1
    if literal or not pieces:
        pieces.append(literal)
    return pieces


def _place(path: str, scope: Scope) -> Expression:
    if "." not in path:
        raise LineError(
            f"`{{{path}}}` is no path",
            "placeholder",
            scope.nearest(path),
        )
    return scope.name(path).expression
