"""Calico's selector language: what is read, and where the reader says that it cannot."""

from __future__ import annotations

import pytest

from flows.errors import UsageError
from policies.calico.selectors import (
    All,
    Among,
    And,
    Compare,
    Comparison,
    Expression,
    Global,
    Has,
    Not,
    Or,
    leaves,
    parse,
)

A = Compare("a", Comparison.EQUAL, "1")
B = Compare("b", Comparison.NOT_EQUAL, "2")
C = Has("c")


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        pytest.param("", All(), id="nothing-is-all"),
        pytest.param(" all( ) ", All(), id="all"),
        pytest.param("global()", Global(), id="global"),
        pytest.param("has( example.com/k-1_x )", Has("example.com/k-1_x"), id="has"),
        pytest.param("a=='1'", A, id="single-quotes"),
        pytest.param('b != "2"', B, id="not-equal"),
        pytest.param('a == "it\'s"', Compare("a", Comparison.EQUAL, "it's"), id="other-quotes-inside"),
        pytest.param("a contains 'x'", Compare("a", Comparison.CONTAINS, "x"), id="contains"),
        pytest.param("a starts  with 'x'", Compare("a", Comparison.STARTS, "x"), id="starts-with"),
        pytest.param("a endswith 'x'", Compare("a", Comparison.ENDS, "x"), id="ends-with"),
        pytest.param("a in {'x', \"y\"}", Among("a", ("x", "y")), id="in"),
        pytest.param("a not in{}", Among("a", (), negated=True), id="not-in-nothing"),
        pytest.param("in in {'in'}", Among("in", ("in",)), id="a-key-named-in"),
        pytest.param("!has(c)", Not(C), id="not-has"),
        pytest.param("!!has(c)", Not(Not(C)), id="not-not"),
        pytest.param("!a == '1'", Not(A), id="not-of-a-comparison"),
        pytest.param("a == '1' && b != '2' && has(c)", And((A, B, C)), id="and"),
        pytest.param("a == '1' || b != '2' && has(c)", Or((A, And((B, C)))), id="and-binds-closer"),
        pytest.param("(a == '1' || b != '2') && has(c)", And((Or((A, B)), C)), id="parentheses"),
        pytest.param("!(a == '1' || b != '2')", Not(Or((A, B))), id="not-of-a-group"),
    ],
)
def test_read(text: str, tree: Expression) -> None:
    assert parse(text) == tree


@pytest.mark.parametrize(
    ("text", "place", "wanted"),
    [
        pytest.param("a", 2, "==, !=, in", id="a-key-alone"),
        pytest.param("a = '1'", 3, "==, !=, in", id="one-equals-sign"),
        pytest.param("a == b", 6, "a string in quotes", id="no-quotes"),
        pytest.param("a == 'b", 6, "a string in quotes", id="unterminated"),
        pytest.param("a in 'b'", 6, "`{`", id="no-brace"),
        pytest.param("a in {'b' 'c'}", 11, "`,` or `}`", id="no-comma"),
        pytest.param("a in {'b',}", 11, "a string in quotes", id="comma-at-the-end"),
        pytest.param("(has(a)", 8, "`)`", id="no-parenthesis"),
        pytest.param("has(a) has(b)", 8, "`&&`, `||` or the end", id="no-operator"),
        pytest.param("has(a) &&", 10, "a label's key", id="nothing-behind-and"),
        pytest.param("&& has(a)", 1, "a label's key", id="nothing-before-and"),
        pytest.param("has()", 4, "==, !=, in", id="has-nothing"),
    ],
)
def test_refused(text: str, place: int, wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert f"at {place} is" in caught.value.message
    assert wanted in caught.value.message


def test_leaves() -> None:
    assert leaves(parse("!(a == '1' || b != '2') && has(c)")) == (A, B, C)
