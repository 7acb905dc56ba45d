"""The redirection's rules: what the arguments mean, in which order they count, and that the kernel takes them."""

from __future__ import annotations

import re
import subprocess

import pytest

from clusters.lab.mesh import bootstrap, model, redirect

EVERY = ["-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT", "-i", "*", "-x", "", "-b", "*"]
EVERY += ["-d", "15090,15021,15020", "--log_output_level=default:info"]
PARTS = ["-i", "10.0.0.0/8,10.1.0.0/16,fd00::/8", "-x", "10.3.0.0/16,10.3.4.0/24", "-b", "8080,8082"]
PARTS += ["-d", "15090", "-q", "6666", "-o", "9999,7777"]


def chain(script: str, name: str) -> list[str]:
    """The rules of a chain, without its hook."""
    body = re.search(rf"chain {name} \{{\n(.*?)\n  \}}", script, re.DOTALL)
    assert body is not None
    return [line.strip() for line in body[1].splitlines()][1:]


def test_everything_is_redirected_but_what_is_the_proxys_own() -> None:
    script = redirect.script(redirect.parse(EVERY), ["10.244.0.2"])
    assert chain(script, "inbound") == [
        "tcp dport 15008 return",
        "tcp dport { 15090, 15021, 15020 } return",
        "meta l4proto tcp redirect to :15006",
    ]
    assert chain(script, "outbound") == [
        'oifname "lo" ip saddr 127.0.0.6 return',
        'oifname "lo" meta mark 1337 ip daddr != 127.0.0.1 tcp dport != 15008 redirect to :15006',
        'oifname "lo" meta mark != 1337 return',
        "meta mark 1337 return",
        "ip daddr 127.0.0.1 return",
        "meta l4proto tcp redirect to :15001",
    ]


def test_what_is_excluded_is_left_alone_before_anything_is_included() -> None:
    script = redirect.script(redirect.parse(PARTS), ["10.244.0.2"])
    outbound = chain(script, "outbound")
    assert chain(script, "inbound")[1:] == ["tcp dport { 8080, 8082 } redirect to :15006"]
    assert outbound[0] == "tcp dport { 9999, 7777 } return"
    assert outbound[-3:] == [
        "ip daddr { 10.3.0.0/16 } return",
        "tcp dport { 6666 } redirect to :15001",
        "meta l4proto tcp ip daddr { 10.0.0.0/8 } redirect to :15001",
    ]


def test_nothing_is_redirected_where_nothing_is_included() -> None:
    script = redirect.script(redirect.parse(["-i", "", "-b", ""]), ["10.244.0.2"])
    assert "redirect to :15001" not in script
    assert chain(script, "inbound") == ["tcp dport 15008 return"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param(["-m", "TPROXY"], "-m TPROXY", id="other-mode"),
        pytest.param(["-b", "http"], "-b: 'http'", id="no-port"),
        pytest.param(["-d", "70000"], "-d: '70000'", id="port-too-large"),
        pytest.param(["-x", "10.0.0/8"], "-x: '10.0.0/8'", id="no-range"),
        pytest.param(["-o"], "-o needs a value", id="no-value"),
        pytest.param(["--redirect-dns"], "--redirect-dns", id="unknown-flag"),
    ],
)
def test_arguments_that_mean_nothing_are_named(arguments: list[str], named: str) -> None:
    with pytest.raises(redirect.RedirectError, match=re.escape(named)):
        redirect.parse(arguments)


@pytest.mark.parametrize("arguments", [pytest.param(EVERY, id="everything"), pytest.param(PARTS, id="parts")])
def test_the_kernel_takes_both_families_and_the_same_again(arguments: list[str]) -> None:
    script = redirect.script(redirect.parse(arguments), ["10.244.0.2", "fd00::2"])
    command = ["unshare", "--map-root-user", "--net", "nft", "-f", "-"]
    done = subprocess.run(command, input=script * 2, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_words_name_what_is_redirected() -> None:
    assert redirect.words(redirect.parse(PARTS))[:2] == [
        "inbound: TCP connections to 8080, 8082 go to 15006",
        (
            "outbound: TCP connections to port 6666 and to 10.0.0.0/8, 10.1.0.0/16, fd00::/8"
            " but to port 9999, port 7777, 10.3.0.0/16, 10.3.4.0/24 go to 15001"
        ),
    ]


def test_the_numbers_are_those_of_everybody() -> None:
    own = (redirect.OUTBOUND, redirect.INBOUND, redirect.MARK)
    assert own == (model.OUTBOUND, model.INBOUND, model.MARK)
    assert redirect.MARK == bootstrap.MARK
