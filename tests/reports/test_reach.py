"""Who reaches whom, laid out: what a person sees, and what a program gets."""

from __future__ import annotations

import json

import pytest
import yaml

from clusters.reach.census import Class, Port, Resident
from clusters.reach.measure import Reach, Seen
from clusters.reach.words import Word
from flows.errors import UsageError
from flows.model import Evidence
from policies import oracle
from policies.model import PolicyType, Transport
from reports import reach


def group(name: str, *ports: Port, pods: int = 1) -> Class:
    """A class of the pods `a/NAME`, `a/NAME-2`."""
    names = [name, *(f"{name}-{number}" for number in range(2, pods + 1))]
    members = tuple(Resident(seen=oracle.Pod(name=each, namespace="a", addresses=("10.0.0.1",))) for each in names)
    return Class(members=members, ports=ports)


HTTP, DNS = Port(8080), Port(53, Transport.UDP)
CLIENT, WEB, SHELL = group("client"), group("web", HTTP, DNS, pods=2), group("shell")


def decision(*, allowed: bool) -> oracle.Decision:
    """What a policy `a/closed` says."""
    ruling = oracle.Ruling(direction=PolicyType.INGRESS, pod="a/web", isolating=() if allowed else ("a/closed",))
    return oracle.Decision(allowed=allowed, by=(ruling,))


def seen(source: Class, port: Port, word: Word, *, family: int = 4, allowed: bool | None = None) -> Seen:
    """A flow to the web."""
    return Seen(
        source=source.name,
        target=WEB.name,
        asked="a/web",
        port=port,
        family=family,
        address="10.0.0.1",
        word=word,
        evidence=Evidence(phase="connect", http_headers=(("a", "b"),)),
        decision=None if allowed is None else decision(allowed=allowed),
    )


FOUND = Reach(
    sources=(CLIENT, SHELL, WEB),
    targets=(WEB,),
    seen=(
        seen(CLIENT, HTTP, Word.OPEN, allowed=False),
        seen(CLIENT, DNS, Word.UNKNOWN),
        seen(WEB, HTTP, Word.DROPPED, allowed=False),
        seen(WEB, DNS, Word.REFUSED, allowed=True),
    ),
    refused={SHELL.name: "container app: no python3"},
    notes=("a/shell cannot be asked from: container app: no python3",),
    facts={"context": "here"},
    seconds=1.25,
)


TABLE = f"""\
            1  2
a/client    .! ?
a/shell     ?  ?
a/web (×2)  X  r
  1 a/web (×2):8080/tcp
  2 a/web (×2):53/udp

{reach.LEGEND}
! the policies say otherwise
  a/client → a/web (×2):8080/tcp: open; ingress of a/web: isolated by a/closed, no rule admits it
a/shell cannot be asked from: container app: no python3
4 flows asked from 2 pods in 1.2 s"""


def test_a_table_has_marks_a_legend_and_the_oracles_disagreements() -> None:
    assert reach.table(FOUND) == TABLE


@pytest.mark.parametrize(
    ("six", "columns"),
    [
        (Word.OPEN, ["  1 a/web (×2):8080/tcp"]),
        (Word.DROPPED, ["  1 a/web (×2):8080/tcp", "  2 a/web (×2):8080/tcp over IPv6"]),
    ],
    ids=["alike", "otherwise"],
)
def test_a_family_has_a_column_of_its_own_only_where_it_shows_something_else(six: Word, columns: list[str]) -> None:
    found = Reach(
        sources=(CLIENT,),
        targets=(group("web", HTTP, pods=2),),
        seen=(seen(CLIENT, HTTP, Word.OPEN), seen(CLIENT, HTTP, six, family=6)),
        refused={},
    )
    assert [line for line in reach.table(found).splitlines() if "a/web" in line] == columns


def test_many_columns_stand_in_several_blocks_of_the_terminals_width() -> None:
    many = group("web", *(Port(number) for number in range(1, 60)), pods=2)
    found = Reach(sources=(CLIENT,), targets=(many,), seen=(), refused={})
    lines = reach.table(found, 60).splitlines()
    assert max(map(len, (line for line in lines if line != reach.LEGEND))) <= 60
    assert sum(line.startswith("a/client") for line in lines) == 4


def test_many_disagreements_do_not_flood_the_terminal() -> None:
    flows = [seen(CLIENT, Port(number), Word.OPEN, allowed=False) for number in range(1, 31)]
    found = Reach(sources=(CLIENT,), targets=(WEB,), seen=tuple(flows), refused={})
    text = reach.table(found)
    assert text.count("a/client → ") == reach.MOST_TOLD
    assert "and 10 more; -o json has them all" in text


def test_a_record_has_everything_and_is_the_same_in_both_forms() -> None:
    data = json.loads(reach.render(FOUND, "json"))
    assert data == yaml.safe_load(reach.render(FOUND, "yaml"))
    assert data["schema"] == "eastwest.dev/reach/v1"
    first = data["flows"][0]
    assert (first["verdict"], first["mark"], first["agrees"]) == ("open", ".", False)
    assert first["oracle"] == {
        "allowed": False,
        "says": "ingress of a/web: isolated by a/closed, no rule admits it",
        "policies": ["a/closed"],
    }
    assert first["evidence"] == {"phase": "connect", "http_headers": [["a", "b"]], "attempts": 1}
    assert data["flows"][1]["oracle"] is None
    shell = data["classes"][1]
    assert (shell["asks"], shell["why_not"]) == (False, "container app: no python3")
    assert [each["name"] for each in data["classes"][2]["pods"]] == ["a/web", "a/web-2"]


def test_another_format_is_refused() -> None:
    with pytest.raises(UsageError, match="-o tabl: use one of table, json, yaml"):
        reach.check("tabl")
