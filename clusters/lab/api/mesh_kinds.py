"""The kinds that the API has with the mesh `istio`: their names, how they are read, their schemas.

What belongs here: what a CustomResourceDefinition says. What does not: Istio's rules (`policies.istio`), admission
(`validation_mesh`). Nothing imports this module in a lab without a mesh.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from clusters.lab.api.resources import ResourceType, Subresource
from clusters.lab.api.schema import Decoder, Repeated
from clusters.lab.api.status import bad_request
from policies.istio.check import VERSIONS
from policies.istio.fields import Shape, Struct, types
from policies.istio.shapes import read_spec

Object = dict[str, Any]


def _kind(group: str, plural: str, singular: str, kind: str, short: str, *columns: tuple[str, str]) -> ResourceType:
    return ResourceType(
        group=f"{group}.istio.io",
        plural=plural,
        singular=singular,
        kind=kind,
        short=(short,),
        categories=("istio-io", f"{group}-istio-io"),
        subresources=(Subresource(name="status", kind=kind, verbs=("get", "patch", "update")),),
        generation=True,
        custom=True,
        columns=columns,
    )


_CUSTOM: Final = (
    _kind("networking", "destinationrules", "destinationrule", "DestinationRule", "dr", ("Host", "spec.host")),
    _kind(
        *("networking", "serviceentries", "serviceentry", "ServiceEntry", "se"),
        ("Hosts", "spec.hosts"),
        ("Location", "spec.location"),
        ("Resolution", "spec.resolution"),
    ),
    _kind(
        *("networking", "virtualservices", "virtualservice", "VirtualService", "vs"),
        ("Gateways", "spec.gateways"),
        ("Hosts", "spec.hosts"),
    ),
    _kind(
        *("security", "authorizationpolicies", "authorizationpolicy", "AuthorizationPolicy", "ap"),
        ("Action", "spec.action"),
    ),
    _kind(
        "security", "peerauthentications", "peerauthentication", "PeerAuthentication", "pa", ("Mode", "spec.mtls.mode")
    ),
    _kind("security", "requestauthentications", "requestauthentication", "RequestAuthentication", "ra"),
)
MUTATING_WEBHOOKS: Final = ResourceType(
    group="admissionregistration.k8s.io",
    plural="mutatingwebhookconfigurations",
    singular="mutatingwebhookconfiguration",
    kind="MutatingWebhookConfiguration",
    namespaced=False,
    categories=("api-extensions",),
    generation=True,
)
REGISTRY: Final = (
    MUTATING_WEBHOOKS,
    *(
        each if version == each.version else replace(each, version=version, storage=each.version)
        for version in ("v1", "v1beta1", "v1alpha3")
        for each in _CUSTOM
        if version in VERSIONS[each.group]
    ),
)
"""In the order of preference of their versions."""


def decode(resource: ResourceType, body: Object) -> tuple[Object, list[str]]:
    """A fresh object with known fields only, and what a strict reader refuses; wrong types stay for validation.

    Raises:
        StatusError: 400; its metadata has wrong types.
    """
    decoder = Decoder(resource.kind, resource.version)
    clean: Object = {"metadata": decoder.metadata(body.get("metadata"))}
    strict = [*_repeated(body.get("spec"), "spec")]
    spec = body.get("spec")
    if isinstance(spec, dict):
        reading = read_spec(resource.kind, spec)
        clean["spec"] = reading.clean
        strict += [f'unknown field "{path}"' for path in reading.unknown]
    elif spec is not None:
        clean["spec"] = spec
    if body.get("status") is not None:
        if not isinstance(body["status"], dict):
            raise bad_request(f"{resource.kind}: status must be an object")
        clean["status"] = body["status"]
    strict += [f'unknown field "{key}"' for key in body if key not in {"apiVersion", "kind", *clean, "spec", "status"}]
    return clean, decoder.strict + strict


def _repeated(value: object, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(value, Repeated):
        found += [f'duplicate field "{path}.{name}"' for name in value.names]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += _repeated(inner, f"{path}.{key}")
    if isinstance(value, list):
        for place, inner in enumerate(value):
            found += _repeated(inner, f"{path}[{place}]")
    return found


# OpenAPI -------------------------------------------------------------------------------------------------------------

_OPEN: Final[dict[str, Object]] = {
    "str": {"type": "string"},
    "dur": {"type": "string"},
    "int": {"type": "integer"},
    "uint": {"type": "integer", "minimum": 0},
    "num": {"type": "number"},
    "bool": {"type": "boolean"},
    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
}


def definitions(metadata: str) -> dict[str, Object]:
    """Kind → its schema; `metadata` is the reference to that of ObjectMeta."""
    return {
        each.kind: {
            "description": f"{each.kind}, as Istio 1.31 knows it.",
            "type": "object",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": {"$ref": metadata},
                "spec": _struct(types()[f"{each.kind}Spec"]),
                "status": dict(_OPEN["any"]),
            },
        }
        for each in _CUSTOM
    }


def _struct(struct: Struct) -> Object:
    found: Object = {"type": "object", "properties": {name: _schema(each) for name, each in struct.fields.items()}}
    required = [name for name, each in struct.fields.items() if each.required]
    return found | ({"required": required} if required else {})


def _schema(shape: Shape) -> Object:
    if shape.item is not None:
        inner = _schema(shape.item)
        return (
            {"type": "array", "items": inner}
            if shape.type == "list"
            else {"type": "object", "additionalProperties": inner}
        )
    if shape.choices:
        return {"type": "string", "enum": list(shape.choices)}
    return _struct(types()[shape.type]) if shape.struct else dict(_OPEN[shape.type])
