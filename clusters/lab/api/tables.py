"""What `kubectl get` prints: a Table for each kind, and the metadata-only shapes that some clients ask for.

What belongs here: columns and how a cell is counted. What does not: the objects' own JSON.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clusters.lab.api.pod_status import pod_cells
from clusters.lab.api.resources import ResourceType

Object = dict[str, Any]
Cells = list[Any]
_SHAPES = ("Table", "PartialObjectMetadataList", "PartialObjectMetadata")


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `wide` ones show with `-o wide` only."""

    name: str
    type: str = "string"
    wide: bool = False
    description: str = ""

    def definition(self) -> Object:
        """The column as a Table describes it."""
        shape = "name" if self.name == "Name" else ""
        about = self.description or f"{self.name} of the object."
        return {
            "name": self.name,
            "type": self.type,
            "format": shape,
            "description": about,
            "priority": 1 if self.wide else 0,
        }


def _columns(text: str) -> tuple[Column, ...]:
    """Columns from `Name Age +Wide #Number`: `+` for wide, `#` for integers, `_` for a space."""
    return tuple(
        Column(each.lstrip("+#").replace("_", " "), "integer" if "#" in each[:2] else "string", "+" in each[:2])
        for each in text.split()
    )


def _age(obj: Object) -> str:
    return age(obj["metadata"].get("creationTimestamp"))


def age(moment: str | None) -> str:
    """The time since a moment, as kubectl shortens it."""
    if not moment:
        return "<unknown>"
    since = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(moment)
    return human(int(since.total_seconds()))


def human(seconds: int) -> str:
    """A duration in two units at most: `45s`, `2m5s`, `3h10m`, `5d12h`, `400d`, `2y3d`."""
    if seconds < 0:
        return "0s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 730:
        return f"{days}d"
    years = days // 365
    if years < 8:
        return f"{years}y{days % 365}d" if days % 365 else f"{years}y"
    return f"{years}y"


def _or_none(text: str) -> str:
    return text or "<none>"


def _namespace(obj: Object) -> Cells:
    return [obj["metadata"]["name"], obj["status"].get("phase", ""), _age(obj)]


def _service(obj: Object) -> Cells:
    spec = obj["spec"]
    ports = ",".join(
        f"{port['port']}{':' + str(port['nodePort']) if port.get('nodePort') else ''}/{port.get('protocol', 'TCP')}"
        for port in spec.get("ports", [])
    )
    external = ",".join(spec.get("externalIPs", []))
    cluster_ip = _or_none(spec.get("clusterIP", ""))
    selector = _labels(spec.get("selector", {}))
    return [
        obj["metadata"]["name"],
        spec.get("type"),
        cluster_ip,
        _or_none(external),
        _or_none(ports),
        _age(obj),
        selector,
    ]


def _labels(labels: dict[str, str]) -> str:
    return _or_none(",".join(f"{key}={labels[key]}" for key in sorted(labels)))


def _selector(selector: Object) -> str:
    parts = [f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items())]
    for each in selector.get("matchExpressions", []):
        values = ",".join(sorted(each.get("values", [])))
        parts.append(
            {
                "In": f"{each['key']} in ({values})",
                "NotIn": f"{each['key']} notin ({values})",
                "Exists": each["key"],
                "DoesNotExist": f"!{each['key']}",
            }[each["operator"]]
        )
    return _or_none(",".join(parts))


def _data(obj: Object) -> Cells:
    return [obj["metadata"]["name"], len(obj.get("data", {})) + len(obj.get("binaryData", {})), _age(obj)]


def _secret(obj: Object) -> Cells:
    return [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data", {})), _age(obj)]


def _service_account(obj: Object) -> Cells:
    return [obj["metadata"]["name"], len(obj.get("secrets", [])), _age(obj)]


def _node(obj: Object) -> Cells:
    status, meta = obj["status"], obj["metadata"]
    ready = next((each for each in status.get("conditions", []) if each["type"] == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready["status"] == "True" else "NotReady"]
    if obj["spec"].get("unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in meta.get("labels", {}) if key.startswith(prefix))
    found = {each["type"]: each["address"] for each in reversed(status.get("addresses", []))}
    info = status.get("nodeInfo", {})
    return [
        meta["name"],
        ",".join(words),
        _or_none(",".join(roles)),
        _age(obj),
        info.get("kubeletVersion", ""),
        _or_none(found.get("InternalIP", "")),
        _or_none(found.get("ExternalIP", "")),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _event(obj: Object) -> Cells:
    involved, source = obj.get("involvedObject", {}), obj.get("source", {})
    series = obj.get("series", {})
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    origin = source.get("component") or obj.get("reportingComponent", "")
    if source.get("host"):
        origin = f"{origin}, {source['host']}"
    target = f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"
    count = series.get("count") or obj.get("count") or 1
    message = obj.get("message", "").strip()
    name = obj["metadata"]["name"]
    place = involved.get("fieldPath", "")
    return [age(last), obj.get("type"), obj.get("reason"), target, place, origin, message, age(first), count, name]


def _network_policy(obj: Object) -> Cells:
    return [obj["metadata"]["name"], _selector(obj["spec"].get("podSelector", {})), _age(obj)]


def _some(values: list[str], most: int) -> str:
    shown = ",".join(values[:most])
    return _or_none(f"{shown} + {len(values) - most} more..." if len(values) > most else shown)


def _endpoint_slice(obj: Object) -> Cells:
    ports = [str(port["port"]) if port.get("port") else "*" for port in obj.get("ports") or []]
    found = [address for each in obj.get("endpoints") or [] for address in each.get("addresses") or []]
    unset = "<unset>"
    return [
        obj["metadata"]["name"],
        obj.get("addressType"),
        _some(ports, 3) if ports else unset,
        _some(found, 3) if found else unset,
        _age(obj),
    ]


def _lease(obj: Object) -> Cells:
    return [obj["metadata"]["name"], obj["spec"].get("holderIdentity", ""), _age(obj)]


def _webhooks(obj: Object) -> Cells:
    return [obj["metadata"]["name"], len(obj.get("webhooks", [])), _age(obj)]


def _plain(obj: Object) -> Cells:
    return [obj["metadata"].get("name", ""), _age(obj)]


_PODS = "Name Ready Status Restarts Age +IP +Node +Nominated_Node +Readiness_Gates"
_TABLES: dict[str, tuple[tuple[Column, ...], Callable[[Object], Cells]]] = {
    "Pod": (_columns(_PODS), lambda obj: pod_cells(obj, age)),
    "Namespace": (_columns("Name Status Age"), _namespace),
    "Service": (_columns("Name Type Cluster-IP External-IP Port(s) Age +Selector"), _service),
    "ConfigMap": (_columns("Name Data Age"), _data),
    "Secret": (_columns("Name Type #Data Age"), _secret),
    "ServiceAccount": (_columns("Name Secrets Age"), _service_account),
    "Node": (
        _columns(
            "Name Status Roles Age Version +Internal-IP +External-IP +OS-Image +Kernel-Version +Container-Runtime"
        ),
        _node,
    ),
    "Event": (_columns("Last_Seen Type Reason Object +Subobject +Source Message +First_Seen +#Count +Name"), _event),
    "NetworkPolicy": (_columns("Name Pod-Selector Age"), _network_policy),
    "EndpointSlice": (_columns("Name AddressType Ports Endpoints Age"), _endpoint_slice),
    "Lease": (_columns("Name Holder Age"), _lease),
    "MutatingWebhookConfiguration": (_columns("Name #Webhooks Age"), _webhooks),
}
_DEFAULT = (_columns("Name Age"), _plain)


def _custom(resource: ResourceType) -> tuple[tuple[Column, ...], Callable[[Object], Cells]]:
    """What a CustomResourceDefinition asks to be shown: values by path, whatever is no text as JSON."""

    def cell(obj: Object, path: str) -> str:
        value: Any = obj
        for step in path.split("."):
            value = value.get(step, "") if isinstance(value, dict) else ""
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    names = " ".join(name for name, _ in resource.columns)
    paths = [path for _, path in resource.columns]
    return _columns(f"Name {names} Age"), lambda obj: [
        obj["metadata"]["name"],
        *(cell(obj, path) for path in paths),
        _age(obj),
    ]


def wanted(accept: str) -> str:
    """What an `Accept` header prefers over plain objects: `Table`, `PartialObjectMetadata…`, or nothing."""
    for part in accept.split(","):
        found = re.search(r";\s*as=(\w+)", part)
        if found is None:
            if part.strip().split(";")[0] in {"application/json", "*/*"}:
                return ""
        elif found[1] in _SHAPES and "v=v1beta1" not in part and "protobuf" not in part:
            return found[1]
    return ""


def _meta_only(obj: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def shape(
    kind: str,
    resource: ResourceType,
    objects: list[Object],
    meta: Object,
    query: dict[str, str],
    *,
    single: bool = False,
) -> Object:
    """The objects as the shape `kind`: a Table, or their metadata alone."""
    if kind != "Table":
        if single:
            return _meta_only(objects[0])
        items = [{"metadata": each["metadata"]} for each in objects]
        return {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items}
    columns, cells = _custom(resource) if resource.custom else _TABLES.get(resource.kind, _DEFAULT)
    include = query.get("includeObject", "Metadata")
    rows: list[Object] = []
    for each in objects:
        row: Object = {"cells": cells(each)}
        if include == "Metadata":
            row["object"] = _meta_only(each)
        elif include == "Object":
            row["object"] = each
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": [each.definition() for each in columns],
        "rows": rows,
    }
