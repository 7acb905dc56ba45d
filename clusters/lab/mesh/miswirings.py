"""Mesh mutants that configure proxies wrongly: each was compiled soundly, and then something was lost or added.

What belongs here: rewrites of a proxy's Config, and putting them at their seam. What does not: mutants that misread
resources (`misreadings`), that forget or lag (`lapses`), their names (`mutants`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from clusters.lab.mesh.model import Config, Json, Proxy
from clusters.lab.mesh.mutation import Fault

Change = Callable[[Json], Json]
"""One object of the configuration instead of another, which is not changed."""
_INBOUND: Final = "virtualInbound"
_RBAC: Final = "envoy.filters.network.rbac"
_TCP: Final = "envoy.filters.network.tcp_proxy"


def rewritten(value: Any, change: Change) -> Any:
    """The value with every object in it changed, the inner ones first."""
    if isinstance(value, dict):
        return change({key: rewritten(each, change) for key, each in value.items()})
    return [rewritten(each, change) for each in value] if isinstance(value, list) else value


def inbound(change: Change) -> Fault:
    """What a proxy takes is changed, wherever it fits."""

    def seam(config: Config, _: Proxy) -> Config:
        changed = (rewritten(each, change) if each["name"] == _INBOUND else each for each in config.listeners)
        return replace(config, listeners=tuple(changed))

    return Fault(config=seam)


def routes(change: Change) -> Fault:
    """Where a proxy sends requests is changed, wherever it fits."""

    def seam(config: Config, _: Proxy) -> Config:
        return replace(config, routes={name: rewritten(each, change) for name, each in config.routes.items()})

    return Fault(config=seam)


def clusters(change: Callable[[Iterable[Json]], Iterable[Json]]) -> Fault:
    """How a proxy sends to others is changed."""
    return Fault(config=lambda config, _: replace(config, clusters=tuple(change(config.clusters))))


def put(field: str, value: Any, into: str) -> Change:
    """Objects that have `into` as an object get a field in that."""

    def change(found: Json) -> Json:
        inner = found.get(into)
        return {**found, into: {**inner, field: value}} if isinstance(inner, dict) else found

    return change


def put_beside(field: str, value: Any, beside: str) -> Change:
    """Objects that have one field get another."""
    return lambda found: {**found, field: value} if beside in found else found


def without_names(found: Json) -> Json:
    """Whatever name a caller's certificate bears will do."""
    return {key: each for key, each in found.items() if key != "match_subject_alt_names"}


def certificates_optional(found: Json) -> Json:
    """Callers may show none; Envoy asks for one all the same as long as it has names to compare."""
    return put_beside("require_client_certificate", False, "require_client_certificate")(without_names(found))


def old_versions(found: Json) -> Json:
    """TLS 1.0 and 1.1 are taken, with the ciphers they have."""
    if "tls_params" not in found:
        return found
    ciphers = [*found["tls_params"].get("cipher_suites", ()), "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA"]
    oldest = {"tls_minimum_protocol_version": "TLSv1_0", "cipher_suites": ciphers}
    return {**found, "tls_params": {**found["tls_params"], **oldest}}


def raw_tcp_open(found: Json) -> Json:
    """Ports of raw TCP take plaintext although they are strict."""
    chains = found.get("filter_chains")
    if not chains:
        return found
    plain = {each["filter_chain_match"].get("destination_port") for each in chains if "transport_socket" not in each}
    added = [
        {
            **{key: part for key, part in each.items() if key != "transport_socket"},
            "filter_chain_match": {
                **{key: part for key, part in each["filter_chain_match"].items() if key != "application_protocols"},
                "transport_protocol": "raw_buffer",
            },
        }
        for each in chains
        if each["filters"][-1]["name"] == _TCP
        and "transport_socket" in each
        and each["filter_chain_match"].get("destination_port") not in plain
    ]
    return {**found, "filter_chains": [*chains, *added]}


def naked_vouch_for_themselves(found: Json) -> Json:
    """What a caller without a certificate writes of its identity is handed on."""
    if "filter_chain_match" not in found or "transport_socket" in found:
        return found
    trusting = put_beside("forward_client_cert_details", "ALWAYS_FORWARD_ONLY", "forward_client_cert_details")
    return {**found, "filters": rewritten(found["filters"], trusting)}


def unauthorized_tcp(found: Json) -> Json:
    """Raw TCP is authorized by nobody."""
    filters = found.get("filters")
    if not filters or filters[-1]["name"] != _TCP:
        return found
    return {**found, "filters": [each for each in filters if each["name"] != _RBAC]}


def case_counts(found: Json) -> Json:
    """Hosts are compared letter by letter."""
    return {key: each for key, each in found.items() if key != "ignore_case"}


def failed_is_missing(found: Json) -> Json:
    """A bad token is as good as none."""
    return {"allow_missing_or_failed": {}} if "allow_missing" in found else found


def read_not_verified(found: Json) -> Json:
    """A token's claims are believed whoever signed it."""
    return {**found, "requires": {"extract_only_without_validation": {}}} if "requires" in found else found


def one_backend_a_caller(found: Json) -> Json:
    """All requests of one address go to the same backend."""
    if "weighted_clusters" not in found:
        return found
    hashed = {"connection_properties": {"source_ip": True}}
    return {
        **found,
        "hash_policy": [hashed],
        "weighted_clusters": {**found["weighted_clusters"], "use_hash_policy": True},
    }


def in_plaintext(found: Iterable[Json]) -> Iterable[Json]:
    """Nobody is offered mutual TLS but where a rule asks for it."""
    return [{key: part for key, part in each.items() if key != "transport_socket_matches"} for each in found]


def any_server(found: Iterable[Json]) -> Iterable[Json]:
    """Callers take any server of the mesh for the one they call."""
    return [rewritten(each, without_names) for each in found]


def empty_is_whole(found: Iterable[Json]) -> Iterable[Json]:
    """A subset without pods is served by the whole Service."""
    known = {str(each["name"]): each for each in found}

    def one(name: str, cluster: Json) -> Json:
        direction, _, rest = name.partition("|")
        port, _, rest = rest.partition("|")
        subset, _, host = rest.partition("|")
        whole = known.get(f"{direction}|{port}||{host}", {}).get("load_assignment")
        empty = not cluster.get("load_assignment", {"endpoints": True})["endpoints"]
        return (
            {**cluster, "load_assignment": {**whole, "cluster_name": name}} if subset and empty and whole else cluster
        )

    return [one(name, cluster) for name, cluster in known.items()]
