"""Who may call by JSON Web Token: which tokens are good, which are bad (401), and what their claims allow (403)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from fixtures.actor import Actor
from fixtures.asking import MatrixAsker
from fixtures.mesh import Access, Action, Condition, Meshes, Operation, Rule, Source, Tokens, workload
from fixtures.table import Column
from fixtures.tokens import Issuer, bearer
from fixtures.workloads import CALLER, INTRUDER, PEER, SERVER, Spec, in_mesh
from flows.model import Protocol

OTHER = "https://other.eastwest.test"


@pytest.fixture(scope="module")
def world_specs() -> Sequence[Spec]:
    """Workloads with proxies, and a caller without one, whose every request goes on a connection of its own."""
    return in_mesh(CALLER), in_mesh(SERVER), in_mesh(PEER), in_mesh(INTRUDER, meshed=False)


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
    """One subject of one issuer is allowed; neither another subject, nor the same one of another issuer."""
    mesh(trusting(issuer))
    mesh(trusting(other, name="trusting-other"))
    mesh(need(sources=(Source(token_subjects=(f"{issuer.name}/alice",)),)))
    matrix.requests(
        """
        caller  GET  server:8080/ +alice           .
        caller  GET  server:8080/ +bob             forbidden
        caller  GET  server:8080/ +others-alice    forbidden
        caller  GET  server:8080/open +others-alice  .
        """,
        carrying(
            alice=issuer.token("alice"),
            bob=issuer.token("bob"),
            **{"others-alice": other.token("alice")},
        ),
    )


def test_any_subject_of_an_issuer(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer, other: Issuer) -> None:
    """Everybody whom one issuer knows is allowed, nobody else; both issuers' tokens are good ones."""
    mesh(trusting(issuer))
    mesh(trusting(other, name="trusting-other"))
    mesh(need(sources=(Source(token_subjects=(f"{issuer.name}/*",)),)))
    matrix.requests(
        """
        caller  GET  server:8080/ +ours        .
        caller  GET  server:8080/ +theirs      forbidden
        caller  GET  server:8080/open +theirs  .
        caller  GET  server:8080/              forbidden
        """,
        carrying(ours=issuer.token("bob"), theirs=other.token("bob")),
    )


def test_claim(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """A claim that is the value, or a list that has it; a value that only begins so is another one."""
    mesh(trusting(issuer))
    mesh(need(Condition(key="claim:groups", values=("dev", "ops*"))))
    matrix.requests(
        """
        caller  GET  server:8080/ +text    .
        caller  GET  server:8080/ +list    .
        caller  GET  server:8080/ +prefix  .
        caller  GET  server:8080/ +others  forbidden
        caller  GET  server:8080/ +longer  forbidden
        caller  GET  server:8080/ +none    forbidden
        caller  GET  server:8080/          forbidden
        """,
        carrying(
            text=issuer.token(claims={"groups": "dev"}),
            list=issuer.token(claims={"groups": ["sales", "dev"]}),
            prefix=issuer.token(claims={"groups": ["ops-night"]}),
            others=issuer.token(claims={"groups": ["sales"]}),
            longer=issuer.token(claims={"groups": ["developer"]}),
            none=issuer.token(),
        ),
    )


def test_nested_claim(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """A claim within a claim; the same name at another depth is another claim."""
    mesh(trusting(issuer))
    mesh(need(Condition(key="claim:realm/roles", values=("admin",))))
    matrix.requests(
        """
        caller  GET  server:8080/ +inner   .
        caller  GET  server:8080/ +text    .
        caller  GET  server:8080/ +wrong   forbidden
        caller  GET  server:8080/ +outer   forbidden
        caller  GET  server:8080/ +dotted  forbidden
        """,
        carrying(
            inner=issuer.token(claims={"realm": {"roles": ["user", "admin"]}}),
            text=issuer.token(claims={"realm": {"roles": "admin"}}),
            wrong=issuer.token(claims={"realm": {"roles": ["user"]}}),
            outer=issuer.token(claims={"roles": ["admin"]}),
            dotted=issuer.token(claims={"realm.roles": ["admin"]}),
        ),
    )


def test_scope(mesh: Meshes, matrix: MatrixAsker, issuer: Issuer) -> None:
    """`scope` is a list in one text: each of its words counts, a part of a word does not."""
    mesh(trusting(issuer))
    mesh(need(Condition(key="claim:scope", values=("write",))))
    matrix.requests(
        """
        caller  GET  server:8080/ +both     .
        caller  GET  server:8080/ +read     forbidden
        caller  GET  server:8080/ +rewrite  forbidden
        """,
        carrying(
            both=issuer.token(claims={"scope": "read write"}),
            read=issuer.token(claims={"scope": "read"}),
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


@pytest.mark.parametrize(
    ("forward", "arrives"), [pytest.param(False, False, id="kept-back"), pytest.param(True, True, id="forwarded")]
)
def test_the_application_sees_the_token(
    mesh: Meshes, matrix: MatrixAsker, intruder: Actor, issuer: Issuer, *, forward: bool, arrives: bool
) -> None:
    """A validated token stays with the server's proxy, unless it is to be passed on to the application."""
    sent = bearer(issuer.token())
    mesh(trusting(issuer, forward=forward))
    matrix.requests(
        """
        intruder  GET  server:8080/ +good     .
        intruder  GET  server:8080/ +garbage  unauthenticated
        """,
        {"good": sent, "garbage": bearer("not-a-token")},
    )
    asked = Column(name="server", port=8080, protocol=Protocol.HTTP, headers=tuple(sent.items()))
    seen = {name.lower() for name, _ in intruder.ask(asked).evidence.request_headers}
    assert ("authorization" in seen) == arrives
