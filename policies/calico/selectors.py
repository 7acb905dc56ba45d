"""Calico's selector language: text to a tree, strictly; what cannot be read is one `UsageError` line with its place.

What belongs here: grammar. What does not: whether labels fulfil a tree; each reader of policies decides that by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NoReturn, TypeAlias

from flows.errors import UsageError

KEY: Final = r"[A-Za-z0-9_./-]{1,512}"
"""What a label's key may be in a selector."""


@dataclass(frozen=True, slots=True)
class All:
    """`all()`."""


@dataclass(frozen=True, slots=True)
class Global:
    """`global()`, which only a rule's namespaceSelector has: what lives in no namespace."""


@dataclass(frozen=True, slots=True)
class Has:
    """`has(key)`."""

    key: str


class Comparison(StrEnum):
    """How one label's value is compared with one string."""

    EQUAL = "=="
    NOT_EQUAL = "!="
    CONTAINS = "contains"
    STARTS = "starts with"
    ENDS = "ends with"


@dataclass(frozen=True, slots=True)
class Compare:
    """`key == "value"` and its like."""

    key: str
    how: Comparison
    value: str


@dataclass(frozen=True, slots=True)
class Among:
    """`key in {"a", "b"}`; with `negated`, `key not in {…}`."""

    key: str
    values: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Not:
    """`!expression`."""

    inner: Expression


@dataclass(frozen=True, slots=True)
class And:
    """`a && b && …`."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """`a || b || …`."""

    parts: tuple[Expression, ...]


Expression: TypeAlias = All | Global | Has | Compare | Among | Not | And | Or

_TOKEN: Final = re.compile(
    rf"""[ \t]*(?:
        (?P<call>(?:all|global)\([ \t]*\)|has\([ \t]*(?P<label>{KEY})[ \t]*\))
      | (?P<text>"(?P<double>[^"]*)"|'(?P<single>[^']*)')
      | (?P<sign>==|!=|&&|\|\||[!(){{}},])
      | (?P<word>{KEY})
      )""",
    re.VERBOSE,
)
_OPERATOR: Final = re.compile(r"[ \t]*(==|!=|contains|starts[ \t]*with|ends[ \t]*with|not[ \t]*in|in)")


def parse(text: str) -> Expression:
    """The tree of a selector; an empty text is `all()`.

    Raises:
        UsageError: It is not of the language; the message names what stands where, counted from 1.
    """
    parser = _Parser(text)
    if parser.at_end():
        return All()
    found = parser.either()
    if not parser.at_end():
        parser.fail("`&&`, `||` or the end")
    return found


def leaves(tree: Expression) -> tuple[Expression, ...]:
    """The conditions that a tree is made of, from left to right."""
    match tree:
        case Not(inner):
            return leaves(inner)
        case And(parts) | Or(parts):
            return tuple(leaf for part in parts for leaf in leaves(part))
        case _:
            return (tree,)


class _Parser:
    """Reads from left to right; `!` binds closest, then `&&`, then `||`."""

    def __init__(self, text: str) -> None:
        self._text, self._place = text, 0

    def at_end(self) -> bool:
        """Whether nothing but blanks is left."""
        return not self._text[self._place :].strip(" \t")

    def fail(self, wanted: str) -> NoReturn:
        """Say what should stand here."""
        rest = self._text[self._place :]
        place = self._place + len(rest) - len(rest.lstrip(" \t")) + 1
        found = rest.strip(" \t")[:20]
        got = f"'{found}'" if found else "the end"
        raise UsageError(f"selector {self._text!r}: at {place} is {got}; there should be {wanted}")

    def _next(self) -> re.Match[str] | None:
        return _TOKEN.match(self._text, self._place)

    def _takes(self, sign: str) -> bool:
        token = self._next()
        if token is None or token["sign"] != sign:
            return False
        self._place = token.end()
        return True

    def either(self) -> Expression:
        """Alternatives."""
        parts = [self._every()]
        while self._takes("||"):
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _every(self) -> Expression:
        parts = [self._one()]
        while self._takes("&&"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Expression:
        if self._takes("!"):
            return Not(self._one())
        if self._takes("("):
            inner = self.either()
            if not self._takes(")"):
                self.fail("`)`")
            return inner
        token = self._next()
        if token is not None and token["call"]:
            self._place = token.end()
            if token["label"]:
                return Has(token["label"])
            return All() if token["call"].startswith("all") else Global()
        if token is None or not token["word"]:
            self.fail("a label's key, all(), has(key), `!` or `(`")
        self._place = token.end()
        return self._compared(token["word"])

    def _compared(self, key: str) -> Expression:
        operator = _OPERATOR.match(self._text, self._place)
        if operator is None:
            self.fail("==, !=, in, not in, contains, starts with or ends with")
        self._place = operator.end()
        word = operator[1].replace("\t", " ")
        if word in {"==", "!=", "contains"}:
            return Compare(key, Comparison(word), self._string())
        if word.startswith(("starts", "ends")):
            how = Comparison.STARTS if word.startswith("starts") else Comparison.ENDS
            return Compare(key, how, self._string())
        return Among(key, self._strings(), negated=word != "in")

    def _string(self) -> str:
        token = self._next()
        if token is None or not token["text"]:
            self.fail("a string in quotes")
        self._place = token.end()
        return token["text"][1:-1]

    def _strings(self) -> tuple[str, ...]:
        if not self._takes("{"):
            self.fail("`{`")
        values: list[str] = []
        while not self._takes("}"):
            if values and not self._takes(","):
                self.fail("`,` or `}`")
            values.append(self._string())
        return tuple(values)
