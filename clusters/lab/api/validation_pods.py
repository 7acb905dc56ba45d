"""Rules for pods, in Kubernetes' words."""

from __future__ import annotations

from typing import Any

from clusters.lab.api import quantity
from clusters.lab.api.names import (
    PORT_RANGE,
    check_labels,
    check_port,
    dns_label_problem,
    env_name_problem,
    port_name_problems,
    subdomain_problem,
)
from clusters.lab.api.status import Causes

Object = dict[str, Any]
_UPDATE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_PROTOCOLS = ["SCTP", "TCP", "UDP"]
_POSITIVE = "must be greater than or equal to 0"


def validate(pod: Object, before: Object | None, causes: Causes) -> None:
    """A new pod's spec, or that an update touches only what may change."""
    spec = pod["spec"]
    if before is not None:
        if _fixed(spec) != _fixed(before["spec"]):
            causes.forbidden("spec", _UPDATE)
        old = before["spec"].get("tolerations", [])
        if any(each not in spec.get("tolerations", []) for each in old):
            causes.forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    volumes = _volumes(spec, causes)
    names: set[str] = set()
    if not spec.get("containers"):
        causes.required("spec.containers")
    for key in ("containers", "initContainers"):
        ports: dict[str, str] = {}
        for place, container in enumerate(spec.get(key) or []):
            _container(container, f"spec.{key}[{place}]", names, volumes, causes)
            _port_names(container, f"spec.{key}[{place}]", ports, causes)
            _restart(container, f"spec.{key}[{place}]", causes, init=key == "initContainers")
    if spec.get("restartPolicy") not in {"Always", "OnFailure", "Never"}:
        causes.unsupported("spec.restartPolicy", spec.get("restartPolicy"), ["Always", "OnFailure", "Never"])
    if spec.get("dnsPolicy") not in {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"}:
        supported = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]
        causes.unsupported("spec.dnsPolicy", spec.get("dnsPolicy"), supported)
    check_labels(causes, spec.get("nodeSelector", {}), "spec.nodeSelector")
    for key in ("serviceAccountName", "nodeName"):
        if spec.get(key) and (problem := subdomain_problem(spec[key])):
            causes.invalid(f"spec.{key}", spec[key], problem)
    for place, each in enumerate(spec.get("tolerations", [])):
        _toleration(each, f"spec.tolerations[{place}]", causes)
    kind = spec["securityContext"].get("seccompProfile", {}).get("type", "Unconfined")
    if kind not in {"Localhost", "RuntimeDefault", "Unconfined"}:
        supported = ["Localhost", "RuntimeDefault", "Unconfined"]
        causes.unsupported("spec.securityContext.seccompProfile.type", kind, supported)


def _fixed(spec: Object) -> Object:
    loose = {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"}
    kept = {key: value for key, value in spec.items() if key not in loose}
    for key in ("containers", "initContainers"):
        if key in kept:
            kept[key] = [{name: value for name, value in each.items() if name != "image"} for each in kept[key]]
    return kept


def _volumes(spec: Object, causes: Causes) -> set[str]:
    seen: set[str] = set()
    for place, volume in enumerate(spec.get("volumes", [])):
        name, here = volume.get("name", ""), f"spec.volumes[{place}]"
        if not name:
            causes.required(f"{here}.name")
        elif problem := dns_label_problem(name):
            causes.invalid(f"{here}.name", name, problem)
        elif name in seen:
            causes.duplicate(f"{here}.name", name)
        seen.add(name)
        sources = [key for key in volume if key != "name"]
        if len(sources) > 1:
            causes.forbidden(f"{here}.{sources[1]}", "may not specify more than 1 volume type")
        if "configMap" in volume and not volume["configMap"].get("name"):
            causes.required(f"{here}.configMap.name")
        if "secret" in volume and not volume["secret"].get("secretName"):
            causes.required(f"{here}.secret.secretName")
    return seen


def _container(container: Object, here: str, names: set[str], volumes: set[str], causes: Causes) -> None:
    if not container.get("image"):
        causes.required(f"{here}.image")
    elif container["image"].strip() != container["image"]:
        causes.invalid(f"{here}.image", container["image"], "must not have leading or trailing whitespace")
    name = container.get("name", "")
    if not name:
        causes.required(f"{here}.name")
    elif problem := dns_label_problem(name):
        causes.invalid(f"{here}.name", name, problem)
    elif name in names:
        causes.duplicate(f"{here}.name", name)
    names.add(name)
    if container.get("imagePullPolicy") not in {"Always", "IfNotPresent", "Never"}:
        supported = ["Always", "IfNotPresent", "Never"]
        causes.unsupported(f"{here}.imagePullPolicy", container.get("imagePullPolicy"), supported)
    for place, port in enumerate(container.get("ports", [])):
        _port(port, f"{here}.ports[{place}]", causes)
    for place, each in enumerate(container.get("env", [])):
        _env(each, f"{here}.env[{place}]", causes)
    paths: set[str] = set()
    for place, mount in enumerate(container.get("volumeMounts", [])):
        where = f"{here}.volumeMounts[{place}]"
        if not mount.get("name"):
            causes.required(f"{where}.name")
        elif mount["name"] not in volumes:
            causes.not_found(f"{where}.name", mount["name"])
        if not mount.get("mountPath"):
            causes.required(f"{where}.mountPath")
        elif mount["mountPath"] in paths:
            causes.invalid(f"{where}.mountPath", mount["mountPath"], "must be unique")
        paths.add(mount.get("mountPath", ""))
    _resources(container["resources"], f"{here}.resources", causes)
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if key in container:
            _probe(container[key], f"{here}.{key}", key, causes)


def _restart(container: Object, here: str, causes: Causes, *, init: bool) -> None:
    policy = container.get("restartPolicy")
    if policy is None:
        sidecar = False
    elif init:
        sidecar = policy == "Always"
        if not sidecar:
            causes.unsupported(f"{here}.restartPolicy", policy, ["Always"])
    else:
        causes.forbidden(f"{here}.restartPolicy", "may not be set for non-init containers")
        return
    if init and not sidecar:
        for key in ("livenessProbe", "readinessProbe", "startupProbe"):
            if key in container:
                causes.forbidden(f"{here}.{key}", "may not be set for init containers without restartPolicy=Always")


def _port(port: Object, here: str, causes: Causes) -> None:
    name = port.get("name", "")
    for problem in port_name_problems(name) if name else ():
        causes.invalid(f"{here}.name", name, problem)
    number = port.get("containerPort", 0)
    if number == 0:
        causes.required(f"{here}.containerPort")
    elif not 1 <= number <= 65535:
        causes.invalid(f"{here}.containerPort", number, PORT_RANGE)
    if port.get("protocol") not in _PROTOCOLS:
        causes.unsupported(f"{here}.protocol", port.get("protocol"), _PROTOCOLS)


def _port_names(container: Object, here: str, seen: dict[str, str], causes: Causes) -> None:
    mine: set[str] = set()
    for place, port in enumerate(container.get("ports", [])):
        if name := port.get("name"):
            if name in mine:
                causes.duplicate(f"{here}.ports[{place}].name", name)
            mine.add(name)
            seen.setdefault(name, here)


def _env(each: Object, here: str, causes: Causes) -> None:
    name = each.get("name", "")
    if not name:
        causes.required(f"{here}.name")
    elif problem := env_name_problem(name):
        causes.invalid(f"{here}.name", name, problem)
    source = each.get("valueFrom")
    if source is None:
        return
    if not source:
        causes.invalid(
            f"{here}.valueFrom",
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        )
    if each.get("value"):
        causes.invalid(f"{here}.valueFrom", "", "may not be specified when `value` is not empty")
    if len(source) > 1:
        causes.invalid(f"{here}.valueFrom", "", "may not have more than one field specified at a time")
    for key in ("configMapKeyRef", "secretKeyRef"):
        if key in source and not source[key].get("key"):
            causes.required(f"{here}.valueFrom.{key}.key")


def _resources(resources: Object, here: str, causes: Causes) -> None:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if quantity.parse(amount) < 0:
                causes.invalid(f"{here}.{kind}[{name}]", amount, _POSITIVE)
    for name, amount in requests.items():
        if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            causes.invalid(f"{here}.requests", amount, why)


def _probe(probe: Object, here: str, kind: str, causes: Causes) -> None:
    handlers = [key for key in ("exec", "httpGet", "tcpSocket", "grpc") if key in probe]
    if not handlers:
        causes.required(here, "must specify a handler type")
    for extra in handlers[1:]:
        causes.forbidden(f"{here}.{extra}", "may not specify more than 1 handler type")
    for key in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if probe.get(key, 0) < 0:
            causes.invalid(f"{here}.{key}", probe[key], _POSITIVE)
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        causes.invalid(f"{here}.successThreshold", probe["successThreshold"], "must be 1")
    if "exec" in probe and not probe["exec"].get("command"):
        causes.required(f"{here}.exec.command")
    for key in ("httpGet", "tcpSocket"):
        if key in probe:
            check_port(causes, probe[key]["port"], f"{here}.{key}.port")


def _toleration(each: Object, here: str, causes: Causes) -> None:
    operator, effects = each.get("operator", "Equal"), ["NoSchedule", "PreferNoSchedule", "NoExecute"]
    if operator not in {"Equal", "Exists"}:
        causes.unsupported(f"{here}.operator", operator, ["Equal", "Exists"])
    if not each.get("key") and operator != "Exists":
        causes.invalid(
            f"{here}.operator",
            operator,
            'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        )
    if operator == "Exists" and each.get("value"):
        causes.invalid(f"{here}.operator", each["value"], "value must be empty when `operator` is 'Exists'")
    if each.get("effect", "NoExecute") not in effects:
        causes.unsupported(f"{here}.effect", each["effect"], effects)
