"""HTTPS to a server that is no agent: its certificate is the proof, whatever the status; and answers that come late."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flows.agent import Lag, Prober, Resolver
from flows.model import Flow, Kind, Protocol
from tests.flows.pipes import Behaviour, Namespace, Served, misbehaving, soon

Serve = Callable[..., Served]


def certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate for `name`, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{name}.pem"
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return file


def tls_server(file: Path, status: str) -> Behaviour:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1 << 16)
            secure.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())

    return answer


@pytest.mark.parametrize(
    ("name", "trusted", "kind"),
    [
        pytest.param("kubernetes.default.svc", "kubernetes.default.svc", Kind.ANSWERED, id="the-api-server"),
        pytest.param("kubernetes.default.svc", "another.ca", Kind.TLS_ERROR, id="another-ca"),
        pytest.param("another.name", "another.name", Kind.TLS_ERROR, id="another-name"),
    ],
)
def test_the_certificate_is_the_proof(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: str, kind: Kind
) -> None:
    files = {each: certificate(tmp_path, each) for each in {name, trusted}}
    monkeypatch.setenv("EASTWEST_CA", str(files[trusted]))
    with misbehaving(tls_server(files[name], "401 Unauthorized")) as port:
        asked = Flow(source="caller", destination="api", host="127.0.0.1", port=port, protocol=Protocol.HTTPS)
        (verdict,) = serve("caller").agent().ask([asked], 5).result(soon())
    assert verdict.kind is kind, verdict
    assert verdict.evidence.phase == ("done" if kind is Kind.ANSWERED else "tls")


def timed(work: Coroutine[Any, Any, str], grace: float) -> dict[str, Any]:
    """What a record says of work that has 20 ms, and then `grace` seconds in which it would be late."""

    async def run() -> dict[str, Any]:
        seen = {"phase": "connect", "error": "", "detail": "", "late": False}
        await Prober(Lag(), Resolver())._timed(work, 0.02, grace, seen)
        return seen

    return asyncio.run(run())


async def after(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


def test_an_answer_after_the_deadline_is_late() -> None:
    seen = timed(after(0.1), grace=20)
    assert (seen["error"], seen["late"]) == ("timeout", True)


def test_silence_through_the_grace_is_not_late() -> None:
    seen = timed(after(3600), grace=0.02)
    assert (seen["error"], seen["late"]) == ("timeout", False)


def test_a_pod_without_ipv6_is_served_over_ipv4(namespace: Namespace) -> None:
    namespace.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
    served = Served("server", "9000/tcp,9000/udp", namespace.prefix)
    flows = [
        Flow(source="server", destination="server", host="127.0.0.1", port=9000, protocol=protocol, pod=served.pod)
        for protocol in (Protocol.TCP, Protocol.UDP, Protocol.HTTP)
    ]
    verdicts = served.agent().ask(flows, 5).result(soon())
    served.close()
    assert {verdict.kind for verdict in verdicts} == {Kind.ANSWERED}
