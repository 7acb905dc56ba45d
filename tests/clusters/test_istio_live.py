"""A mesh that is broken on a real cluster: each time a clear first line and an exit code that is no pass.

It breaks the cluster's Istio and mends it again, so it runs only where that is asked for: EASTWEST_TEST_ISTIO=1 beside
the kubeconfig and context of a cluster that nobody else uses.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.waits import wait_for
from tests.clusters.test_rbac_live import ROOT, kubectl

ROOT_NAMESPACE = "istio-system"
RUN_DEADLINE = 600.0
OPEN = '''
OPEN = """
            server:8080/http@dns
caller      .
"""

'''
PLAIN = f"""{OPEN}
def test_open(mesh, matrix):
    matrix.becomes(OPEN)
"""
ROUTE_TO_NOWHERE = f"""{OPEN}
def test_route(mesh, matrix, kube, world):
    matrix.requests("caller GET server:8080/ .")
    kube.create({{
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {{"name": "server", "namespace": world.namespaces["home"]}},
        "spec": {{"hosts": ["server"], "http": [{{"route": [{{"destination": {{"host": "nowhere"}}}}]}}]}},
    }})
    matrix.requests("caller GET server:8080/ .")
"""
CLOSED_WHILE_ISTIOD_IS_AWAY = f"""{OPEN}
import subprocess

from eastwest import Access, workload


def test_close(mesh, matrix):
    matrix.becomes(OPEN)
    subprocess.run({{command}}, check=True, timeout=120)
    mesh(Access(name="nobody", scope=workload("server"), rules=None))
    matrix.becomes(OPEN.replace(" .", " forbidden"))
"""
FOREIGN_CERTIFICATE = f"""{OPEN}
import subprocess


def test_certificate(mesh, matrix, server):
    matrix.becomes(OPEN)
    subprocess.run({{command}}, check=True, timeout=240)
    server.restart()
    matrix.becomes(OPEN)
"""
SWAP_AUTHORITY = r"""
set -eu
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /O=elsewhere -keyout "$DIR/key.pem" -out "$DIR/cert.pem" \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
$KUBECTL -n istio-system create secret generic istio-ca-secret --type=istio.io/ca-root --dry-run=client -o yaml \
  --from-file=ca-key.pem="$DIR/key.pem" --from-file=ca-cert.pem="$DIR/cert.pem" \
  --from-file=cert-chain.pem=/dev/null --from-file=root-cert.pem="$DIR/cert.pem" --from-file=key.pem="$DIR/key.pem" \
  | $KUBECTL replace -f -
$KUBECTL -n istio-system rollout restart deployment/istiod
$KUBECTL -n istio-system rollout status deployment/istiod --timeout=120s
timeout 60 sh -c "until $KUBECTL -n default run asked --image=x --labels=sidecar.istio.io/inject=true --dry-run=server
do sleep 0.2; done"
"""

pytestmark = pytest.mark.skipif(
    not (
        os.environ.get("EASTWEST_TEST_ISTIO") and os.environ.get("EASTWEST_TEST_KUBECONFIG") and shutil.which("kubectl")
    ),
    reason="needs a mesh to break: EASTWEST_TEST_ISTIO=1, …_KUBECONFIG and …_CONTEXT",
)


def whose() -> list[str]:
    """The cluster, as kubectl's and our own arguments."""
    return [
        *("--kubeconfig", os.environ["EASTWEST_TEST_KUBECONFIG"]),
        *("--context", os.environ["EASTWEST_TEST_CONTEXT"]),
    ]


def verify(folder: Path, text: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, first line of the first test's failure, and the whole output of a run of one test file."""
    (folder / "checks").mkdir()
    (folder / "checks" / "test_it.py").write_text(text, encoding="utf-8")
    out = folder / "out"
    command = [
        str(Path(sys.executable).with_name("eastwest")),
        "verify",
        str(folder / "checks"),
        "--profile",
        "existing",
    ]
    command += [*whose(), "--out", str(out), "--workers", "0", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_DEADLINE, check=False)
    results: dict[str, Any] = json.loads((out / "results.json").read_text(encoding="utf-8"))
    first = next((str(test["first_line"]) for test in results["tests"] if test["first_line"]), "")
    return done.returncode, first, done.stdout + done.stderr


@pytest.fixture
def istiod() -> Iterator[None]:
    """The control plane as it was, afterwards."""
    yield
    kubectl("-n", ROOT_NAMESPACE, "scale", "deployment/istiod", "--replicas=1")
    kubectl("-n", ROOT_NAMESPACE, "rollout", "status", "deployment/istiod", "--timeout=120s")
    wait_for(injects, bool, what="istiod's webhook answers again", timeout=60)


def injects() -> bool:
    """Whether a pod that asks for a proxy would be taken; nodes learn of a new istiod later than its Deployment."""
    asked = ("run", "asked", "--image=x", "--labels=sidecar.istio.io/inject=true", "--dry-run=server")
    done = subprocess.run(["kubectl", *whose(), "-n", "default", *asked], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


@pytest.fixture
def webhooks(tmp_path: Path) -> Iterator[None]:
    """The injection webhooks as they were, afterwards."""
    saved = tmp_path / "webhooks.json"
    listed = json.loads(kubectl("get", "mutatingwebhookconfigurations", "-o", "json"))
    for each in listed["items"]:
        each["metadata"] = {key: each["metadata"][key] for key in ("name", "labels") if key in each["metadata"]}
    saved.write_text(json.dumps(listed), encoding="utf-8")
    yield
    kubectl("apply", "-f", str(saved))


@pytest.mark.usefixtures("istiod")
def test_istiod_is_killed_before(tmp_path: Path) -> None:
    """No pod gets a proxy, and none is let in without: the run cannot be prepared."""
    kubectl("-n", ROOT_NAMESPACE, "scale", "deployment/istiod", "--replicas=0")
    kubectl("-n", ROOT_NAMESPACE, "wait", "--for=delete", "pod", "-l", "app=istiod", "--timeout=90s")
    code, first, output = verify(tmp_path, PLAIN)
    assert code == 10, output
    assert re.match("webhook .*sidecar-injector", first), first


@pytest.mark.usefixtures("istiod")
def test_istiod_is_killed_meanwhile(tmp_path: Path) -> None:
    """A policy that nobody takes, or that never comes into force, is no pass."""
    script = f"kubectl {' '.join(whose())} -n {ROOT_NAMESPACE} scale deployment/istiod --replicas=0 && kubectl "
    script += f"{' '.join(whose())} -n {ROOT_NAMESPACE} wait --for=delete pod -l app=istiod --timeout=90s"
    code, first, output = verify(tmp_path, CLOSED_WHILE_ISTIOD_IS_AWAY.format(command=["sh", "-c", script]))
    assert code in {1, 10}, output
    assert "istiod" in first or "webhook" in first or "forbidden" in first, first


def test_broken_route(tmp_path: Path) -> None:
    """A route to a host that nobody is: unavailable, and the route is named."""
    code, first, output = verify(tmp_path, ROUTE_TO_NOWHERE)
    assert code == 1, output
    assert "expected answered, got unavailable" in first, first
    assert "route" in output


def test_mislabelled_namespace(tmp_path: Path) -> None:
    """A namespace that says no to proxies: the set-up ends with the label in its first line."""
    name = f"mislabelled-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    try:
        kubectl("label", "namespace", name, "istio-injection=disabled")
        code, first, output = verify(tmp_path, PLAIN, "--namespace", name)
        assert code == 10, output
        assert "no proxy (1/1)" in first, first
        assert "istio-injection" in output
    finally:
        kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.usefixtures("webhooks")
def test_webhook_is_away(tmp_path: Path) -> None:
    """Nobody injects: the set-up ends with that in its first line."""
    kubectl("delete", "mutatingwebhookconfigurations", "-l", "app=sidecar-injector")
    code, first, output = verify(tmp_path, PLAIN)
    assert code == 10, output
    assert "no proxy (1/1)" in first, first
    assert "webhook" in output


def test_foreign_certificate(tmp_path: Path) -> None:
    """A server with a certificate of another authority: unavailable, in TLS's own words. The last: it is not mended."""
    folder = tmp_path / "authority"
    folder.mkdir()
    script = f"export DIR={folder} KUBECTL='kubectl {' '.join(whose())}'\n{SWAP_AUTHORITY}"
    code, first, output = verify(tmp_path, FOREIGN_CERTIFICATE.format(command=["bash", "-c", script]))
    assert code == 1, output
    assert "expected answered, got" in first, first
    assert "TLS" in output or "CERTIFICATE" in output
