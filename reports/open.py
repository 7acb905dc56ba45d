"""Shows a report to the person who asked: in the browser where there is one, else by its path.

What belongs here: `report open`. What does not: making the report.
"""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from pathlib import Path

from flows.errors import UsageError
from reports.html import REPORT


def find(path: Path) -> Path:
    """The report's file, from its own path or the folder it is in.

    Raises:
        UsageError: There is no report.
    """
    report = path / REPORT if path.is_dir() else path
    if not report.is_file():
        raise UsageError(f"report {report}: no such file; make one with `eastwest verify`, or give the folder of a run")
    return report.resolve()


def has_browser(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> bool:
    """Whether a browser can show anything here: a display on Linux, always elsewhere, or one that `BROWSER` names."""
    known = os.environ if environment is None else environment
    return platform != "linux" or any(known.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def show(path: Path) -> str:
    """Open the report and return the line to print: that it was opened, or where it is."""
    report = find(path)
    # A text browser would take over the terminal, hence nothing is opened without a display.
    try:
        opened = has_browser() and webbrowser.open(report.as_uri())
    except webbrowser.Error:
        opened = False
    return f"opened {report}" if opened else f"no browser here; the report is {report}"
