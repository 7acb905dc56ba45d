"""`report open` opens the file where there is a browser, else says where it is; a missing report is named."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from flows.errors import UsageError
from reports import open as opening


def test_a_report_is_found_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("x")
    assert opening.find(tmp_path) == opening.find(tmp_path / "report.html")


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file; make one with"):
        opening.show(tmp_path)


@pytest.mark.parametrize(
    ("environment", "platform", "wanted"),
    [({}, "linux", False), ({"DISPLAY": ":0"}, "linux", True), ({"BROWSER": "x"}, "linux", True), ({}, "darwin", True)],
    ids=["linux-without-display", "linux-with-display", "named-browser", "elsewhere"],
)
def test_a_browser_needs_a_display(environment: dict[str, str], platform: str, wanted: bool) -> None:
    assert opening.has_browser(environment, platform) is wanted


def test_without_a_browser_the_path_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    (tmp_path / "report.html").write_text("x")
    assert str(tmp_path / "report.html") in opening.show(tmp_path)


def test_with_a_browser_the_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def note(address: str) -> bool:
        seen.append(address)
        return True

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", note)
    (tmp_path / "report.html").write_text("x")
    assert opening.show(tmp_path) == f"opened {tmp_path / 'report.html'}"
    assert seen == [(tmp_path / "report.html").as_uri()]
