"""The parts of the node that need no kernel."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clusters.lab.client import Object
from clusters.lab.node import logs, mounts
from clusters.lab.node.environment import expand
from clusters.lab.node.logs import Log, Query
from clusters.lab.node.network import ASKED_FOR, AddressError, AddressPool, asked_for, interface_name
from clusters.lab.node.volumes import write_atomically

DNS = "10.96.0.10"


def test_an_interface_name_fits_the_kernel_and_differs_by_pod() -> None:
    names = {interface_name(f"uid-{n}") for n in range(100)}
    assert {len(each) for each in names} == {13}
    assert len(names) == 100


def test_an_address_that_was_given_back_comes_last() -> None:
    pool = AddressPool(["10.0.0.0/29"])
    first = pool.take()
    assert first == ["10.0.0.2"]
    pool.give_back(first)
    assert [pool.take()[0] for _ in range(5)] == ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"]
    with pytest.raises(AddressError, match=r"10\.0\.0\.0/29"):
        pool.take()


def test_both_families_are_handed_out_in_order() -> None:
    assert AddressPool(["10.0.0.0/24", "fd00::/64"]).take() == ["10.0.0.2", "fd00::2"]


def test_an_address_that_is_asked_for_is_given_once() -> None:
    pool = AddressPool(["10.0.0.0/29", "fd00::/64"])
    assert pool.take(["fd00::9"]) == ["10.0.0.2", "fd00::9"]
    with pytest.raises(AddressError, match="address fd00::9 is another pod's"):
        pool.take(["fd00::9"])
    with pytest.raises(AddressError, match=r"10\.1\.0\.1 is not of this node's 10\.0\.0\.0/29, fd00::/64"):
        pool.take(["10.1.0.1"])
    assert pool.take(["10.0.0.4"]) == ["10.0.0.4", "fd00::2"]


def test_addresses_are_asked_for_as_of_calico() -> None:
    assert asked_for({ASKED_FOR: '["10.0.0.9", "fd00::9"]'}) == ["10.0.0.9", "fd00::9"]
    assert asked_for({}) == []


@pytest.mark.parametrize("text", ["10.0.0.9", '["here"]', "{}x", '["10.0.0.9", "10.0.0.8"]', "7"])
def test_what_is_no_list_of_addresses_is_refused(text: str) -> None:
    with pytest.raises(AddressError, match="write"):
        asked_for({ASKED_FOR: text})


@pytest.mark.parametrize(
    ("text", "value"),
    [("$(A)b", "1b"), ("$$(A)", "$(A)"), ("$(NO)", "$(NO)"), ("$A $", "$A $"), ("$$$(A)", "$1")],
)
def test_references_expand_as_in_kubernetes(text: str, value: str) -> None:
    assert expand(text, {"A": "1"}) == value


def _pod(**spec: object) -> Object:
    return {"metadata": {"name": "p", "namespace": "n"}, "spec": spec}


def test_dns_settings_follow_policy_and_config() -> None:
    search = "search n.svc.cluster.local svc.cluster.local cluster.local"
    assert mounts.resolv_conf(_pod(), DNS).splitlines()[1] == search
    config = {
        "nameservers": ["9.9.9.9"],
        "searches": ["x"],
        "options": [{"name": "ndots", "value": "1"}, {"name": "debug"}],
    }
    own = mounts.resolv_conf(_pod(dnsPolicy="None", dnsConfig=config), DNS)
    assert own == "nameserver 9.9.9.9\nsearch x\noptions ndots:1 debug\n"
    assert "ndots:1 debug" in mounts.resolv_conf(_pod(dnsConfig=config), DNS)


def test_host_aliases_are_in_the_hosts_file() -> None:
    text = mounts.hosts_file(_pod(hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]), ["10.0.0.2"])
    assert text.splitlines()[-2:] == ["10.0.0.2\tp", "1.2.3.4\ta\tb"]


def test_a_volume_changes_in_one_step_and_forgets_old_keys(tmp_path: Path) -> None:
    write_atomically(tmp_path, {"a": (b"1", 0o600), "b/c": (b"1", 0o644)})
    write_atomically(tmp_path, {"a": (b"2", 0o600)})
    assert (tmp_path / "a").read_bytes() == b"2"
    assert sorted(each.name for each in tmp_path.iterdir() if not each.name.startswith("..")) == ["a"]
    assert len([each for each in tmp_path.iterdir() if each.name.startswith("..2") or each.name[2:].isdigit()]) == 1


async def _read(log: Log, query: Query) -> bytes:
    return b"".join([each async for each in log.read(query)])


def test_a_log_is_bounded_and_a_follower_survives_its_rotation(tmp_path: Path) -> None:
    async def scenario() -> tuple[bytes, bytes]:
        log = Log(tmp_path / "0.log")
        log.write("stdout", b"first\n")
        following = asyncio.create_task(_read(log, Query(follow=True)))
        line = b"y" * 1000
        for _ in range(3 * logs.LIMIT // len(line)):
            log.write("stdout", line + b"\n")
            await asyncio.sleep(0)
        log.write("stderr", b"unfinished")
        log.close()
        return await following, await _read(log, Query(tail=2))

    followed, tail = asyncio.run(scenario())
    assert followed.startswith(b"first\n")
    assert followed.count(b"\n") == 1 + 3 * logs.LIMIT // 1000
    assert tail == b"y" * 1000 + b"\nunfinished"
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) <= 2 * logs.LIMIT
