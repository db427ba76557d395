"""Reads the `windows` of a rule set and checks them against what the activity keeps."""

import re

from services.decision.domain.language import grammar
from services.decision.domain.language.ast import All, Window
from services.decision.domain.language.conditions import read_conditions
from services.decision.domain.language.nodes import Block, Node, Scalar
from services.decision.domain.language.reading import read_block, read_duration
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Scope
from services.decision.domain.language.types import IN_WORDS, NUMERIC, Check, Kind, kind_of
from services.decision.domain.problems import did_you_mean
from services.vocabulary.catalogue import CYCLE_DAYS, EventType
from services.vocabulary.values import DAY, ValueMistake, format_duration, parse_duration

_SPAN = re.compile(r"([1-9][0-9]{0,3}) (day|days|cycle|cycles)")
_BY_DAY = frozenset({"count", "sum", "avg"})


def read_windows(
    node: Node | None, scope: Scope, report: Report
) -> tuple[dict[str, Window | None], dict[str, Check | None]]:
    """Windows by name, and the check of literals compared with each. A wrong one is None."""
    windows: dict[str, Window | None] = {}
    checks: dict[str, Check | None] = {}
    block = read_block(node, report, "windows")
    for key, value in block or ():
        if not re.fullmatch(grammar.WINDOW, key.text):
            report.error(key, f"`{key.text}` is no name for a window", "name", "use letters, digits and _")
        reader = _WindowReader(scope, report)
        windows[key.text] = reader.read(key, value)
        checks[key.text] = reader.check
    return windows, checks


class _WindowReader:
    """Reads one window."""

    def __init__(self, scope: Scope, report: Report) -> None:
        self._scope = scope
        self._report = report
        self.check: Check | None = None
        self._kind_of_field = Kind.NUMBER

    def read(self, name: Scalar, node: Node) -> Window | None:
        """The window, or None when something is wrong with it."""
        if not isinstance(node, Block):
            self._report.error(
                node,
                f"the window `{name.text}` does not say what it counts",
                "window",
                "write {count: TYPE, last: 24h}",
            )
            return None
        self._report.check_keys(node, grammar.WINDOW_KEYS.names, grammar.WINDOW_KEYS.title)
        functions = [key for key, _ in node if key.text in grammar.WINDOW_FUNCTIONS]
        if len(functions) != 1:
            self._report.error(
                functions[1] if functions else name,
                f"the window `{name.text}` measures two things"
                if functions
                else f"the window `{name.text}` does not say what it measures",
                "window",
                "make a window of each"
                if functions
                else f"add one of {', '.join(grammar.WINDOW_FUNCTIONS)}: {{count: TYPE, last: 24h}}",
            )
            return None
        function = functions[0].text
        source = node.get(function)
        assert source is not None
        found = self._source(source, function)
        span = self._span(name, node, function)
        before = read_duration(node.get("before"), self._report, "before") or 0
        this = self._this(node.get("this"))
        if found is None or span is None:
            return None
        event, field_name, kind = found
        where = self._where(node.get("where"), event)
        over, last = span
        window = Window(
            function, event.name, field_name, over, last, before, this, where, kind, self._kind_of_field
        )
        return window if self._kept(source, window, event) else None

    def _source(self, node: Node, function: str) -> tuple[EventType, str, Kind] | None:
        catalogue = self._scope.catalogue
        written = node.text if isinstance(node, Scalar) else ""
        name, field_name = (written, "")
        if function not in {"count", "since"}:
            name, _, field_name = written.rpartition(".")
        event = catalogue.events.get(name)
        if event is None:
            whole = catalogue.events.get(written)
            if whole is not None:
                self._report.error(
                    node,
                    f"`{function}` needs a field of {written}",
                    "window",
                    f"write {written}.{next(iter(whole.fields), 'FIELD')}",
                )
            elif function in {"count", "since"} and written.rpartition(".")[0] in catalogue.events:
                self._report.error(
                    node,
                    f"`{function}` takes an event type, without a field",
                    "window",
                    f"write {written.rpartition('.')[0]}, or use distinct",
                )
            else:
                suggestion = (
                    did_you_mean(name or written, catalogue.events) or "the reference lists the event types"
                )
                self._report.error(
                    node, f"the catalogue has no event type `{name or written}`", "unknown-event", suggestion
                )
            return None
        if event.thing:
            self._report.error(
                node,
                f"{name} happens to a {event.thing}, not to a customer",
                "window",
                f"ask for context.{event.thing}. in a condition",
            )
            return None
        if not field_name:
            return event, "", Kind.INT if function == "count" else Kind.DURATION
        kind = self._field_kind(node, event, field_name, function)
        return None if kind is None else (event, field_name, kind)

    def _field_kind(self, node: Node, event: EventType, name: str, function: str) -> Kind | None:
        field = event.fields.get(name)
        if field is None:
            self._report.error(
                node,
                f"{event.name} has no field `{name}`",
                "unknown-field",
                did_you_mean(name, event.fields) or "it has " + ", ".join(event.fields),
            )
            return None
        if name not in event.keep.fields:
            self._report.error(
                node,
                f"the activity does not keep {event.name}.{name}",
                "field-not-kept",
                f"use one that is kept: {', '.join(event.keep.fields) or 'none is'}",
            )
            return None
        kind = kind_of(field.type)
        allowed = NUMERIC | {Kind.MONEY, Kind.DURATION}
        if function in {"min", "max"}:
            allowed = allowed | {Kind.TIME}
        if function in {"sum", "avg", "min", "max"} and kind not in allowed:
            self._report.error(
                node,
                f"`{function}` needs numbers; {event.name}.{name} is {IN_WORDS[kind] if kind else 'a map'}",
                "unlike-types",
                "use distinct or latest",
            )
            return None
        if kind is None or kind is Kind.LIST:
            self._report.error(
                node,
                f"{event.name}.{name} holds several values; no window can measure it",
                "unlike-types",
                "use another field",
            )
            return None
        self._kind_of_field = kind
        if function == "distinct":
            return Kind.INT
        if function in {"latest", "earliest"}:
            self.check = field.check
        return Kind.NUMBER if function == "avg" and kind is Kind.INT else kind

    def _span(self, name: Scalar, node: Block, function: str) -> tuple[str, int] | None:
        last = node.get("last")
        if function == "since":
            if last is not None:
                self._report.error(
                    last, "`since` looks back as far as anything is kept", "window", "leave `last` out"
                )
            return "ever", 0
        if last is None:
            self._report.error(
                name,
                f"the window `{name.text}` does not say how far back",
                "window",
                "add last: 24h, 7 days or 6 cycles",
            )
            return None
        written = last.text if isinstance(last, Scalar) else ""
        match = _SPAN.fullmatch(written)
        if match:
            return ("days" if match[2].startswith("day") else "cycles"), int(match[1])
        try:
            micros = parse_duration(written)
        except ValueMistake:
            micros = 0
        if micros <= 0:
            self._report.error(
                last, f"`last: {written}` is no length of time", "window", "write 24h, 7d, 7 days or 6 cycles"
            )
            return None
        return "rolling", micros

    def _this(self, node: Node | None) -> bool:
        if node is None:
            return True
        if isinstance(node, Scalar) and node.text in grammar.THIS:
            return node.text == "included"
        self._report.error(
            node, "`this` can only be `excluded`, or be left out", "window", "write this: excluded"
        )
        return True

    def _where(self, node: Node | None, event: EventType) -> All | None:
        if node is None:
            return None
        return read_conditions(node, self._scope.inside_where(event), self._report, "where")

    def _kept(self, node: Node, window: Window, event: EventType) -> bool:
        keep = event.keep  # the newest entry is always kept: `since` reaches no further than its `before`
        days = window.last * (CYCLE_DAYS if window.over == "cycles" else 1)
        span = (window.last if window.over == "rolling" else days * DAY) + window.before
        by_day = (
            window.over != "rolling"
            and window.function in {*_BY_DAY, "since"}
            and window.where is None
            and (window.function != "avg" or event.fields[window.field].required)
        )
        kept = max(keep.each_micros, keep.by_day_micros if by_day else 0)
        if span <= kept:
            return True
        suggestion = f"write at most {format_duration(kept)}"
        if window.over == "rolling" and span <= keep.by_day_micros and window.function in _BY_DAY:
            suggestion += f", or calendar days: last: {span // DAY} days"
        self._report.error(
            node, f"the window reaches further back than {event.name} is kept", "window-too-long", suggestion
        )
        return False
