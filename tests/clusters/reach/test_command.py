"""`eastwest matrix` from what was typed: which cluster, which namespaces, which ports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from clusters.kube import Kube
from clusters.reach import command
from clusters.reach.census import Port
from clusters.reach.measure import Reach, Wanted
from flows.errors import UsageError


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    """A kubeconfig with a context that has a namespace, and one that has none."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [
            {"name": "mine", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
            {"name": "plain", "context": {"cluster": "c", "user": "u"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Wanted]:
    """What was to be measured; nothing is."""
    wanted: list[Wanted] = []

    def measure(kube: Kube, what: Wanted, facts: dict[str, str]) -> Reach:
        assert (kube.cluster.context, facts["server"]) == (facts["context"], "https://127.0.0.1:1")
        wanted.append(what)
        return Reach(sources=(), targets=(), seen=(), refused={})

    monkeypatch.setattr(command, "measure", measure)
    return wanted


@pytest.mark.parametrize(
    ("options", "namespaces"),
    [
        ({"context": "mine"}, ("shop",)),
        ({"context": "plain"}, ("default",)),
        ({"context": "mine", "namespaces": ("a", "b")}, ("a", "b")),
        ({"context": "mine", "everywhere": True}, ()),
    ],
    ids=["of-the-context", "default", "named", "all"],
)
def test_namespaces_are_as_kubectl_has_them(
    kubeconfig: str, asked: list[Wanted], options: dict[str, Any], namespaces: tuple[str, ...]
) -> None:
    command.matrix(kubeconfig=kubeconfig, **options)
    assert asked[0].namespaces == namespaces


def test_ports_and_times_are_handed_on(kubeconfig: str, asked: list[Wanted]) -> None:
    command.matrix(kubeconfig=kubeconfig, context="mine", ports=("8080",), every_pod=True, deny_timeout=1, within=9)
    assert asked == [Wanted(namespaces=("shop",), ports=(Port(8080),), every_pod=True, deny_timeout=1, within=9)]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "no cluster was named; give --context with one of: mine, plain"),
        ({"context": "mine", "everywhere": True, "namespaces": ("a",)}, "-A and -n: give one of them"),
        ({"context": "mine", "ports": ("http",)}, "--port 'http': write a number"),
        ({"context": "mine", "deny_timeout": 5, "within": 4}, "--timeout 4 is less than --deny-timeout 5"),
    ],
    ids=["no-context", "both", "port", "times"],
)
def test_what_cannot_be_meant_is_one_line(
    kubeconfig: str, asked: list[Wanted], options: dict[str, Any], line: str
) -> None:
    with pytest.raises(UsageError) as refused:
        command.matrix(kubeconfig=kubeconfig, **options)
    assert line in refused.value.message
    assert asked == []
