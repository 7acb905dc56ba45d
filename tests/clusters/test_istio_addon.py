from __future__ import annotations

from pathlib import Path

import pytest

from clusters.addons import istio
from clusters.command import Cancel, Deadline
from flows.errors import PreparationError, UsageError
from tests.clusters.fakes import calls, tool
from tests.clusters.mesh.fake import FakeKube, obj

VERSION = """
case "$1" in
version) echo '{"clientVersion": {"version": "1.31.0"}}' ;;
install) echo "Error: failed to install manifests: istiod is not ready" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with an istioctl of 1.31.0 that fails to install."""
    tool(tmp_path, "istioctl", VERSION)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv(istio.VARIABLE, raising=False)
    return tmp_path


def test_the_tool_of_path_is_taken_with_its_version(tools: Path) -> None:
    setup = istio.prepare({})
    assert (setup.istioctl, setup.version) == (str(tools / "istioctl"), "1.31.0")
    assert (setup.revisions, setup.values) == (("default",), None)


@pytest.mark.parametrize("written", ["1-30, 1-31", ["1-30", "1-31"]])
@pytest.mark.usefixtures("tools")
def test_two_revisions_are_a_list_or_text(written: object) -> None:
    assert istio.prepare({"revisions": written}).revisions == ("1-30", "1-31")


def test_values_come_from_the_environment_before_the_profile(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = tools / "istio.yaml"
    values.touch()
    monkeypatch.setenv(istio.VARIABLE, str(values))
    assert istio.prepare({"values": "/nowhere"}).values == values


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"versoin": "1"}, "addons.istio.versoin"),
        ({"version": "1.30.0"}, "addons.istio.version is 1.30.0"),
        ({"values": "/nowhere/values.yaml"}, "cannot be read"),
        ({"revision": "a", "revisions": "b,c"}, "both 'revision' and 'revisions'"),
        ({"revisions": "a,a"}, "names one twice"),
        ({"revision": "A.B"}, "'A.B' is no name"),
        ({"istioctl": "/nowhere/istioctl"}, "addons.istio.istioctl"),
    ],
)
@pytest.mark.usefixtures("tools")
def test_a_setting_that_cannot_be_used_is_named(settings: dict[str, str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        istio.prepare(settings)


def test_without_the_tool_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreparationError, match=r"istioctl is not on PATH; install it"):
        istio.prepare({})


def test_a_failed_installation_has_the_tools_words_and_the_events(tools: Path, tmp_path: Path) -> None:
    event = obj("Event", "e", "istio-system", reason="Failed", message="ErrImagePull of pilot")
    kube = FakeKube(event)
    setup = istio.prepare({"revision": "1-31"})
    with pytest.raises(PreparationError) as failed:
        istio.install(setup, kube, kubeconfig=tmp_path / "kc", deadline=Deadline(20), cancel=Cancel())
    assert failed.value.message == "istioctl: failed to install manifests: istiod is not ready"
    assert "ErrImagePull of pilot" in failed.value.detail
    assert calls(tools)[-1].endswith("--revision 1-31")


def test_removal_is_of_one_revision_or_of_everything(tools: Path, tmp_path: Path) -> None:
    setup = istio.prepare({})
    istio.remove(setup, kubeconfig=tmp_path / "kc", revision="1-30")
    istio.remove(setup, kubeconfig=tmp_path / "kc")
    asked = [line.partition(" --kubeconfig")[0] for line in calls(tools)[-2:]]
    assert asked == ["istioctl uninstall -y --revision 1-30", "istioctl uninstall -y --purge"]
