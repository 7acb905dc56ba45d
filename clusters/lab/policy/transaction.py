"""From one ruleset to another as one nftables script: the kernel takes all of it or nothing.

What belongs here: order (what is referred to exists first and goes last) and economy (only what differs is named).
What does not: what the rules mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from clusters.lab.policy.ruleset import TABLE, Chain, Ruleset

EMPTY = Ruleset()


def fresh(wanted: Ruleset) -> str:
    """A script that ends with exactly `wanted` in force, whatever the table held before."""
    return f"add table {TABLE}\ndelete table {TABLE}\nadd table {TABLE}\n{difference(EMPTY, wanted)}"


def difference(before: Ruleset, after: Ruleset) -> str:
    """A script that turns `before` into `after`; empty where nothing differs."""
    lines = [
        *_new_sets(before, after),
        *_new_chains(before, after),
        *_gone_elements(before, after),
        *_added_elements(before, after),
        *_rules(before, after),
        *_gone(before, after),
    ]
    return "".join(f"{line}\n" for line in lines)


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


def _added_elements(before: Ruleset, after: Ruleset) -> Iterable[str]:
    for name, each in after.sets.items():
        held: Mapping[str, str] = before.sets[name].elements if name in before.sets else {}
        added = {key: value for key, value in each.elements.items() if held.get(key) != value}
        if added:
            yield f"add element {TABLE} {name} {{ {', '.join(_element(*pair) for pair in sorted(added.items()))} }}"


def _element(key: str, verdict: str) -> str:
    return f"{key} : {verdict}" if verdict else key


def _rules(before: Ruleset, after: Ruleset) -> Iterable[str]:
    for name, chain in after.chains.items():
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
