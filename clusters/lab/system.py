"""The kernel's doors: namespaces, parent-death signals, and the runners of `ip` and `nft`.

What belongs here: ctypes (nothing else in the lab has it for these calls). What does not: what namespaces are for.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWCGROUP: Final = 0x02000000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

_PR_SET_PDEATHSIG: Final = 1
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_MNT_DETACH: Final = 2
_CLONE_PARENT: Final = 0x00008000
_SYS_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_CAPABILITY_VERSION_3: Final = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)
_libc_holding_the_gil = ctypes.PyDLL(None, use_errno=True)

COMMAND_DEADLINE: Final = 20.0
"""Seconds that `ip` or `nft` may take; they need milliseconds."""


class KernelError(Exception):
    """A kernel call or a system command failed; the message names it with its own words."""


def _check(result: int, call: str) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{call}: {os.strerror(errno)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags` for new ones (a new PID namespace begins with the next fork).

    Raises:
        OSError: The kernel refused; `errno` tells why (EPERM: user namespaces are restricted here).
    """
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int) -> None:
    """Join the namespace that `fd` refers to."""
    _check(_libc.setns(fd, flags), "setns")


def die_with_parent(sig: int = signal.SIGKILL) -> None:
    """Ask the kernel to send `sig` to this process when the thread that forked it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, sig, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def drop_privileges() -> None:
    """Give up every capability for good: no later `execve` of this process or its children gains one."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:  # beyond the last one that this kernel knows
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def fork_sibling() -> int:
    """Like `os.fork`, but the new process is a child of this process's parent; only for one that is about to `execve`.

    A process that joined a PID namespace lives in it only from its next fork on; as a sibling, that fork needs nobody
    to wait in between.
    """
    number = _SYS_CLONE.get(os.uname().machine)
    if number is None:
        raise KernelError(f"no number of the system call clone for {os.uname().machine}")
    pid = int(_libc_holding_the_gil.syscall(number, _CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0))
    if pid < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"clone: {os.strerror(errno)}")
    return pid


def make_mounts_private() -> None:
    """Keep every mount made from here on inside this mount namespace."""
    _check(_libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None), "mount --make-rprivate /")


def mount(source: str, target: str, kind: str, options: str = "") -> None:
    """Mount a file system of `kind` on `target`."""
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode() or None), f"mount {target}")


def unmount(target: str) -> None:
    """Take a mount away from the tree at once; the kernel lets go of it when its last user does."""
    _check(_libc.umount2(target.encode(), _MNT_DETACH), f"umount {target}")


def new_network_namespace() -> int:
    """A file descriptor (close-on-exec) of a new network namespace with its loopback up; it lives while it is open."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        try:
            fresh = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            ip(["link set lo up"])
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
    return fresh


@contextlib.contextmanager
def inside(netns: int | None) -> Iterator[None]:
    """This thread in the network namespace `netns` for a while, or where it is; what it starts meanwhile stays there.

    A child made so needs no `preexec_fn`, and is made by `vfork`: 20 ms earlier than by a copy of a node's process.
    """
    if netns is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(netns, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def run(command: Sequence[str], *, text: str = "", netns: int | None = None, deadline: float = COMMAND_DEADLINE) -> str:
    """Run a system command, optionally inside a network namespace; its standard output.

    Raises:
        KernelError: It is missing, failed or took too long; with its standard error.
    """
    try:
        with inside(netns):
            done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=deadline, check=False)
    except FileNotFoundError:
        raise KernelError(f"{command[0]}: not found on PATH; `eastwest doctor` names the package") from None
    except subprocess.TimeoutExpired:
        raise KernelError(f"{' '.join(command)}: no end within {deadline:.0f} s") from None
    if done.returncode != 0:
        raise KernelError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}\n{text}")
    return done.stdout


def ip(lines: Iterable[str], *, netns: int | None = None) -> None:
    """Run lines of `ip` in one batch; the first that fails ends it.

    A file descriptor of this process is named in a line as `/proc/{os.getpid()}/fd/N`, e.g. for `netns`.
    """
    run(["ip", "-batch", "-"], text="\n".join(lines) + "\n", netns=netns)


def nft(script: str, *, netns: int | None = None) -> None:
    """Apply an nftables script as one transaction: all of it or nothing."""
    run(["nft", "-f", "-"], text=script, netns=netns)
