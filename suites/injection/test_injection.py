"""Who gets a proxy: the two forms of it, and every way to miss it, found and named."""

from __future__ import annotations

import pytest

from fixtures.mesh import Form
from fixtures.trials import Trials


@pytest.fixture(scope="module")
def meshed_namespace(trials: Trials) -> str:
    """A namespace that asks for proxies."""
    return trials.namespace(meshed=True)


@pytest.fixture(scope="module")
def naked_namespace(trials: Trials) -> str:
    """A namespace that does not."""
    return trials.namespace(meshed=False)


def test_two_of_two(trials: Trials, meshed_namespace: str) -> None:
    """A pod of a meshed namespace is 2/2, as kubectl counts, and its proxy is ready."""
    found = trials.injected(meshed_namespace, "plain")
    assert (found.count, found.proxy_ready, found.reason) == ("2/2", True, "")


def test_native_form(trials: Trials, meshed_namespace: str) -> None:
    """Asked for natively, the proxy is a restartable init container, ready in initContainerStatuses, and still 2/2."""
    found = trials.injected(meshed_namespace, "native", annotations=trials.asks(form="native"))
    assert (found.form, found.count, found.proxy_ready) == ("native", "2/2", True)
    status = trials.pod(meshed_namespace, "native")["status"]
    assert len(status["containerStatuses"]) == 1


def test_container_form(trials: Trials, meshed_namespace: str) -> None:
    """Asked for as a container, the proxy stands beside the application in containerStatuses."""
    found = trials.injected(meshed_namespace, "beside", annotations=trials.asks(form="container"))
    assert (found.form, found.count, found.proxy_ready) == ("container", "2/2", True)
    status = trials.pod(meshed_namespace, "beside")["status"]
    assert len(status["containerStatuses"]) == 2


@pytest.mark.parametrize("form", ["native", "container"])
def test_proxy_before_application(trials: Trials, meshed_namespace: str, form: Form) -> None:
    """An application whose proxy is to work before it starts makes its very first call through it.

    A native proxy always does; one beside the application only where it is asked for. Without that the application of
    the second form starts first, and its first call is refused: nobody listens yet where its calls are sent.
    """
    trials.injected(meshed_namespace, f"held-{form}", annotations=trials.asks(form=form, first=form == "container"))
    assert trials.first_call(meshed_namespace, f"held-{form}") == "went through"


def test_opted_in(trials: Trials, naked_namespace: str) -> None:
    """A pod's own label asks for a proxy where its namespace does not."""
    found = trials.injected(naked_namespace, "opted-in", labels=trials.dialect.pod_labels(meshed=True))
    assert (found.count, found.reason) == ("2/2", "")


def test_opted_out(trials: Trials, meshed_namespace: str) -> None:
    """A pod's own label refuses a proxy where its namespace asks for one, and that is named as the reason."""
    labels = trials.dialect.pod_labels(meshed=False)
    found = trials.injected(meshed_namespace, "opted-out", labels=labels)
    assert (found.form, found.count) == ("none", "1/1")
    assert next(iter(labels)) in found.reason


def test_namespace_not_labelled(trials: Trials, naked_namespace: str) -> None:
    """Nobody asked: the pod is naked, and the missing label is named."""
    found = trials.injected(naked_namespace, "unasked")
    assert (found.form, found.count) == ("none", "1/1")
    assert next(iter(trials.dialect.namespace_labels())) in found.reason


def test_wrong_revision(trials: Trials) -> None:
    """A namespace that asks for a revision nobody serves stays naked, and the revision is named."""
    space = trials.namespace(meshed=True, revision="no-such-revision")
    found = trials.injected(space, "wrong-revision")
    assert (found.form, found.count) == ("none", "1/1")
    assert "no-such-revision" in found.reason


def test_older_than_the_label(trials: Trials) -> None:
    """A pod that was there before its namespace asked stays naked, and a restart is named as the remedy."""
    space = trials.namespace(meshed=False)
    before = trials.injected(space, "older")
    assert before.form == "none"
    trials.relabel(space, trials.dialect.namespace_labels())
    found = trials.outcome(space, "older")
    assert (found.form, found.count) == ("none", "1/1")
    assert "older" in found.reason or "before" in found.reason
    assert trials.injected(space, "younger").count == "2/2"


def test_annotation_alone(trials: Trials, naked_namespace: str) -> None:
    """An annotation does nothing in a namespace that no webhook watches, and is named."""
    annotations = trials.asks(meshed=True)
    found = trials.injected(naked_namespace, "annotated", annotations=annotations)
    assert (found.form, found.count) == ("none", "1/1")
    assert "annotation" in found.reason


def test_host_network(trials: Trials, meshed_namespace: str) -> None:
    """A pod in its node's network gets no proxy, and that is named."""
    found = trials.injected(meshed_namespace, "on-the-node", host_network=True)
    assert found.form == "none"
    assert "hostNetwork" in found.reason
