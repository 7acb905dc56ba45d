"""What Allure shows beyond pytest's own words: sentence, area, matrix, evidence, manifests, environment, categories.

What belongs here: calls into allure-pytest, all of them without effect when `--alluredir` is not given. What does not:
deciding what is attached (the plugin) and what a secret looks like (`redact`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import allure_commons
import pytest
from allure_commons.logger import AllureFileLogger

from reports import html, words
from reports.redact import redact, scrub
from reports.results import RunRecord, TestRecord, write_text

PARENT_SUITE = "eastwest"

CATEGORIES: list[dict[str, Any]] = [
    {
        "name": "The system under test is wrong",
        "description": "A flow ended otherwise than its rules promise.",
        "matchedStatuses": ["failed"],
        "traceRegex": "(?s).*VerdictError.*",
    },
    {
        "name": "Could not tell: not conclusive",
        "description": "A flow was asked, but a control, the journal or the lag leaves its answer open.",
        "matchedStatuses": ["broken"],
        "traceRegex": "(?s).*InconclusiveError.*",
    },
    {
        "name": "Could not tell: the cluster or the harness stood in the way",
        "description": "Preparation, the API server, a stream or a setting; no statement about the rules.",
        "matchedStatuses": ["broken"],
        "traceRegex": "(?s).*(HarnessError|PreparationError|UsageError).*",
    },
    {"name": "A test's own assertion failed", "matchedStatuses": ["failed"]},
    {"name": "An error in a test or its fixtures", "matchedStatuses": ["broken"]},
    {"name": "Not tried here", "matchedStatuses": ["skipped"]},
]


_Hook = TypeVar("_Hook", bound=Callable[..., None])


def _hook(function: _Hook) -> _Hook:
    """Marks a method as allure's hook and keeps its type."""
    allure_commons.hookimpl(function)
    return function


class Writer(Protocol):
    """What allure-pytest's `AllureFileLogger` does, with types."""

    def report_result(self, result: object) -> None:
        """Write a test's result."""

    def report_container(self, container: object) -> None:
        """Write the fixtures of some tests."""

    def report_globals(self, globals_item: object) -> None:
        """Write what belongs to the whole run."""

    def report_attached_data(self, body: str | bytes, file_name: str) -> None:
        """Write an attachment."""


class Redacting:
    """Allure's writer of result files with every secret hidden in what passes it: results, containers, attachments.

    Allure-pytest copies messages, tracebacks, captured output and parameters by itself, so the one place that sees
    all of them is the writer.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    @_hook
    def report_result(self, result: object) -> None:
        """Write a test's result."""
        self.writer.report_result(_cleaned(result))

    @_hook
    def report_container(self, container: object) -> None:
        """Write the fixtures of some tests."""
        self.writer.report_container(_cleaned(container))

    @_hook
    def report_globals(self, globals_item: object) -> None:
        """Write what belongs to the whole run."""
        self.writer.report_globals(_cleaned(globals_item))

    @_hook
    def report_attached_data(self, body: str | bytes, file_name: str) -> None:
        """Write an attachment."""
        self.writer.report_attached_data(_readable(body), file_name)

    @_hook
    def report_attached_file(self, source: str, file_name: str) -> None:
        """Write an attachment that lies in a file."""
        self.writer.report_attached_data(_readable(Path(source).read_bytes()), file_name)


def install(config: pytest.Config) -> bool:
    """Put `Redacting` before allure's writer until the run ends; True when Allure results are being written.

    Call it in `pytest_configure` with `trylast`, in the controller and in every worker.
    """
    writer = _writer()
    if writer is None:
        return False
    manager = allure_commons.plugin_manager
    guard = Redacting(writer)
    manager.unregister(plugin=writer)
    manager.register(guard)

    def restore() -> None:
        # allure-pytest's own clean-up runs after this one and takes its writer away by name.
        manager.unregister(plugin=guard)
        manager.register(writer)

    config.add_cleanup(restore)
    return True


def spare(config: pytest.Config) -> None:
    """Let `--clean-alluredir` empty the folder once, by the controller: a worker that starts again would empty it too.

    Call it in `pytest_cmdline_main` with `tryfirst`: a worker reads the command line anew and configures after that.
    """
    if hasattr(config, "workerinput"):
        config.option.clean_alluredir = False


def active() -> bool:
    """Whether Allure results are being written in this process."""
    return _writer() is not None or any(isinstance(each, Redacting) for each in _plugins())


def enrich(test: TestRecord, *, severity: str = "") -> None:
    """Give the running test its sentence, labels, matrices, evidence, manifests and diagnostics, if Allure is on.

    Call it once a test, in `pytest_runtest_makereport` of the phase that decides (`call`, or a `setup` that did not
    pass): earlier, allure-pytest sets its own title over ours; later, the test is closed.

    Args:
        test: The record as it will stand in `results.json`.
        severity: Allure's severity; by default `critical` where a denial was expected (an attacker gets in when it
            fails), else `normal`.
    """
    if not active():
        return
    case = words.case(test)
    area = test.area or "other"
    hooks = allure_commons.plugin_manager.hook
    hooks.add_title(test_title=redact(f"{test.sentence} [{case}]" if case else test.sentence))
    labels = {
        "parentSuite": PARENT_SUITE,
        "suite": area,
        "subSuite": test.file,
        "feature": test.capability or area,
        "severity": severity or ("critical" if _denies(test) else "normal"),
        "area": area,
    }
    for name, value in labels.items():
        hooks.add_label(label_type=name, labels=(value,))
    for matrix in test.matrices:
        attach_matrix(matrix)
    for policy in test.policies:
        attach_policy(policy)
    closing = words.latencies_of(test)
    if closing:
        attach_text("how long each flow took", closing)
    for each in test.behaviours:
        attach_text(f"behaviour: {each['name']}: {each['value']}", str(each.get("detail", "")) or str(each["value"]))
    for attachment in test.attachments:
        attach_text(str(attachment["name"]), str(attachment["text"]), str(attachment["type"]))


def attach_matrix(matrix: Mapping[str, Any]) -> None:
    """Attach a matrix as text, as a table, and as JSON the evidence of the flows that do not hold (else of all)."""
    title = str(matrix["title"])
    attach_text(f"matrix: {title}", str(matrix["text"]), "text/plain")
    attach_text(f"matrix: {title} (table)", html.matrix_page(matrix), "text/html")
    if matrix.get("diagnosis"):
        attach_text(f"diagnosis: {title}", "\n".join(str(check["text"]) for check in matrix["diagnosis"]))
    wrong = [cell for cell in matrix["cells"] if words.troubles(cell)]
    shown = scrub(wrong or matrix["cells"])
    name = "evidence of what does not hold" if wrong else "evidence"
    attach_text(f"{name}: {title}", json.dumps(shown, indent=1, ensure_ascii=False), "application/json")


def attach_policy(policy: Mapping[str, Any]) -> None:
    """Attach a policy's manifest, named with its enforcement latency."""
    latency = policy.get("enforcement_latency")
    after = "" if latency is None else f", in force after {words.seconds(latency)}"
    attach_text(f"policy: {policy['name']}{after}", str(policy["manifest"]), "application/yaml")


def attach_text(name: str, text: str, kind: str = "text/plain") -> None:
    """Attach a text under its media type, secrets hidden."""
    extension = _EXTENSIONS.get(kind, "txt")
    hooks = allure_commons.plugin_manager.hook
    hooks.attach_data(body=redact(text), name=redact(name), attachment_type=kind, extension=extension)


def environment(run: RunRecord, folder: Path, variables: Mapping[str, str] | None = None) -> list[Path]:
    """Write what Allure shows of the whole run; returns the files. The controller calls it, once, at the end.

    Args:
        run: The run.
        folder: The folder given to `--alluredir`.
        variables: Environment variables to read the CI's name and address from; by default the process's own.

    Raises:
        UsageError: The folder cannot be written.
    """
    run = run.scrubbed()
    facts = [
        *words.fingerprint(run),
        ("provider", run.cluster.provider),
        ("eastwest", run.eastwest),
        ("python", run.python),
        ("platform", run.platform),
        ("seed", run.seed),
        ("command", run.command),
        *((f"flows {name}", words.distribution(seen)) for name, seen in words.distributions(run)),
        *((f"behaviour {name}", value) for name, value in words.behaviours(run).items()),
    ]
    lines = [f"{_property(name, key=True)}={_property(value)}\n" for name, value in facts if value]
    files = [
        write_text(folder / "environment.properties", "".join(lines)),
        write_text(folder / "categories.json", json.dumps(CATEGORIES, indent=1) + "\n"),
    ]
    known = executor(os.environ if variables is None else variables)
    if known:
        files.append(write_text(folder / "executor.json", json.dumps(known, indent=1) + "\n"))
    return files


def executor(variables: Mapping[str, str]) -> dict[str, str]:
    """Which CI job made the results, as Allure wants it; empty outside of a known CI."""
    if variables.get("GITHUB_ACTIONS") == "true":
        server, repository = variables.get("GITHUB_SERVER_URL", ""), variables.get("GITHUB_REPOSITORY", "")
        run = variables.get("GITHUB_RUN_ID", "")
        found = ("GitHub Actions", "github", f"{server}/{repository}/actions/runs/{run}", "GITHUB_RUN_NUMBER")
        workflow = variables.get("GITHUB_WORKFLOW", "")
    elif variables.get("GITLAB_CI") == "true":
        found = ("GitLab CI", "gitlab", variables.get("CI_JOB_URL", ""), "CI_PIPELINE_IID")
        workflow = variables.get("CI_JOB_NAME", "")
    elif variables.get("JENKINS_URL"):
        found = ("Jenkins", "jenkins", variables.get("BUILD_URL", ""), "BUILD_NUMBER")
        workflow = variables.get("JOB_NAME", "")
    else:
        return {}
    name, kind, address, order = found
    number = variables.get(order, "")
    facts = {"name": name, "type": kind, "buildUrl": redact(address), "buildOrder": number}
    facts["buildName"] = f"{workflow} #{number}" if workflow and number else workflow
    return {key: value for key, value in facts.items() if value}


_EXTENSIONS = {
    "text/plain": "txt",
    "text/html": "html",
    "application/json": "json",
    "application/yaml": "yaml",
    "text/csv": "csv",
}


def _plugins() -> list[object]:
    return list(allure_commons.plugin_manager.get_plugins())


def _writer() -> Writer | None:
    found = (each for each in _plugins() if isinstance(each, AllureFileLogger))
    return cast("Writer | None", next(found, None))


def _denies(test: TestRecord) -> bool:
    return any(cell["expected_mark"] == "X" for matrix in test.matrices for cell in matrix["cells"])


def _readable(body: str | bytes) -> str | bytes:
    """A text with its secrets hidden; bytes that are no text stay as they are."""
    try:
        return redact(body if isinstance(body, str) else body.decode("utf-8"))
    except UnicodeDecodeError:
        return body


def _cleaned(item: Any) -> Any:
    """The item with every text inside redacted; attrs objects are changed in place."""
    if isinstance(item, str):
        return redact(item)
    if isinstance(item, list):
        return [_cleaned(each) for each in item]
    if hasattr(item, "__attrs_attrs__"):
        for name, value in vars(item).items():
            setattr(item, name, _cleaned(value))
    return item


def _property(text: str, *, key: bool = False) -> str:
    """Text as Java's property files hold it: one line, ASCII, separators escaped in keys."""
    special = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    if key:
        special |= {" ": "\\ ", ":": "\\:", "=": "\\=", "#": "\\#", "!": "\\!"}
    escaped = "".join(special.get(character, character) for character in text)
    units = escaped.encode("utf-16-be")
    pairs = [int.from_bytes(units[index : index + 2], "big") for index in range(0, len(units), 2)]
    return "".join(chr(unit) if 0x20 <= unit < 0x7F else f"\\u{unit:04x}" for unit in pairs)
