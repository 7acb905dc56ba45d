"""The documented identity on a real cluster: the how-to's own commands, then runs under exactly that role."""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clusters.fakes import write_yaml

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "existing-cluster.md"
SUITES = "suites/network"
OURS = "app.kubernetes.io/managed-by=eastwest"
KINDS = "pods,services,configmaps,serviceaccounts,networkpolicies"
DENY: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "house-rule"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}
COMMAND_DEADLINE, RUN_DEADLINE = 180.0, 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A namespace in the real cluster, and what `eastwest verify` is told to stay in it as the identity made there."""

    name: str
    kubeconfig: Path

    def verify(self, out: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, results and output of a run under the role."""
        command = [str(Path(sys.executable).with_name("eastwest")), "verify", *arguments]
        command += ["--profile", "existing", "--namespace", self.name, "--out", str(out)]
        command += ["--kubeconfig", str(self.kubeconfig), "--context", "team"]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=RUN_DEADLINE, check=False, env=_bare()
        )
        written = out / "results.json"
        data: dict[str, Any] = json.loads(written.read_text(encoding="utf-8")) if written.is_file() else {}
        return done.returncode, data, done.stdout + done.stderr

    def left(self) -> str:
        """What of ours is in the namespace, as the administrator sees it."""
        return kubectl("-n", self.name, "get", KINDS, "-l", OURS, "-o", "name")


def _bare() -> dict[str, str]:
    """An environment that points to no cluster: only the identity under test may be used."""
    return {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}


def kubectl(*arguments: str, stdin: str = "") -> str:
    """What kubectl prints, as the cluster's administrator; fails the test with kubectl's own words."""
    whose = ["--kubeconfig", os.environ["EASTWEST_TEST_KUBECONFIG"]]
    whose += ["--context", os.environ["EASTWEST_TEST_CONTEXT"]]
    done = subprocess.run(
        ["kubectl", *whose, *arguments],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_DEADLINE,
        check=False,
    )
    assert done.returncode == 0, f"kubectl {shlex.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def how_to(namespace: str) -> list[list[str]]:
    """The arguments of the kubectl commands that the how-to gives, for this namespace."""
    lines = re.findall(r"^ +kubectl (.+)$", HOW_TO.read_text(encoding="utf-8"), re.MULTILINE)
    return [shlex.split(re.sub(r"\bteam\b", namespace, line)) for line in lines]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """The namespace with the identity, made by nothing but the how-to's commands."""
    if not (os.environ.get("EASTWEST_TEST_KUBECONFIG") and os.environ.get("EASTWEST_TEST_CONTEXT")):
        pytest.skip("needs a cluster: set EASTWEST_TEST_KUBECONFIG and EASTWEST_TEST_CONTEXT")
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl: put it on PATH")
    name = f"team-{secrets.token_hex(3)}"
    try:
        token = [kubectl(*arguments) for arguments in how_to(name)][-1]
        admin = json.loads(kubectl("config", "view", "--minify", "--flatten", "--raw", "-o", "json"))
        admin |= {
            "current-context": "team",
            "contexts": [{"name": "team", "context": {"cluster": admin["clusters"][0]["name"], "user": "eastwest"}}],
            "users": [{"name": "eastwest", "user": {"token": token}}],
        }
        yield Team(name=name, kubeconfig=write_yaml(tmp_path_factory.mktemp("team") / "kubeconfig", admin))
    finally:
        kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=120s")


@pytest.fixture
def denying(team: Team) -> Iterator[Team]:
    """The namespace with a default deny that is its owner's, not ours."""
    kubectl("-n", team.name, "apply", "-f", "-", stdin=json.dumps(DENY))
    yield team
    kubectl("-n", team.name, "delete", "networkpolicy", DENY["metadata"]["name"])


def test_default_deny_of_the_house_is_reported_not_misread(denying: Team, tmp_path: Path) -> None:
    code, data, output = denying.verify(tmp_path, f"{SUITES}/test_default.py", "-k", "test_no_policy")
    assert code == 10, output
    (test,) = data["tests"]
    assert test["outcome"] == "broken"
    assert re.search(r"caller → server:8080/\w+.*: [\w-]+ before any policy of ours", test["first_line"]), output
    assert f"already there: NetworkPolicy house-rule in {denying.name}" in test["message"]
    assert denying.left() == ""
    assert kubectl("-n", denying.name, "get", "networkpolicy", "-o", "name").endswith("/house-rule")


def test_suites_run_under_the_role_and_leave_nothing(team: Team, tmp_path: Path) -> None:
    # Two modules: the second makes the same names again.
    modules = ("test_exceptions.py", "test_paths.py")
    code, data, output = team.verify(tmp_path, *(f"{SUITES}/{module}" for module in modules))
    assert code == 0, output
    assert {each["outcome"] for each in data["tests"]} == {"passed", "skipped"}, output
    for module in modules:
        assert any(module in each["id"] and each["outcome"] == "passed" for each in data["tests"]), output
    skipped = [each for each in data["tests"] if each["outcome"] == "skipped"]
    lacks = {each["capability"] for each in skipped}
    # The role shows no nodes, so the scheduler alone decides whether the pods are on two.
    assert lacks - {"two-nodes"} == {"two-namespaces", "kubernetes-service"}, output
    assert all(each["reason"].startswith(f"capability {each['capability']} is missing: ") for each in skipped), output
    assert data["left_behind"] == []
    assert team.left() == ""
