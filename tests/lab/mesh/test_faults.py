"""Every mesh mutant: it stands at a seam, changes what it should, leaves the rest alone, and Envoy takes what comes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from clusters.lab.mesh.compile import compile_proxy
from clusters.lab.mesh.faults import FAULTS
from clusters.lab.mesh.injection import InjectionDownError, inject
from clusters.lab.mesh.lapses import DELAY
from clusters.lab.mesh.model import Config, Mesh, Proxy, Service, ServicePort
from clusters.lab.mesh.mutants import MESH_MUTANTS
from clusters.lab.mesh.mutation import SOUND, Admission, Delivery, Fault, Terms, chosen
from clusters.lab.mesh.redirect import Redirection
from clusters.lab.mesh.webhooks import configuration
from policies.istio.model import (
    AuthorizationPolicy,
    Condition,
    HttpMatch,
    HttpRoute,
    JwtRule,
    MtlsMode,
    Operation,
    PeerAuthentication,
    RequestAuthentication,
    Source,
    StringMatch,
    TrafficPolicy,
)
from tests.lab.mesh.envoy import validate
from tests.lab.mesh.outward import HTTP, SUBSETS, TCP, client, destination_rule, endpoint, server, to, virtual_service
from tests.lab.mesh.test_tokens import GOOD
from tests.lab.mesh.trust import Authority, write_secrets
from tests.lab.mesh.worlds import SERVER, meta, policy, rule

PODS = (endpoint("v1", "10.244.0.5"), endpoint("v2", "10.244.0.6"))
RAW = tuple(replace(each, port=9090) for each in PODS)
MINE = {"app": "server"}


def _ports() -> tuple[ServicePort, ...]:
    return replace(HTTP, endpoints=PODS), replace(TCP, endpoints=RAW)


SERVICE: Service = server(*_ports())
BARE = Mesh(services=(SERVICE,))


def _modes(
    mode: MtlsMode | None,
    *,
    namespace: str = "shop",
    selector: Mapping[str, str] | None = None,
    ports: Mapping[int, MtlsMode] | None = None,
) -> PeerAuthentication:
    name = f"modes-{'own' if selector else 'all'}"
    return PeerAuthentication(meta=meta(name, namespace), mode=mode, selector=selector, ports=ports or {})


def _with(
    *policies: AuthorizationPolicy, modes: tuple[PeerAuthentication, ...] = (), routes: tuple[HttpRoute, ...] = ()
) -> Mesh:
    return replace(
        BARE,
        authorization_policies=policies,
        peer_authentications=modes,
        virtual_services=(virtual_service(*routes),) if routes else (),
        destination_rules=(destination_rule(None, *SUBSETS),) if routes else (),
    )


STRICT = _with(modes=(_modes("STRICT"),))
TOKENS = replace(
    BARE,
    request_authentications=(
        RequestAuthentication(
            meta=meta("tokens"), rules=(JwtRule(issuer="https://issuer.test", jwks=GOOD.jwks, audiences=("shop",)),)
        ),
    ),
)
ALLOW, DENY = policy(rule(), name="allow"), policy(rule(), name="deny", action="DENY")
OWN = replace(ALLOW, selector={"app": "other"})
SPLIT = _with(routes=(HttpRoute(destinations=(to("v1", 90), to("v2", 10))),))
ROUTED = _with(
    routes=(
        HttpRoute(
            matches=(
                HttpMatch(
                    uri=StringMatch(exact="/a"),
                    headers=(("x-user", StringMatch(exact="jason")),),
                    source_labels={"app": "other"},
                ),
            ),
            destinations=(to("v2"),),
        ),
        HttpRoute(matches=(HttpMatch(uri=StringMatch(prefix="/b")),), destinations=(to("v3"),)),
    )
)
OTHER = replace(client("other"), labels={"app": "other"})


def _source(**lists: tuple[str, ...]) -> Mesh:
    return _with(policy(rule(Source(**lists))))


def _operation(**lists: tuple[str, ...]) -> Mesh:
    return _with(policy(rule(None, Operation(**lists))))


@dataclass(frozen=True, slots=True)
class Case:
    """A Mesh in which the mutant gives this proxy another configuration than the sound compiler does."""

    mutant: str
    mesh: Mesh
    proxy: Proxy = SERVER

    def __str__(self) -> str:
        return self.mutant


CASES = (
    Case("plaintext-in-strict", STRICT),
    Case("strict-for-http-only", STRICT),
    Case("port-mode-ignored", _with(modes=(_modes("STRICT", selector=MINE, ports={9090: "PERMISSIVE"}),))),
    Case("namespace-mode-wins", _with(modes=(_modes("STRICT"), _modes("PERMISSIVE", selector=MINE)))),
    Case("unset-is-permissive", _with(modes=(_modes("STRICT"), _modes(None, selector=MINE)))),
    Case("mesh-mode-ignored", _with(modes=(_modes("STRICT", namespace="istio-system"),))),
    Case("disable-unknown-to-callers", _with(modes=(_modes("DISABLE", selector=MINE),)), OTHER),
    Case("client-tls-ignored", replace(BARE, destination_rules=(destination_rule(TrafficPolicy(tls="DISABLE")),))),
    Case("auto-mtls-off", BARE),
    Case("any-authority-trusted", BARE),
    Case("expired-certificates-taken", BARE),
    Case("trust-domain-ignored", BARE),
    Case("certificate-not-required", BARE),
    Case("old-tls-taken", BARE),
    Case("identity-of-the-node", BARE),
    Case("identity-claimed-in-a-header", BARE),
    Case("principals-ignored", _source(principals=("cluster.local/ns/shop/sa/caller",))),
    Case("not-principals-ignored", _source(not_principals=("cluster.local/ns/shop/sa/caller",))),
    Case("namespaces-ignored", _source(namespaces=("shop",))),
    Case("service-accounts-ignored", _source(service_accounts=("caller",))),
    Case("allow-before-deny", _with(DENY, ALLOW)),
    Case("allow-nothing-allows", _with(replace(ALLOW, rules=None))),
    Case("audit-allows", _with(policy(rule(), action="AUDIT"))),
    Case("custom-skipped", _with(policy(rule(), action="CUSTOM", provider="nobody"))),
    Case("policy-selector-ignored", _with(OWN)),
    Case("root-policies-ignored", _with(policy(rule(), namespace="istio-system"))),
    Case("authorization-for-http-only", _with(ALLOW)),
    Case(
        "rule-parts-apart",
        _with(policy(rule(Source(namespaces=("shop",)), Operation(methods=("GET",))))),
    ),
    Case("path-not-normalised", BARE),
    Case("prefix-path-is-exact", _operation(paths=("/api/*",))),
    Case("exact-path-is-prefix", _operation(paths=("/api",))),
    Case("method-ignored", _operation(methods=("GET",))),
    Case("host-case-counts", _operation(hosts=("a.example",))),
    Case(
        "conditions-ignored",
        _with(policy(rule(None, None, Condition(key="request.headers[x-team]", values=("red",))))),
    ),
    Case("token-expiry-unchecked", TOKENS),
    Case("token-audience-unchecked", TOKENS),
    Case("token-signature-unchecked", TOKENS),
    Case("bad-token-is-no-token", TOKENS),
    Case("token-not-required", _source(request_principals=("*",))),
    Case("even-split", SPLIT),
    Case("leaky-split", _with(routes=(HttpRoute(destinations=(to("v1", 100), to("v2", 0))),))),
    Case("sticky-split", SPLIT),
    Case("last-route-wins", ROUTED, OTHER),
    Case("route-headers-ignored", ROUTED, OTHER),
    Case("route-source-ignored", ROUTED),
    Case("exact-route-is-prefix", ROUTED, OTHER),
    Case("unmatched-passes", ROUTED, OTHER),
    Case("empty-subset-is-whole", ROUTED),
)


def _compiled(fault: Fault, mesh: Mesh, proxy: Proxy) -> Config:
    return fault.config(compile_proxy(fault.mesh(mesh, proxy), proxy), proxy)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_configuration_is_another_one_that_envoy_takes(case: Case, tmp_path: Path) -> None:
    sound = compile_proxy(case.mesh, case.proxy)
    broken = _compiled(chosen(case.mutant), case.mesh, case.proxy)
    assert broken != sound
    assert compile_proxy(case.mesh, case.proxy) == sound
    authority = Authority()
    write_secrets(tmp_path, authority.issue(SERVER.identity), authority.pem)
    inbound = [each for each in broken.listeners if each["name"] == "virtualInbound"]
    assert validate(tmp_path, [*inbound, *_routes(broken)], broken.clusters) == ""


def _routes(config: Config) -> list[dict[str, Any]]:
    """The outbound routes where Envoy's validation sees them: in a listener."""
    found = []
    for number, routes in enumerate(config.routes.values()):
        kind = "type.googleapis.com/envoy.extensions.filters"
        router = {"@type": f"{kind}.http.router.v3.Router"}
        manager = {
            "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "routes",
            "route_config": routes,
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        }
        filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
        address = {"socket_address": {"address": "127.0.0.1", "port_value": 20000 + number}}
        found.append({"name": f"routes-{number}", "address": address, "filter_chains": [{"filters": filters}]})
    return found


@pytest.mark.parametrize("name", [each.name for each in MESH_MUTANTS])
def test_what_is_not_said_is_not_misread(name: str) -> None:
    """A Mesh without any resource is the very same object to every mutant that misreads or forgets resources."""
    assert chosen(name).mesh(BARE, SERVER) is BARE


def test_every_name_has_its_fault() -> None:
    assert {each.name for each in MESH_MUTANTS} == set(FAULTS)
    assert all(make() != SOUND for make in FAULTS.values())


def test_equal_readings_are_one_object() -> None:
    fault = chosen("plaintext-in-strict")
    assert fault.mesh(STRICT, SERVER) is fault.mesh(STRICT, OTHER)


def test_allowed_first_means_denied_where_nothing_is_allowed() -> None:
    only_denied = _with(DENY, OWN)
    fault = chosen("allow-before-deny")
    assert _compiled(fault, only_denied, SERVER) == compile_proxy(only_denied, SERVER)


def test_the_deleted_stays_and_the_changed_does_not() -> None:
    fault = chosen("deletions-not-delivered")
    assert fault.mesh(_with(ALLOW), SERVER).authorization_policies == (ALLOW,)
    changed = replace(ALLOW, action="DENY")
    assert fault.mesh(_with(changed), SERVER).authorization_policies == (changed,)
    assert fault.mesh(BARE, SERVER).authorization_policies == (changed,)


def test_the_changed_stays_and_the_deleted_goes() -> None:
    fault = chosen("updates-not-delivered")
    fault.mesh(_with(ALLOW), SERVER)
    assert fault.mesh(_with(replace(ALLOW, action="DENY")), SERVER).authorization_policies == (ALLOW,)
    assert fault.mesh(BARE, SERVER).authorization_policies == ()


def test_the_first_keys_stay() -> None:
    fault = chosen("token-keys-cached")
    assert fault.mesh(TOKENS, SERVER) == TOKENS
    (written,) = TOKENS.request_authentications
    renewed = replace(written, rules=(replace(written.rules[0], jwks="{}"),))
    (seen,) = fault.mesh(replace(TOKENS, request_authentications=(renewed,)), SERVER).request_authentications
    assert seen == written


def _delivery(proxy: Proxy, mesh: Mesh, pushes: int = 1) -> Delivery:
    return Delivery(proxy=proxy, mesh=mesh, pushes=pushes, connected=0.0, now=1.0)


def test_one_proxy_is_stale_and_its_neighbours_are_not() -> None:
    accounts = sorted({each.service_account for each in PODS})
    neighbour, stale = (replace(SERVER, service_account=each) for each in accounts)
    fault = chosen("one-proxy-stale")
    assert fault.delivery(_delivery(stale, BARE, pushes=0)) == 0.0
    assert fault.delivery(_delivery(stale, BARE)) is None
    assert fault.delivery(_delivery(neighbour, BARE)) == 0.0


def test_rules_are_late_and_endpoints_are_not() -> None:
    fault = chosen("late-push")
    steps = (BARE, replace(BARE, services=()), _with(ALLOW), _with(ALLOW), BARE)
    assert [fault.delivery(_delivery(SERVER, mesh)) for mesh in steps] == [0.0, 0.0, DELAY, 0.0, DELAY]


def test_terms_of_certificates() -> None:
    terms = Terms(identity=SERVER.identity, life=10.0)
    assert chosen("certificates-never-renewed").issuing(terms, SERVER) == replace(terms, renewed=False)
    named = chosen("identity-of-the-node").issuing(terms, replace(SERVER, node="lab-1"))
    assert named.identity == "spiffe://cluster.local/ns/istio-system/sa/lab-1"


def _asked(
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    space: dict[str, str] | None = None,
    *,
    up: bool = True,
) -> Admission:
    meta_of_pod = {"name": "p", "namespace": "shop", "labels": labels or {}, "annotations": annotations or {}}
    return Admission(
        pod={"metadata": meta_of_pod, "spec": {"containers": [{"name": "app"}]}},
        namespace={"metadata": {"name": "shop", "labels": space or {}}},
        webhooks=[configuration("default")],
        control_planes={"istiod.istio-system": up},
    )


def _sound(asked: Admission) -> dict[str, Any] | None:
    return inject(asked.pod, namespace=asked.namespace, webhooks=asked.webhooks, control_planes=asked.control_planes)


ENABLED = {"istio-injection": "enabled"}


@pytest.mark.parametrize(
    ("mutant", "asked"),
    [
        ("opt-out-ignored", _asked({"sidecar.istio.io/inject": "false"}, space=ENABLED)),
        ("revision-ignored", _asked(space={"istio.io/rev": "nobody"})),
        ("annotation-injects", _asked(annotations={"sidecar.istio.io/inject": "true"})),
    ],
    ids=["opt-out-ignored", "revision-ignored", "annotation-injects"],
)
def test_a_pod_gets_a_proxy_that_it_should_not_have(mutant: str, asked: Admission) -> None:
    assert _sound(asked) is None
    assert chosen(mutant).admission(asked, _sound) is not None
    assert _sound(asked) is None


def test_a_webhook_that_is_down_lets_pods_pass() -> None:
    asked = _asked(space=ENABLED, up=False)
    with pytest.raises(InjectionDownError):
        _sound(asked)
    assert chosen("injection-fails-open").admission(asked, _sound) is None


def _proxy_of(pod: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    assert pod is not None
    places = [(kind, each) for kind in ("initContainers", "containers") for each in pod["spec"][kind]]
    return next((kind, each) for kind, each in places if each["name"] == "istio-proxy")


def test_the_form_that_was_asked_for_is_not_heard() -> None:
    asked = _asked(annotations={"sidecar.istio.io/nativeSidecar": "false"}, space=ENABLED)
    assert _proxy_of(_sound(asked))[0] == "containers"
    assert _proxy_of(chosen("proxy-form-ignored").admission(asked, _sound))[0] == "initContainers"


def test_nothing_holds_the_application() -> None:
    asked = _asked(space=ENABLED)
    assert "startupProbe" in _proxy_of(_sound(asked))[1]
    assert "startupProbe" not in _proxy_of(chosen("application-not-held").admission(asked, _sound))[1]


def test_redirections() -> None:
    wanted = Redirection(inbound_excluded=("15021", "9090"), excluded_ports=("8081",))
    assert chosen("exclusions-ignored").redirection(wanted) == Redirection(inbound_excluded=("15021",))
    assert chosen("calls-not-redirected").redirection(wanted).excluded_ports == ("8081", "9090")


def test_without_a_mutant_every_seam_is_sound() -> None:
    assert chosen("") is SOUND
    assert chosen("no-enforcement") is SOUND


def test_each_namespace_has_a_memory_of_its_own() -> None:
    fault = chosen("updates-not-delivered")
    other = replace(SERVER, namespace="third")
    modes: tuple[MtlsMode, ...] = ("PERMISSIVE", "STRICT")
    first, changed = (PeerAuthentication(meta=meta("default"), mode=each) for each in modes)
    fault.mesh(Mesh(peer_authentications=(first,)), SERVER)
    fault.mesh(Mesh(), other)
    assert fault.mesh(Mesh(peer_authentications=(changed,)), SERVER).peer_authentications == (first,)
