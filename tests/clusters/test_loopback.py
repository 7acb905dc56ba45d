"""Which kubeconfigs do without the official client: ours on loopback, and no other one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from clusters.lab.pki import kubeconfig, make_authority
from clusters.loopback import of_this_machine

AUTHORITY = make_authority()
Content = dict[str, Any]


def _ours(change: Callable[[Content], None] = lambda _: None) -> Content:
    content = kubeconfig(AUTHORITY, "https://127.0.0.1:6443")
    change(content)
    return content


def test_ours_is_read_without_the_official_client() -> None:
    found = of_this_machine(_ours(), "")
    assert found is not None
    assert (found.host, found.token, found.ca_cert_data) == (
        "https://127.0.0.1:6443",
        AUTHORITY.admin_token,
        AUTHORITY.ca_pem,
    )
    assert found.auth_settings()["BearerToken"]["value"] == f"Bearer {AUTHORITY.admin_token}"
    assert AUTHORITY.admin_token not in repr(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["clusters"][0]["cluster"].update({"server": "https://10.0.0.1:6443"}),
        lambda content: content["clusters"][0]["cluster"].update({"server": "http://127.0.0.1:6443"}),
        lambda content: content["clusters"][0]["cluster"].update({"proxy-url": "http://127.0.0.1:1"}),
        lambda content: content["clusters"][0]["cluster"].update({"insecure-skip-tls-verify": True}),
        lambda content: content["clusters"][0]["cluster"].update({"certificate-authority-data": "é"}),
        lambda content: content["users"][0]["user"].update({"client-certificate-data": ""}),
        lambda content: content["users"][0].update({"user": {"exec": {"command": "login"}}}),
        lambda content: content.update({"current-context": "another"}),
        lambda content: content.update({"users": None}),
    ],
    ids=["remote", "plain", "proxied", "unverified", "garbled", "certificate", "plugin", "no-context", "no-users"],
)
def test_every_other_one_is_the_official_clients(change: Callable[[Content], None]) -> None:
    assert of_this_machine(_ours(change), "") is None


def test_a_context_that_is_named_is_the_one() -> None:
    assert of_this_machine(_ours(), "eastwest-lab") is not None
    assert of_this_machine(_ours(), "another") is None


def test_the_official_client_is_not_imported_for_ours() -> None:
    words = (
        "import json, sys; from clusters.api import Connection; Connection.preload(official=False); "
        "Connection(json.load(sys.stdin), '').tls(); sys.exit('kubernetes' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", words], input=json.dumps(_ours()), text=True, timeout=60, check=False)
    assert done.returncode == 0
