"""TLS of the probe: to a server that is no agent, whose certificate is the proof, and with a certificate of its own.

Also answers that come late.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flows.agent import Lag, Prober, Resolver, certified_names
from flows.model import Flow, Kind, Protocol, tls_refused
from flows.offer import Secret, TlsOffer
from tests.flows.pipes import Behaviour, Namespace, Served, misbehaving, soon

Serve = Callable[..., Served]


def certificate(folder: Path, name: str, *uris: str) -> Path:
    """A self-signed certificate for `name` or these URIs, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris] or [x509.DNSName(name)]
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=bool(uris))
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


SPIFFE = "spiffe://cluster.local/ns/a/sa/server"


def offer(file: Path, **changes: Any) -> TlsOffer:
    """What a caller offers that shows the certificate of this file."""
    key, _, shown = file.read_text().partition("-----BEGIN CERTIFICATE-----")
    return TlsOffer(**{"certificate": f"-----BEGIN CERTIFICATE-----{shown}", "key": Secret(key), **changes})


def mutual(file: Path, trusted: Path) -> Behaviour:
    """A server that takes callers of `trusted` and answers a line or a request, with what TLS told it of the caller."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(trusted))
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["istio"])
    context.load_cert_chain(file)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            asked = secure.recv(1 << 16)
            nonce = asked.partition(b'"nonce": "')[2][:16] or asked.partition(b"Nonce: ")[2][:16]
            told = {"pod": secure.selected_alpn_protocol() or "none", "workload": "server", "version": "v1", "peer": ""}
            body = json.dumps({**told, "instance": "i", "nonce": nonce.decode()}).encode() + b"\n"
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            secure.sendall(body if asked.startswith(b"{") else head + body)
            secure.unwrap()

    return answer


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Certificates of a server, of a caller that it knows, and of one that it does not."""
    folder = tmp_path_factory.mktemp("certificates")
    return {name: certificate(folder, name, *uris) for name, uris in CERTIFIED.items()}


CERTIFIED: dict[str, tuple[str, ...]] = {"server": (SPIFFE,), "caller": (), "stranger": ()}


def asks(port: int, tls: TlsOffer, protocol: str = "tcp") -> Flow:
    plain = Flow(source="caller", destination="server", host="127.0.0.1", port=port, protocol=Protocol(protocol))
    return replace(plain, tls=tls, variant="own")


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("protocol", ["tcp", "http"])
def test_a_caller_with_a_certificate_is_answered_and_tells_what_tls_agreed_on(
    serve: Serve, files: dict[str, Path], protocol: str, version: str
) -> None:
    tls = offer(files["caller"], alpn=("h9", "istio"), maximum=version[4:], server_name="outbound_.80_._.s.a.svc")
    with misbehaving(mutual(files["server"], files["caller"])) as port:
        (verdict,) = serve("caller").agent().ask([asks(port, tls, protocol)], 5).result(soon())
    assert verdict.kind is Kind.ANSWERED, verdict
    assert verdict.evidence.answered_by == "istio"
    assert (verdict.evidence.tls_version, verdict.evidence.tls_peer) == (version, (SPIFFE,))
    assert verdict.evidence.tls_cipher


REFUSALS = [
    pytest.param("stranger", "1.3", "UNKNOWN_CA", id="foreign-after-the-handshake"),
    pytest.param("stranger", "1.2", "UNKNOWN_CA", id="foreign-within-the-handshake"),
    pytest.param("", "1.3", "CERTIFICATE_REQUIRED", id="none-after-the-handshake"),
    pytest.param("", "1.2", "HANDSHAKE_FAILURE", id="none-within-the-handshake"),
]


@pytest.mark.parametrize(("who", "newest", "alert"), REFUSALS)
@pytest.mark.parametrize("protocol", ["tcp", "http"])
def test_a_certificate_that_the_server_refuses_is_named_by_its_alert(
    serve: Serve, files: dict[str, Path], protocol: str, who: str, newest: str, alert: str
) -> None:
    tls = offer(files[who], maximum=newest) if who else TlsOffer(maximum=newest)
    with misbehaving(mutual(files["server"], files["caller"])) as port:
        (verdict,) = serve("caller").agent().ask([asks(port, tls, protocol)], 5).result(soon())
    assert verdict == tls_refused(), verdict
    assert verdict.kind is not Kind.TLS_ERROR or alert in verdict.evidence.detail


def test_a_server_of_another_ca_is_refused_by_the_caller(serve: Serve, files: dict[str, Path]) -> None:
    with misbehaving(mutual(files["server"], files["caller"])) as port:
        flows = [asks(port, offer(files["caller"], ca=files[ca].read_text())) for ca in ("stranger", "server")]
        refused, taken = serve("caller").agent().ask(flows, 5).result(soon())
    assert (refused.kind, taken.kind) == (Kind.TLS_ERROR, Kind.ANSWERED), (refused, taken)
    assert "CERTIFICATE_VERIFY_FAILED" in refused.evidence.detail


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        pytest.param({"certificate": "no PEM"}, "certificate or key", id="certificate"),
        pytest.param({"key": Secret("no PEM")}, "certificate or key", id="key"),
        pytest.param({"minimum": "1.9"}, "minimum or maximum version", id="version"),
        pytest.param({"ca": "no PEM"}, "ca cannot be used", id="ca"),
    ],
)
def test_an_offer_that_is_none_is_no_denial(
    serve: Serve, files: dict[str, Path], changes: dict[str, Any], what: str
) -> None:
    with misbehaving(mutual(files["server"], files["caller"])) as port:
        (verdict,) = serve("caller").agent().ask([asks(port, offer(files["caller"], **changes))], 5).result(soon())
    assert verdict.kind is Kind.PROBE_ERROR
    assert what in verdict.evidence.detail
    assert "PRIVATE" not in repr(verdict)


def test_a_certificates_names_are_read_from_any_der(files: dict[str, Path]) -> None:
    def der(name: str) -> bytes:
        return ssl.PEM_cert_to_DER_cert(offer(files[name]).certificate)

    assert certified_names(der("server")) == [SPIFFE]
    assert certified_names(der("caller")) == ["caller"]
    assert certified_names(b"") == []
    assert certified_names(der("server")[:-400]) in ([], [SPIFFE])


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
