"""eastwest: proves that a Kubernetes cluster's east-west traffic rules hold.

What can I type: the verbs below, each a thin call into the packages. What can I import: the names in `__all__`, for
tests of your own. What does not belong here: anything a verb does.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from typing import Annotated

import typer

from flows.errors import FIRST_LINE, HarnessError, InconclusiveError, UsageError, VerdictError
from flows.matrix import Cell, Matrix
from flows.model import Evidence, Expected, Flow, Kind, Protocol, Verdict, Workload, answered, denied, exactly
from policies.behaviour import (
    Access,
    Action,
    Backend,
    ClientMode,
    ClientTls,
    Condition,
    HttpRoute,
    Mode,
    Mtls,
    Operation,
    RequestMatch,
    Routing,
    Rule,
    Scope,
    Source,
    Text,
    Tokens,
    marked,
    namespace,
    split,
    whole_mesh,
    workload,
)

__all__ = [
    "FIRST_LINE",
    "Access",
    "Action",
    "Backend",
    "Cell",
    "ClientMode",
    "ClientTls",
    "Condition",
    "Evidence",
    "Expected",
    "Flow",
    "HarnessError",
    "HttpRoute",
    "InconclusiveError",
    "Kind",
    "Matrix",
    "Mode",
    "Mtls",
    "Operation",
    "Protocol",
    "RequestMatch",
    "Routing",
    "Rule",
    "Scope",
    "Source",
    "Text",
    "Tokens",
    "UsageError",
    "Verdict",
    "VerdictError",
    "Workload",
    "answered",
    "denied",
    "exactly",
    "main",
    "marked",
    "namespace",
    "split",
    "whole_mesh",
    "workload",
]

USAGE, UNPREPARED, UNPROVED, LEFT_BEHIND = 4, 10, 11, 12
OUT = "reports/out"
MOST_WORKERS, MORE_IN_THE_LAB = 4, 2
"""Workers wait most of the time, so one more than there are processors, in the lab two; each has a world of its own."""

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__.partition("\n")[0])
lab = typer.Typer(no_args_is_help=True, help="A cluster to play with, on this machine's own kernel.")
cluster = typer.Typer(no_args_is_help=True, help="A real cluster under kind, kept until you take it down.")
report = typer.Typer(no_args_is_help=True, help="Look at reports and compare runs.")
app.add_typer(lab, name="lab")
app.add_typer(cluster, name="cluster")
app.add_typer(report, name="report")

Paths = Annotated[
    list[str] | None, typer.Argument(metavar="[PATH]…", help="Tests; by default every suite of eastwest.")
]
ProfileName = Annotated[str, typer.Option("--profile", help="lab, kind-calico, existing, or a YAML file.")]
Keep = Annotated[str, typer.Option(help="What stays afterwards, to look into: never, failed or always.")]
Out = Annotated[str, typer.Option(help="Folder for results.json, report.html, junit.xml and Allure's results.")]
Kubeconfig = Annotated[str, typer.Option(help="As kubectl's.")]
Context = Annotated[str, typer.Option(help="As kubectl's; an existing cluster is never guessed.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Stay inside this namespace.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def verify(
    paths: Paths = None,
    profile: ProfileName = "lab",
    expression: Annotated[str, typer.Option("-k", metavar="EXPR", help="Only tests that match, as pytest's -k.")] = "",
    workers: Annotated[int, typer.Option(help="Processes; -1 chooses, 0 runs in one (with --namespace always).")] = -1,
    require: Annotated[list[str] | None, typer.Option(help="A capability that must be there.")] = None,
    keep: Keep = "never",
    out: Out = OUT,
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    namespace: Namespace = "",
    mutant: Annotated[str, typer.Option(help="Break the lab's data plane in this way; see `lab mutants`.")] = "",
    image: Annotated[list[str] | None, typer.Option(help="NAME=PATH for the lab, an archive for kind.")] = None,
    allow_cluster_wide: Annotated[
        bool, typer.Option("--allow-cluster-wide", help="Let tests write what a cluster that is not ours shares.")
    ] = False,
    canary: Annotated[bool, typer.Option(help="Ask first whether the cluster enforces policies at all.")] = True,
    extra: Annotated[str, typer.Option("--pytest", help="Further words for pytest, e.g. '-x --maxfail=3'.")] = "",
) -> int:
    """Run suites against a cluster and write the reports."""
    import pytest

    targets = paths or [_suites()]
    arguments = [
        "-p",
        "fixtures.plugin",
        "--import-mode=importlib",
        "--eastwest-progress",
        "-qq",
        "--no-header",
        "--no-summary",
    ]
    arguments += ["-o", "truncation_limit_lines=0", "-o", "truncation_limit_chars=0"]  # evidence is told whole
    arguments += ["--tb=short", "--cluster-profile", profile, "--cluster-keep", keep, "--eastwest-out", out]
    arguments += ["--alluredir", f"{out}/allure-results", "--clean-alluredir", f"--junitxml={out}/junit.xml"]
    number = _workers(workers, targets, namespace, profile)
    if number:
        arguments += ["-n", str(number), "--dist", "loadfile"]
    arguments += ["--allow-cluster-wide"] if allow_cluster_wide else []
    for flag, value in (
        ("-k", expression),
        ("--kubeconfig", kubeconfig),
        ("--cluster-context", context),
        ("--cluster-namespace", namespace),
        ("--cluster-mutant", mutant),
        ("--cluster-require", ",".join(require or [])),
        ("--cluster-image", ",".join(image or [])),
        ("--cluster-canary", "" if canary else "off"),
    ):
        arguments += [flag, value] if value else []
    return int(pytest.main([*arguments, *shlex.split(extra), *targets]))


def _suites() -> str:
    found = util.find_spec("suites")
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        raise UsageError("suites: not installed beside eastwest; give a path to tests")
    here = Path(places[0])
    return os.path.relpath(here) if here.is_relative_to(Path.cwd()) else str(here)


def _workers(asked: int, targets: list[str], namespace: str, profile: str) -> int:
    if namespace or os.environ.get("EASTWEST_CLUSTER_NAMESPACE"):
        if asked > 0:
            raise UsageError(
                f"--workers {asked}: each needs a namespace of its own; leave out --workers or --namespace"
            )
        return 0
    if asked >= 0:
        return asked
    one_file = len(targets) == 1 and targets[0].endswith((".yaml", ".yml"))  # of expectations: one world, one worker
    single = one_file or any("::" in target for target in targets)
    return 0 if single else min(MOST_WORKERS, (os.cpu_count() or 1) + (MORE_IN_THE_LAB if profile == "lab" else 1))


@app.command()
def agree(
    first: Annotated[str, typer.Argument(help="A profile, or the results.json of an earlier run.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    paths: Paths = None,
    expression: Annotated[str, typer.Option("-k", metavar="EXPR", help="Only tests that match, as pytest's -k.")] = "",
    out: Annotated[str, typer.Option(help="Folder; each run has one of its own in it.")] = f"{OUT}/agree",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    as_json: Json = False,
) -> int:
    """Run the same suites on two clusters and print where their verdicts differ."""
    from reports import agree as agreements

    asked = [*(paths or []), *(["-k", expression] if expression else [])]
    access = {"--kubeconfig": kubeconfig, "--context": context}
    found = agreements.ask((first, second), asked, Path(out), access)
    typer.echo(json.dumps(found.record(), indent=1) if as_json else found.text())
    return 0 if found.agrees else 1 if found.same else UNPROVED


@lab.command("up")
def lab_up(
    detach: Annotated[bool, typer.Option(help="Return at once and leave the lab running.")] = False,
    write_kubeconfig: Annotated[str, typer.Option(metavar="FILE", help="Write a kubeconfig here.")] = "",
    nodes: Annotated[int, typer.Option(min=1, help="How many nodes.")] = 2,
    ip_family: Annotated[str, typer.Option(help="ipv4, ipv6 or dual.")] = "ipv4",
    mesh: Annotated[str, typer.Option(help="istio or none.")] = "none",
    mesh_revision: Annotated[list[str] | None, typer.Option(help="A control plane besides the default one.")] = None,
    mutant: Annotated[str, typer.Option(help="Break the data plane in this way.")] = "",
    image: Annotated[list[str] | None, typer.Option(metavar="NAME=PATH", help="A folder or archive as image.")] = None,
    port: Annotated[int, typer.Option(help="Loopback port of the API server; 0 takes a free one.")] = 0,
) -> int:
    """Start a lab and print how to reach it."""
    from clusters.lab import commands

    return commands.up(
        detach=detach,
        write_kubeconfig=write_kubeconfig,
        nodes=nodes,
        ip_family=ip_family,
        mesh=mesh,
        mesh_revisions=tuple(mesh_revision or ()),
        mutant=mutant,
        images=tuple(image or ()),
        port=port,
    )


@lab.command("down")
def lab_down(name: Annotated[str, typer.Argument(help="Which lab; needed when there are several.")] = "") -> int:
    """End a detached lab."""
    from clusters.lab import commands

    return commands.down(name or None)


@lab.command("status")
def lab_status(as_json: Json = False) -> int:
    """Show the labs of this user, and clear what dead ones left."""
    from clusters.lab import commands

    return commands.status(as_json=as_json)


@lab.command("mutants")
def lab_mutants() -> int:
    """List the broken data planes that `--mutant` knows."""
    from clusters.lab import commands

    return commands.mutants()


@cluster.command("up")
def cluster_up(
    profile: ProfileName = "kind-calico",
    name: Annotated[str, typer.Option(help="Name of the cluster; generated by default.")] = "",
    kubeconfig: Annotated[str, typer.Option("--write-kubeconfig", metavar="FILE", help="Write it here.")] = "",
) -> int:
    """Create a cluster from a profile and leave it running."""
    from clusters import commands

    return commands.up(profile, name=name, write_kubeconfig=kubeconfig)


@cluster.command("down")
def cluster_down(name: Annotated[str, typer.Argument(help="The cluster's name, as `cluster up` printed it.")]) -> int:
    """Delete a cluster that `cluster up`, or `verify --keep`, left running."""
    from clusters import commands

    return commands.down(name)


@app.command()
def sweep(
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    namespace: Namespace = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> int:
    """Remove what dead runs left in a cluster: only our objects whose lease is over."""
    from clusters import commands

    return commands.sweep(kubeconfig=kubeconfig, context=context, namespace=namespace, dry_run=dry_run)


@report.command("open")
def report_open(path: Annotated[Path, typer.Argument(help="A report, or the folder of a run.")] = Path(OUT)) -> int:
    """Show the report in a browser."""
    from reports import open as opener

    typer.echo(opener.show(path))
    return 0


@report.command("compare")
def report_compare(before: Path, after: Path, as_json: Json = False) -> int:
    """Show which flows opened, closed or changed between two runs."""
    from reports import compare, results

    difference = compare.compare(results.read(before), results.read(after))
    typer.echo(json.dumps(difference.record(), indent=1) if as_json else difference.text())
    return 0


@app.command()
def matrix(
    namespaces: Annotated[
        list[str] | None, typer.Option("--namespace", "-n", help="Only pods of this one; may be repeated.")
    ] = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Pods of every namespace.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="table, json or yaml.")] = "table",
    kubeconfig: Kubeconfig = "",
    context: Context = "",
    port: Annotated[list[str] | None, typer.Option(help="Ask every pod on this port too: 8080, 53/udp.")] = None,
    every_pod: Annotated[bool, typer.Option("--every-pod", help="Ask each pod, not one of equal labels.")] = False,
    deny_timeout: Annotated[float, typer.Option(min=0.1, help="Seconds of silence that count.")] = 3.0,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds for all of it.")] = 300.0,
) -> int:
    """Measure who reaches whom right now, among the pods that are there."""
    from clusters.reach import command
    from reports import reach

    form = reach.check(output)
    found = command.matrix(
        kubeconfig=kubeconfig,
        context=context,
        namespaces=tuple(namespaces or ()),
        everywhere=everywhere,
        ports=tuple(port or ()),
        every_pod=every_pod,
        deny_timeout=deny_timeout,
        within=timeout,
    )
    typer.echo(reach.render(found, form))
    return 0


@app.command()
def doctor(profile: ProfileName = "lab", as_json: Json = False) -> int:
    """Say what this machine lacks for a profile, and the remedy."""
    from clusters import doctor as doctors
    from clusters import profile as profiles

    wanted = profiles.load(profile)
    findings = doctors.diagnose(wanted.provider, wanted)
    typer.echo(doctors.to_json(findings) if as_json else doctors.report(findings))
    return doctors.exit_code(findings)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; every error ends as one line and the exit code that DESIGN's table gives it."""
    sys.exit(_guarded(lambda: app(args=arguments, prog_name="eastwest", standalone_mode=False)))


def _guarded(run: Callable[[], object]) -> int:
    try:
        code = run()
    except typer.Abort:
        return 2
    except typer.TyperException as error:
        return _complain(error.format_message(), USAGE)
    except UsageError as error:
        return _complain(error.message, USAGE, error.detail)
    except HarnessError as error:
        return _complain(error.message, UNPREPARED, error.detail)
    except KeyboardInterrupt:
        return 2
    return code if isinstance(code, int) else 0


def _complain(line: str, code: int, detail: str = "") -> int:
    if line:
        typer.echo(f"eastwest: {line}", err=True)
    if detail:
        typer.echo(detail, err=True)
    return code


if __name__ == "__main__":
    main()
