"""The redirection of a meshed pod: `istio-init`'s arguments → nftables in the pod's own network namespace.

What belongs here: what is redirected and what is left alone, in Istio's order of rules, and the words that say so. What
does not: running `nft` (`system`), when it is run (the node).

Istio exempts its proxy by user id; the lab's exempts it by SO_MARK, since every user of a lab is one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

ALL: Final = "*"
TABLE: Final = "istio"
OUTBOUND, INBOUND, MARK = 15001, 15006, 1337
"""As in `model` (a test holds them equal), which every node of a lab without a mesh would have to import."""
PREFIX: Final = ("pilot-agent", "istio-iptables")
"""How a command begins that the node carries out itself."""
_HBONE: Final = 15008
_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
_OWN_SOURCE: Final = {4: "127.0.0.6", 6: "::6"}
"""The source address of what a proxy hands to its own application."""
_WORD: Final = {4: "ip", 6: "ip6"}


class RedirectError(Exception):
    """The arguments of `istio-init` mean nothing that the lab can do; the message names the argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirection:
    """What goes to the proxy.

    Attributes:
        inbound_ports: `*`, or the only ports that are redirected; `inbound_excluded` counts with `*` only, as in Istio.
        ranges: `*`, or the only destinations that are redirected; `ports` are redirected besides.
        excluded_ports, excluded_ranges: Destinations that are left alone, whatever the others say.
    """

    outbound: int = OUTBOUND
    inbound: int = INBOUND
    inbound_ports: tuple[str, ...] = (ALL,)
    inbound_excluded: tuple[str, ...] = ()
    ranges: tuple[str, ...] = (ALL,)
    excluded_ranges: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    excluded_ports: tuple[str, ...] = ()


_FLAGS: Final = {
    "-p": "outbound",
    "-z": "inbound",
    "-b": "inbound_ports",
    "-d": "inbound_excluded",
    "-i": "ranges",
    "-x": "excluded_ranges",
    "-q": "ports",
    "-o": "excluded_ports",
}


def is_redirection(command: Sequence[str]) -> bool:
    """Whether a container's command is the one that the node carries out itself."""
    return tuple(command[: len(PREFIX)]) == PREFIX


def parse(arguments: Sequence[str]) -> Redirection:
    """What `istio-iptables` is asked to do.

    Raises:
        RedirectError: A flag or a value that the lab does not know.
    """
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        flag = rest.pop(0)
        if flag.startswith("--log_output_level"):
            continue
        if flag not in _FLAGS and flag not in {"-u", "-g", "-m"}:
            raise RedirectError(f"istio-iptables: the lab does not do {flag}")
        if not rest:
            raise RedirectError(f"istio-iptables: {flag} needs a value")
        found[flag] = rest.pop(0)
    if found.get("-m", "REDIRECT") != "REDIRECT":
        raise RedirectError(f"istio-iptables: -m {found['-m']}: the lab redirects with REDIRECT only")
    return Redirection(
        outbound=int(_port("-p", found.get("-p", str(OUTBOUND)))),
        inbound=int(_port("-z", found.get("-z", str(INBOUND)))),
        inbound_ports=_ports("-b", found.get("-b", ALL)),
        inbound_excluded=_ports("-d", found.get("-d", "")),
        ranges=_ranges("-i", found.get("-i", ALL)),
        excluded_ranges=_ranges("-x", found.get("-x", "")),
        ports=_ports("-q", found.get("-q", "")),
        excluded_ports=_ports("-o", found.get("-o", "")),
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _port(flag: str, text: str) -> str:
    if not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise RedirectError(f"istio-iptables: {flag}: {text!r} is no port number")
    return str(int(text))


def _ports(flag: str, text: str) -> tuple[str, ...]:
    parts = _parts(text)
    return (ALL,) if parts == [ALL] else tuple(dict.fromkeys(_port(flag, part) for part in parts))


def _ranges(flag: str, text: str) -> tuple[str, ...]:
    parts = _parts(text)
    if parts == [ALL]:
        return (ALL,)
    try:
        return tuple(str(ipaddress.ip_network(part, strict=False)) for part in parts)
    except ValueError as error:
        raise RedirectError(f"istio-iptables: {flag}: {error}") from None


def script(wanted: Redirection, addresses: Iterable[str]) -> str:
    """One nftables transaction that puts it in force for the families of the pod's addresses, however often it runs."""
    families = sorted({ipaddress.ip_address(each).version for each in addresses})
    return "".join(_table(wanted, family) for family in families)


def _table(wanted: Redirection, family: int) -> str:
    name = f"{_WORD[family]} {TABLE}"
    inbound = ["type nat hook prerouting priority -100", *_inbound(wanted)]
    outbound = ["type nat hook output priority -100", *_outbound(wanted, family)]
    chains = "".join(
        f"  chain {chain} {{\n" + "".join(f"    {rule}\n" for rule in rules) + "  }\n"
        for chain, rules in (("inbound", inbound), ("outbound", outbound))
    )
    return f"add table {name}\ndelete table {name}\ntable {name} {{\n{chains}}}\n"


def _set(values: Iterable[str]) -> str:
    return f"{{ {', '.join(values)} }}"


def _inbound(wanted: Redirection) -> list[str]:
    to = f"redirect to :{wanted.inbound}"
    rules = [f"tcp dport {_HBONE} return"]
    if wanted.inbound_ports == (ALL,):
        if wanted.inbound_excluded:
            rules.append(f"tcp dport {_set(wanted.inbound_excluded)} return")
        rules.append(f"meta l4proto tcp {to}")
    elif wanted.inbound_ports:
        rules.append(f"tcp dport {_set(wanted.inbound_ports)} {to}")
    return rules


def _outbound(wanted: Redirection, family: int) -> list[str]:
    word, loopback = _WORD[family], _LOOPBACK[family]
    to = f"redirect to :{wanted.outbound}"
    rules = [f"tcp dport {_set(wanted.excluded_ports)} return"] if wanted.excluded_ports else []
    rules += [
        f'oifname "lo" {word} saddr {_OWN_SOURCE[family]} return',
        # The proxy calls its own pod (the pod's Service chose it): in by the front door, as any caller.
        f'oifname "lo" meta mark {MARK} {word} daddr != {loopback} tcp dport != {_HBONE} redirect to :{wanted.inbound}',
        f'oifname "lo" meta mark != {MARK} return',
        f"meta mark {MARK} return",
        f"{word} daddr {loopback} return",
    ]
    excluded = _of_family(wanted.excluded_ranges, family)
    if excluded:
        rules.append(f"{word} daddr {_set(excluded)} return")
    if wanted.ports:
        rules.append(f"tcp dport {_set(wanted.ports)} {to}")
    if wanted.ranges == (ALL,):
        rules.append(f"meta l4proto tcp {to}")
    elif included := _of_family(wanted.ranges, family):
        rules.append(f"meta l4proto tcp {word} daddr {_set(included)} {to}")
    return rules


def _of_family(ranges: Iterable[str], family: int) -> list[str]:
    """The ranges of a family, none of them inside another, as a set of intervals must be."""
    found = [ipaddress.ip_network(each) for each in ranges]
    if family == 4:
        four = [each for each in found if isinstance(each, ipaddress.IPv4Network)]
        return [str(each) for each in ipaddress.collapse_addresses(four)]
    six = [each for each in found if isinstance(each, ipaddress.IPv6Network)]
    return [str(each) for each in ipaddress.collapse_addresses(six)]


def words(wanted: Redirection) -> list[str]:
    """What is in force, for the log of `istio-init`."""
    if wanted.inbound_ports == (ALL,):
        excluded = f" but to {', '.join(wanted.inbound_excluded)}" if wanted.inbound_excluded else ""
        inbound = f"every TCP connection{excluded} goes to {wanted.inbound}"
    elif wanted.inbound_ports:
        inbound = f"TCP connections to {', '.join(wanted.inbound_ports)} go to {wanted.inbound}"
    else:
        inbound = "nothing is redirected"
    targets = [f"to port {', '.join(wanted.ports)}"] if wanted.ports else []
    if wanted.ranges != (ALL,) and wanted.ranges:
        targets.append(f"to {', '.join(wanted.ranges)}")
    outbound = "nothing is redirected"
    if wanted.ranges == (ALL,) or targets:
        every = wanted.ranges == (ALL,)
        what = "every TCP connection" if every else f"TCP connections {' and '.join(targets)}"
        spared = [f"port {each}" for each in wanted.excluded_ports] + list(wanted.excluded_ranges)
        but = f" but to {', '.join(spared)}" if spared else ""
        outbound = f"{what}{but} {'goes' if every else 'go'} to {wanted.outbound}"
    return [
        f"inbound: {inbound}",
        f"outbound: {outbound}",
        f"left alone: the proxy's own (mark {MARK}), loopback, UDP",
    ]
