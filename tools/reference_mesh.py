"""The reference page of the lab's mesh: what is real, what is emulated, what is refused, from the code's own tables.

What belongs here: turning tables into Markdown. What does not: the tables, but for what no code can tell: which parts
are the real thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from clusters.lab.mesh import template
from clusters.lab.mesh.annotations import DONE, KNOWN, MEANINGLESS
from policies.istio.check import GROUPS, VERSIONS
from policies.istio.fields import types
from policies.istio.refusals import REFUSALS, REFUSED_KINDS
from tools.markdown import cell

_PAGE: Final = """# The lab's mesh

Made from the code by `make docs`. `eastwest lab up --mesh istio` is a lab in which pods get a proxy and Istio's
resources are in force, as Istio 1.31 has them. What the lab does not do it refuses by name: nothing is ignored.
"""
_REAL: Final[Mapping[str, str]] = {
    "Envoy": "one per meshed pod, unchanged, configured by its own REST long polls; what it refuses is seen as refused",
    "packets": "each pod's own network namespace, nftables and connections; mutual TLS is on the wire",
    "certificates": "short-lived, one for each ServiceAccount, issued for a token that a TokenReview has verified",
    "the resources": "their fields, checks and refusals, worded as a real API server and webhook answer",
}
_EMULATED: Final[Mapping[str, str]] = {
    "istiod": "a control plane of ours: from the same resources to Envoy's configuration, held against real dumps",
    "the proxy's agent": "ours: certificate, answers to polls, probes on 15020 and 15021, `pilot-agent request`",
    "istio-init": "a container that ends at once; the node sets the redirection itself",
    "the injector's and the validating webhook": "steps of the API server's admission; they ask for a ready istiod",
    "versions of a resource": "v1 is stored; the others are the same object under another name",
}


def _table(head: str, rows: Mapping[str, str], *, code: bool = False) -> list[str]:
    mark = "`" if code else ""
    return [
        f"| {head} | |",
        "|---|---|",
        *(f"| {mark}{cell(key)}{mark} | {cell(value)} |" for key, value in rows.items()),
        "",
    ]


def _leaves(name: str, path: str) -> Iterator[str]:
    """Every field under a struct that holds a value, as paths."""
    for field, shape in types()[name].fields.items():
        inner, here = shape, f"{path}.{field}"
        while inner.item is not None:
            here += "[*]" if inner.type == "list" else "{*}"
            inner = inner.item
        if inner.struct:
            yield from _leaves(inner.type, here)
        else:
            yield here


def _done(kind: str) -> list[str]:
    """The fields of a kind that are never refused as such; traffic policies once, for all places where they stand."""
    spec = f"{kind}Spec"
    gone = [each.path.replace("T.", "spec.trafficPolicy.") for each in REFUSALS if each.kind == kind and each.always]
    found = [
        each
        for each in _leaves(spec, "spec")
        if ".portLevelSettings[*]." not in each and "subsets[*].trafficPolicy." not in each
    ]
    return [
        each
        for each in found
        if not any(each == path or each.startswith((f"{path}.", f"{path}[", f"{path}{{")) for path in gone)
    ]


def page() -> str:
    """The whole page."""
    lines = [_PAGE, "## Real", "", *_table("part", _REAL), "## Emulated", "", *_table("part", _EMULATED)]
    lines += ["An injected pod is Istio's, but for:", "", *_table("part of the pod", template.LEFT_OUT)]
    lines += ["## Done", "", "Some take not every value; those are below, under *Refused*.", ""]
    for kind, group in GROUPS.items():
        served = ", ".join(f"`{group}/{version}`" for version in VERSIONS[group])
        lines += [f"### {kind}", "", f"{served}", "", ", ".join(f"`{path}`" for path in _done(kind)) + ".", ""]
        if kind == "DestinationRule":
            lines += ["Traffic policies of subsets and of single ports (`portLevelSettings`) have the same fields.", ""]
    lines += ["### Annotations of pods", "", ", ".join(f"`{each}`" for each in DONE) + ".", ""]
    quiet = ", ".join(f"`{each}`" for each in MEANINGLESS)
    lines += [f"Taken, and without effect on any flow: {quiet}.", ""]
    lines += ["## Refused", "", "### Kinds", "", "Unknown to the API, as in a cluster without their definitions.", ""]
    lines += _table("kind", REFUSED_KINDS)
    lines += [
        "`MutatingWebhookConfiguration` is there for the injector alone: other webhooks are refused, unless their",
        "selector can match nothing.",
        "",
    ]
    for kind in GROUPS:
        rows = [each for each in REFUSALS if each.kind == kind]
        if rows:
            lines += [f"### Fields of {kind}", "", "| field | what the lab does not do |", "|---|---|"]
            lines += [f"| `{each.path}` | {cell(each.why)} |" for each in rows] + [""]
    lines += [
        "`T` stands for every traffic policy: of the rule, of its subsets, and of single ports. A resource with the",
        "label `istio.io/rev` is refused too: every control plane of the lab takes all resources.",
        "",
        "### Annotations",
        "",
        "A pod with one of these is not admitted: " + ", ".join(f"`{each}`" for each in KNOWN) + ".",
    ]
    return "\n".join(lines) + "\n"
