from __future__ import annotations

from typing import Any

import pytest

from clusters.cluster import Options
from clusters.existing import ExistingProvider
from clusters.kind import KindProvider
from clusters.lab.provider import LabProvider
from clusters.profile import POD_IMAGE, load
from clusters.providers import make
from flows.errors import UsageError


@pytest.mark.parametrize(
    ("profile", "kind"),
    [("lab", LabProvider), ("kind-calico", KindProvider), ("existing", ExistingProvider)],
    ids=["lab", "kind", "existing"],
)
def test_each_profile_has_its_provider(profile: str, kind: type) -> None:
    assert isinstance(make(load(profile), Options(), "run1"), kind)


@pytest.mark.parametrize(
    ("profile", "options", "words"),
    [
        pytest.param("lab", {"context": "x"}, "--context does not fit profile 'lab'", id="context-for-the-lab"),
        pytest.param("kind-calico", {"mutant": "x"}, "it is for provider lab", id="mutant-for-kind"),
        pytest.param("existing", {"nodes": 3}, "--nodes does not fit", id="nodes-for-existing"),
        pytest.param("kind-calico", {"name": "Ä"}, "--cluster-name 'Ä'", id="bad-name"),
        pytest.param("lab", {"keep": "sometimes"}, "use one of never, failed, always", id="bad-keep"),
        pytest.param("lab", {"nodes": -1}, "at least one node", id="no-nodes"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(profile: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(load(profile), Options(**options), "run1")
    assert words in caught.value.message


def test_a_run_id_that_is_no_label_is_refused() -> None:
    with pytest.raises(UsageError, match="run id"):
        make(load("lab"), Options(), "Not A Label")


def test_the_environment_names_the_pods_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POD_IMAGE, "mirror/python:3")
    assert load("existing").pods.image == "mirror/python:3"
