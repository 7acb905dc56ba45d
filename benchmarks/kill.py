"""SIGKILL at random moments: nothing of a lab may remain but the kubeconfig asked for and a record, then cleared.

`python benchmarks/kill.py [MOMENTS] [SEED]` runs one `lab up` a moment, kills the command or (every other time) the
lab's supervisor between its first instant and well after it is ready, looks for processes, namespaces, mounts, nftables
rules and files, and prints one JSON document.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from clusters.lab import record, traces
from clusters.lab.traces import Traces

DEADLINE = 10.0
"""Seconds until nothing may be left of a killed lab."""
_SPAN = 1.6
"""The moments spread over this many times the time that a lab takes to be ready here and now."""
_UP = "import sys; from clusters.lab import commands; sys.exit(commands.up(nodes=2, write_kubeconfig=sys.argv[1]))"


def _rules() -> str:
    """The host's own nftables rules; empty where we may not ask."""
    done = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, timeout=DEADLINE, check=False)
    return done.stdout


def _until_ready() -> float:
    """Seconds from the command to its word that the lab is up."""
    with tempfile.TemporaryDirectory(prefix="eastwest-kill-") as home:
        os.environ["EASTWEST_STATE"] = home
        command = [sys.executable, "-P", "-c", _UP, f"{home}/kubeconfig"]
        started = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            if process.stdout is None or not process.stdout.readline():
                raise SystemExit("the lab does not come up at all; try `eastwest lab up`")
            took = time.monotonic() - started
            process.terminate()
            process.wait(DEADLINE)
    return took


def _mark(pid: int) -> str:
    """The id of the lab that a command is starting, from its supervisor's environment; empty before there is one."""
    for child in traces.descendants(pid):
        try:
            environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        for each in environment:
            if each.startswith(b"EASTWEST_LAB_ID="):
                return each.partition(b"=")[2].decode()
    return ""


def _share(seed: int, number: int) -> float:
    """A share of one that the seed alone decides, so that a run can be repeated."""
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


def moment(home: Path, victim: str, delay: float) -> dict[str, Any]:
    """One lab, killed `delay` seconds after its start; what was seen before and what was left after."""
    state, kubeconfig = home / "state", home / "kubeconfig"
    os.environ["EASTWEST_STATE"] = str(state)
    mounts, rules = traces.mounts(), _rules()
    command = [sys.executable, "-P", "-c", _UP, str(kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        poll = select.poll()
        handle = os.pidfd_open(process.pid)
        poll.register(handle, select.POLLIN)
        poll.poll(delay * 1000)
        os.close(handle)
        seen = Traces(lab_id=_mark(process.pid) or "none")
        seen.look()
        below = traces.descendants(process.pid)[1:]
        killed = min(below) if victim == "supervisor" and below else process.pid
        os.kill(killed, signal.SIGKILL)
        started = time.monotonic()
        left = seen.wait(DEADLINE)
        process.wait(DEADLINE)
        took = time.monotonic() - started
    cleared = [each.id for each in record.clear_stale()]
    folders = {home, state, state / "labs"}
    files = [str(path) for path in home.rglob("*") if path not in folders and path != kubeconfig]
    left += [f"file {path}" for path in files]
    left += [f"mount {each}" for each in sorted(set(traces.mounts()) - set(mounts))]
    left += ["nftables rules of the host changed"] if _rules() != rules else []
    kinds = sorted({each.partition(":")[0] for each in seen.own})
    return {
        "victim": victim if killed != process.pid else "owner",
        "after": round(delay, 3),
        "processes_seen": len(seen.starts),
        "namespaces_seen": f"{len(seen.own)} ({' '.join(kinds)})",
        "kubeconfig_written": kubeconfig.exists(),
        "records_cleared": len(cleared),
        "gone_within": round(took, 3),
        "left": left,
    }


def main() -> int:
    """Run the moments; 1 when anything was left."""
    moments = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbelow(1_000_000)
    longest, found = _SPAN * _until_ready(), []
    for number in range(moments):
        with tempfile.TemporaryDirectory(prefix="eastwest-kill-") as home:
            victim = ("owner", "supervisor")[number % 2]
            found.append(moment(Path(home), victim, longest * _share(seed, number)))
    left = sum(bool(each["left"]) for each in found)
    sys.stdout.write(json.dumps({"seed": seed, "moments": found, "with_leftovers": left}, indent=1) + "\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
