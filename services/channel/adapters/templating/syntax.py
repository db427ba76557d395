"""What a template's syntax tree may hold, and what is put into it so that every step is paid for."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from jinja2 import nodes

from services.channel.adapters.templating.filters import AUTHORS, FLAT, JOINED, PART, PLURAL_FORMS, STEP
from services.channel.domain.errors import InvalidTemplateError
from services.channel.domain.templates import Plural, Used

BLOCKS = ("subject", "text", "html", "sender")
MOST_NODES = 1_000
DEEPEST = 60

_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Include: "include is not available; write the text here",
    nodes.Import: "import is not available; write the macro here",
    nodes.FromImport: "import is not available; write the macro here",
    nodes.Extends: "extends is not available; write the text here",
    nodes.ScopedEvalContextModifier: "autoescape cannot be changed; leave the tag out",
    nodes.Dict: "{…: …} is not available; use parameters",
    nodes.NSRef: "namespace is not available; use parameters",
}


def check(tree: nodes.Template) -> Used:
    """What the template uses; raises InvalidTemplateError for what no template may hold."""
    _measure(tree)
    seen = list(_walk(tree))
    for node in seen:
        _refuse(node)
    _refuse_recursion(tree)
    _refuse_blocks(tree)
    return _used(seen)


def pay(tree: nodes.Template) -> None:
    """Makes every loop, macro and text that is put together pay for itself; check comes before."""
    for node in list(_walk(tree)):
        if isinstance(node, nodes.For):
            cost = nodes.Const(1 + _cost(node.body))
            node.body.insert(0, _pays(cost, node.lineno))
            if node.test is not None:
                node.test = nodes.And(_own(STEP, nodes.Const(1 + _cost([node.test]))), node.test)
        elif isinstance(node, nodes.Macro | nodes.CallBlock):
            node.body.insert(0, _pays(nodes.Const(1 + _cost(node.body)), node.lineno))
    _rewrite(tree)
    _own_all(tree)


def _pays(cost: nodes.Expr, line: int) -> nodes.ExprStmt:
    return nodes.ExprStmt(_own(STEP, cost), lineno=line)


def _own(name: str, value: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=getattr(value, "lineno", 1) or 1)


def wrap(name: str, value: nodes.Expr) -> nodes.Filter:
    """The value through a filter of ours; pay comes after."""
    return _own(name, value)


def _own_all(tree: nodes.Template) -> None:
    """What was put in belongs to the environment of the rest."""
    assert tree.environment is not None, "it was parsed in one"
    tree.set_environment(tree.environment)


def _rewrite(node: nodes.Node) -> None:
    """Joins of texts and lists are made by filters that look at what they join."""
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            setattr(node, name, _rewritten(value))
        elif isinstance(value, list):
            value[:] = [_rewritten(item) if isinstance(item, nodes.Node) else item for item in value]


def _rewritten(node: nodes.Node) -> nodes.Node:
    _rewrite(node)
    if isinstance(node, nodes.Concat):
        return wrap(JOINED, nodes.List(node.nodes, lineno=node.lineno))
    if isinstance(node, nodes.List) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
        return wrap(FLAT, node)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return wrap(PART, node)
    return node


def _walk(root: nodes.Node) -> Iterator[nodes.Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(list(node.iter_child_nodes())))


def _measure(root: nodes.Node) -> None:
    count = 0
    waiting = [(root, 1, 1)]
    while waiting:
        node, depth, line = waiting.pop()
        count += 1
        line = getattr(node, "lineno", None) or line
        if count > MOST_NODES:
            raise InvalidTemplateError(
                line, f"has more than {MOST_NODES} parts", "write less, or part it into several templates"
            )
        if depth > DEEPEST:
            raise InvalidTemplateError(line, "is nested too deep", "write it flatter")
        waiting.extend((child, depth + 1, line) for child in node.iter_child_nodes())


def _cost(body: Iterable[nodes.Node]) -> int:
    """Parts that one pass works on, those of loops and macros inside not counted: they pay themselves.

    Fixed text costs a step for every hundred characters.
    """
    count = 0
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        count += 1
        if isinstance(node, nodes.TemplateData):
            count += len(node.data) // 100
        if isinstance(node, nodes.For):
            waiting.append(node.iter)
        elif not isinstance(node, nodes.Macro):
            waiting.extend(node.iter_child_nodes())
    return count


def _refuse(node: nodes.Node) -> None:
    why = _REFUSED.get(type(node))
    if why is not None:
        message, _, suggestion = why.partition("; ")
        raise InvalidTemplateError(node.lineno, message, suggestion)
    if isinstance(node, nodes.Filter | nodes.FilterBlock):
        _refuse_filters(node)
    elif isinstance(node, nodes.Name) and node.ctx == "load" and node.name in {"self", "super"}:
        raise InvalidTemplateError(node.lineno, f"{node.name} is not available", "write the text here")
    elif isinstance(node, nodes.Call) and not isinstance(node.node, nodes.Name):
        raise InvalidTemplateError(
            node.lineno, "only macros can be called", f"use a filter: {', '.join(sorted(AUTHORS))}"
        )
    elif isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
        raise InvalidTemplateError(
            node.lineno, f".{node.attr} is not available", "name a parameter or a trait"
        )


def _refuse_filters(node: nodes.Node) -> None:
    filters = [node] if isinstance(node, nodes.Filter) else list(node.find_all(nodes.Filter))
    for used in filters:
        if used.name not in AUTHORS:
            near = get_close_matches(used.name, list(AUTHORS), n=1)
            right = f"did you mean {near[0]}?" if near else f"use {', '.join(sorted(AUTHORS))}"
            raise InvalidTemplateError(node.lineno, f"there is no filter {used.name}", right)
        if used.name == "plural":
            forms = {argument.key for argument in used.kwargs}
            if used.args or not forms <= set(PLURAL_FORMS) or "other" not in forms:
                raise InvalidTemplateError(
                    node.lineno,
                    "plural is not used as it should be",
                    "write plural(one='# day', other='# days'), with the forms of the language",
                )


def _refuse_recursion(tree: nodes.Template) -> None:
    calls = {
        macro.name: {
            call.node.name for call in macro.find_all(nodes.Call) if isinstance(call.node, nodes.Name)
        }
        for macro in tree.find_all(nodes.Macro)
    }
    lines = {macro.name: macro.lineno for macro in tree.find_all(nodes.Macro)}
    for name, called_here in calls.items():
        reached: set[str] = set()
        waiting = list(called_here)
        while waiting:
            called = waiting.pop()
            if called not in reached:
                reached.add(called)
                waiting.extend(calls.get(called, ()))
        if name in reached:
            raise InvalidTemplateError(
                lines[name], f"macro {name} calls itself", "write {% for … %} over a list instead"
            )


def _refuse_blocks(tree: nodes.Template) -> None:
    blocks = {block.name: block for block in tree.find_all(nodes.Block)}
    for name, block in blocks.items():
        if name not in BLOCKS:
            raise InvalidTemplateError(block.lineno, f"there is no block {name}", f"use {', '.join(BLOCKS)}")
    if "html" in blocks and "text" not in blocks:
        raise InvalidTemplateError(
            blocks["html"].lineno,
            "html has no text beside it",
            "add {% block text %}…{% endblock %}: some read mail as text",
        )
    if "sender" in blocks:
        for output in blocks["sender"].find_all(nodes.Output):
            for part in output.nodes:
                if not isinstance(part, nodes.TemplateData):
                    raise InvalidTemplateError(
                        output.lineno, "the sender holds a value", "write it out: nobody else may choose it"
                    )


def _used(seen: list[nodes.Node]) -> Used:
    made = {"profile", "loop", "caller", "varargs", "kwargs"}
    for node in seen:
        if (isinstance(node, nodes.Name) and node.ctx in {"store", "param"}) or isinstance(node, nodes.Macro):
            made.add(node.name)
    parameters: dict[str, int] = {}
    optional: set[str] = set()
    traits: set[str] = set()
    plurals: list[Plural] = []
    texts: list[tuple[int, str]] = []
    for node in seen:
        match node:
            case nodes.Name(ctx="load") if node.name not in made:
                parameters.setdefault(node.name, node.lineno)
            case nodes.Test(name="defined" | "undefined") | nodes.Filter(name="default" | "d"):
                inner: Any = node.node
                if isinstance(inner, nodes.Name):
                    optional.add(inner.name)
            case nodes.Getattr() if isinstance(node.node, nodes.Name) and node.node.name == "profile":
                traits.add(node.attr)
            case nodes.TemplateData():
                texts.append((node.lineno, node.data))
        if isinstance(node, nodes.Filter) and node.name == "plural":
            plurals.append(Plural(node.lineno, frozenset(str(pair.key) for pair in node.kwargs)))
    return Used(parameters, frozenset(optional), frozenset(traits), tuple(plurals), tuple(texts))
