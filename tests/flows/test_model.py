"""The words: keys that tell flows apart, and a private key that nothing shows."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from flows import wire
from flows.matrix import Cell
from flows.model import Kind, answered, denied_behind_proxy, one_of, refused_tcp, tls_refused
from flows.offer import Secret, TlsOffer
from tests.flows.samples import flow, verdict

KEY = "-----BEGIN PRIVATE KEY-----MIGHAgEA-----END PRIVATE KEY-----"
OFFER = TlsOffer(certificate="-----BEGIN CERTIFICATE-----MIIB", key=Secret(KEY), server_name="server", alpn=("istio",))


def test_flows_that_differ_by_headers_or_credentials_have_different_keys() -> None:
    plain = flow()
    tokens = [replace(plain, headers=(("authorization", token),)) for token in ("a", "b")]
    named = [replace(each, variant=name) for each, name in zip(tokens, ("good", "bad"), strict=True)]
    several = [plain, *tokens, *named, replace(plain, tls=OFFER), replace(plain, url_path="/admin")]
    assert len({each.key for each in several}) == len({str(each) for each in several}) == len(several)
    assert named[0].key == "caller-to-server-8080-tcp-pod-ip-good"
    assert str(named[0]) == "caller → server:8080/tcp [good]"


def test_a_name_keeps_its_key_when_the_credentials_are_new() -> None:
    keys = {replace(flow(), variant="good", headers=(("authorization", token),)).key for token in ("a", "b")}
    assert len(keys) == 1


def test_a_private_key_is_shown_nowhere_but_on_the_wire() -> None:
    asked = replace(flow(), tls=OFFER)
    seen = verdict(Kind.TLS_ERROR, asked)
    cell = Cell(flow=asked, expected=answered(), verdict=seen)
    probe = wire.Probe(id=0, protocol="tcp", host="h", port=1, nonce="n", timeout=1.0, tls=OFFER)
    shown = [repr(seen), str(asked), asked.key, json.dumps(cell.record()), repr(probe), repr(asdict(asked))]
    assert not [text for text in shown if "PRIVATE" in text or "MIGH" in text]
    assert json.loads(json.dumps(cell.record()))["flow"]["tls"]["certificate"] is True
    assert KEY in json.loads(wire.batch("b", [probe]))["probes"][0]["tls"]["key"]


def test_promises_name_their_kinds() -> None:
    assert refused_tcp().kinds == {Kind.RESET, Kind.CLOSED}
    assert denied_behind_proxy().kinds == {Kind.UNAVAILABLE, Kind.TIMED_OUT, Kind.SILENT}
    assert tls_refused().kinds == {Kind.TLS_ERROR, Kind.RESET, Kind.CLOSED}
    assert not one_of("gone", Kind.RESET).allows
    with pytest.raises(ValueError, match="name at least one kind"):
        one_of("nothing")
