"""The doctor names what is missing, and the command or setting that gives it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clusters import doctor
from clusters.doctor import Finding, Level
from clusters.lab import requirements

REFUSED = [
    {"step": "loopback", "ok": True, "detail": ""},
    {"step": "namespaces", "ok": False, "detail": "[Errno 1] unshare: Operation not permitted"},
]


def write_setting(root: Path, name: str, value: str) -> None:
    path = root.joinpath(*name.split("."))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """A kernel that restricts nothing."""
    root = tmp_path / "sys"
    write_setting(root, "user.max_user_namespaces", "96343")
    write_setting(root, "kernel.unprivileged_userns_clone", "1")
    write_setting(root, "kernel.apparmor_restrict_unprivileged_userns", "0")
    return root


def refusal(settings: Path, etc: Path, *, privileged: bool = False) -> Finding:
    """What the doctor makes of refused namespaces under these settings."""
    found = doctor.judge_trial(REFUSED, privileged=privileged, proc_sys=settings, etc=etc)
    return next(each for each in found if each.name == "namespaces")


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("user.max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=10000"),
        ("kernel.unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "1",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ],
    ids=["none-at-all", "debian-switch", "ubuntu-apparmor"],
)
def test_refused_namespaces_name_the_setting_and_its_remedy(
    settings: Path, tmp_path: Path, name: str, value: str, remedy: str
) -> None:
    write_setting(settings, name, value)
    finding = refusal(settings, tmp_path)
    assert finding.level is Level.FAIL
    assert f"{name}={value}" in finding.what
    assert remedy in finding.remedy


def test_root_is_not_told_of_settings_that_do_not_concern_it(settings: Path, tmp_path: Path) -> None:
    write_setting(settings, "kernel.unprivileged_userns_clone", "0")
    assert "unprivileged_userns_clone" not in refusal(settings, tmp_path, privileged=True).what


def test_refused_without_a_setting_names_the_container_around_us(settings: Path, tmp_path: Path) -> None:
    finding = refusal(settings, tmp_path)
    assert "seccomp=unconfined" in finding.remedy


def test_an_apparmor_profile_that_allows_namespaces_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "apparmor.d"
    folder.mkdir()
    (folder / "bwrap").write_text("profile bwrap /usr/bin/bwrap flags=(unconfined) {\n  userns,\n}\n")
    (folder / "other").write_text("profile other /usr/bin/other {\n  userns,\n}\n")
    (folder / "python").write_text("profile p /usr/bin/python3.12 {\n  network,\n}\n")
    assert doctor.apparmor_profiles(tmp_path) == ["bwrap"]


def test_a_trial_that_ends_early_is_no_clean_bill(settings: Path, tmp_path: Path) -> None:
    """What was not tried is not reported as working."""
    steps = [{"step": each, "ok": True, "detail": ""} for each in ("loopback", "namespaces", "mounts")]
    found = doctor.judge_trial(steps, privileged=False, proc_sys=settings, etc=tmp_path)
    assert {each.name for each in found if each.level is Level.FAIL} == {
        "links",
        "namespaces of pods",
        "nftables",
        "containers",
    }


def test_what_the_kernel_refuses_is_told_in_its_own_words(settings: Path, tmp_path: Path) -> None:
    steps = [{"step": "nftables", "ok": False, "detail": "nft -f -: exit 1: Operation not supported"}]
    (finding,) = doctor.judge_trial(steps, privileged=False, proc_sys=settings, etc=tmp_path)
    assert finding.what == "nft -f -: exit 1: Operation not supported"
    assert "modprobe" in finding.remedy


@pytest.mark.parametrize(
    ("meminfo", "level"),
    [
        ("MemTotal: 9999999 kB\nMemAvailable:    300000 kB\n", Level.WARN),
        ("MemAvailable:   9000000 kB\n", Level.OK),
        ("", Level.WARN),
    ],
    ids=["little", "plenty", "untold"],
)
def test_little_memory_is_a_warning(meminfo: str, level: Level) -> None:
    assert doctor.memory(meminfo).level is level


def test_a_missing_command_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find", lambda command: "" if command == "bwrap" else f"/usr/bin/{command}")
    finding = next(each for each in doctor.diagnose() if each.name == "bwrap")
    assert finding.level is Level.FAIL
    assert "bubblewrap" in finding.remedy
    assert "namespaces" not in {each.name for each in doctor.diagnose() if each.area == "lab"}


def test_what_only_another_provider_needs_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find", lambda _command: "")
    wanted = {each.name: each.level for each in doctor.diagnose("kind") if each.area == "kind"}
    unwanted = {each.name: each.level for each in doctor.diagnose("lab") if each.area == "kind"}
    assert wanted["docker"] is Level.FAIL
    assert unwanted["docker"] is Level.WARN


@pytest.mark.parametrize("level", list(Level), ids=str)
def test_only_a_failure_makes_the_exit_code_ten(level: Level) -> None:
    finding = Finding(area="lab", name="nft", level=level, what="seen")
    assert doctor.exit_code([finding]) == (10 if level is Level.FAIL else 0)


def test_the_table_fits_eighty_columns_and_keeps_the_remedy() -> None:
    finding = Finding(area="lab", name="namespaces", level=Level.FAIL, what="word " * 60, remedy="sudo sysctl -w a.b=1")
    table = doctor.report([finding, Finding(area="kind", name="docker", level=Level.OK, what="engine 28")])
    assert max(len(line) for line in table.splitlines()) <= 80
    assert "sudo sysctl -w a.b=1" in table
    assert table.endswith("missing: namespaces; 0 warnings")


def test_the_json_has_every_field() -> None:
    finding = Finding(area="lab", name="nft", level=Level.FAIL, what="not found", remedy="install it")
    assert json.loads(doctor.to_json([finding])) == [
        {"area": "lab", "name": "nft", "level": "fail", "what": "not found", "remedy": "install it"}
    ]


def test_system_folders_are_searched_after_the_path() -> None:
    """On Debian nft is in /usr/sbin, which is not on an ordinary user's PATH."""
    path = requirements.search_path({"PATH": "/usr/bin:/bin"}).split(os.pathsep)
    assert path[:2] == ["/usr/bin", "/bin"]
    assert "/usr/sbin" in path
    assert requirements.search_path({"PATH": "/usr/sbin:/bin"}).split(os.pathsep).count("/usr/sbin") == 1


@pytest.mark.skipif(
    bool(requirements.missing() or requirements.restrictions(privileged=os.geteuid() == 0)),
    reason="needs user namespaces: and nft, ip, bwrap",
)
def test_this_machine_passes_the_trial() -> None:
    """The lab's own tests run here, so every step of the trial must hold as well."""
    lab = [each for each in doctor.diagnose() if each.area == "lab"]
    assert [each for each in lab if each.level is Level.FAIL] == []
    assert {"nftables", "links", "containers", "mounts"} <= {each.name for each in lab}
