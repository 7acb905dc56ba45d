"""What is refused, and in whose words: the strict reader, Kubernetes' rules, Pod Security, what the lab does not do."""

from __future__ import annotations

import pytest

from clusters.lab.api.admission import REFUSALS, Refusal
from clusters.lab.api.schema import types
from tests.lab.api.world import Namespace, Object, config, pod, policy


def test_strict_reader_names_unknown_fields(namespace: Namespace) -> None:
    answer = namespace.create("pods", pod("one", {"nodename": "x"}, prots=[]), fieldValidation="Strict")
    assert (answer.code, answer.reason) == (400, "BadRequest")
    assert answer.message == (
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
        'unknown field "spec.containers[0].prots", unknown field "spec.nodename"'
    )


def test_strict_reader_names_repeated_fields(namespace: Namespace) -> None:
    body = '{"metadata":{"name":"one"},"data":{"a":"1","a":"2"}}'
    answer = namespace.api.call("POST", namespace.path("configmaps"), body, fieldValidation="Strict")
    assert 'strict decoding error: duplicate field "data.a"' in answer.message


def test_unknown_fields_are_dropped_with_a_warning(namespace: Namespace) -> None:
    answer = namespace.create("configmaps", config("one") | {"extra": 1})
    assert (answer.code, "extra" in answer.body) == (201, False)
    assert answer.warnings == ['299 - "unknown field \\"extra\\""']


def test_ignored_unknown_fields_make_no_noise(namespace: Namespace) -> None:
    assert namespace.create("configmaps", config("one") | {"extra": 1}, fieldValidation="Ignore").warnings == []


def test_wrong_type_is_named(namespace: Namespace) -> None:
    answer = namespace.create("pods", pod("one", ports=[{"containerPort": "80"}]))
    assert answer.code == 400
    assert "ContainerPort.spec.containers.ports.containerPort of type int32" in answer.message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(
            {"ingress": [{"ports": [{"port": 70000}]}]},
            "spec.ingress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
            id="port-out-of-range",
        ),
        pytest.param(
            {"ingress": [{"ports": [{"port": 80, "endPort": 70}]}]},
            "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
            id="end-port-below-port",
        ),
        pytest.param(
            {"ingress": [{"ports": [{"port": "http", "endPort": 90}]}]},
            "spec.ingress[0].ports[0].endPort: Invalid value: 90: may not be specified when `port` is non-numeric",
            id="end-port-of-a-name",
        ),
        pytest.param(
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1"}}]}]},
            'spec.egress[0].to[0].ipBlock.cidr: Invalid value: "10.0.0.1": must be a valid CIDR value, '
            "(e.g. 10.9.8.0/24 or 2001:db8::/64)",
            id="cidr-without-length",
        ),
        pytest.param(
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]},
            'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`',
            id="except-outside",
        ),
        pytest.param(
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]},
            "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
            id="mixed-peer",
        ),
        pytest.param(
            {"ingress": [{"from": [{}]}]},
            "spec.ingress[0].from[0]: Required value: must specify a peer",
            id="empty-peer",
        ),
        pytest.param(
            {"policyTypes": ["Inwards"]},
            'spec.policyTypes[0]: Unsupported value: "Inwards": supported values: "Ingress", "Egress"',
            id="policy-type",
        ),
        pytest.param(
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            "spec.podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or "
            "'NotIn'",
            id="in-without-values",
        ),
    ],
)
def test_policy_is_refused(namespace: Namespace, spec: Object, message: str) -> None:
    answer = namespace.create("networkpolicies", policy("one", spec))
    assert (answer.code, answer.reason) == (422, "Invalid")
    assert answer.message == f'NetworkPolicy.networking.k8s.io "one" is invalid: {message}'


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        pytest.param({}, {"podSelector": {}, "policyTypes": ["Ingress"]}, id="nothing"),
        pytest.param({"ingress": [], "egress": []}, {"podSelector": {}, "policyTypes": ["Ingress"]}, id="empty-lists"),
        pytest.param(
            {"egress": [{}]},
            {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{}]},
            id="egress-rule",
        ),
        pytest.param(
            {"ingress": [{"from": [], "ports": [{"port": 80}]}]},
            {
                "podSelector": {},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": 80, "protocol": "TCP"}]}],
            },
            id="empty-from",
        ),
        pytest.param({"policyTypes": ["Egress"]}, {"podSelector": {}, "policyTypes": ["Egress"]}, id="said"),
    ],
)
def test_policy_is_stored_as_kubernetes_stores_it(namespace: Namespace, written: Object, stored: Object) -> None:
    assert namespace.create("networkpolicies", policy("one", written)).body["spec"] == stored


@pytest.mark.parametrize(
    ("spec", "container", "message"),
    [
        pytest.param({}, {"image": ""}, "spec.containers[0].image: Required value", id="no-image"),
        pytest.param(
            {}, {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            'spec.containers[0].volumeMounts[0].name: Not found: "v"', id="unknown-volume",
        ),
        pytest.param(
            {}, {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
            id="request-above-limit",
        ),
        pytest.param(
            {"hostIPC": True}, {},
            "spec.hostIPC: Forbidden: the lab does not do hostIPC: every pod has an IPC namespace of its own",
            id="lab-host-ipc",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, {},
            "spec.volumes[0]: Forbidden: the lab does not do volumes other than emptyDir, configMap, downwardAPI, "
            "projected and secret",
            id="lab-host-path",
        ),
        pytest.param(
            {}, {"securityContext": {"privileged": True}},
            "spec.containers[0].securityContext.privileged: Forbidden: the lab does not do privileged containers",
            id="lab-privileged",
        ),
    ],
)  # fmt: skip
def test_pod_is_refused(namespace: Namespace, spec: Object, container: Object, message: str) -> None:
    answer = namespace.create("pods", pod("one", spec, **container))
    assert (answer.code, answer.message) == (422, f'Pod "one" is invalid: {message}')


def test_the_leave_for_low_ports_is_every_pods_and_other_sysctls_are_refused(namespace: Namespace) -> None:
    low = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
    assert namespace.create("pods", pod("one", {"securityContext": {"sysctls": [low]}})).code == 201
    for other in ({**low, "value": "80"}, {"name": "net.ipv4.tcp_syncookies", "value": "1"}):
        answer = namespace.create("pods", pod("two", {"securityContext": {"sysctls": [low, other]}}))
        assert "spec.securityContext.sysctls[1]: Forbidden: the lab does not do sysctls but" in answer.message


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"type": "LoadBalancer"}, id="load-balancer"),
        pytest.param({"externalIPs": ["1.2.3.4"]}, id="external-ips"),
        pytest.param({"sessionAffinity": "ClientIP"}, id="session-affinity"),
        pytest.param({"internalTrafficPolicy": "Local"}, id="internal-traffic-policy"),
    ],
)
def test_service_feature_is_refused_by_name(namespace: Namespace, spec: Object) -> None:
    answer = namespace.create("services", {"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}], **spec}})
    assert answer.code == 422
    assert f"spec.{next(iter(spec))}: Forbidden: the lab does not do" in answer.message


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: f"{each.kind}.{each.path}")
def test_every_refusal_names_a_field_that_kubernetes_knows(refusal: Refusal) -> None:
    kind, path = refusal.kind, refusal.path
    for step in path.replace("C[*]", "containers[*]").split("."):
        shape = types()[kind][step.removesuffix("[*]")]
        kind = (shape.item or shape).type


def test_restricted_namespace_names_every_violation(namespace: Namespace) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    namespace.api.call(
        "PATCH", f"/api/v1/namespaces/{namespace.name}", label, content_type="application/merge-patch+json"
    )
    answer = namespace.create("pods", pod("one"))
    assert answer.code == 403
    assert answer.message == (
        'pods "one" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
        '(container "main" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities '
        '(container "main" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container '
        '"main" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "main" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )
    safe = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec = {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}}
    assert namespace.create("pods", pod("two", spec, securityContext=safe)).code == 201


def test_baseline_namespace_refuses_the_nodes_network(namespace: Namespace) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    namespace.api.call(
        "PATCH", f"/api/v1/namespaces/{namespace.name}", label, content_type="application/merge-patch+json"
    )
    security = {"capabilities": {"add": ["NET_RAW"]}}
    answer = namespace.create("pods", pod("one", {"hostNetwork": True}, securityContext=security))
    assert answer.code == 403
    assert answer.message == (
        'pods "one" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true), '
        'non-default capabilities (container "main" must not include "NET_RAW" in securityContext.capabilities.add)'
    )


@pytest.mark.parametrize("subresource", ["attach", "portforward"])
def test_undone_subresource_is_refused_by_name(namespace: Namespace, subresource: str) -> None:
    namespace.create("pods", pod("one"))
    answer = namespace.api.call("POST", namespace.path("pods", "one", subresource))
    assert (answer.code, f"the lab does not do pods/{subresource}" in answer.message) == (403, True)


def test_server_side_apply_is_refused_by_name(namespace: Namespace) -> None:
    answer = namespace.patch("configmaps", "one", config("one"), "application/apply-patch+yaml")
    assert (answer.code, "server-side apply" in answer.message) == (415, True)


def test_pod_without_its_account_is_refused(namespace: Namespace) -> None:
    answer = namespace.create("pods", pod("one", {"serviceAccountName": "nobody"}))
    assert answer.code == 403
    assert 'serviceaccount "nobody" not found' in answer.message
