"""Behaviours as Istio's security resources; `routing` writes the traffic ones.

What belongs here: who may call, what servers and callers speak, which tokens count. What does not: reading a cluster.
"""

from __future__ import annotations

from typing import Any, Final

from clusters.mesh.dialect import Manifest, Object, Place
from clusters.mesh.istio import routing
from clusters.mesh.istio.words import NETWORKING, ROOT_NAMESPACE, SECURITY, TRUST_DOMAIN
from flows.errors import UsageError
from flows.model import Workload
from policies.behaviour import (
    Access,
    Action,
    Behaviour,
    ClientMode,
    ClientTls,
    Condition,
    ExternalService,
    Level,
    Mtls,
    Operation,
    Routing,
    Rule,
    Scope,
    Source,
    Tokens,
)

_CLIENT: Final = {ClientMode.DISABLE: "DISABLE", ClientMode.MUTUAL: "ISTIO_MUTUAL", ClientMode.SIMPLE: "SIMPLE"}
_KEYS: Final = {
    "audience": "request.auth.audiences",
    "presenter": "request.auth.presenter",
    "identity": "source.principal",
    "namespace": "source.namespace",
    "source-ip": "source.ip",
    "remote-ip": "remote.ip",
    "destination-ip": "destination.ip",
    "destination-port": "destination.port",
    "sni": "connection.sni",
}


def manifests(behaviour: Behaviour, place: Place, root: str = ROOT_NAMESPACE) -> list[Manifest]:
    """The resources that ask for this behaviour.

    Args:
        root: The mesh's root namespace, for what covers the whole mesh.

    Raises:
        UsageError: Istio cannot say it, or it names somebody who is not in the world; names what.
    """
    if isinstance(behaviour, Mtls):
        return [_mtls(behaviour, place, root)]
    if isinstance(behaviour, ClientTls):
        return [_client_tls(behaviour, place)]
    if isinstance(behaviour, Access):
        return [_access(behaviour, place, root)]
    if isinstance(behaviour, Tokens):
        return [_tokens(behaviour, place, root)]
    if isinstance(behaviour, Routing):
        return routing.routing(behaviour, place)
    if isinstance(behaviour, ExternalService):
        return [routing.external(behaviour, place)]
    raise UsageError(f"Istio cannot say {type(behaviour).__name__}; see policies/behaviour.py for what there is")


def principal(workload: Workload, trust_domain: str = TRUST_DOMAIN) -> str:
    """The workload's identity as policies write it: without the scheme `spiffe://`."""
    return f"{trust_domain}/ns/{workload.namespace}/sa/{workload.service_account or 'default'}"


def _object(api_version: str, kind: str, name: str, namespace: str, spec: Object) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def _scoped(kind: str, name: str, scope: Scope, place: Place, root: str, rest: Object) -> tuple[Object, bool]:
    """The object in the scope's namespace, with its selector; and whether it is mesh-wide."""
    if scope.level is Level.MESH:
        return _object(SECURITY, kind, name, root, rest), True
    if scope.level is Level.NAMESPACE:
        return _object(SECURITY, kind, name, routing.namespace(place, scope.role), rest), False
    target = routing.known(place, scope.workload)
    selector = {"selector": {"matchLabels": dict(place.select[scope.workload])}}
    return _object(SECURITY, kind, name, target.namespace, {**selector, **rest}), False


def _mtls(asked: Mtls, place: Place, root: str) -> Manifest:
    scope = asked.scope
    if asked.ports and scope.level is not Level.WORKLOAD:
        raise UsageError("Mtls.ports: Istio takes modes by port only for one workload; set scope=workload(NAME)")
    spec: Object = {"mtls": {"mode": asked.mode.upper() if asked.mode else "UNSET"}}
    if asked.ports:
        spec["portLevelMtls"] = {str(port): {"mode": mode.upper()} for port, mode in asked.ports}
    name = scope.workload if scope.level is Level.WORKLOAD else "default"
    obj, wide = _scoped("PeerAuthentication", name, scope, place, root, spec)
    return Manifest(object=obj, mesh_wide=wide)


def _client_tls(asked: ClientTls, place: Place) -> Manifest:
    if bool(asked.to) == bool(asked.pattern):
        raise UsageError("ClientTls: give either `to`, a workload, or `pattern`, a host pattern such as '*.local'")
    host = asked.pattern or routing.host(place, asked.to)
    name = f"tls-{asked.to}" if asked.to else "tls-pattern"
    where = routing.namespace(place, asked.role)
    tls = {"tls": {"mode": _CLIENT[asked.mode]}}
    spec = {"host": host, "trafficPolicy": tls, "exportTo": routing.exports(place, where)}
    return Manifest(object=_object(NETWORKING, "DestinationRule", name, where, spec))


def _access(asked: Access, place: Place, root: str) -> Manifest:
    custom = asked.action is Action.CUSTOM
    if custom != bool(asked.provider):
        raise UsageError(f"Access {asked.name!r}: Action.CUSTOM needs a provider, and no other action takes one")
    if asked.rules == ():
        raise UsageError(f"Access {asked.name!r}: rules is empty; give None for nobody or (Rule(),) for everybody")
    if asked.rules is None and asked.action is not Action.ALLOW:
        raise UsageError(f"Access {asked.name!r}: {asked.action} without rules does nothing; give rules")
    spec: Object = {} if asked.action is Action.ALLOW else {"action": asked.action.upper()}
    if custom:
        spec["provider"] = {"name": asked.provider}
    if asked.rules is not None:
        spec["rules"] = [_rule(rule, place) for rule in asked.rules]
    obj, wide = _scoped("AuthorizationPolicy", asked.name, asked.scope, place, root, spec)
    return Manifest(object=obj, mesh_wide=wide)


def _rule(rule: Rule, place: Place) -> Object:
    """One rule; Istio takes no empty source or operation, so one that matches everything is left out."""
    written: Object = {}
    sources = [_source(each, place) for each in rule.sources]
    operations = [_operation(each) for each in rule.operations]
    if sources and all(sources):
        written["from"] = [{"source": each} for each in sources]
    if operations and all(operations):
        written["to"] = [{"operation": each} for each in operations]
    if rule.conditions:
        written["when"] = [_condition(each, place) for each in rule.conditions]
    return written


def _filled(fields: dict[str, list[str]]) -> Object:
    return {key: values for key, values in fields.items() if values}


def _source(source: Source, place: Place) -> Object:
    accounts = bool(source.accounts or source.not_accounts)
    others = (source.identities, source.not_identities, source.raw_identities, source.roles, source.not_roles)
    if accounts and any(others):
        raise UsageError("Source.accounts: Istio does not take them together with identities or roles; give one kind")
    return _filled(
        {
            "principals": [*_principals(source.identities, place), *source.raw_identities],
            "notPrincipals": _principals(source.not_identities, place),
            "requestPrincipals": list(source.token_subjects),
            "notRequestPrincipals": list(source.not_token_subjects),
            "namespaces": _namespaces(source.roles, place),
            "notNamespaces": _namespaces(source.not_roles, place),
            "serviceAccounts": _accounts(source.accounts, place),
            "notServiceAccounts": _accounts(source.not_accounts, place),
            "ipBlocks": list(source.blocks),
            "notIpBlocks": list(source.not_blocks),
            "remoteIpBlocks": list(source.remote_blocks),
            "notRemoteIpBlocks": list(source.not_remote_blocks),
        }
    )


def _principals(names: tuple[str, ...], place: Place) -> list[str]:
    return [name if name == "*" else principal(routing.known(place, name)) for name in names]


def _namespaces(roles: tuple[str, ...], place: Place) -> list[str]:
    return [place.namespaces.get(role, role) for role in roles]


def _accounts(names: tuple[str, ...], place: Place) -> list[str]:
    found = {name: place.workloads[name] for name in names if name in place.workloads}
    return [f"{found[name].namespace}/{found[name].service_account}" if name in found else name for name in names]


def _operation(operation: Operation) -> Object:
    return _filled(
        {
            "hosts": list(operation.hosts),
            "notHosts": list(operation.not_hosts),
            "ports": [str(port) for port in operation.ports],
            "notPorts": [str(port) for port in operation.not_ports],
            "methods": list(operation.methods),
            "notMethods": list(operation.not_methods),
            "paths": list(operation.paths),
            "notPaths": list(operation.not_paths),
        }
    )


def _condition(condition: Condition, place: Place) -> Object:
    if not (condition.values or condition.not_values):
        raise UsageError(f"Condition {condition.key!r}: give values or not_values")
    kind, _, name = condition.key.partition(":")

    def spelled(values: tuple[str, ...]) -> list[str]:
        if kind == "identity":
            return [principal(place.workloads[each]) if each in place.workloads else each for each in values]
        return _namespaces(values, place) if kind == "namespace" else list(values)

    if kind == "header" and name:
        key = f"request.headers[{name}]"
    elif kind == "claim" and name:
        key = "request.auth.claims" + "".join(f"[{part}]" for part in name.split("/"))
    elif kind in _KEYS and not name:
        key = _KEYS[kind]
    else:
        raise UsageError(f"Condition {condition.key!r}: Istio has no such key; use header:NAME, claim:NAME, {_known()}")
    return {"key": key, **_filled({"values": spelled(condition.values), "notValues": spelled(condition.not_values)})}


def _known() -> str:
    return ", ".join(_KEYS)


def _tokens(asked: Tokens, place: Place, root: str) -> Manifest:
    rule: dict[str, Any] = {"issuer": asked.issuer, "jwks": asked.keys}
    if asked.audiences:
        rule["audiences"] = list(asked.audiences)
    if asked.headers:
        # Named places replace the usual one in Istio; it is named too, because these are besides it.
        places = [*asked.headers, ("Authorization", "Bearer ")]
        rule["fromHeaders"] = [{"name": name, **({"prefix": prefix} if prefix else {})} for name, prefix in places]
    if asked.forward:
        rule["forwardOriginalToken"] = True
    spec: Object = {"jwtRules": [rule]}
    obj, wide = _scoped("RequestAuthentication", asked.name, asked.scope, place, root, spec)
    return Manifest(object=obj, mesh_wide=wide)
