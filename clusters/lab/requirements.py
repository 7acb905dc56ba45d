"""What the lab needs of this machine: commands and kernel settings, each with the package or the setting that gives it.

What belongs here: the one list that the bootstrap, `doctor` and the supervisor share; it imports the standard library
only, because the bootstrap reads it before there is a virtual environment. What does not: trying things (`trial`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PYTHON: Final = (3, 11)
"""The oldest Python that eastwest runs on."""

_SYSTEM_FOLDERS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_PROC_SYS: Final = Path("/proc/sys")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A command that the lab calls.

    Attributes:
        command: Its name on PATH.
        package: The Debian and Ubuntu package that has it.
        why: What the lab does with it.
    """

    command: str
    package: str
    why: str


TOOLS: Final = (
    Tool(command="nft", package="nftables", why="NetworkPolicy and Services in the kernel"),
    Tool(command="ip", package="iproute2", why="links, addresses and routes of nodes and pods"),
    Tool(command="bwrap", package="bubblewrap", why="the file system and processes of a container"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A kernel setting that keeps ordinary users from making namespaces.

    Attributes:
        name: As `sysctl` spells it.
        value: What it is now.
        wanted: What it must be, as `sysctl -w` takes it.
        why: What it does to the lab.
    """

    name: str
    value: str
    wanted: str
    why: str

    @property
    def remedy(self) -> str:
        """The command that changes it."""
        return f"sudo sysctl -w {self.name}={self.wanted}"


def search_path(environment: Mapping[str, str] = os.environ) -> str:
    """PATH with the system's folders at its end: on Debian `nft` is in /usr/sbin, not on everyone's PATH."""
    given = [each for each in environment.get("PATH", os.defpath).split(os.pathsep) if each]
    return os.pathsep.join(dict.fromkeys([*given, *_SYSTEM_FOLDERS]))


def find(command: str) -> str:
    """The full path of a command, or an empty string."""
    return shutil.which(command, path=search_path()) or ""


def missing() -> list[Tool]:
    """The commands that this machine lacks, in the order of `TOOLS`; empty when the lab has all it calls."""
    return [tool for tool in TOOLS if not find(tool.command)]


def remedy(packages: list[str]) -> str:
    """The command that installs packages, as the user at hand has to type it."""
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install --no-install-recommends {' '.join(packages)}"


def read_setting(name: str, root: Path = _PROC_SYS) -> str:
    """A kernel setting's value, or an empty string where this kernel does not have it."""
    try:
        return root.joinpath(*name.split(".")).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def restrictions(*, privileged: bool, root: Path = _PROC_SYS) -> list[Setting]:
    """The settings that forbid this user's namespaces.

    Args:
        privileged: Whether the user is root, whom only the limit concerns.
        root: Where the settings are read.
    """
    found: list[Setting] = []
    limit = read_setting("user.max_user_namespaces", root)
    if limit == "0":
        why = "no user namespaces at all may be made"
        found.append(Setting(name="user.max_user_namespaces", value=limit, wanted="10000", why=why))
    if privileged:
        return found
    name = "kernel.unprivileged_userns_clone"
    if read_setting(name, root) == "0":
        found.append(Setting(name=name, value="0", wanted="1", why="ordinary users may not make user namespaces"))
    name = "kernel.apparmor_restrict_unprivileged_userns"
    if read_setting(name, root) == "1":
        why = "user namespaces of ordinary users are powerless unless an AppArmor profile says `userns,`"
        found.append(Setting(name=name, value="1", wanted="0", why=why))
    return found
