"""Tells what stands between this machine and a run, and the command that removes it.

What belongs here: findings for the lab, kind and existing clusters, their table and JSON. What does not: the list of
what the lab needs (`lab/requirements`), trying it on the kernel (`lab/trial`), the command line (`eastwest.py`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from clusters import kubeconfig
from clusters.addons import istio
from clusters.lab import requirements
from clusters.profile import Profile
from flows.errors import HarnessError, UsageError

UNPREPARED: Final = 10
"""The exit code when something that is needed is not there."""
WIDTH: Final = 80
_MEMORY: Final = 1024
"""MiB that should be free: the suites' lab with its two nodes and their pods, with room."""
_DEADLINE, _TRIAL_DEADLINE = 15.0, 90.0
_PURPOSE: Final = {
    "loopback": "a port on 127.0.0.1 for the API server",
    "namespaces": "user, network, mount and PID namespaces",
    "mounts": "a tmpfs and a /proc of the lab's own",
    "links": "a bridge and veth pairs between nodes",
    "namespaces of pods": "a network namespace for each pod",
    "nftables": "sets, verdict maps and address translation",
    "containers": "a container under bubblewrap",
}
_TRIAL_REMEDY: Final = {
    "loopback": "sudo ip link set lo up",
    "links": "sudo modprobe -a bridge veth",
    "nftables": "sudo modprobe -a nf_tables nft_ct nft_nat nft_numgen",
    "mounts": "in a container: run it with --security-opt systempaths=unconfined",
    "containers": "in a container: run it with --security-opt systempaths=unconfined",
}
_USERNS: Final = "docs/how-to/user-namespaces.md"


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: `lab`, `kind` or `existing`: which provider needs it.
        name: The thing.
        what: What was seen.
        remedy: The command or setting that mends it; empty where nothing is wrong.
    """

    area: str
    name: str
    level: Level
    what: str
    remedy: str = ""


def diagnose(provider: str = "lab", profile: Profile | None = None) -> list[Finding]:
    """What this machine has and lacks, for every provider.

    Args:
        provider: The one that is wanted: what it lacks is a failure, what only the others lack a warning.
        profile: Whose add-ons and image archives are looked at besides.
    """
    found = [*_lab(), *_kind(), *(_wanted(profile) if profile else []), *_existing()]
    return [
        each
        if each.area == provider or each.level is not Level.FAIL
        else Finding(area=each.area, name=each.name, level=Level.WARN, what=each.what, remedy=each.remedy)
        for each in found
    ]


def exit_code(findings: Iterable[Finding]) -> int:
    """0 when nothing that is needed is missing, else 10."""
    return UNPREPARED if any(each.level is Level.FAIL for each in findings) else 0


def to_json(findings: Iterable[Finding]) -> str:
    """The findings as a JSON list, one object each."""
    return json.dumps([asdict(each) for each in findings], indent=2)


def report(findings: Sequence[Finding]) -> str:
    """A table of at most 80 columns; each remedy stands under its finding."""
    names = max((len(each.name) for each in findings), default=0)
    lines: list[str] = []
    for area in dict.fromkeys(each.area for each in findings):
        lines.append(area)
        for each in (one for one in findings if one.area == area):
            start = f"  {each.level:<4}  {each.name:<{names}}  "
            texts = textwrap.wrap(each.what, WIDTH - len(start)) or [""]
            lines.append((start + texts[0]).rstrip())
            lines += [" " * len(start) + text for text in texts[1:]]
            if each.remedy:
                wrapped = textwrap.wrap(each.remedy, WIDTH - 11, break_long_words=False, break_on_hyphens=False)
                lines += [f"        {'→' if not number else ' '} {text}" for number, text in enumerate(wrapped)]
    failed = [each.name for each in findings if each.level is Level.FAIL]
    warned = sum(each.level is Level.WARN for each in findings)
    summary = f"missing: {', '.join(failed)}" if failed else "nothing that is needed is missing"
    lines.append(textwrap.shorten(f"{summary}; {warned} warnings", WIDTH))
    return "\n".join(lines)


def _seen(area: str, name: str, what: str) -> Finding:
    return Finding(area=area, name=name, level=Level.OK, what=what)


def _bad(area: str, name: str, what: str, remedy: str, level: Level = Level.FAIL) -> Finding:
    return Finding(area=area, name=name, level=level, what=what, remedy=remedy)


def _ask(command: Sequence[str]) -> tuple[int, str]:
    """A command's exit code and the most telling line of what it said; 127 when it is not there."""
    path = requirements.find(command[0])
    if not path:
        return 127, "not found on PATH"
    try:
        done = subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=_DEADLINE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 126, str(error)
    text = (done.stdout.strip() or done.stderr.strip()) if done.returncode == 0 else done.stderr.strip()
    lines = [line for line in text.splitlines() if line.strip()] or [f"exit {done.returncode}"]
    return done.returncode, lines[0 if done.returncode == 0 else -1].strip()


def _lab() -> list[Finding]:
    python = platform.python_version()
    findings = [_seen("lab", "python", f"{python} ({sys.executable})")]
    if sys.version_info < requirements.PYTHON:
        findings = [_bad("lab", "python", f"{python} is too old", "install Python 3.11 or later")]
    versions = {"nft": "--version", "ip": "-V", "bwrap": "--version"}
    absent = {tool.command for tool in requirements.missing()}
    for tool in requirements.TOOLS:
        if tool.command in absent:
            remedy = requirements.remedy([tool.package])
            findings.append(_bad("lab", tool.command, f"not found; the lab's {tool.why}", remedy))
        else:
            _, version = _ask([tool.command, versions[tool.command]])
            findings.append(_seen("lab", tool.command, f"{version} ({requirements.find(tool.command)})"))
    if not absent:
        findings += judge_trial(_trial(), privileged=os.geteuid() == 0)
    return [*findings, memory(_text("/proc/meminfo")), _cgroups()]


def _trial() -> list[dict[str, Any]]:
    """What `lab/trial` printed; a line about itself when it could not run."""
    command = [sys.executable, "-m", "clusters.lab.trial"]
    root = Path(__file__).resolve().parent.parent
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_DEADLINE, check=False, cwd=root)
    except subprocess.TimeoutExpired:
        return [{"step": "namespaces", "ok": False, "detail": f"the trial did not end within {_TRIAL_DEADLINE:.0f} s"}]
    steps = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    last = (done.stderr.strip().splitlines() or ["no word"])[-1]
    return steps or [{"step": "namespaces", "ok": False, "detail": f"the trial did not start: {last}"}]


def judge_trial(
    steps: Sequence[dict[str, Any]], *, privileged: bool, proc_sys: Path = Path("/proc/sys"), etc: Path = Path("/etc")
) -> list[Finding]:
    """Findings from the trial's steps; where namespaces are refused, the settings that are to blame.

    Args:
        steps: What `lab/trial` printed.
        privileged: Whether the user is root.
        proc_sys: Where kernel settings are read; etc: where AppArmor's profiles are.
    """
    findings: list[Finding] = []
    for step in steps:
        name, detail = str(step["step"]), str(step["detail"])
        if step["ok"]:
            findings.append(_seen("lab", name, _PURPOSE.get(name, "works")))
        elif name == "namespaces":
            findings.append(_refused(detail, privileged=privileged, proc_sys=proc_sys, etc=etc))
        else:
            findings.append(_bad("lab", name, detail, _TRIAL_REMEDY.get(name, "the line above is the kernel's")))
    told = {finding.name for finding in findings}
    if all(finding.level is Level.OK for finding in findings):
        findings += [
            _bad("lab", name, "was not tried: the trial ended early", "free memory, then try again")
            for name in _PURPOSE
            if name not in told
        ]
    return findings


def _refused(detail: str, *, privileged: bool, proc_sys: Path, etc: Path) -> Finding:
    blamed = requirements.restrictions(privileged=privileged, root=proc_sys)
    if not blamed:
        what = f"{detail}; no kernel setting is to blame: a chroot or a container's filter refuses them"
        remedy = f"in a container: --security-opt seccomp=unconfined --security-opt apparmor=unconfined; see {_USERNS}"
        return _bad("lab", "namespaces", what, remedy)
    reasons = "; ".join(f"{setting.name}={setting.value}: {setting.why}" for setting in blamed)
    remedy = "; ".join(setting.remedy for setting in blamed)
    if any("apparmor" in setting.name for setting in blamed):
        profiles = apparmor_profiles(etc)
        reasons += f" (profiles that do, for python or bwrap: {', '.join(profiles) or 'none'})"
        remedy += f"; or an AppArmor profile for {Path(sys.executable).resolve()}: {_USERNS}"
    return _bad("lab", "namespaces", f"{detail}; {reasons}", remedy)


def apparmor_profiles(etc: Path = Path("/etc")) -> list[str]:
    """Names of the AppArmor profile files that allow user namespaces to a Python or to bubblewrap."""
    found: list[str] = []
    for path in sorted(etc.joinpath("apparmor.d").glob("*")):
        text = _text(path) if path.is_file() else ""
        if re.search(r"^\s*userns\b", text, re.MULTILINE) and re.search(r"/(python[\d.*]*|bwrap)\b", text):
            found.append(path.name)
    return found


def memory(meminfo: str) -> Finding:
    """Whether there is memory enough for a lab, from the text of /proc/meminfo."""
    match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, re.MULTILINE)
    if match is None:
        return _bad("lab", "memory", "cannot be told", "mount /proc", Level.WARN)
    free = int(match[1]) // 1024
    if free < _MEMORY:
        what = f"{free} MiB available; the suites' lab wants {_MEMORY} MiB"
        return _bad("lab", "memory", what, "end other programs, or run fewer workers", Level.WARN)
    return _seen("lab", "memory", f"{free} MiB available")


def _cgroups() -> Finding:
    version = "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1 or none"
    return _seen("lab", "cgroups", f"{version}; the lab does not use them")


def _kind() -> list[Finding]:
    findings: list[Finding] = []
    code, said = _ask(["docker", "version", "--format", "{{.Server.Version}}"])
    if code:
        remedy = "install Docker" if code == 127 else "start Docker, or join its group: sudo usermod -aG docker $USER"
        findings.append(_bad("kind", "docker", said, remedy))
    else:
        findings.append(_seen("kind", "docker", f"engine {said}"))
    for name, question, remedy in (
        ("kind", ["kind", "version"], "install kind from its releases and put it on PATH"),
        ("kubectl", ["kubectl", "version", "--client"], "install kubectl and put it on PATH"),
    ):
        code, said = _ask(question)
        findings.append(_bad("kind", name, said, remedy) if code else _seen("kind", name, said))
    if importlib.util.find_spec("pytest_kind") is None:
        what = "not installed: it is GPL-3, hence optional"
        findings.append(
            _bad("kind", "pytest-kind", what, "make bench installs it; elsewhere: pip install 'eastwest[kind]'")
        )
    else:
        findings.append(_seen("kind", "pytest-kind", "installed"))
    return findings


def _wanted(profile: Profile) -> list[Finding]:
    """What the profile's cluster is made of besides kind itself: add-ons' tools and files, image archives."""
    if profile.provider != "kind":
        return []
    findings: list[Finding] = []
    if "istio" in profile.addons:
        try:
            setup = istio.prepare(profile.addons["istio"])
        except HarnessError as error:
            what, _, remedy = error.message.partition("; ")
            findings.append(_bad("kind", "istioctl", what, remedy or "see docs/how-to/istio.md"))
        else:
            values = f", values {setup.values}" if setup.values else ""
            findings.append(_seen("kind", "istioctl", f"{setup.version} ({setup.istioctl}{values})"))
    listed = os.environ.get("EASTWEST_IMAGES", "").split(os.pathsep)
    archives = [*(each for each in listed if each), *profile.images]
    for archive in archives:
        if not os.access(Path(archive).expanduser(), os.R_OK):
            remedy = "docker save IMAGE -o FILE, or take it from EASTWEST_IMAGES"
            findings.append(_bad("kind", "images", f"{archive} cannot be read", remedy))
    if not archives:
        findings.append(_seen("kind", "images", "no archives: the nodes pull from registries (or set EASTWEST_IMAGES)"))
    elif all(each.name != "images" for each in findings):
        findings.append(_seen("kind", "images", f"{len(archives)} archives to load into the nodes"))
    return findings


def _existing() -> list[Finding]:
    code, said = _ask(["kubectl", "version", "--client"])
    optional = _bad("existing", "kubectl", f"{said}; only for looking inside by hand", "install kubectl", Level.WARN)
    findings = [optional if code else _seen("existing", "kubectl", said)]
    try:
        merged = kubeconfig.read("")
    except UsageError as error:
        what, _, remedy = error.message.partition("; ")
        findings.append(_bad("existing", "kubeconfig", what.removeprefix("kubeconfig "), remedy))
    else:
        count = len(merged.contexts)
        findings.append(_seen("existing", "kubeconfig", f"{merged.where}: {count} contexts; name one with --context"))
    return findings


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
