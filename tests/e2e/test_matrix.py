"""`eastwest matrix` on a lab with pods of somebody: what is seen, what the oracle says, and that nothing is changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters.cluster import Cluster
from clusters.kube import Kube
from clusters.profile import load

EASTWEST = str(Path(sys.executable).with_name("eastwest"))
SLEEPS = ["python3", "-c", "import signal; signal.pause()"]
SERVES = ["python3", "-m", "http.server", "8080"]
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "web"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}],
    },
}


def pod(name: str, app: str, command: list[str], *ports: dict[str, Any]) -> dict[str, Any]:
    """A plain pod of somebody."""
    namespace, _, bare = name.partition("/")
    container = {"name": "main", "image": "python:3-slim", "command": command, "ports": list(ports)}
    meta = {"name": bare, "namespace": namespace, "labels": {"app": app}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}


PORTS = ({"containerPort": 8080}, {"containerPort": 9999})
PODS = [
    pod("shop/web-a", "web", SERVES, *PORTS),
    pod("shop/web-b", "web", SERVES, *PORTS),
    pod("shop/client", "client", SLEEPS),
    pod("other/client", "client", SLEEPS),
]


def ran(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`eastwest WORDS`."""
    return subprocess.run([EASTWEST, *words], env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Kube]]:
    """The environment of a person with a lab, whose engine takes a podSelector for every namespace's; and its API."""
    folder = tmp_path_factory.mktemp("matrix")
    config = folder / "kubeconfig"
    environment = {**os.environ, "EASTWEST_STATE": str(folder / "state"), "KUBECONFIG": str(config)}
    words = ("lab", "up", "--detach", "--write-kubeconfig", str(config), "--mutant", "wrong-namespace-default")
    up = ran(*words, environment=environment)
    assert up.returncode == 0, up.stderr
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    kube = Kube(Cluster(profile=load("lab"), kubeconfig=content, context=content["current-context"], run_id="somebody"))
    try:
        for namespace in ("shop", "other"):
            kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            kube.wait("v1", "ServiceAccount", namespace, bool, what=f"the account of {namespace}'s pods", timeout=60)
        for obj in (*PODS, POLICY):
            kube.create(obj)
        kube.wait("v1", "Pod", "shop", lambda seen: _ready(seen) == 3, what="pods of shop ready", timeout=60)
        kube.wait("v1", "Pod", "other", lambda seen: _ready(seen) == 1, what="pods of other ready", timeout=60)
        yield environment, kube
    finally:
        kube.close()
        ran("lab", "down", environment=environment)


def _ready(pods: list[dict[str, Any]]) -> int:
    conditions = (each for one in pods for each in one["status"].get("conditions") or [])
    return sum(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def test_what_is_measured_and_what_the_oracle_says_otherwise(place: tuple[dict[str, str], Kube]) -> None:
    environment, kube = place
    before = [kube.list("v1", "Pod", namespace) for namespace in ("shop", "other")]
    done = ran("matrix", "--context", "eastwest-lab", "-n", "shop", "-n", "other", environment=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:6] == [
        "                 1  2",
        "other/client     .! r",
        "shop/client      .  r",
        "shop/web-a (×2)  X  X",
        "  1 shop/web-a (×2):8080/tcp",
        "  2 shop/web-a (×2):9999/tcp",
    ]
    [told] = [line for line in lines if line.startswith("  other/client → ")]
    assert told.startswith("  other/client → shop/web-a (×2):8080/tcp: open; ")
    assert told.endswith("ingress of shop/web-a: isolated by shop/web, no rule admits it")
    assert "shop/web-a stands for web-b: equal labels and ports (--every-pod asks each)" in lines
    after = [kube.list("v1", "Pod", namespace) for namespace in ("shop", "other")]
    assert after == before, "not a word of anybody's pods has changed"
    processes = kube.channel("shop", "client", "main", ["python3", "-c", ONLY_US])
    assert processes.receive(30.0).strip() == b"[]", "no visitor is left"


ONLY_US = """
import os
mine = {1, os.getpid()}
print([pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid not in mine])
"""


def test_every_pod_in_json(place: tuple[dict[str, str], Kube]) -> None:
    environment, _ = place
    words = ("matrix", "--context", "eastwest-lab", "-n", "shop", "--every-pod", "-o", "json")
    done = ran(*words, environment=environment)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    seen = {(each["source"], each["target"], each["port"]): each["verdict"] for each in data["flows"]}
    assert seen == {
        ("shop/client", "shop/web-a", 8080): "open",
        ("shop/client", "shop/web-a", 9999): "refused",
        ("shop/client", "shop/web-b", 8080): "open",
        ("shop/client", "shop/web-b", 9999): "refused",
        ("shop/web-a", "shop/web-b", 8080): "dropped",
        ("shop/web-a", "shop/web-b", 9999): "dropped",
        ("shop/web-b", "shop/web-a", 8080): "dropped",
        ("shop/web-b", "shop/web-a", 9999): "dropped",
    }
    assert {each["agrees"] for each in data["flows"] if each["verdict"] != "refused"} == {True}
