"""Only Istio's dialect, its add-on, the lab's own mesh and the typed resources know Istio's kinds, labels and ports."""

from __future__ import annotations

import re
from pathlib import Path

from tests.frame import tracked

AT_HOME = ("clusters/mesh/istio/", "clusters/lab/", "policies/istio/", "tests/", "tools/", "benchmarks/")
ITS_OWN = {"clusters/addons/istio.py", "clusters/mesh/dialects.py"}
KINDS = (
    "PeerAuthentication|AuthorizationPolicy|RequestAuthentication|DestinationRule|VirtualService|ServiceEntry|"
    "IstioOperator|EnvoyFilter"
)
GROUPS = r"istio\.io|istio-injection|istio-proxy|istio-system|\bistiod\b|pilot-agent"
PORTS = r"\b150(?:00|01|06|08|12|14|17|20|21|53|90)\b"
WORDS = re.compile(rf"\b(?:{KINDS})\b|{GROUPS}|{PORTS}")


def strangers(path: Path) -> bool:
    """Whether the file may not know Istio."""
    name = path.as_posix()
    return not name.startswith(AT_HOME) and name not in ITS_OWN


def test_the_words_are_found_where_they_belong() -> None:
    """Or the next test would prove nothing."""
    assert WORDS.search(tracked.text(Path("clusters/mesh/istio/write.py")))
    assert WORDS.search(tracked.text(Path("clusters/addons/istio.py")))


def test_nothing_outside_the_dialect_knows_istio() -> None:
    """Suites and fixtures name behaviours; `clusters.mesh.dialect` is how they are asked for."""
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in tracked.files(".py", ".yaml")
        if strangers(path) and path.parts[0] not in {"docs", ".github"}
        for number, line in enumerate(tracked.text(path).splitlines(), 1)
        if WORDS.search(line)
    ]
    assert found == []
