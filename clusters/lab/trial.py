"""Tries on this machine's kernel what a lab does, in namespaces of its own that end with this process.

`python -m clusters.lab.trial` prints one JSON line a step: `step`, `ok`, `detail`; what an earlier failure makes
impossible is not printed. What belongs here: the smallest use of each thing that the lab uses. What does not: what a
failure means to a person and how it is mended (`clusters/doctor.py`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from clusters.lab import requirements, system

_NAMESPACES: Final = system.CLONE_NEWUSER | system.CLONE_NEWNET | system.CLONE_NEWNS | system.CLONE_NEWPID
_FILTER: Final = """
table inet trial {
  set peers { type ipv4_addr; elements = { 192.0.2.1 } }
  map gates { type ifname : verdict; elements = { "lo" : accept } }
  chain forward {
    type filter hook forward priority -10
    ct state established,related accept
    ip daddr @peers iifname vmap @gates
  }
  chain translate {
    type nat hook prerouting priority -100
    ip daddr 192.0.2.9 tcp dport 80 dnat ip to numgen random mod 2 map { 0 : 192.0.2.1, 1 : 192.0.2.2 }
  }
}
"""
_LINKS: Final = (
    "link set lo up",
    "link add trial0 type bridge",
    "link add trial1 type veth peer name trial2",
    "link set trial1 master trial0",
    "link set trial1 up",
)
_CONTAINER: Final = ("bwrap", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run", "true")


def _report(step: str, detail: str = "") -> bool:
    line = json.dumps({"step": step, "ok": not detail, "detail": detail})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return not detail


def _try(step: str, action: Callable[[], object]) -> bool:
    try:
        action()
    except (OSError, system.KernelError) as error:
        return _report(step, str(error).strip().splitlines()[0])
    return _report(step)


def _enter() -> None:
    user, group = os.getuid(), os.getgid()
    system.unshare(_NAMESPACES)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")


def _mounts() -> None:
    system.make_mounts_private()
    system.mount("tmpfs", "/run", "tmpfs", "mode=755,size=64k")
    system.mount("proc", "/proc", "proc")


def _port() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        pass


def _inside() -> None:
    """The steps that need the namespaces; this process is their PID 1."""
    system.die_with_parent()
    if not _try("mounts", _mounts):
        return
    _try("links", lambda: system.ip(_LINKS))
    _try("namespaces of pods", lambda: os.close(system.new_network_namespace()))
    _try("nftables", lambda: system.nft(_FILTER))
    _try("containers", lambda: system.run(_CONTAINER))


def main() -> int:
    """Run every step; 0 always, because what failed is said in the lines."""
    os.environ["PATH"] = requirements.search_path()
    _try("loopback", _port)
    if not _try("namespaces", _enter):
        return 0
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            _inside()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
