"""What a push is made of: texts inside a text, each made once."""

from __future__ import annotations

import json
from dataclasses import replace

from clusters.lab.mesh.compile import Cache, compile_proxy
from clusters.lab.mesh.model import Config, Mesh
from clusters.lab.mesh.pieces import Encoder, push
from tests.lab.mesh.worlds import SERVER, policy, service

MESH = Mesh(services=(service({8080: "http"}),))


def test_what_is_quoted_comes_out_as_it_went_in() -> None:
    awkward = {"name": 'quote " and \\ and ü\n', "nested": {"list": ['"', "\\u0022"]}}
    config = Config(listeners=(awkward, {"name": "b"}), clusters=(), routes={'80 "x"': {"name": "r"}})
    message = json.loads(push("7", Encoder().pieces(MESH, config), ["rds/9", "rds/10"]))
    (first, second) = json.loads(message["files"]["lds"])
    assert first == {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", **awkward}
    assert second["name"] == "b"
    assert json.loads(message["files"]["cds"]) == []
    assert set(message["files"]) == {"lds", "cds", 'rds/80 "x"'}
    assert (message["op"], message["version"], message["removed"]) == ("push", "7", ["rds/10", "rds/9"])


def test_what_clients_do_not_see_leaves_their_parts_the_same_objects() -> None:
    cache, encoder = Cache(), Encoder()
    changed = replace(MESH, authorization_policies=(policy(action="DENY"),))
    before, after = (encoder.pieces(mesh, compile_proxy(mesh, SERVER, cache)) for mesh in (MESH, changed))
    assert before["cds"][0] is after["cds"][0]
    assert before["rds/8080"] == after["rds/8080"]
    assert before["lds"] != after["lds"]


def test_what_clients_see_is_compiled_again() -> None:
    cache, encoder = Cache(), Encoder()
    changed = replace(MESH, services=(*MESH.services, service({9090: "http"}, name="other")))
    before, after = (encoder.pieces(mesh, compile_proxy(mesh, SERVER, cache)) for mesh in (MESH, changed))
    assert set(after) - set(before) == {"rds/9090"}
    assert before["rds/8080"] == after["rds/8080"]
    assert len(after["cds"]) > len(before["cds"])


def test_equal_texts_of_the_next_mesh_are_the_same_object() -> None:
    encoder = Encoder()
    before, after = (encoder.pieces(mesh, compile_proxy(mesh, SERVER, Cache())) for mesh in (MESH, replace(MESH)))
    assert all(a is b for a, b in zip(before["cds"], after["cds"], strict=True))
