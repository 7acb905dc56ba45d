"""Messages are read strictly, and a line that is none is shown."""

from __future__ import annotations

import ast
import json

import pytest

from flows import wire
from flows.errors import HarnessError
from tests.flows.pipes import SOURCE

HEARTBEAT = {"op": "heartbeat", "now": 1.5, "lag": 0}


def line(**changes: object) -> bytes:
    return json.dumps({**HEARTBEAT, **changes}).encode()


def test_a_message_is_typed() -> None:
    assert wire.decode(line()) == wire.Heartbeat(now=1.5, lag=0.0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"Traceback (most recent call last):", "not JSON", id="no-json"),
        pytest.param(b"[1]", "none of hello", id="no-object"),
        pytest.param(line(op="bye"), "none of hello", id="unknown-op"),
        pytest.param(line(more=1), "unknown field more", id="unknown-field"),
        pytest.param(b'{"op":"heartbeat","now":1.5}', "no lag", id="missing-field"),
        pytest.param(line(lag="0"), "Heartbeat.lag is '0', not float", id="wrong-type"),
        pytest.param(line(lag=True), "Heartbeat.lag is True, not float", id="bool-is-no-number"),
    ],
)
def test_a_line_that_is_no_message_is_shown(data: bytes, why: str) -> None:
    with pytest.raises(HarnessError) as caught:
        wire.decode(data)
    assert why in str(caught.value)
    assert data.decode() in caught.value.detail


def test_the_agent_is_python_3_9() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not {name for name in imported if name.partition(".")[0] in {"flows", "clusters", "policies"}}
