"""Cuts a line of the rule language into words, quoted texts, operators and brackets."""

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s*(?:
      "(?P<double>[^"]*)" | '(?P<single>[^']*)'
    | (?P<operator><=|>=|!=|==|<>|[<>=()*,])
    | (?P<word>[^\s<>=()*,"'!]+)
    )""",
    re.VERBOSE,
)
_PATH = re.compile(r"(event|profile|windows|context|household|ask)\.[A-Za-z0-9_.-]*")


class LineError(ValueError):
    """A line cannot be understood: what is wrong and what would be right."""

    def __init__(self, message: str, check: str = "condition", suggestion: str = "", offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.check = check
        self.suggestion = suggestion
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a line. `kind`: word, quoted or operator. `offset` from the start of the line."""

    kind: str
    text: str
    offset: int

    @property
    def is_path(self) -> bool:
        """A word that begins with event., profile., windows., context., household. or ask."""
        return self.kind == "word" and _PATH.fullmatch(self.text) is not None

    def is_word(self, *words: str) -> bool:
        """This very word, not in quotes."""
        return self.kind == "word" and self.text in words


def cut(line: str) -> list[Token]:
    """The tokens of a line; raises LineError for what has no place in it."""
    tokens: list[Token] = []
    position = 0
    while position < len(line.rstrip()):
        match = _TOKEN.match(line, position)
        if match is None:
            rest = line[position:].strip()
            message = "a quote is not closed" if rest[:1] in "\"'" else f"`{rest[:1]}` has no meaning here"
            suggestion = (
                "close it with the same quote"
                if rest[:1] in "\"'"
                else "leave it out, or put the text in quotes"
            )
            raise LineError(message, "condition", suggestion, len(line.rstrip()) - len(rest))
        kind = match.lastgroup or "word"
        text = match.group(kind)
        offset = match.start(kind)
        tokens.append(Token("quoted" if kind in {"double", "single"} else kind, text, offset))
        position = match.end()
    return tokens
