"""Hides secrets in what pytest itself shows: the terminal's tracebacks, captured output, JUnit XML.

What belongs here: walking pytest's reports. What does not: what a secret looks like (`redact`).
"""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import cast

import pytest

from reports.redact import redact


def redact_report(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Hide every secret in a report, in place: traceback, message and captured sections.

    Call it in `pytest_runtest_makereport` and `pytest_make_collect_report`, before any other plugin sees the report.
    """
    report.sections = [(name, redact(text)) for name, text in report.sections]
    longrepr = report.longrepr
    if isinstance(longrepr, str):
        report.longrepr = redact(longrepr)
    elif isinstance(longrepr, tuple):
        path, line, reason = longrepr
        report.longrepr = (path, line, redact(reason))
    else:
        _clean(longrepr)


def _clean(value: object) -> object:
    """Redact a representation's texts; lists of lines as one text, since a key may span lines."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list | tuple):
        items = cast("list[object] | tuple[object, ...]", value)
        lines = [item for item in items if isinstance(item, str)]
        if isinstance(items, list) and len(lines) == len(items):
            return redact("\n".join(lines)).split("\n") if lines else items
        cleaned = [_clean(item) for item in items]
        return cleaned if isinstance(items, list) else tuple(cleaned)
    if is_dataclass(value) or hasattr(value, "addsection"):
        for name, inner in vars(value).items():
            setattr(value, name, _clean(inner))
    return value
