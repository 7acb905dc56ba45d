"""Runs as they look in life, for the reports' own tests and for looking at reports: made from real matrices.

What belongs here: sample records. What does not: assertions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flows.matrix import Cell, Finding, Matrix
from flows.model import Evidence, Expected, Flow, Kind, Path, Protocol, Verdict, answered, denied
from reports.results import ClusterRecord, Outcome, RunRecord, TestRecord

NAMESPACE = "ew-7f3a-network"
STARTED = 1_793_500_000.0

MANIFEST = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
  namespace: {namespace}
spec:
  podSelector:
    matchLabels: {{app: server}}
  policyTypes: [Ingress]
  ingress:
  - from:
    - podSelector:
        matchLabels: {{app: caller}}
    ports:
    - {{port: 8080, protocol: TCP}}
"""

RULES = (
    "A server with no policy answers everyone",
    "Default deny of ingress closes every port of every pod",
    "Default deny of egress closes every destination, the same node included",
    "A caller that is named reaches the server, nobody else does",
    "A port that is named opens that port and no other",
    "A port by name follows the pod's own port of that name",
    "A named port that no container declares opens nothing",
    "A range of ports opens its first and its last port",
    "UDP stays closed when only TCP is opened",
    "A namespace selector opens that namespace and no other",
    "Pod and namespace selectors in one peer are an AND",
    "Pod and namespace selectors in two peers are an OR",
    "An empty pod selector means every pod of this namespace only",
    "An empty namespace selector means every namespace",
    "ipBlock opens its range",
    "ipBlock's except closes what the range opened",
    "Two policies add up, neither takes away",
    "An added policy opens without restarting anything",
    "A deleted policy opens what it had closed",
    "A pod that loses its label loses its access",
    "A pod that gains the label gains access",
    "A restarted pod with a new address keeps its access",
    "A scraper of another namespace reaches the metrics port",
    "A workload under default deny still reaches the Kubernetes API",
    "The DNS exception lets names resolve under default deny",
    "A caller on the same node is judged as one on another node",
    "The Service's address is judged as the pod's own",
    "A headless Service is judged as the pod's own address",
    "Replies of an allowed flow come back without a rule of their own",
    "A policy that selects nothing changes nothing",
)


def cell(
    source: str,
    destination: str,
    expected: Expected | None,
    kind: Kind | None = None,
    *,
    port: int = 8080,
    protocol: Protocol = Protocol.TCP,
    path: Path = Path.POD_IP,
    finding: Finding | None = None,
    reason: str = "",
    **evidence: Any,
) -> Cell:
    """One cell; without a kind the expectation is fulfilled, without a finding it is what the kind says."""
    default = Kind.ANSWERED if expected is None or expected.allows else Kind.DROPPED
    seen = kind or default
    flow = Flow(source=source, destination=destination, host="10.244.1.7", port=port, protocol=protocol, path=path)
    verdict = Verdict(kind=seen, flow=flow, evidence=_evidence(seen, source, port, evidence))
    holds = expected is None or expected.matches(verdict)
    return Cell(
        flow=flow,
        expected=expected,
        verdict=verdict,
        finding=finding or (Finding.HOLDS if holds else Finding.DIFFERS),
        reason=reason,
        control="" if expected is None or expected.allows else "seen answered 1.2 s before the policy",
    )


def _evidence(kind: Kind, source: str, port: int, changes: dict[str, Any]) -> Evidence:
    answer = kind is Kind.ANSWERED
    seen = Evidence(
        phase="done" if answer else "connect",
        resolved=f"10.244.1.7:{port}",
        local="10.244.0.4:41822",
        peer_seen="10.244.0.4:41822" if answer else "",
        answered_by="server-5b9c" if answer else "",
        version="v1" if answer else "",
        nonce="9f1c2e77a0b4d365",
        elapsed=0.0021 if answer else 0.5,
        lag=0.0008,
        journal=f"accepted from {source}, nonce seen" if answer else "no connection, no nonce; control flow arrived",
    )
    return replace(seen, **changes)


def matrix(title: str = "", cells: Sequence[Cell] = (), notes: Sequence[str] = ()) -> Matrix:
    """The matrix of a rule that holds, unless cells are given."""
    mine = tuple(cells) or (
        cell("caller", "server", answered()),
        cell("caller", "server", denied(), port=9090),
        cell("caller", "server", answered(), path=Path.SERVICE_IP),
        cell("intruder", "server", denied()),
        cell("intruder", "server", denied(), port=9090),
        cell("intruder", "server", denied(), path=Path.SERVICE_IP),
    )
    return Matrix(
        title=title or f"allow-caller in {NAMESPACE}",
        cells=mine,
        seconds=0.53,
        notes=tuple(notes),
        repeat_with=f"eastwest matrix -n {NAMESPACE}",
    )


def policy(name: str, latency: float | None) -> dict[str, Any]:
    """A policy's record with its manifest."""
    return {
        "name": name,
        "namespace": NAMESPACE,
        "manifest": MANIFEST.format(name=name, namespace=NAMESPACE),
        "enforcement_latency": latency,
        "release_latency": None if latency is None else latency * 0.7,
    }


def record(index: int, sentence: str, outcome: Outcome = "passed", **changes: Any) -> TestRecord:
    """A test's record; a passed one with a matrix that holds and a policy in force after some milliseconds."""
    name = "test_" + "_".join("".join(c if c.isalnum() else " " for c in sentence.lower()).split()[:7])
    file = f"suites/network/test_{('isolation', 'selectors', 'ports', 'changes')[index % 4]}.py"
    made = TestRecord(
        id=f"{file}::{name}",
        name=name,
        file=file,
        area="network",
        sentence=sentence,
        outcome=outcome,
        duration=0.9 + (index * 37 % 23) / 10,
        started=STARTED + index,
        worker=f"gw{index % 2}",
        matrices=[matrix().record()],
        policies=[policy(f"rule-{index}", 0.031 + (index * 53 % 41) / 400)],
        timings={"workloads": 0.4, "baseline": 0.51, "converge": 0.6, "matrix": 0.53},
    )
    return replace(made, **changes)


def cluster() -> ClusterRecord:
    """The lab's fingerprint."""
    return ClusterRecord(
        profile="lab",
        provider="lab",
        context="eastwest-lab",
        kubernetes="v1.34.0-eastwest",
        cni="lab (nftables)",
        nodes="2",
        kernel="6.1.0-25-amd64",
        facts={"dns": "eastwest", "ip family": "ipv4", "deny-timeout": "0.5 s"},
    )


def green(count: int = 40) -> RunRecord:
    """Every rule holds."""
    tests = [record(index, RULES[index % len(RULES)]) for index in range(count)]
    tests = [
        replace(test, id=f"{test.id}[by-service]", area="dns" if index % 7 == 0 else "network")
        if index >= len(RULES)
        else test
        for index, test in enumerate(tests)
    ]
    return run(tests)


def run(tests: Sequence[TestRecord], **changes: Any) -> RunRecord:
    """A run of these tests."""
    made = RunRecord(
        run="7f3a",
        started=STARTED,
        finished=STARTED + 47.3,
        command="eastwest verify --profile lab --workers 2",
        eastwest="0.1.0",
        python="3.11.2",
        platform="Linux 6.1.0-25-amd64 x86_64",
        seed="20261101",
        cluster=cluster(),
        timings={"cluster": 1.4, "canary": 0.31, "suite": 44.9, "total": 47.3},
        tests=list(tests),
    )
    return replace(made, **changes)


def timed() -> RunRecord:
    """A run with flows that a change closed and one that it opened, and a behaviour."""
    cells = [
        replace(cell("caller", "server", denied()), change="enforce", latency=0.02),
        replace(cell("intruder", "server", denied()), change="enforce", latency=0.3),
        replace(cell("peer", "server", answered()), change="release", latency=0.04),
    ]
    goes_on = [{"name": "established-tcp", "value": "goes on", "detail": ""}]
    policies = [policy("p", 0.3)]
    return run([record(1, RULES[1], matrices=[matrix("m", cells).record()], behaviours=goes_on, policies=policies)])


def leak() -> TestRecord:
    """An intruder gets through: the failure that matters most."""
    cells = (
        cell("caller", "server", answered()),
        cell("caller", "server", answered(), path=Path.SERVICE_IP),
        cell("caller", "server", denied(), port=9090),
        cell("intruder", "server", denied(), Kind.ANSWERED, reason="answered although rule-3 selects the server"),
        cell("intruder", "server", denied(), path=Path.SERVICE_IP),
        cell("intruder", "server", denied(), port=9090),
    )
    return _failed(3, RULES[3], cells, "VerdictError")


def forgotten_dns() -> TestRecord:
    """An allowed flow ends because its name does not resolve."""
    why = "DNS: no egress rule opens port 53 of kube-system"
    cells = (
        cell("caller", "server", answered(), Kind.DNS_ERROR, path=Path.DNS, reason=why, phase="dns", detail="timeout"),
        cell("caller", "server", answered()),
        cell("intruder", "server", denied()),
    )
    return _failed(24, RULES[24], cells, "VerdictError")


def undecided() -> TestRecord:
    """The agent's own event loop was late: nothing can be said."""
    why = "event loop late by 410 ms, silence proves nothing"
    cells = (
        cell("caller", "server", answered()),
        cell("intruder", "server", denied(), Kind.PROBE_ERROR, finding=Finding.UNDECIDED, reason=why, lag=0.41),
    )
    return replace(_failed(8, RULES[8], cells, "InconclusiveError"), outcome="broken")


def _failed(index: int, sentence: str, cells: Sequence[Cell], error: str) -> TestRecord:
    wrong = next(each for each in cells if each.finding is not Finding.HOLDS)
    table = matrix(f"rule-{index} in {NAMESPACE}", cells, notes=["asked twice, 0.5 s apart"])
    message = (
        f"{wrong.first_line()}\nwhy: {wrong.hint()}\n  dialled: 10.244.1.7:8080\n"
        f"  positive control: seen answered before the policy\n\n{table.render()}\nflows.errors.{error}"
    )
    events = "12s  Normal   Started   pod/server-5b9c   Started container agent\n9s   Normal   Applied   rule-3"
    return record(
        index,
        sentence,
        "failed",
        first_line=wrong.first_line(),
        message=message,
        matrices=[table.record()],
        attachments=[
            {"name": "events of the namespace", "type": "text/plain", "text": events},
            {"name": "kubeconfig", "type": "text/plain", "text": "users:\n- user:\n    token: s3cr3t-of-the-lab\n"},
        ],
    )


def troubled() -> RunRecord:
    """A leak, a DNS failure, one that could not be told, skips, something left behind."""
    skips = [
        record(40, "A Calico GlobalNetworkPolicy outranks a namespace's own", "skipped", area="calico"),
        record(41, "An SCTP port is closed by default deny", "skipped"),
        record(42, "An endPort range crosses a Service", "skipped"),
    ]
    reasons = ("needs --allow-cluster-wide", "the node's kernel has no sctp module", "needs capability end-port")
    skips = [
        replace(test, reason=reason, matrices=[], policies=[]) for test, reason in zip(skips, reasons, strict=True)
    ]
    passed = [test for index, test in enumerate(green(30).tests) if index not in {3, 8, 24}]
    return run(
        [*passed, leak(), forgotten_dns(), undecided(), *skips],
        exit_code=1,
        left_behind=["namespace ew-7f3a-network: still terminating after 20 s; remove it with `eastwest sweep`"],
        kept=["lab eastwest-lab, on request; remove it with `eastwest lab down`"],
    )


def huge(size: int = 40) -> TestRecord:
    """A matrix of `size` sources by `size` destinations, some of it wrong."""
    cells = tuple(
        cell(
            f"workload-{row:02d}",
            f"server-{column:02d}",
            answered() if (row + column) % 3 else denied(),
            Kind.ANSWERED if (row, column) == (0, 0) else None,
        )
        for row in range(size)
        for column in range(size)
    )
    return record(0, "Everyone asks everyone", "failed", matrices=[matrix("everyone", cells).record()])
