import base64
import os
from pathlib import Path

import pytest

from clusters.kubeconfig import pick, read
from flows.errors import UsageError
from tests.clusters.fakes import kubeconfig, write_yaml


def test_of_two_entries_of_one_name_the_first_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_yaml(tmp_path / "a", kubeconfig("https://one", "staging"))
    second = write_yaml(tmp_path / "b", kubeconfig("https://two", "production"))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(first), str(tmp_path / "missing"), str(second)]))
    merged = read("")
    assert merged.contexts == ["production", "staging"]
    assert pick(merged, "production")["clusters"][0]["cluster"]["server"] == "https://one"


def test_a_given_file_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write_yaml(tmp_path / "a", kubeconfig("https://one"))))
    given = write_yaml(tmp_path / "b", kubeconfig("https://two", "two"))
    assert read(str(given)).contexts == ["two"]


def test_a_picked_context_stands_alone_with_certificates_inline(tmp_path: Path) -> None:
    content = kubeconfig("https://one", "staging")
    content["clusters"][0]["cluster"]["certificate-authority"] = "ca.pem"
    content["users"].append({"name": "other", "user": {"token": "x"}})
    (tmp_path / "ca.pem").write_text("AUTHORITY", encoding="utf-8")
    picked = pick(read(str(write_yaml(tmp_path / "config", content))), "staging")
    cluster = picked["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]) == b"AUTHORITY"
    assert "certificate-authority" not in cluster
    assert [user["name"] for user in picked["users"]] == ["u"]


def test_a_credential_plugin_beside_its_file_is_kept_and_found(tmp_path: Path) -> None:
    content = kubeconfig("https://one", "staging")
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "args": ["--quiet"]}
    content["users"][0]["user"] = {"exec": plugin}
    picked = pick(read(str(write_yaml(tmp_path / "config", content))), "staging")
    assert picked["users"][0]["user"]["exec"] == {**plugin, "command": str(tmp_path / "login")}


@pytest.mark.parametrize(
    ("context", "words"),
    [
        pytest.param("", "no cluster was named; give --context with one of: staging", id="no-context"),
        pytest.param("stagin", "did you mean 'staging'?", id="near-miss"),
        pytest.param("xyz", "it has: staging", id="unknown"),
    ],
)
def test_a_context_that_was_not_given_is_refused(tmp_path: Path, context: str, words: str) -> None:
    merged = read(str(write_yaml(tmp_path / "config", kubeconfig("https://one", "staging"))))
    with pytest.raises(UsageError) as caught:
        pick(merged, context)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(None, "cannot be read (No such file or directory)", id="missing"),
        pytest.param("{", "not YAML", id="not-yaml"),
        pytest.param("- a", "not a kubeconfig", id="a-list"),
        pytest.param("users: [{user: {}}]", "field 'users[0]' has no name", id="no-name"),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read(str(path))
    assert words in caught.value.message
    assert str(path) in caught.value.message


def test_a_context_whose_certificate_is_gone_names_field_and_file(tmp_path: Path) -> None:
    content = kubeconfig("https://one", "staging")
    content["users"][0]["user"] = {"client-key": "gone.key"}
    with pytest.raises(UsageError, match=r"field 'client-key' names .*gone\.key"):
        pick(read(str(write_yaml(tmp_path / "config", content))), "staging")
