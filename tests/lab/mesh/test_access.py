"""AuthorizationPolicy: the terms that real Istio 1.31 writes for the same rules, and what Envoy makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clusters.lab.mesh import access, attributes
from clusters.lab.mesh.inbound import compile_inbound
from clusters.lab.mesh.model import Mesh
from flows.errors import HarnessError
from policies.istio.model import Action, AuthorizationPolicy, Condition, Operation, Source
from tests.lab.mesh.calls import call, exchange
from tests.lab.mesh.envoy import Envoy, free_ports, running, validate
from tests.lab.mesh.trust import Authority, client_context, write_secrets
from tests.lab.mesh.worlds import CALLER, SERVER, meta, policy, rule, service

ACTIONS: tuple[Action, ...] = ("CUSTOM", "AUDIT", "DENY", "ALLOW")
INTRUDER = "spiffe://cluster.local/ns/foreign/sa/intruder"


def principal(matcher: dict[str, Any]) -> dict[str, Any]:
    return {"or_ids": {"ids": [{"authenticated": {"principal_name": matcher}}]}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            Source(principals=("cluster.local/ns/shop/sa/caller",)), principal({"exact": CALLER}), id="principal"
        ),
        pytest.param(Source(principals=("*",)), principal({"safe_regex": {"regex": ".+"}}), id="any-principal"),
        pytest.param(
            Source(principals=("cluster.local/ns/*",)), principal({"prefix": "spiffe://cluster.local/ns/"}), id="prefix"
        ),
        pytest.param(
            Source(principals=("*/sa/my.acc",)),
            principal({"safe_regex": {"regex": r"spiffe://.*/sa/my\.acc"}}),
            id="suffix",
        ),
        pytest.param(
            Source(namespaces=("a*",)), principal({"safe_regex": {"regex": ".*/ns/a.*/.*"}}), id="namespace-pattern"
        ),
        pytest.param(
            Source(service_accounts=("caller",)),
            principal({"safe_regex": {"regex": "spiffe://.+/ns/shop/(.+/|)sa/caller(/.+)?"}}),
            id="account-of-the-policys-namespace",
        ),
        pytest.param(
            Source(service_accounts=("n.s/acc",)),
            principal({"safe_regex": {"regex": r"spiffe://.+/ns/n\.s/(.+/|)sa/acc(/.+)?"}}),
            id="account-of-another",
        ),
        pytest.param(
            Source(not_ip_blocks=("10.9.0.0/16", "1.2.3.4")),
            {
                "not_id": {
                    "or_ids": {
                        "ids": [
                            {"direct_remote_ip": {"address_prefix": "10.9.0.0", "prefix_len": 16}},
                            {"direct_remote_ip": {"address_prefix": "1.2.3.4", "prefix_len": 32}},
                        ]
                    }
                }
            },
            id="not-a-block",
        ),
    ],
)
def test_a_source_is_written_as_istio_writes_it(source: Source, expected: dict[str, Any]) -> None:
    (term,) = attributes.source(source, meta())
    assert term.term == expected
    assert term.principal


@pytest.mark.parametrize(
    ("written", "issuer", "subject"),
    [
        pytest.param("iss/sub", {"exact": "iss"}, {"exact": "sub"}, id="exact"),
        pytest.param("https://a/b/c", {"exact": "https://a/b"}, {"exact": "c"}, id="last-slash"),
        pytest.param("*", {"safe_regex": {"regex": ".+"}}, {"safe_regex": {"regex": ".+"}}, id="any"),
        pytest.param("iss/*", {"exact": "iss"}, {"safe_regex": {"regex": ".+"}}, id="any-subject"),
        pytest.param("*.x/y", {"suffix": ".x"}, {"exact": "y"}, id="issuer-suffix"),
        pytest.param("*/a*", {"safe_regex": {"regex": ".+"}}, {"exact": "a*"}, id="one-asterisk-only"),
        pytest.param("a.b", {"exact": "a.b"}, {"exact": ""}, id="no-subject"),
    ],
)
def test_a_token_principal_is_split_as_istio_splits_it(
    written: str, issuer: dict[str, Any], subject: dict[str, Any]
) -> None:
    (term,) = attributes.source(Source(request_principals=(written,)), meta())
    values = [each["metadata"]["value"]["string_match"] for each in term.term["and_ids"]["ids"]]
    assert values == [issuer, subject]


def test_a_nested_claim_is_a_value_or_a_list_that_has_it() -> None:
    (term,) = attributes.condition(Condition(key="request.auth.claims[a][b]", values=("x", "y*")), meta())
    either = {"or_match": {"value_matchers": [{"string_match": {"exact": "x"}}, {"string_match": {"prefix": "y"}}]}}
    assert term.term["metadata"]["path"] == [{"key": "payload"}, {"key": "a"}, {"key": "b"}]
    assert term.term["metadata"]["value"] == {
        "or_match": {"value_matchers": [{"list_match": {"one_of": either}}, either]}
    }


def test_an_unknown_condition_is_an_error_that_names_it() -> None:
    with pytest.raises(HarnessError, match=r"AuthorizationPolicy shop/rule: .*'source\.mood'"):
        attributes.condition(Condition(key="source.mood", values=("x",)), meta())


def named(filters: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Each filter's action and its policies' names."""
    rules = [each["typed_config"]["rules"] for each in filters]
    return [(each.get("action", "ALLOW"), list(each.get("policies", {}))) for each in rules]


GET = rule(None, Operation(methods=("GET",)))
POLICIES = (
    policy(GET, name="let"),
    policy(GET, rule(), name="no", action="DENY"),
    policy(GET, name="note", action="AUDIT"),
    policy(GET, name="ask", action="CUSTOM", provider="who"),
    policy(GET, name="root", namespace="istio-system"),
    policy(GET, name="elsewhere", namespace="other"),
)


def test_one_filter_an_action_in_istios_order_and_with_its_names() -> None:
    mesh = Mesh(authorization_policies=POLICIES)
    asked = "istio-ext-authz-who-ns[shop]-policy[ask]-rule[0]-deny-due-to-bad-CUSTOM-action"
    assert named(access.http_custom(mesh, SERVER)) == [("DENY", [asked])]
    assert named(access.http(mesh, SERVER)) == [
        ("LOG", ["ns[shop]-policy[note]-rule[0]"]),
        ("DENY", ["ns[shop]-policy[no]-rule[0]", "ns[shop]-policy[no]-rule[1]"]),
        ("ALLOW", ["ns[shop]-policy[let]-rule[0]", "ns[istio-system]-policy[root]-rule[0]"]),
    ]


def test_on_tcp_an_allow_rule_of_http_allows_nothing_and_a_deny_rule_forgets_it() -> None:
    mesh = Mesh(authorization_policies=(policy(GET, name="let"), policy(GET, name="no", action="DENY")))
    deny, allow = access.network(mesh, SERVER)
    assert allow["typed_config"]["rules"] == {}
    (entry,) = deny["typed_config"]["rules"]["policies"].values()
    assert entry["permissions"] == [{"and_rules": {"rules": [{"any": True}]}}]


def test_envoy_takes_every_attribute_on_http_and_tcp(tmp_path: Path) -> None:
    blocks, names = ("10.0.0.0/8", "1.2.3.4", "fd00::/8"), ("*", "a*", "*b", "c")
    source = Source(
        principals=names, not_principals=names, request_principals=("*", "a/*", "*/b"), namespaces=names,
        not_namespaces=names, ip_blocks=blocks, not_ip_blocks=blocks, remote_ip_blocks=blocks,
    )  # fmt: skip
    operation = Operation(
        hosts=names, not_hosts=names, methods=names, not_paths=names, ports=("80",), not_ports=("81",),
        paths=("/a/{*}/b", "/c/{**}", "/d*", "*/e", "*"),
    )  # fmt: skip
    keys = (
        "request.headers[x-a]", "source.namespace", "source.principal", "request.auth.principal",
        "request.auth.audiences", "request.auth.presenter", "request.auth.claims[a][b]", "connection.sni",
    )  # fmt: skip
    conditions = [Condition(key=each, values=names, not_values=names) for each in keys]
    conditions += [Condition(key=each, values=blocks) for each in ("source.ip", "remote.ip", "destination.ip")]
    conditions += [
        Condition(key="destination.port", values=("80",)),
        Condition(key="source.serviceAccount", values=("a",)),
    ]
    everything = rule(source, operation, *conditions)
    accounts = rule(Source(service_accounts=("a", "n/b"), not_service_accounts=("c",)))
    policies = [policy(everything, accounts, name=each, action=each, provider="p") for each in ACTIONS]
    mesh = Mesh(services=(service({8080: "http", 9090: "tcp"}),), authorization_policies=tuple(policies))
    authority = Authority()
    write_secrets(tmp_path, authority.issue(SERVER.identity), authority.pem)
    made = compile_inbound(mesh, SERVER)
    assert not validate(tmp_path, made.listeners, made.clusters)


def test_a_policy_without_rules_matches_nothing() -> None:
    mesh = Mesh(authorization_policies=(AuthorizationPolicy(meta=meta()),))
    (only,) = access.http(mesh, SERVER)
    (entry,) = only["typed_config"]["rules"]["policies"].values()
    assert entry == {"permissions": [{"not_rule": {"any": True}}], "principals": [{"not_id": {"any": True}}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A running proxy with an HTTP port and a raw TCP port."""

    envoy: Envoy
    folder: Path
    authority: Authority
    http: int
    tcp: int


def guarded(folder: Path, policies: tuple[AuthorizationPolicy, ...]) -> Iterator[Guarded]:
    authority = Authority()
    write_secrets(folder, authority.issue(SERVER.identity), authority.pem)
    http, tcp = free_ports(2)
    inbound = compile_inbound(
        Mesh(services=(service({http: "http", tcp: "tcp"}),), authorization_policies=policies), SERVER
    )
    with running(folder, inbound, [http, tcp]) as envoy:
        yield Guarded(envoy=envoy, folder=folder, authority=authority, http=http, tcp=tcp)


@pytest.fixture(scope="module")
def denying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    paths = ("/admin", "/pre/*", "*/suf", "/t/{*}/b", "/u/{**}")
    rules = (
        rule(None, Operation(paths=paths)),
        rule(None, Operation(hosts=("a.example",))),
        rule(None, Operation(methods=("PUT",))),
        rule(None, Operation(hosts=("b.example",), ports=("9999",))),
    )
    asked = policy(rule(None, Operation(paths=("/custom",))), name="ask", action="CUSTOM", provider="who")
    yield from guarded(tmp_path_factory.mktemp("deny"), (policy(*rules, name="deny-admin", action="DENY"), asked))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/admin", 403), ("/admin/", 200), ("//admin", 200), ("/x/../admin", 403), ("/./admin", 403), ("/%61dmin", 403),
        ("/admin%2F", 200), ("/%2Fadmin", 200), ("/x%2F..%2Fadmin", 200), ("/x/%2e%2e/admin", 403),
        ("/x/%2E%2E/admin", 403), ("/%2e/admin", 403), ("/admin?x=1", 403), ("/admin#frag", 403), ("/ADMIN", 200),
        ("/admin;x", 200), ("/x\\..\\admin", 403), ("/pre", 200), ("/pre/", 403), ("/pre/x", 403), ("//pre/x", 200),
        ("/pre%2Fx", 200), ("/a/suf", 403), ("/suf", 403), ("/a/suf?x", 403), ("/t/a/b", 403), ("/t/a/c/b", 200),
        ("/t//b", 200), ("/u", 200), ("/u/", 403), ("/u/a/b", 403), ("/admin%00", 400), ("/admin%20", 200),
        ("/admin/.", 200), ("/admin/..", 200), ("/admin/x/..", 200), ("http://a.b/admin", 403), ("/admin%3Fx", 200),
        ("/admin%23x", 200), ("/custom", 403),
    ],
)  # fmt: skip
def test_a_path_is_denied_exactly_where_real_istio_denies_it(denying: Guarded, path: str, status: int) -> None:
    assert call(denying.http, path).status == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("a.example", 403),
        ("A.EXAMPLE", 403),
        ("a.example:80", 200),
        ("a.example.", 200),
        ("xa.example", 200),
        ("b.example", 200),
    ],
)
def test_a_host_is_denied_exactly_where_real_istio_denies_it(denying: Guarded, host: str, status: int) -> None:
    assert call(denying.http, "/ok", host=host).status == status


def test_the_log_names_the_policy_that_denied(denying: Guarded) -> None:
    answer = call(denying.http, "/pre/which")
    assert answer.body == "RBAC: access denied"
    line = denying.envoy.log.wait("/pre/which")
    assert " 403 - rbac_access_denied_matched_policy[ns[shop]-policy[deny-admin]-rule[0]] " in line
    assert call(denying.http, "/ok", method="PUT").status == 403
    assert "policy[deny-admin]-rule[2]]" in denying.envoy.log.wait('"PUT /ok')


def test_a_deny_rule_of_http_alone_closes_raw_tcp(denying: Guarded) -> None:
    assert exchange(denying.tcp, b"GET /fine HTTP/1.1\r\n\r\n") in {"eof", "reset"}
    assert "rbac_access_denied_matched_policy[" in denying.envoy.log.wait(f":{denying.tcp} ")
    assert "/fine" not in denying.envoy.application.seen


@pytest.fixture(scope="module")
def allowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    caller = Source(principals=("cluster.local/ns/shop/sa/caller",))
    rules = (
        rule(caller, Operation(methods=("GET",), paths=("/api/*",))),
        rule(Source(namespaces=("foreign",)), Operation(paths=("/foreign",))),
        rule(
            None,
            Operation(paths=("/header",)),
            Condition(key="request.headers[x-a]", values=("b*",), not_values=("bad",)),
        ),
        rule(Source(ip_blocks=("127.0.0.0/8",)), Operation(paths=("/near",))),
        rule(Source(remote_ip_blocks=("11.0.0.0/8",)), Operation(paths=("/far",))),
        rule(Source(not_namespaces=("foreign",)), Operation(paths=("/domestic",))),
        rule(None, Operation(paths=("/sni",)), Condition(key="connection.sni", values=("*.example",))),
    )
    yield from guarded(tmp_path_factory.mktemp("allow"), (policy(*rules, name="let"),))


@pytest.mark.parametrize(
    ("who", "path", "more", "status"),
    [
        pytest.param(CALLER, "/api/x", {}, 200, id="principal"),
        pytest.param(CALLER, "/api", {}, 403, id="path-beside-its-prefix"),
        pytest.param(CALLER, "/other", {}, 403, id="nothing-allows-it"),
        pytest.param(INTRUDER, "/api/x", {}, 403, id="wrong-principal"),
        pytest.param(INTRUDER, "/foreign", {}, 200, id="namespace"),
        pytest.param(CALLER, "/foreign", {}, 403, id="wrong-namespace"),
        pytest.param("", "/api/x", {}, 403, id="naked-has-no-principal"),
        pytest.param("", "/header", {"headers": {"X-A": "bcd"}}, 200, id="header"),
        pytest.param("", "/header", {"headers": {"X-A": "bad"}}, 403, id="not-header"),
        pytest.param("", "/header", {}, 403, id="header-missing"),
        pytest.param("", "/near", {"headers": {"x-forwarded-for": "11.1.1.1"}}, 200, id="direct-peer"),
        pytest.param("", "/far", {"headers": {"x-forwarded-for": "11.1.1.1"}}, 200, id="original-client"),
        pytest.param("", "/far", {}, 403, id="not-the-original-client"),
        pytest.param("", "/domestic", {}, 200, id="naked-walks-around-not-namespace"),
        pytest.param(INTRUDER, "/domestic", {}, 403, id="not-namespace"),
        pytest.param(CALLER, "/sni", {"sni": "a.example"}, 200, id="sni"),
        pytest.param(CALLER, "/sni", {"sni": "a.other"}, 403, id="other-sni"),
    ],
)
def test_who_is_allowed(allowing: Guarded, who: str, path: str, more: dict[str, Any], status: int) -> None:
    identity = allowing.authority.issue(who) if who else None
    tls = client_context(allowing.folder, allowing.authority, identity) if identity else None
    assert call(allowing.http, path, tls=tls, **more).status == status


def test_an_allow_rule_of_http_opens_no_raw_tcp(allowing: Guarded) -> None:
    assert exchange(allowing.tcp, b"GET /near HTTP/1.1\r\n\r\n") in {"eof", "reset"}
    assert "rbac_access_denied_matched_policy[none]" in allowing.envoy.log.wait(f":{allowing.tcp} ")
