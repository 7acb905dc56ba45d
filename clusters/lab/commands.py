"""`eastwest lab up|down|status|mutants` as plain functions: they print, return the exit code, and raise in one line.

What belongs here: what a person sees. What does not: how a lab lives (`handle`, `supervisor`), the options' parser.
"""

from __future__ import annotations

import datetime
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Final

from clusters.lab import kubeconfigs, record
from clusters.lab.handle import Lab
from clusters.lab.record import Record
from clusters.lab.wishes import lab_options
from flows.errors import UsageError

UP_TIMEOUT: Final = 30.0
"""Seconds until a lab must be ready; it needs about one."""
DEBUG: Final = "EASTWEST_DEBUG"
"""Environment variable: any value makes `lab up` tell where the time went."""


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _note(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _clear() -> None:
    """Forget labs that ended by themselves, and tell their last words once."""
    for gone in record.clear_stale():
        if gone.ended:
            _note(f"lab {gone.id} had ended: {gone.ended}")


def up(
    *,
    detach: bool = False,
    write_kubeconfig: str = "",
    nodes: int = 2,
    ip_family: str = "ipv4",
    mesh: str = "none",
    mesh_revisions: Iterable[str] = (),
    mutant: str = "",
    images: Iterable[str] = (),
    port: int = 0,
) -> int:
    """Start a lab and tell how to reach it; in the foreground, stay until Ctrl-C and end it.

    Args:
        detach: Return as soon as it is ready and leave it running.
        write_kubeconfig: A file for the kubeconfig, or empty: then the state record serves as one.
        mesh: `istio` or `none`.
        mesh_revisions: Control planes besides the default one.
        images: `NAME=PATH` pairs.
        port: The API server's port on 127.0.0.1; 0 for any.

    Raises:
        UsageError: A wish that cannot be had.
        PreparationError: The machine does not allow it, or the lab did not become ready.
    """
    started = time.monotonic()
    _clear()
    wanted = lab_options(
        nodes=nodes, mutant=mutant, images=images, ip_family=ip_family, mesh=mesh, mesh_revisions=mesh_revisions
    )
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: not a port; give 1 to 65535, or 0 for any")
    asked = Path(write_kubeconfig).expanduser().absolute() if write_kubeconfig else None
    if asked:
        kubeconfigs.check(asked)
    lab = Lab.start(wanted, port=port, kubeconfig=str(asked) if asked else "", timeout=UP_TIMEOUT, started=started)
    try:
        if asked:
            kubeconfigs.write(asked, lab.ready.kubeconfig)
        if os.environ.get(DEBUG):
            _account(lab.ready.timings)
        _introduce(lab, str(asked or lab.ready.record), detach=detach)
        if detach:
            lab.detach()
            return 0
        return _stay(lab)
    finally:
        lab.end()


def _account(timings: list[tuple[str, float]]) -> None:
    """Where the time went, on standard error."""
    before = 0.0
    for step, seconds in timings:
        _note(f"  {step:<12} {(seconds - before) * 1000:6.0f} ms   at {seconds * 1000:6.0f} ms")
        before = seconds


def _introduce(lab: Lab, kubeconfig: str, *, detach: bool) -> None:
    facts = lab.ready.facts
    broken = f", broken on purpose: {facts['mutant']}" if facts.get("mutant") else ""
    seconds = lab.ready.timings[-1][1] if lab.ready.timings else 0.0
    plural = "" if facts["nodes"] == "1" else "s"
    _say(
        f"lab {lab.id} is up: Kubernetes {facts['kubernetes']}, {facts['nodes']} node{plural}{broken} ({seconds:.1f} s)"
    )
    _say("")
    _say(f"  export KUBECONFIG={shlex.quote(kubeconfig)}")
    _say("  kubectl get pods -A")
    _say("")
    _say(f"End it with: eastwest lab down {lab.id}" if detach else "End it with Ctrl-C.")


def _stay(lab: Lab) -> int:
    """Wait until a person ends the lab (Ctrl-C, SIGTERM, `lab down`) or it ends by itself."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        lab.wait()
    except KeyboardInterrupt:
        _note(f"\nlab {lab.id}: ending")
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def down(name: str | None = None) -> int:
    """End a lab: the named one, or the only one.

    Raises:
        UsageError: No lab of that name, or several and none named.
    """
    _clear()
    running = record.running()
    if name is not None:
        chosen = [each for each in running if each.id == name]
        if not chosen:
            known = ", ".join(each.id for each in running)
            raise UsageError(f"lab {name}: no such lab is running; " + (f"there is {known}" if known else "none is"))
    elif len(running) > 1:
        raise UsageError(f"{len(running)} labs are running; name one of {', '.join(each.id for each in running)}")
    else:
        chosen = running
    if not chosen:
        _say("no lab is running")
    for each in chosen:
        record.end(each)
        _say(f"lab {each.id}: ended")
    record.clear_stale()
    return 0


def status(*, as_json: bool = False) -> int:
    """Show the labs of this user that run, and clear what dead ones left."""
    _clear()
    running = record.running()
    if as_json:
        _say(json.dumps([{**asdict(each), "kubeconfig": _kubeconfig(each)} for each in running], indent=2))
        return 0
    if not running:
        _say("no lab is running; start one with: eastwest lab up --detach")
    for each in running:
        since = datetime.datetime.fromtimestamp(each.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        how = "detached" if each.detached else "in the foreground"
        mesh = f", mesh {each.mesh}" if each.mesh != "none" else ""
        broken = f", mutant {each.mutant}" if each.mutant else ""
        _say(f"{each.id}  port {each.port}  {each.nodes} nodes{mesh}{broken}  {how}, pid {each.pid}, since {since}")
        _say(f"  export KUBECONFIG={shlex.quote(_kubeconfig(each))}")
    return 0


def _kubeconfig(each: Record) -> str:
    asked = each.kubeconfig
    return asked if asked and Path(asked).is_file() else str(each.path)


def mutants() -> int:
    """List the broken data planes that `--mutant` knows."""
    from clusters.lab.mutants import MUTANTS

    width = max(len(name) for name in MUTANTS)
    for name, mutant in MUTANTS.items():
        _say(f"{name:<{width}}  {mutant.breaks}")
    return 0
