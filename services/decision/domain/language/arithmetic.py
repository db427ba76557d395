"""Reads arithmetic over paths, numbers and lengths of time."""

import re

from services.decision.domain.language.ast import Arithmetic, Expression, Literal
from services.decision.domain.language.lexer import LineError, Token
from services.decision.domain.language.scope import Named, Scope
from services.decision.domain.language.types import IN_WORDS, Kind, arithmetic_kind, read_literal
from services.vocabulary.values import ValueMistake, parse_duration

SIGNS = ("+", "-", "/", "*")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_DURATION = re.compile(r"[0-9]+[smhdw]")


class ArithmeticParser:
    """Arithmetic over paths and numbers, with the usual precedence."""

    def __init__(self, tokens: list[Token], scope: Scope) -> None:
        self._tokens = tokens
        self._scope = scope
        self._next = 0

    def parse(self) -> Named:
        """The whole as one expression; raises LineError."""
        found = self._sum()
        if self._next < len(self._tokens):
            token = self._tokens[self._next]
            raise LineError(
                f"`{token.text}` does not fit here",
                "condition",
                "put spaces around + - /, texts in quotes, and one condition a line",
                token.offset,
            )
        return found

    def _sum(self) -> Named:
        left = self._product()
        while self._next < len(self._tokens) and self._sign("+", "-"):
            sign = self._take()
            left = self._join(sign, left, self._product())
        return left

    def _product(self) -> Named:
        left = self._atom()
        while self._next < len(self._tokens) and self._sign("*", "/"):
            sign = self._take()
            left = self._join(sign, left, self._atom())
        return left

    def _sign(self, *signs: str) -> bool:
        token = self._tokens[self._next]
        return token.kind != "quoted" and token.text in signs

    def _take(self) -> Token:
        if self._next >= len(self._tokens):
            last = self._tokens[-1]
            raise LineError(
                "a value is missing at the end of the line",
                "condition",
                "write a path or a number",
                last.offset,
            )
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _atom(self) -> Named:
        token = self._take()
        if token.kind == "operator" and token.text == "(":
            inside = self._sum()
            closing = self._tokens[min(self._next, len(self._tokens) - 1)]
            if self._next >= len(self._tokens) or closing.text != ")":
                raise LineError("a bracket is not closed", "condition", "add )", closing.offset)
            self._next += 1
            return inside
        try:
            return self._word(token)
        except LineError as error:
            error.offset = error.offset or token.offset
            raise

    def _word(self, token: Token) -> Named:
        if token.is_path:
            return self._scope.name(token.text)
        if token.kind == "word" and _NUMBER.fullmatch(token.text):
            try:
                value = read_literal(token.text, Kind.NUMBER, None, self._scope.catalogue.currency)
            except ValueMistake as mistake:
                raise LineError(
                    f"`{token.text}` {mistake.message}", "unlike-types", mistake.suggestion
                ) from None
            return Named(Literal(value, Kind.INT if isinstance(value, int) else Kind.NUMBER, token.text))
        if token.kind == "word" and _DURATION.fullmatch(token.text):
            return Named(Literal(parse_duration(token.text), Kind.DURATION, token.text))
        if self._scope.entry is not None and token.kind == "word":
            return self._scope.entry_field(token.text)
        raise LineError(
            f"`{token.text}` is no path",
            "unknown-path",
            self._scope.nearest(token.text),
        )

    def _join(self, sign: Token, left: Named, right: Named) -> Named:
        kind = arithmetic_kind(sign.text, left.expression.kind, right.expression.kind)
        source = f"{left.expression.source} {sign.text} {right.expression.source}"
        if kind is None:
            raise LineError(
                f"`{source}` has no meaning: {IN_WORDS[left.expression.kind]} {sign.text} "
                f"{IN_WORDS[right.expression.kind]}",
                "unlike-types",
                "calculate with numbers, money, lengths of time and times",
                sign.offset,
            )
        joined: Expression = Arithmetic(sign.text, left.expression, right.expression, kind, source)
        return Named(joined)
