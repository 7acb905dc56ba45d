"""The kinds of Calico's own API (`projectcalico.org/v3`): names, schemas and rules, as Calico's API server has them.

What belongs here: what an API server does for these kinds. What does not: Calico's own rules (`policies.calico`).
The stored form, `crd.projectcalico.org/v1`, is not served: where Calico's API server is, nobody should write it.
"""

from __future__ import annotations

from typing import Any, Final

from clusters.lab.api.resources import ResourceType
from clusters.lab.api.schema import Decoder
from clusters.lab.api.status import Cause, Causes, StatusError, bad_request, invalid
from flows.errors import UsageError
from policies.calico import read

Object = dict[str, Any]
GROUP: Final = "projectcalico.org"


def _kind(plural: str, singular: str, kind: str, *short: str, namespaced: bool = False) -> ResourceType:
    return ResourceType(
        group=GROUP,
        version="v3",
        plural=plural,
        singular=singular,
        kind=kind,
        short=short,
        namespaced=namespaced,
        custom=True,
        columns=(("Order", "spec.order"),) if kind in read.POLICIES else (),
    )


HOST_ENDPOINTS: Final = _kind("hostendpoints", "hostendpoint", "HostEndpoint", "hep", "heps")
REGISTRY: Final = (
    _kind("globalnetworkpolicies", "globalnetworkpolicy", "GlobalNetworkPolicy", "gnp", "cgnp"),
    _kind("globalnetworksets", "globalnetworkset", "GlobalNetworkSet"),
    HOST_ENDPOINTS,
    _kind("networkpolicies", "networkpolicy", "NetworkPolicy", "cnp", "caliconetworkpolicy", namespaced=True),
    _kind("networksets", "networkset", "NetworkSet", "netsets", namespaced=True),
)
_ENTITY: Final[Object] = {
    **{name: ["str"] for name in ("nets", "notNets")},
    **{name: ["port"] for name in ("ports", "notPorts")},
    **dict.fromkeys(("selector", "notSelector", "namespaceSelector"), "str"),
    "serviceAccounts": {"names": ["str"], "selector": "str"},
    "services": {"name": "str", "namespace": "str"},
}
_ICMP: Final[Object] = {"type": "int", "code": "int"}
_RULE: Final[Object] = {
    "action": "str",
    "ipVersion": "int",
    "protocol": "port",
    "notProtocol": "port",
    "icmp": _ICMP,
    "notICMP": _ICMP,
    "source": _ENTITY,
    "destination": _ENTITY,
    "http": {"methods": ["str"], "paths": ["any"]},
    "metadata": {"annotations": "any"},
}
_POLICY: Final[Object] = {
    "order": "num",
    "selector": "str",
    "serviceAccountSelector": "str",
    "types": ["str"],
    "ingress": [_RULE],
    "egress": [_RULE],
    "performanceHints": ["str"],
}
_FLAGS: Final = {"doNotTrack": "bool", "preDNAT": "bool", "applyOnForward": "bool"}
_SPECS: Final[dict[str, Object]] = {
    "NetworkPolicy": _POLICY,
    "GlobalNetworkPolicy": {**_POLICY, "namespaceSelector": "str", **_FLAGS},
    "NetworkSet": {"nets": ["str"]},
    "GlobalNetworkSet": {"nets": ["str"]},
    "HostEndpoint": {
        **dict.fromkeys(("node", "interfaceName"), "str"),
        **{name: ["str"] for name in ("expectedIPs", "profiles")},
        "ports": ["any"],
    },
}
"""Kind → what its spec may have: a scalar's name, a list of one shape, or fields."""
REFUSALS: Final = (
    *((kind, f"spec.{name}") for kind in read.POLICIES for name in ("performanceHints",)),
    *(("GlobalNetworkPolicy", f"spec.{name}") for name in _FLAGS),
    *(
        (kind, f"spec.ingress[*].{name}")
        for kind in read.POLICIES
        for name in ("icmp", "notICMP", "http", "metadata", "source.services", "destination.services")
    ),
)
"""(kind, field) of what the lab does not do; `egress` has the same fields as `ingress`. `why` says what it is about."""
HOST_ENDPOINT_WHY: Final = "host endpoints: policies are about pods only"


def why(path: str) -> str:
    """What a field of `REFUSALS` is about."""
    return read.UNREAD[path.rpartition(".")[2]]


def decode(resource: ResourceType, body: Object) -> tuple[Object, list[str]]:
    """A fresh object with known fields only, and what a strict reader refuses; wrong types stay for validation.

    Raises:
        StatusError: 400; its metadata has wrong types.
    """
    decoder = Decoder(resource.kind, resource.version)
    clean: Object = {"metadata": decoder.metadata(body.get("metadata"))}
    unknown = [f'unknown field "{key}"' for key in body if key not in {"apiVersion", "kind", "metadata", "spec"}]
    if body.get("spec") is not None:
        clean["spec"] = _known(body["spec"], _SPECS[resource.kind], "spec", unknown)
    return clean, decoder.strict + unknown


def _known(value: object, shape: object, path: str, unknown: list[str]) -> object:
    if isinstance(shape, list) and isinstance(value, list):
        return [_known(each, shape[0], f"{path}[{place}]", unknown) for place, each in enumerate(value)]
    if isinstance(shape, dict) and isinstance(value, dict):
        unknown += [f'unknown field "{path}.{key}"' for key in value if key not in shape]
        return {key: _known(each, shape[key], f"{path}.{key}", unknown) for key, each in value.items() if key in shape}
    return value


def default(obj: Object) -> None:
    """Fill in `types`, as Calico's API server does; whatever is not of its type stays for validation."""
    spec = obj.setdefault("spec", {})
    if obj["kind"] in read.POLICIES and isinstance(spec, dict) and not spec.get("types"):
        inward = ["Ingress"] if spec.get("ingress") or not spec.get("egress") else []
        spec["types"] = inward + (["Egress"] if spec.get("egress") else [])


def validate(resource: ResourceType, obj: Object, before: Object | None) -> None:
    """Check an object of one of Calico's kinds.

    Raises:
        StatusError: 422; Calico's rules or the lab refuse it.
    """
    if before is not None and before.get("spec") == obj.get("spec"):
        return
    name, causes = obj["metadata"].get("name", ""), Causes()
    if resource == HOST_ENDPOINTS:
        causes.forbidden("spec", f"the lab does not do {HOST_ENDPOINT_WHY}")
        raise invalid(resource, name, causes.found)
    try:
        read.read(obj, f"{resource.kind} {name}")
    except UsageError as error:
        raise _refused(resource, name, error.message, causes) from None


def _refused(resource: ResourceType, name: str, message: str, causes: Causes) -> StatusError:
    """The reader's line as the API's answer: its field, and what is wrong with it."""
    told = message.partition(": field '")[2]
    path, _, problem = told.partition("' ")
    if not told:
        return bad_request(message)
    if "this is not done here" in problem:
        causes.forbidden(path, f"the lab does not do {why(path)}")
    else:
        causes.found.append(Cause(path, "FieldValueInvalid", f"Invalid value: {problem}"))
    return invalid(resource, name, causes.found)


# OpenAPI -------------------------------------------------------------------------------------------------------------

_OPEN: Final[dict[str, Object]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "num": {"type": "number"},
    "bool": {"type": "boolean"},
    "port": {"x-kubernetes-int-or-string": True},
    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}


def definitions(metadata: str) -> dict[str, Object]:
    """Kind → its schema; `metadata` is the reference to that of ObjectMeta."""
    return {
        kind: {
            "description": f"{kind}, as Calico 3.28 knows it.",
            "type": "object",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"$ref": metadata},
                "spec": _schema(spec),
            },
        }
        for kind, spec in _SPECS.items()
    }


def _schema(shape: object) -> Object:
    if isinstance(shape, list):
        return {"type": "array", "items": _schema(shape[0])}
    if isinstance(shape, dict):
        return {"type": "object", "properties": {name: _schema(each) for name, each in shape.items()}}
    return dict(_OPEN[str(shape)])
