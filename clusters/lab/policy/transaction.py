"""From one ruleset to another as nftables scripts, each of which the kernel takes as a whole or not at all.

What belongs here: order (what is referred to exists first and goes last), economy (only what differs is named), and
how much one script may say. What does not: what the rules mean.

A change takes effect in one script, the switch. What it refers to and nobody else does yet may be made in scripts
before it, and what nobody refers to any more removed in scripts after it: the kernel takes no more than 200 kB at once
from whoever may not raise that limit, as nobody may inside a user namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from clusters.lab.policy.ruleset import TABLE, Chain, Ruleset

EMPTY = Ruleset()
MOST: Final = 32_000
"""Characters of one script; as messages to the kernel they are three to four times as much."""


def fresh(wanted: Ruleset) -> str:
    """A script that ends with exactly `wanted` in force, whatever the table held before."""
    return f"add table {TABLE}\ndelete table {TABLE}\nadd table {TABLE}\n{difference(EMPTY, wanted)}"


def difference(before: Ruleset, after: Ruleset) -> str:
    """One script that turns `before` into `after`; empty where nothing differs."""
    return "".join(steps(before, after, most=0))


def steps(before: Ruleset, after: Ruleset, most: int = MOST) -> list[str]:
    """Scripts that turn `before` into `after`, in order; none where nothing differs.

    Args:
        most: Characters beyond which it is more than one script; 0 makes it one, however long.
    """
    making = [
        *_new_sets(before, after),
        *_new_chains(before, after),
        *_added_elements(before, after, new=True),
        *_rules(before, after, new=True),
    ]
    switch = [
        *_gone_elements(before, after),
        *_added_elements(before, after, new=False),
        *_rules(before, after, new=False),
    ]
    removing = list(_gone(before, after))
    whole = [f"{line}\n" for line in (*making, *switch, *removing)]
    if not whole:
        return []
    if not most or sum(map(len, whole)) <= most:
        return ["".join(whole)]
    return [
        *_parts(making, most),
        *(["".join(f"{line}\n" for line in switch)] if switch else []),
        *_parts(removing, most),
    ]


def _parts(lines: Iterable[str], most: int) -> list[str]:
    """The lines in as few scripts as their length allows."""
    parts: list[str] = []
    for line in lines:
        if parts and len(parts[-1]) + len(line) < most:
            parts[-1] += f"{line}\n"
        else:
            parts.append(f"{line}\n")
    return parts


def _new_sets(before: Ruleset, after: Ruleset) -> Iterable[str]:
    for name, each in after.sets.items():
        if name not in before.sets:
            flags = " flags interval;" if each.ranges else ""
            yield f"add {each.keyword} {TABLE} {name} {{ type {each.type};{flags} }}"


def _new_chains(before: Ruleset, after: Ruleset) -> Iterable[str]:
    for name, chain in after.chains.items():
        if name not in before.chains:
            body = f" {{ {chain.hook}; policy accept; }}" if chain.hook else ""
            yield f"add chain {TABLE} {name}{body}"


def _gone_elements(before: Ruleset, after: Ruleset) -> Iterable[str]:
    for name, old in before.sets.items():
        if name not in after.sets and old.keyword == "set":
            continue
        kept = after.sets[name].elements if name in after.sets else {}
        gone = [key for key, value in old.elements.items() if kept.get(key) != value]
        if gone:
            yield f"delete element {TABLE} {name} {{ {', '.join(sorted(gone))} }}"


def _added_elements(before: Ruleset, after: Ruleset, *, new: bool) -> Iterable[str]:
    """Elements of sets that are new, or of all others and of every map: a map leads to chains."""
    for name, each in after.sets.items():
        if new != (name not in before.sets and each.keyword == "set"):
            continue
        held: Mapping[str, str] = before.sets[name].elements if name in before.sets else {}
        added = {key: value for key, value in each.elements.items() if held.get(key) != value}
        if added:
            yield f"add element {TABLE} {name} {{ {', '.join(_element(*pair) for pair in sorted(added.items()))} }}"


def _element(key: str, verdict: str) -> str:
    return f"{key} : {verdict}" if verdict else key


def _rules(before: Ruleset, after: Ruleset, *, new: bool) -> Iterable[str]:
    """Rules of chains that are new and that nothing leads to yet, or of all others."""
    for name, chain in after.chains.items():
        if new != (name not in before.chains and not chain.hook):
            continue
        held = before.chains.get(name, Chain())
        if chain.rules != held.rules:
            if held.rules:
                yield f"flush chain {TABLE} {name}"
            yield from (f"add rule {TABLE} {name} {rule}" for rule in chain.rules)


def _gone(before: Ruleset, after: Ruleset) -> Iterable[str]:
    chains = [name for name in before.chains if name not in after.chains]
    yield from (f"flush chain {TABLE} {name}" for name in chains)
    yield from (f"delete chain {TABLE} {name}" for name in chains)
    for name, each in before.sets.items():
        if name not in after.sets:
            yield f"delete {each.keyword} {TABLE} {name}"
