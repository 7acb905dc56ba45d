"""One API server a module, one namespace a test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.lab.api.world import Api, Namespace, running

_numbers = itertools.count()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def namespace(api: Api) -> Namespace:
    place = Namespace(api=api, name=f"test-{next(_numbers)}")
    assert api.call("POST", "/api/v1/namespaces", {"metadata": {"name": place.name}}).code == 201
    assert place.create("serviceaccounts", {"metadata": {"name": "default"}}).code == 201
    return place
