"""Made-up policies of Calico beside made-up policies of Kubernetes: worlds for which two readings must say the same.

What belongs here: making them, from a seed. The alphabets are small on purpose, so that selectors hit some pods and
miss others, and orders meet. What does not: asking (`kernel`), comparing (`agree`).
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.agreement.agree import made_up
from tests.agreement.scene import Ground, Object, Scene
from tests.agreement.strategies import NAMES, NAMESPACE_LABELS, POD_LABELS

MOST = 6
"""Policies of Calico in one world; made-up ones of Kubernetes stand beside them."""
ACCOUNTS = ("default", "worker")
ORDERS = (None, 10, 10, 20, 1000, 1000.5, 2000)
ACTIONS = ("Allow", "Allow", "Deny", "Deny", "Pass", "Log")


def scenes(ground: Ground, *, sets: int, seed: int) -> list[Scene]:
    """So many worlds; the same seed makes the same ones."""
    bases = made_up(ground, sets=sets, seed=seed)
    return [_World(random.Random(f"{seed}-{number}"), ground).around(each) for number, each in enumerate(bases)]


class _World:
    """One world in the making."""

    def __init__(self, chance: random.Random, ground: Ground) -> None:
        self._chance, self._ground = chance, ground

    def around(self, scene: Scene) -> Scene:
        """The scene with accounts for its pods, and Calico's own beside at most two of its policies."""
        pods = tuple(
            {**each, "spec": {**each["spec"], "serviceAccountName": self._one(ACCOUNTS)}} for each in scene.pods
        )
        own = [self._policy(n) for n in range(self._chance.randint(2, MOST))]
        own += [self._set(n) for n in range(self._chance.randint(0, 2))]
        accounts = tuple(
            {"kind": "ServiceAccount", "metadata": {"name": name, "namespace": place, "labels": self._labels()}}
            for place in self._ground.namespaces
            for name in ACCOUNTS
        )
        return replace(scene, pods=pods, policies=scene.policies[:2], own=tuple(own), accounts=accounts)

    def _one(self, choices: Any) -> Any:
        return self._chance.choice(choices)

    def _maybe(self, likely: float) -> bool:
        return self._chance.random() < likely

    def _labels(self) -> dict[str, str]:
        return {key: self._one(values) for key, values in POD_LABELS.items() if self._maybe(0.6)}

    def _object(self, kind: str, name: str, spec: Object, labels: dict[str, str]) -> Object:
        place = (
            {}
            if kind.startswith("Global")
            else {"namespace": self._one((self._ground.namespaces[0], *self._ground.namespaces[:2]))}
        )
        meta = {"name": name, **place, "labels": labels}
        return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": meta, "spec": spec}

    def _set(self, number: int) -> Object:
        nets = [self._net(self._one((4, 6)), whole=False) for _ in range(self._chance.randint(0, 3))]
        kind = self._one(("NetworkSet", "GlobalNetworkSet"))
        return self._object(kind, f"s{number}", {"nets": nets}, self._labels())

    def _policy(self, number: int) -> Object:
        kind = self._one(("NetworkPolicy", "NetworkPolicy", "GlobalNetworkPolicy"))
        spec: Object = {}
        self._put(spec, "order", 0.8, lambda: self._one(ORDERS))
        self._put(spec, "selector", 0.4, lambda: self._selector(POD_LABELS))
        self._put(spec, "serviceAccountSelector", 0.15, lambda: self._selector(POD_LABELS))
        if kind.startswith("Global"):
            self._put(spec, "namespaceSelector", 0.4, lambda: self._selector(NAMESPACE_LABELS))
        self._put(spec, "types", 0.5, lambda: self._one((["Ingress"], ["Egress"], ["Ingress", "Egress"])))
        for direction in ("ingress", "egress"):
            self._put(spec, direction, 0.7, lambda: [self._rule() for _ in range(self._chance.randint(0, 3))])
        return self._object(kind, f"p{self._chance.randint(0, 9)}{number}", spec, {})

    def _put(self, fields: Object, key: str, likely: float, make: Callable[[], object]) -> None:
        if self._maybe(likely) and (value := make()) is not None:
            fields[key] = value

    def _rule(self) -> Object:
        rule: Object = {"action": self._one(ACTIONS)}
        family = self._one((4, 6))
        self._put(rule, "protocol", 0.6, lambda: self._one(("TCP", "UDP", 6, 17)))
        self._put(rule, "notProtocol", 0.1, lambda: self._one(("TCP", "UDP")))
        self._put(rule, "ipVersion", 0.1, lambda: family)
        self._put(rule, "source", 0.5, lambda: self._end(family, ports=False))
        self._put(rule, "destination", 0.4, lambda: self._end(family, ports="protocol" in rule))
        return rule

    def _end(self, family: int, *, ports: bool) -> Object:
        end: Object = {}
        for key, likely in (("nets", 0.2), ("notNets", 0.15)):
            self._put(end, key, likely, lambda: self._nets(family))
        for key, likely in (("selector", 0.5), ("notSelector", 0.25)):
            self._put(end, key, likely, lambda: self._selector(POD_LABELS))
        self._put(end, "namespaceSelector", 0.3, self._spaces)
        self._put(end, "serviceAccounts", 0.15, self._accounts)
        if ports:
            for key, likely in (("ports", 0.5), ("notPorts", 0.2)):
                self._put(end, key, likely, lambda: [self._port() for _ in range(self._chance.randint(1, 2))])
        return end

    def _spaces(self) -> str:
        return str(self._one(("all()", "global()", self._selector(NAMESPACE_LABELS))))

    def _accounts(self) -> Object:
        found: Object = {}
        self._put(found, "names", 0.6, lambda: [self._one(ACCOUNTS)])
        self._put(found, "selector", 0.5, lambda: self._selector(POD_LABELS))
        return found

    def _port(self) -> object:
        number = self._one(self._ground.numbers)
        return self._one((number, f"{number}:{min(number + 3, 65535)}", self._one(NAMES)))

    def _nets(self, family: int) -> list[str]:
        return [self._net(family, whole=True) for _ in range(self._chance.randint(1, 2))]

    def _net(self, family: int, *, whole: bool) -> str:
        known = [each for seat in self._ground.seats for each in seat.addresses]
        address = self._one([each for each in known if ipaddress.ip_address(each).version == family])
        bits = ipaddress.ip_address(address).max_prefixlen
        prefix = self._one((bits, bits, bits - 1, bits - 4, bits - 8, 0))
        network = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
        return str(network) if whole or self._maybe(0.7) else address

    def _selector(self, alphabet: Any, depth: int = 2) -> str:
        key = self._one(sorted(alphabet))
        value = self._one(alphabet[key])
        leaves = (
            f"{key} == '{value}'",
            f"{key} != '{value}'",
            f"has({key})",
            f"!has({key})",
            f"{key} in {{'{value}', 'z'}}",
            f"{key} not in {{'{value}', 'z'}}",
            f"{key} contains '{value[0]}'",
            f"{key} starts with '{value[:1]}'",
            f"{key} starts with ''",
            f"{key} ends with '{value[-1:]}'",
            "all()",
            "projectcalico.org/name != 'blue'",
            "projectcalico.org/namespace == 'blue'",
            "projectcalico.org/serviceaccount == 'worker'",
            "pcns.team == 'green'",
        )
        if depth and self._maybe(0.3):
            inner = [self._selector(alphabet, depth - 1) for _ in range(2)]
            operator, negated = self._one((" && ", " || ")), self._one(("", "!"))
            return f"{negated}({operator.join(inner)})"
        return str(self._one(leaves))
