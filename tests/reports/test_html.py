"""The HTML report is one closed file: nothing is fetched, no value becomes markup, every size of run renders."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flows.model import Kind, answered
from reports import html
from reports.results import RunRecord
from tests.reports import samples

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "link", "input", "br", "img", "hr", "wbr", "base", "source"}
FETCHING = {
    "src",
    "href",
    "action",
    "formaction",
    "data",
    "poster",
    "srcset",
    "background",
    "cite",
    "ping",
    "xlink:href",
}


class Page(HTMLParser):
    """What a browser would make of the page: tags with attributes, and whether they are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not (self.open and self.open[-1] in {"script", "style"}):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


RUNS = {
    "green": samples.green(),
    "troubled": samples.troubled(),
    "no-tests": samples.run([]),
    "all-skipped": samples.run([samples.record(1, "A rule holds", "skipped", reason="needs x", matrices=[])]),
    "huge-matrix": samples.run([samples.huge()], exit_code=1),
    "prepared-nothing": samples.run([], problems=["kind: not found; install kind"], exit_code=10),
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_every_run_renders_to_balanced_markup(run: RunRecord) -> None:
    page = Page(html.render(run))
    assert page.open == []
    assert run.summary.headline in page.text


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS.keys())
def test_the_page_fetches_nothing(run: RunRecord) -> None:
    text = html.render(run)
    page = Page(text)
    fetched = [value for _, attributes in page.tags for name, value in attributes.items() if name in FETCHING]
    assert [value for value in fetched if not value.startswith("#")] == []
    assert {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base", "img"} == set()
    assert re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", text) == []
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert [policy for policy in policies if policy.startswith("default-src 'none'; style-src 'unsafe-inline'")]


def test_no_external_address_stands_in_markup() -> None:
    markup = re.sub(r">[^<]*<", "><", html.render(samples.troubled()))
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", markup) == []


def _evil() -> RunRecord:
    matrix = samples.matrix(EVIL, [samples.cell(EVIL, f'"><img src=x>{EVIL}', None)], [EVIL]).record()
    policy = {**samples.policy("p", 0.1), "name": EVIL, "namespace": EVIL, "manifest": f"# {EVIL}"}
    test = replace(
        samples.leak(),
        id=f"{EVIL}::x[{EVIL}]",
        sentence=EVIL,
        area=EVIL,
        first_line=EVIL,
        message=f"{EVIL}\nwhy: {EVIL}",
        matrices=[matrix],
        policies=[policy],
        attachments=[{"name": EVIL, "type": "text/html", "text": EVIL}],
    )
    cluster = replace(samples.cluster(), context=EVIL, facts={EVIL: EVIL})
    passed = replace(test, id="b", outcome="passed")
    skipped = replace(test, id="c", outcome="skipped", reason=EVIL)
    return samples.run(
        [test, passed, skipped], cluster=cluster, problems=[EVIL], left_behind=[EVIL], kept=[EVIL], command=EVIL
    )


def test_values_with_markup_stay_text() -> None:
    page = Page(html.render(_evil()))
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert page.text.count(EVIL) > 20


def test_a_matrix_of_its_own_keeps_markup_as_text() -> None:
    page = Page(html.matrix_page(_evil().tests[0].matrices[0]))
    assert (page.open, page.all("script"), page.all("img")) == ([], [], [])
    assert EVIL in page.text


def test_secrets_are_not_on_the_page() -> None:
    assert "s3cr3t" not in html.render(samples.troubled())


def test_what_fails_comes_before_what_holds() -> None:
    text = Page(html.render(samples.troubled())).text
    order = [text.index(words) for words in ("2 of 30 rules failed", "expected dropped, got answered", "What holds")]
    assert order == sorted(order)
    assert "Why DNS: no egress rule opens port 53" in text


def test_each_matrix_is_three_tables_with_headers() -> None:
    page = Page(html.render(samples.run([samples.leak()])))
    assert len(page.all("table")) == 3
    assert all("scope" in header for header in page.all("th"))
    assert page.text.count("differs") >= 1


def test_tables_too_wide_to_lie_abreast_begin_with_the_difference() -> None:
    assert [table.name for table in html.tables(samples.huge().matrices[0])] == ["difference", "observed", "expected"]
    assert [table.name for table in html.tables(samples.matrix().record())] == ["expected", "observed", "difference"]


def test_anchors_lead_to_tests_and_are_unique() -> None:
    page = Page(html.render(samples.troubled()))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(names)


def test_tests_of_one_id_have_anchors_of_their_own() -> None:
    page = Page(html.render(samples.run([samples.leak(), samples.leak()])))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))


def test_a_crossing_with_several_flows_shows_the_one_in_trouble() -> None:
    good = samples.cell("caller", "server", answered())
    bad = samples.cell("caller", "server", answered(), Kind.DROPPED)
    shown = [html.tables(samples.matrix("m", cells).record())[2].rows for cells in ([good, bad], [bad, good])]
    assert [rows[0][1][0][0] for rows in shown] == ["!", "!"]


@pytest.mark.parametrize("values", [[0.05], [0.0], [0.001, 0.5, 30.0], [0.3] * 50], ids=["one", "zero", "wide", "same"])
def test_the_distribution_holds_every_value(values: list[float]) -> None:
    bars = html.bars(values)
    assert sum(bar.count for bar in bars) == len(values)
    assert max(bar.height for bar in bars) == 100
    assert len(bars) <= 14


def test_flows_have_their_distribution_by_direction_and_behaviours_a_place() -> None:
    page = html.render(samples.timed())
    rows = re.findall(r'<tr><th scope="row">(closed|opened)</th>(.*?)</tr>', page)
    cells = {name: re.findall(r"<td>(.*?)</td>", row) for name, row in rows}
    assert cells["closed"] == ["2", "20 ms", "20 ms", "300 ms", "300 ms", "300 ms"]
    assert cells["opened"] == ["1", *["40 ms"] * 5]
    assert "<dt>established-tcp</dt><dd>goes on</dd>" in page
    assert "How this cluster behaves" not in html.render(samples.green(2))


def test_the_report_is_written_whole(tmp_path: Path) -> None:
    path = html.write(samples.green(2), tmp_path / "deep" / "report.html")
    assert path.read_text().rstrip().endswith("</html>")
