"""Secrets never reach a report, whatever they are written in; what is no secret stays readable."""

from __future__ import annotations

import base64
import json

import pytest

from reports.redact import HIDDEN, redact, scrub

SECRET = "c2VjcmV0LW9mLXRoZS1jbHVzdGVy0"
JWT = f"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.{SECRET}"
PEM = f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----"
ESCAPED = json.dumps(json.dumps({"kind": "Secret", "data": {"key": SECRET}}))

LEAKS = {
    "bearer-header": f"GET / HTTP/1.1\nAuthorization: Bearer {SECRET}\nAccept: */*",
    "basic-header": f"authorization: Basic {SECRET}",
    "digest-header": f"Authorization: Digest response={SECRET}",
    "cookie-header": f"GET /\nCookie: session={SECRET}",
    "key-header": f"x-api-key: {SECRET}",
    "basic-without-header": f"sent Basic {SECRET}",
    "header-in-curl": f'curl -H "Authorization: Bearer {SECRET}" https://host',
    "header-in-json": json.dumps({"headers": {"Authorization": SECRET}}),
    "header-as-pair": repr(("cookie", SECRET)),
    "bare-bearer": f"sent Bearer {SECRET}",
    "jwt-in-prose": f"the token was {JWT}, and it was refused",
    "kubeconfig-token": f"users:\n- name: a\n  user:\n    token: {SECRET}\n",
    "kubeconfig-client-key": f"    client-key-data: {SECRET}\n",
    "kubeconfig-quoted": f'    token: "{SECRET}"\n',
    "password-of-several-words": f"auth:\n  password: correct horse {SECRET}\n",
    "kubeconfig-json": json.dumps({"user": {"client-key-data": SECRET}}),
    "private-key": f"before\n{PEM}\nafter",
    "private-key-cut-off": f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    "password-in-url": f"https://robot:{SECRET}@registry.example/v2/",
    "password-without-user-in-url": f"redis://:{SECRET}@cache:6379/0",
    "password-in-prose": f"login failed, password: {SECRET} was refused",
    "environment": f"DB_PASSWORD={SECRET} eastwest verify",
    "flag": f"kubectl --token {SECRET} get pods",
    "flag-with-equals": f"kubectl --token={SECRET} get pods",
    "container-variable": f"env:\n- name: DB_PASSWORD\n  value: {SECRET}\n",
    "container-variable-json": json.dumps([{"name": "API_TOKEN", "value": SECRET}]),
    "secret-yaml": f"kind: Secret\nmetadata:\n  name: a\ndata:\n  some: {SECRET}\n  other: {SECRET}\ntype: Opaque\n",
    "secret-yaml-before-kind": f"apiVersion: v1\ndata:\n  some: {SECRET}\nkind: Secret\n",
    "secret-yaml-block": f"kind: Secret\nstringData:\n  file: |\n    {SECRET}\n    x: {SECRET}\n",
    "secret-yaml-flow": f"kind: Secret\ndata: {{some: {SECRET}}}\n",
    "secret-in-list": f"items:\n- kind: Secret\n  data:\n    some: {SECRET}\n",
    "secret-json": json.dumps({"kind": "Secret", "data": {"some": SECRET}}),
    "secret-json-escaped": ESCAPED,
}


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS.keys())
def test_a_secret_in_text_is_hidden(text: str) -> None:
    hidden = redact(text)
    assert SECRET not in hidden
    assert HIDDEN in hidden


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS.keys())
def test_hiding_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


HARMLESS = (
    "caller → server:8080/tcp: expected dropped, got answered",
    "basic connectivity and bearer handling hold",
    "kind: ConfigMap\ndata:\n  agent.py: print(1)\n",
    "automountServiceAccountToken: false\nimagePullSecrets:\n- name: mirror\n",
    "secretName: server-tls\nsecret:\n  name: x\n",
    "nonce 9f1c2e77a0b4d365 of caller.9f1c2e77a0b4d365",
    "https://10.96.0.1:443/api?limit=500",
    "the namespace selector is the key: matchLabels",
    "tokens: 4, keys: 3",
    "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
)


@pytest.mark.parametrize("text", HARMLESS, ids=range(len(HARMLESS)))
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


def test_a_document_beside_a_secret_keeps_its_data() -> None:
    text = (
        f"kind: ConfigMap\ndata:\n  a: plain\n---\nkind: Secret\ndata:\n  a: {SECRET}\n---\nkind: Pod\nspec:\n  b: 1\n"
    )
    assert redact(text) == text.replace(SECRET, HIDDEN)


RECORDS = {
    "token-field": {"user": {"token": SECRET}},
    "header-pair": {"http_headers": [["Authorization", SECRET], ["accept", "*"]]},
    "secret-object": {"kind": "Secret", "data": {"a": SECRET, "b": [SECRET]}},
    "variable": {"env": [{"name": "DB_PASSWORD", "value": SECRET}]},
    "inside-a-list": ["x", [f"Authorization: Bearer {SECRET}"]],
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS.keys())
def test_a_secret_in_a_record_is_hidden(record: object) -> None:
    assert SECRET not in json.dumps(scrub(record))


def test_a_records_other_values_stay() -> None:
    record = {"kind": "ConfigMap", "data": {"a": "b"}, "n": 1, "yes": True, "none": None, "pair": ["accept", "*"]}
    assert scrub(record) == record


def test_an_empty_secret_stays_empty() -> None:
    assert scrub({"token": "", "password": base64.b64encode(b"x").decode()}) == {"token": "", "password": HIDDEN}
