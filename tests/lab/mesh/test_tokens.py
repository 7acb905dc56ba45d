"""RequestAuthentication: the filter that real Istio 1.31 writes, and which tokens a real Envoy takes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from clusters.lab.mesh import tokens
from clusters.lab.mesh.inbound import compile_inbound
from clusters.lab.mesh.model import Mesh
from policies.istio.model import Condition, JwtRule, Operation, RequestAuthentication, Source
from tests.lab.mesh.calls import Answer, call
from tests.lab.mesh.envoy import Envoy, free_ports, running
from tests.lab.mesh.trust import Authority, write_secrets
from tests.lab.mesh.worlds import SERVER, meta, policy, rule, service

ISSUER, OTHER = "https://issuer.example", "other@example"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens (RS256); `jwks` are its public keys."""

    def __init__(self, key_id: str) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._head = {"alg": "RS256", "typ": "JWT", "kid": key_id}
        n = self._key.public_key().public_numbers().n
        numbers = {"n": b64(n.to_bytes(256, "big")), "e": "AQAB"}
        self.jwks = json.dumps({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": key_id} | numbers]})

    def token(self, *, issuer: str = ISSUER, lifetime: float = 600, **claims: Any) -> str:
        now = int(time.time())
        payload = {"iss": issuer, "sub": "user", "iat": now, "exp": now + int(lifetime)} | claims
        signed = f"{b64(json.dumps(self._head).encode())}.{b64(json.dumps(payload).encode())}"
        return f"{signed}.{b64(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


GOOD, FORGER = Issuer("k"), Issuer("k")
FIRST = JwtRule(issuer=ISSUER, jwks=GOOD.jwks, audiences=("shop", "store"))
SECOND = JwtRule(
    issuer=OTHER,
    jwks=GOOD.jwks,
    headers=(("x-jwt", "Tok "),),
    params=("token",),
    forward=True,
    claim_to_headers=(("x-team", "nested.team"),),
)


def authentication(*rules: JwtRule, namespace: str = "shop") -> RequestAuthentication:
    return RequestAuthentication(meta=meta(namespace=namespace), rules=rules)


def requirement(*rules: JwtRule) -> dict[str, Any]:
    (made,) = tokens.http(Mesh(request_authentications=(authentication(*rules),)), SERVER)
    found: dict[str, Any] = made["typed_config"]["rules"][0]["requires"]
    return found


def any_of(*each: dict[str, Any]) -> dict[str, Any]:
    return {"requires_any": {"requirements": list(each)}}


def test_one_rule_takes_its_token_or_none() -> None:
    assert requirement(FIRST) == any_of({"provider_name": "origins-0"}, {"allow_missing": {}})


def test_two_rules_take_either_token_or_none_of_both() -> None:
    first, second = {"provider_name": "origins-0"}, {"provider_name": "origins-1"}
    none = {"requires_all": {"requirements": [any_of(each, {"allow_missing": {}}) for each in (first, second)]}}
    assert requirement(SECOND, FIRST) == any_of(first, second, none)


def test_rules_of_the_root_namespace_are_for_everybody_and_sorted_by_issuer() -> None:
    written = (
        authentication(SECOND, namespace="istio-system"),
        authentication(FIRST),
        authentication(FIRST, namespace="x"),
    )
    assert tokens.rules_for(Mesh(request_authentications=written), SERVER) == [FIRST, SECOND]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A running proxy that validates tokens."""

    envoy: Envoy
    port: int

    def ask(
        self, path: str = "/open", token: str = "", header: str = "Authorization", prefix: str = "Bearer "
    ) -> Answer:
        return call(self.port, path, headers={header: f"{prefix}{token}"} if token else None)


def needs(path: str, *conditions: Condition, principals: tuple[str, ...] = ()) -> Any:
    return rule(Source(request_principals=principals) if principals else None, Operation(paths=(path,)), *conditions)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder, authority = tmp_path_factory.mktemp("tokens"), Authority()
    write_secrets(folder, authority.issue(SERVER.identity), authority.pem)
    (port,) = free_ports(1)
    rules = (
        rule(None, Operation(paths=("/open*",))),
        needs("/any", principals=("*",)),
        needs("/user", principals=(f"{ISSUER}/user",)),
        needs("/issuer", principals=(f"{ISSUER}/*",)),
        needs("/group", Condition(key="request.auth.claims[groups]", values=("admins",))),
        needs("/nested", Condition(key="request.auth.claims[org][team]", values=("red*",))),
        needs("/scope", Condition(key="request.auth.claims[scope]", values=("write",))),
        needs("/audience", Condition(key="request.auth.audiences", values=("store",))),
        needs("/presenter", Condition(key="request.auth.presenter", values=("app",))),
        needs("/not", Condition(key="request.auth.claims[groups]", not_values=("admins",))),
    )
    mesh = Mesh(
        services=(service({port: "http"}),),
        authorization_policies=(policy(*rules),),
        request_authentications=(authentication(FIRST, SECOND),),
    )
    with running(folder, compile_inbound(mesh, SERVER), [port]) as envoy:
        yield Gate(envoy=envoy, port=port)


@pytest.mark.parametrize(
    ("token", "status", "body"),
    [
        pytest.param("", 200, "", id="none"),
        pytest.param(GOOD.token(aud="shop"), 200, "", id="good"),
        pytest.param(GOOD.token(aud=["x", "store"]), 200, "", id="one-audience-of-a-list"),
        pytest.param(FORGER.token(aud="shop"), 401, "Jwt verification fails", id="forged"),
        pytest.param(GOOD.token(aud="shop", lifetime=-3600), 401, "Jwt is expired", id="expired"),
        pytest.param(GOOD.token(aud="shop", issuer="x"), 401, "Jwt issuer is not configured", id="wrong-issuer"),
        pytest.param(GOOD.token(aud="x"), 403, "Audiences in Jwt are not allowed", id="wrong-audience"),
        pytest.param(GOOD.token(), 403, "Audiences in Jwt are not allowed", id="no-audience"),
        pytest.param("rubbish", 401, "Jwt is not in the form of Header.Payload.Signature", id="rubbish"),
    ],
)
def test_a_bad_token_is_refused_in_envoys_words_and_none_passes(gate: Gate, token: str, status: int, body: str) -> None:
    answer = gate.ask(token=token)
    assert answer.status == status
    assert body in answer.body


@pytest.mark.parametrize(
    ("path", "claims", "status"),
    [
        pytest.param("/any", {}, 200, id="any-principal"),
        pytest.param("/any", None, 403, id="missing-where-asked-for"),
        pytest.param("/user", {}, 200, id="principal"),
        pytest.param("/user", {"sub": "other"}, 403, id="other-principal"),
        pytest.param("/issuer", {"sub": "other"}, 200, id="any-subject-of-an-issuer"),
        pytest.param("/group", {"groups": ["users", "admins"]}, 200, id="list-claim"),
        pytest.param("/group", {"groups": "admins"}, 200, id="text-claim"),
        pytest.param("/group", {"groups": ["users"]}, 403, id="list-without-it"),
        pytest.param("/nested", {"org": {"team": "reds"}}, 200, id="nested-claim"),
        pytest.param("/nested", {"org": {"team": "blues"}}, 403, id="other-nested-claim"),
        pytest.param("/scope", {"scope": "read write"}, 200, id="scopes-are-a-list"),
        pytest.param("/audience", {"aud": "store"}, 200, id="audience"),
        pytest.param("/audience", {"aud": "shop"}, 403, id="other-audience"),
        pytest.param("/presenter", {"azp": "app"}, 200, id="presenter"),
        pytest.param("/not", {"groups": ["admins"]}, 403, id="not-claim"),
        pytest.param("/not", None, 200, id="not-claim-without-token"),
    ],
)
def test_claims_decide(gate: Gate, path: str, claims: dict[str, Any] | None, status: int) -> None:
    token = "" if claims is None else GOOD.token(**{"aud": "shop"} | claims)
    assert gate.ask(path, token).status == status


def test_the_token_reaches_the_application_only_when_forwarded(gate: Gate) -> None:
    assert "authorization" not in gate.ask(token=GOOD.token(aud="shop")).seen["headers"]
    token = GOOD.token(issuer=OTHER, nested={"team": "red"})
    answer = gate.ask(token=token, header="x-jwt", prefix="Tok ")
    assert answer.seen["headers"]["x-jwt"] == f"Tok {token}"
    assert answer.seen["headers"]["x-team"] == "red"
    assert gate.ask(f"/open?token={FORGER.token(issuer=OTHER)}").status == 401


def test_the_log_says_why_a_token_was_refused(gate: Gate) -> None:
    gate.ask("/open/log", token=FORGER.token(aud="shop"))
    assert " 401 - jwt_authn_access_denied{Jwt_verification_fails} " in gate.envoy.log.wait("/open/log")
