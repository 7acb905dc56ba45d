"""Who may call by JSON Web Token: which tokens are good, which are bad (401), and what their claims allow (403)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import Access, Action, Condition, Meshes, Operation, Rule, Source, Tokens, workload
from fixtures.table import Column
from fixtures.tokens import Issuer, bearer
from flows.model import Protocol

OTHER = "https://other.eastwest.test"


@pytest.fixture
def other() -> Issuer:
    """A second issuer, with a key of another kind."""
    return Issuer(OTHER, "ES256")


def trusting(issuer: Issuer, *audiences: str, name: str = "trusting", forward: bool = False) -> Tokens:
    """The server takes this issuer's tokens."""
    return Tokens(
        name=name,
        issuer=issuer.name,
        keys=issuer.keys,
        audiences=audiences,
        scope=workload("server"),
        forward=forward,
    )


def need(*conditions: Condition, sources: tuple[Source, ...] = ()) -> Access:
    """Only these sources, and only requests that fulfil all these conditions; everybody may call `/open`."""
    rules = (
        Rule(sources=sources, conditions=conditions),
        Rule(operations=(Operation(paths=("/open",)),)),
    )
    return Access(name="need", scope=workload("server"), rules=rules)


def at(path: str, condition: Condition) -> Rule:
    """A path, where this condition holds."""
    return Rule(operations=(Operation(paths=(path,)),), conditions=(condition,))


def carrying(**tokens: str) -> Mapping[str, Mapping[str, str]]:
    """Headers by name: each token where everybody looks for it."""
    return {name: bearer(token) for name, token in tokens.items()}


def test_bad_tokens(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer, other: Issuer) -> None:
    """A bad token is refused with 401 even where nothing asks for one; a request without any passes."""
    mesh(trusting(issuer))
    matrix.requests(
        """
        caller  GET  server:8080/            .
        caller  GET  server:8080/ +good      .
        caller  GET  server:8080/ +expired   unauthenticated
        caller  GET  server:8080/ +early     unauthenticated
        caller  GET  server:8080/ +forged    unauthenticated
        caller  GET  server:8080/ +altered   unauthenticated
        caller  GET  server:8080/ +unsigned  unauthenticated
        caller  GET  server:8080/ +stranger  unauthenticated
        caller  GET  server:8080/ +garbage   unauthenticated
        """,
        carrying(
            good=issuer.token(),
            expired=issuer.token(lifetime=-3600),
            early=issuer.token(claims={"nbf": 4102444800}),
            forged=issuer.forged(),
            altered=issuer.altered(),
            unsigned=issuer.unsigned(),
            stranger=other.token(),
            garbage="not-a-token",
        ),
    )


def test_required(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """Where a token is required, a request without one is forbidden; a bad one still is 401."""
    mesh(trusting(issuer))
    mesh(need(sources=(Source(token_subjects=("*",)),)))
    matrix.requests(
        """
        caller  GET  server:8080/ +good         .
        caller  GET  server:8080/               forbidden
        caller  GET  server:8080/ +expired      unauthenticated
        caller  GET  server:8080/open           .
        caller  GET  server:8080/open +expired  unauthenticated
        """,
        carrying(good=issuer.token(), expired=issuer.token(lifetime=-3600)),
    )


def test_denied_without(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """A path that is denied to whoever has no token, while all others stay open."""
    rule = Rule(sources=(Source(not_token_subjects=("*",)),), operations=(Operation(paths=("/admin",)),))
    mesh(trusting(issuer))
    mesh(Access(name="no-token", scope=workload("server"), action=Action.DENY, rules=(rule,)))
    matrix.requests(
        """
        caller  GET  server:8080/admin +good  .
        caller  GET  server:8080/admin        forbidden
        caller  GET  server:8080/             .
        """,
        carrying(good=issuer.token()),
    )


def test_audience(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """A token for somebody else is forbidden (403, not 401), and so is one that is for nobody in particular."""
    mesh(trusting(issuer, "shop", "bank"))
    matrix.requests(
        """
        caller  GET  server:8080/           .
        caller  GET  server:8080/ +shop     .
        caller  GET  server:8080/ +several  .
        caller  GET  server:8080/ +school   forbidden
        caller  GET  server:8080/ +nobody   forbidden
        """,
        carrying(
            shop=issuer.token(audience="shop"),
            several=issuer.token(audience=("school", "bank")),
            school=issuer.token(audience="school"),
            nobody=issuer.token(),
        ),
    )


def test_subject(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer, other: Issuer) -> None:
    """One subject of one issuer is allowed, and everybody whom another one knows; good tokens of the rest are not."""
    mesh(trusting(issuer))
    mesh(trusting(other, name="trusting-other"))
    mesh(
        Access(
            name="known",
            scope=workload("server"),
            rules=(
                Rule(sources=(Source(token_subjects=(f"{issuer.name}/alice", f"{other.name}/*")),)),
                Rule(sources=(Source(token_subjects=("*",)),), operations=(Operation(paths=("/open",)),)),
            ),
        )
    )
    matrix.requests(
        """
        caller  GET  server:8080/ +alice        .
        caller  GET  server:8080/ +theirs       .
        caller  GET  server:8080/ +bob          forbidden
        caller  GET  server:8080/open +bob      .
        caller  GET  server:8080/               forbidden
        caller  GET  server:8080/open           forbidden
        """,
        carrying(alice=issuer.token("alice"), bob=issuer.token("bob"), theirs=other.token("carol")),
    )


def test_claim(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """A claim is the value, or a list that has it, or one text of words of which one is it; at its own depth only."""
    mesh(trusting(issuer))
    mesh(
        Access(
            name="claims",
            scope=workload("server"),
            rules=(
                at("/groups", Condition(key="claim:groups", values=("dev", "ops*"))),
                at("/roles", Condition(key="claim:realm/roles", values=("admin",))),
                at("/scope", Condition(key="claim:scope", values=("write",))),
            ),
        )
    )
    matrix.requests(
        """
        caller  GET  server:8080/groups +text     .
        caller  GET  server:8080/groups +list     .
        caller  GET  server:8080/groups +prefix   .
        caller  GET  server:8080/groups +others   forbidden
        caller  GET  server:8080/groups +none     forbidden
        caller  GET  server:8080/groups           forbidden
        caller  GET  server:8080/roles +inner     .
        caller  GET  server:8080/roles +wrong     forbidden
        caller  GET  server:8080/roles +outer     forbidden
        caller  GET  server:8080/roles +dotted    forbidden
        caller  GET  server:8080/scope +both      .
        caller  GET  server:8080/scope +rewrite   forbidden
        """,
        carrying(
            text=issuer.token(claims={"groups": "dev"}),
            list=issuer.token(claims={"groups": ["sales", "dev"]}),
            prefix=issuer.token(claims={"groups": ["ops-night"]}),
            others=issuer.token(claims={"groups": ["sales", "developer"]}),
            none=issuer.token(),
            inner=issuer.token(claims={"realm": {"roles": ["user", "admin"]}}),
            wrong=issuer.token(claims={"realm": {"roles": ["user"]}}),
            outer=issuer.token(claims={"roles": ["admin"]}),
            dotted=issuer.token(claims={"realm.roles": ["admin"]}),
            both=issuer.token(claims={"scope": "read write"}),
            rewrite=issuer.token(claims={"scope": "rewrite"}),
        ),
    )


def test_audience_and_presenter(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """Rules ask whom a token is for and who got it; both must be right."""
    mesh(trusting(issuer))
    mesh(need(Condition(key="audience", values=("shop",)), Condition(key="presenter", values=("till",))))
    matrix.requests(
        """
        caller  GET  server:8080/ +right   .
        caller  GET  server:8080/ +school  forbidden
        caller  GET  server:8080/ +thief   forbidden
        caller  GET  server:8080/ +nobody  forbidden
        """,
        carrying(
            right=issuer.token(audience=("bank", "shop"), claims={"azp": "till"}),
            school=issuer.token(audience="school", claims={"azp": "till"}),
            thief=issuer.token(audience="shop", claims={"azp": "thief"}),
            nobody=issuer.token(audience="shop"),
        ),
    )


def test_claims_that_nobody_validates(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """Claims are asked for, but no issuer is trusted: nobody has any, the best token included."""
    mesh(need(Condition(key="claim:groups", values=("dev",)), sources=(Source(token_subjects=("*",)),)))
    matrix.requests(
        """
        caller  GET  server:8080/ +good      forbidden
        caller  GET  server:8080/ +forged    forbidden
        caller  GET  server:8080/            forbidden
        caller  GET  server:8080/open +good  .
        """,
        carrying(good=issuer.token(claims={"groups": ["dev"]}), forged=issuer.forged(claims={"groups": ["dev"]})),
    )


def test_token_and_identity(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """The right token in the wrong hands: the workload's identity and the token must both be right."""
    mesh(trusting(issuer))
    mesh(need(sources=(Source(identities=("caller",), token_subjects=(f"{issuer.name}/alice",)),)))
    matrix.requests(
        """
        caller  GET  server:8080/ +alice  .
        caller  GET  server:8080/ +bob    forbidden
        caller  GET  server:8080/         forbidden
        peer    GET  server:8080/ +alice  forbidden
        """,
        carrying(alice=issuer.token("alice"), bob=issuer.token("bob")),
    )


def test_another_place(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """A token is found in the header that is named for it, besides the usual one; in no other."""
    good, bad = issuer.token(), issuer.forged()
    asked = trusting(issuer)
    mesh(
        Tokens(
            name=asked.name,
            issuer=asked.issuer,
            keys=asked.keys,
            scope=asked.scope,
            headers=(("x-token", "Token "),),
        )
    )
    mesh(need(sources=(Source(token_subjects=("*",)),)))
    matrix.requests(
        """
        caller  GET  server:8080/ +named      .
        caller  GET  server:8080/ +usual      .
        caller  GET  server:8080/ +elsewhere  forbidden
        caller  GET  server:8080/ +bad        unauthenticated
        """,
        {
            "named": {"x-token": f"Token {good}"},
            "usual": bearer(good),
            "elsewhere": {"x-other": f"Token {good}"},
            "bad": {"x-token": f"Token {bad}"},
        },
    )


def test_new_key(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """An issuer changes its key: tokens of the former one are bad from then on, without redeploying anything."""
    renewed = Issuer(issuer.name)
    tokens = carrying(former=issuer.token(), new=renewed.token())
    trusted = mesh(trusting(issuer))
    matrix.requests(
        """
        caller  GET  server:8080/ +former  .
        caller  GET  server:8080/ +new     unauthenticated
        """,
        tokens,
    )
    trusted.becomes(trusting(renewed))
    matrix.requests(
        """
        caller  GET  server:8080/ +former  unauthenticated
        caller  GET  server:8080/ +new     .
        """,
        tokens,
    )


def test_the_application_sees_the_token(mesh: Meshes, matrix: MatrixAsker, intruder: Actor, issuer: Issuer) -> None:
    """A validated token stays with the server's proxy, unless it is to be passed on to the application."""
    sent = bearer(issuer.token())
    asked = Column(name="server", port=8080, protocol=Protocol.HTTP, headers=tuple(sent.items()))
    headers, requests = (
        {"good": sent, "bad": bearer("not-a-token")},
        """
        intruder  GET  server:8080/ +good  .
        intruder  GET  server:8080/ +bad   {bad}
    """,
    )
    trusted = mesh(trusting(issuer))
    matrix.requests(requests.format(bad="unauthenticated"), headers)
    assert "authorization" not in dict(intruder.ask(asked).evidence.request_headers)
    trusted.delete()
    matrix.requests(requests.format(bad="."), headers)
    mesh(trusting(issuer, forward=True))
    matrix.requests(requests.format(bad="unauthenticated"), headers)
    assert "authorization" in dict(intruder.ask(asked).evidence.request_headers)
