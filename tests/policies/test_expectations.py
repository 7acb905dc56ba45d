"""Expectations files: what each line means, every mistake in one line, and a published schema that says the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import policies
from flows.errors import UsageError
from policies import expectations, manifests, pairs
from policies.expectations import SCHEMA, read, recognised

PUBLISHED: dict[str, Any] = json.loads(
    Path(policies.__path__[0], "expectations.schema.json").read_text(encoding="utf-8")
)
WHOLE = """\
schema: eastwest.dev/expectations/v1
manifests: [policies/, namespaces.yaml]
namespaces:
  other: {labels: {team: research}}
workloads:
  shop/frontend: {labels: {app: frontend}}
  shop/backend: {labels: {app: backend}, ports: {http: 8080, metrics: 9090, dns: 53/UDP}}
  other/intruder: {labels: {app: frontend}}
  other/backend: {labels: {app: backend}, ports: {http: 8081}}
expect:
  - {from: shop/frontend, to: "shop/backend:http", verdict: allowed}
  - {from: {namespaces: {team: payments}, pods: {app: frontend}}, \
to: {pods: {app: backend}, ports: [http]}, verdict: allowed}
  - {from: everyone-else, to: "shop/backend:http", verdict: denied}
  - {from: everyone, to: "shop/backend:53/udp", verdict: allowed}
default: ignore
"""
POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: backend, namespace: shop}
spec:
  podSelector: {matchLabels: {app: backend}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: frontend}}}]
    ports: [{port: http}]
  - ports: [{port: 53, protocol: UDP}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: backend, namespace: shop}
spec: {}
"""
NAMESPACES = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: payments}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with manifests, which is the current folder."""
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "backend.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "namespaces.yaml").write_text(NAMESPACES, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(text: str) -> Path:
    """The file with this text, in the current folder."""
    path = Path.cwd() / "eastwest.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.usefixtures("folder")
def test_lines_mean_pairs_by_name_by_label_and_for_everyone_else() -> None:
    found = pairs.pairs(read(written(WHOLE)))
    assert [str(each) for each in found] == [
        "shop/frontend → shop/backend:8080/tcp allowed",
        "shop/frontend → other/backend:8081/tcp allowed",
        "other/intruder → shop/backend:8080/tcp denied",
        "other/backend → shop/backend:8080/tcp denied",
        "shop/frontend → shop/backend:53/udp allowed",
        "other/intruder → shop/backend:53/udp allowed",
        "other/backend → shop/backend:53/udp allowed",
    ]
    assert found[0].places == ("eastwest.yaml:11", "eastwest.yaml:12"), "both lines say it"


@pytest.mark.usefixtures("folder")
def test_a_default_is_for_the_pairs_that_no_line_names_and_for_no_workload_with_itself() -> None:
    found = pairs.pairs(read(written(WHOLE.replace("default: ignore", "default: denied"))))
    by_default = [str(each) for each in found if each.places == ("eastwest.yaml: default denied",)]
    assert by_default == [
        "shop/frontend → shop/backend:9090/tcp denied",
        "shop/backend → other/backend:8081/tcp denied",
        "other/intruder → shop/backend:9090/tcp denied",
        "other/intruder → other/backend:8081/tcp denied",
        "other/backend → shop/backend:9090/tcp denied",
    ]


@pytest.mark.usefixtures("folder")
def test_a_workload_and_itself_is_a_pair_only_by_name() -> None:
    text = WHOLE.replace("{from: everyone, to:", "{from: shop/backend, to:")
    found = pairs.pairs(read(written(text)))
    assert "shop/backend → shop/backend:53/udp allowed" in [str(each) for each in found]


@pytest.mark.usefixtures("folder")
def test_what_is_used_and_what_is_not_is_told() -> None:
    found = read(written(WHOLE)).manifests
    assert [each.name for each in found.policies] == ["NetworkPolicy shop/backend"]
    assert found.policies[0].place == "policies/backend.yaml:1"
    assert found.ignored == (
        "policies/backend.yaml:11: Deployment backend: ignored: no policy of Kubernetes or Calico",
    )


@pytest.mark.usefixtures("folder")
def test_the_oracle_says_of_a_pair_what_the_manifests_as_written_mean() -> None:
    found = read(written(WHOLE))
    words = {str(each): pairs.predicted(found, each, {}) for each in pairs.pairs(found)}
    allowed = words["shop/frontend → shop/backend:8080/tcp allowed"]
    denied = words["other/intruder → shop/backend:8080/tcp denied"]
    assert allowed is not None
    assert denied is not None
    assert (allowed.allowed, denied.allowed) == (True, False)
    assert "ingress of shop/backend: isolated by shop/backend" in denied.words()


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [("{action: Allow}", True), ("{action: Deny}", False), ("{action: Allow, http: {methods: [GET]}}", None)],
    ids=["allow", "deny", "not-read"],
)
def test_the_oracle_knows_calicos_policies_too(folder: Path, rule: str, allowed: bool | None) -> None:
    """The policy of Kubernetes closes the metrics; Calico's own stands before it, by its order."""
    calico = "\n".join(
        [
            "apiVersion: projectcalico.org/v3",
            "kind: NetworkPolicy",
            "metadata: {name: first, namespace: shop}",
            f"spec: {{order: 1, selector: app == 'backend', types: [Ingress], ingress: [{rule}]}}",
        ]
    )
    (folder / "policies" / "calico.yaml").write_text(calico, encoding="utf-8")
    text = WHOLE.replace("default: ignore", "default: allowed")
    found = read(written(text))
    metrics = next(each for each in pairs.pairs(found) if each.port.name == "metrics")
    decision = pairs.predicted(found, metrics, {})
    assert (decision.allowed if decision is not None else None) == allowed


@pytest.mark.parametrize(
    "text",
    ["schema: eastwest.dev/expectations/v1\n", "# mine\n'schema': \"eastwest.dev/expectations/v9\"\n"],
)
def test_a_file_is_recognised_by_its_schema(text: str) -> None:
    assert recognised(text)


@pytest.mark.parametrize("text", ["kind: Pod\n", "a:\n  schema: eastwest.dev/expectations/v1\n", "schema: x\n"])
def test_another_yaml_file_is_not(text: str) -> None:
    assert not recognised(text)


Refusal = tuple[str, str, str]
EXPECT = '  - {from: shop/frontend, to: "shop/backend:http", verdict: allowed}\n'
REFUSED: dict[str, Refusal] = {
    "another-version": (SCHEMA, "eastwest.dev/expectations/v2", r":1: field 'schema' is .*v2'; this release reads"),
    "unknown-field": ("default:", "defualt:", r":15: field 'defualt' is unknown; did you mean 'default'\?"),
    "unknown-default": ("default: ignore", "default: deny", r":15: field 'default' is 'deny'; did you mean 'denied'\?"),
    "no-list": ("manifests: [policies/, namespaces.yaml]", "manifests: policies/", r":2: field 'manifests' .*a list"),
    "no-verdict": (EXPECT, EXPECT.replace(", verdict: allowed", ""), r":11: field 'expect\[0\].verdict' is missing"),
    "unknown-verdict": (EXPECT, EXPECT.replace("allowed", "open"), r":11: .*verdict' is 'open'; write allowed or"),
    "source-with-a-port": (
        EXPECT,
        EXPECT.replace("frontend,", "'frontend:80',").replace("shop/'", "'shop/"),
        "no port",
    ),
    "nobody-by-label": (EXPECT, EXPECT.replace("shop/frontend", "{pods: {}}"), r"asks for no label; write everyone"),
    "empty-ports": (
        EXPECT,
        EXPECT.replace('"shop/backend:http"', "{pods: {app: backend}, ports: []}"),
        r"ports' is empty",
    ),
    "everyone-else-as-target": (EXPECT, EXPECT.replace('"shop/backend:http"', "everyone-else"), r"no such workload"),
    "label-that-is-no-string": (
        "{app: frontend}}\n  shop",
        "{app: 1}}\n  shop",
        r":6: .*labels.app' is 1; .* quote it",
    ),
    "label-of-ours": ("{app: frontend}}\n  shop", "{eastwest.dev/run: x}}\n  shop", r"eastwest sets itself; leave it"),
    "workload-without-namespace": ("shop/frontend: {", "frontend: {", r":6: field 'workloads.frontend' is not NAMESP"),
    "workload-in-upper-case": ("shop/frontend: {", "shop/Frontend: {", r":6: .* is not NAMESPACE/NAME"),
    "port-number": ("metrics: 9090", "metrics: 90900", r":7: field 'workloads.shop/backend.ports.metrics' is 90900"),
    "port-protocol": ("dns: 53/UDP", "dns: 53/SCTP", r"is '53/SCTP'; the protocols that are asked are TCP and UDP"),
    "port-name": ("metrics: 9090", "Metrics: 9090", r"ports.Metrics' is no port's name"),
    "port-of-ours": ("metrics: 9090", "metrics: 8079", r"is 8079; there the stand-in's own readiness probe knocks"),
    "namespace-name": ("  other: {labels", "  Other: {labels", r":4: field 'namespaces.Other' is no namespace's name"),
    "namespace-field": (
        "other: {labels:",
        "other: {label:",
        r"'namespaces.other.label' is unknown; did you mean 'labels'",
    ),
    "nothing-expected": (WHOLE[WHOLE.index("expect:") :], "", r"field 'expect' expects nothing; write at least one"),
    "no-workload": (WHOLE[WHOLE.index("workloads:") : WHOLE.index("expect:")], "workloads: {}\n", r"names nobody"),
}
BEYOND_A_SCHEMA: dict[str, Refusal] = {
    "unknown-workload": (
        EXPECT,
        EXPECT.replace("backend:", "backnd:"),
        r"no such workload; did you mean 'shop/backend'",
    ),
    "unknown-port": (
        EXPECT,
        EXPECT.replace("http", "htp"),
        r":11: .* means no workload with port 'htp'; did you mean 'http",
    ),
    "no-such-labels": (
        "{app: backend}, ports: [http]",
        "{app: x}, ports: [http]",
        r":12: .*to' is {pods: {app: x}}: no wor",
    ),
    "contradiction": (
        "{from: everyone, to:",
        '{from: shop/frontend, to: "shop/backend:8080", verdict: denied}\n  - {from: everyone, to:',
        r":14: contradicts eastwest.yaml:11: shop/frontend → shop/backend:8080/tcp allowed; keep one",
    ),
    "nobody-else": (
        "{from: everyone, to:",
        '{from: everyone, to: "shop/backend:8080", verdict: allowed}\n  - {from: everyone, to:',
        r":13: field 'expect\[2\]' means no pair of workloads; every source has a line of its own",
    ),
    "one-port-twice": ("metrics: 9090", "metrics: 8080", r"is 8080/TCP once more; give each port one name"),
    "no-such-namespace": (
        "other/intruder",
        "othr/intruder",
        r"neither the manifests nor .* name; did you mean 'other'\?",
    ),
    "no-such-file": (
        "policies/,",
        "polices/,",
        r":2: field 'manifests\[0\]' is 'polices/', .* did you mean 'policies'",
    ),
    "two-labels-of-a-namespace": (
        "other: {",
        "shop: {labels: {team: x}}\n  other: {",
        r"'x', and 'payments' in the manif",
    ),
    "key-twice": ("default: ignore", "default: ignore\ndefault: denied", r":16: field 'default' is written twice"),
    "two-documents": ("default: ignore", "---\ndefault: denied", r"2 YAML documents; expectations are one"),
}


def changed(change: Refusal) -> str:
    """The whole file with one mistake."""
    old, new, _ = change
    assert WHOLE.count(old) == 1, f"{old!r} stands {WHOLE.count(old)} times"
    return WHOLE.replace(old, new)


@pytest.mark.parametrize("change", [*REFUSED.values(), *BEYOND_A_SCHEMA.values()], ids=[*REFUSED, *BEYOND_A_SCHEMA])
@pytest.mark.usefixtures("folder")
def test_a_mistake_is_one_line_with_place_field_and_remedy(change: Refusal) -> None:
    path = written(changed(change))
    with pytest.raises(UsageError) as refused:
        pairs.pairs(read(path))
    assert refused.value.message.startswith("eastwest.yaml")
    assert re.search(change[2], refused.value.message), refused.value.message
    assert "\n" not in str(refused.value)


def accepts(text: str) -> bool:
    """Whether the published schema takes the file."""
    validator = jsonschema.Draft202012Validator(PUBLISHED)
    return bool(validator.is_valid(yaml.safe_load(text)))


def test_the_published_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(PUBLISHED)
    assert PUBLISHED["properties"]["schema"]["const"] == SCHEMA


EXAMPLES = sorted(Path(__file__).parents[1].joinpath("e2e", "examples").rglob("*.yaml"))


def test_the_published_schema_takes_what_the_reader_takes() -> None:
    texts = [each.read_text(encoding="utf-8") for each in EXAMPLES]
    assert all(accepts(text) for text in [WHOLE, *(text for text in texts if recognised(text))])


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_the_published_schema_refuses_what_the_reader_refuses(change: Refusal) -> None:
    assert accepts(WHOLE)
    assert not accepts(changed(change))


@pytest.mark.parametrize("change", BEYOND_A_SCHEMA.values(), ids=BEYOND_A_SCHEMA)
def test_what_only_the_reader_knows_is_no_mistake_for_a_schema(change: Refusal) -> None:
    """Else it belongs into the other table, where both are held against it."""
    text = changed(change)
    assert "\n---" in text or accepts(text)


MANIFESTS: dict[str, tuple[str, str]] = {
    "no-yaml": ("a: {{ .Values.name }}", r"^m.yaml:1: not YAML"),
    "no-object": ("- 1\n- 2\n", r"^m.yaml:1: a list is no Kubernetes object"),
    "no-kind": ("apiVersion: v1\nmetadata: {name: x}\n", r"^m.yaml:1: field 'kind' is missing"),
    "no-name": ("apiVersion: v1\nkind: Pod\n", r"^m.yaml:1: field 'metadata.name' is missing; name the Pod"),
    "no-namespace": (
        POLICY.replace(", namespace: shop}\nspec:\n  pod", "}\nspec:\n  pod"),
        r"^m.yaml:3: .* is missing; wr",
    ),
    "twice": (f"{POLICY}---\n{POLICY}", r"^m.yaml:16: NetworkPolicy shop/backend stands in m.yaml:1 already"),
    "no-policy": (
        POLICY.replace("ingress:", "ingres:"),
        r"^m.yaml:6: field 'spec.ingres' is unknown; did you mean 'ing",
    ),
    "binary": ("\udc80", r"^m.yaml: cannot be read: it is not UTF-8"),
}


@pytest.mark.parametrize(("text", "line"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_that_cannot_be_used_is_one_line(folder: Path, text: str, line: str) -> None:
    path = folder / "m.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as refused:
        manifests.load([path])
    assert re.search(line, refused.value.message), refused.value.message


def test_a_policy_without_a_namespace_goes_where_the_file_says(folder: Path) -> None:
    (folder / "policies" / "backend.yaml").write_text(POLICY.replace(", namespace: shop}", "}"), encoding="utf-8")
    [policy] = read(written(WHOLE + "namespace: shop\n")).manifests.policies
    assert (policy.namespace, policy.typed and policy.typed.namespace) == ("shop", "shop")


def test_lists_hidden_files_calico_and_mesh_kinds(folder: Path) -> None:
    calico = {"apiVersion": "projectcalico.org/v3", "metadata": {"name": "x", "namespace": "shop"}, "spec": {}}
    objects = [
        {**calico, "kind": "NetworkPolicy"},
        {**calico, "kind": "GlobalNetworkPolicy"},
        {**calico, "apiVersion": "security.example.io/v1", "kind": "AuthorizationPolicy"},
    ]
    (folder / "list.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": objects}))
    (folder / ".hidden.yaml").write_text("{{")
    found = manifests.load([folder], apart_from=folder / "eastwest.yaml")
    assert [(each.name, each.typed is None) for each in found.policies] == [
        ("NetworkPolicy shop/x", True),
        ("GlobalNetworkPolicy x", True),
        ("NetworkPolicy shop/backend", False),
    ]
    assert found.ignored[0].endswith("AuthorizationPolicy x: ignored: no policy of Kubernetes or Calico")


@pytest.mark.usefixtures("folder")
def test_the_default_is_to_ask_nothing_of_other_pairs() -> None:
    assert expectations.read(written(WHOLE.replace("default: ignore\n", ""))).default == "ignore"
