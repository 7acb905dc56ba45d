"""The documentation is true: links lead somewhere, commands and targets exist, the change log is kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.frame import tracked
from tools import reference

PAGES = tracked.files(".md")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The names that a page's headings get."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", tracked.text(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(path: Path) -> list[str]:
    """The relative links of a page."""
    found = [match["target"] or match["image"] for match in _LINK.finditer(_FENCE.sub("", tracked.text(path)))]
    return [each for each in found if "://" not in each and not each.startswith("mailto:")]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (tracked.CHECKOUT / page.parent / name).resolve() if name else tracked.CHECKOUT / page
        assert target.exists(), f"{page}: {link} leads nowhere"
        if anchor:
            known = anchors(target.relative_to(tracked.CHECKOUT))
            assert anchor in known, f"{page}: {link}: no such heading; there are {sorted(known)}"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", tracked.text(Path("Makefile")), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", tracked.text(page))) <= targets


def test_every_page_of_the_documentation_is_found_from_its_index() -> None:
    index = {(Path("docs") / link.partition("#")[0]) for link in links(Path("docs/README.md"))}
    pages = {page for page in PAGES if page.parts[0] == "docs"} - {Path("docs/README.md")}
    assert pages <= index


@pytest.mark.parametrize("page", reference.pages(), ids=str)
def test_pages_made_from_code_are_current(page: Path) -> None:
    assert tracked.text(page) == reference.pages()[page], f"{page} is old; run `make docs`"


def test_every_decision_has_its_alternatives() -> None:
    decisions = [page for page in PAGES if page.parts[:2] == ("docs", "adr") and page.name != "README.md"]
    assert len(decisions) >= 6
    for page in decisions:
        headings = re.findall(r"^## (.+)$", tracked.text(page), re.MULTILINE)
        assert headings == ["Decision", "Why", "Alternatives, and why not", "What follows"], str(page)


def test_the_change_log_has_a_place_for_what_is_not_released() -> None:
    headings = re.findall(r"^## (.+)$", tracked.text(Path("CHANGELOG.md")), re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_the_licence_is_the_one_the_project_names() -> None:
    assert "Apache License" in tracked.text(Path("LICENSE"))
    assert 'license = "Apache-2.0"' in tracked.text(Path("pyproject.toml"))
