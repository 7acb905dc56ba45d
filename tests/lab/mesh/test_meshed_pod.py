"""What a node does for a pod with a proxy: redirection, one privilege, the order of things; without a control plane."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from clusters.lab.client import CONFIG_MAPS, Object
from clusters.lab.handle import Lab
from clusters.lab.mesh.template import injected
from clusters.lab.wishes import lab_options
from tests.lab.node.world import World, is_ready, over, running

IMAGE = "eastwest/proxy:lab"
REDIRECT = ["istio-iptables", "-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT"]
REDIRECT += ["-i", "*", "-x", "", "-b", "*", "-d", "15090,15021,15020,9000"]
FOREVER = "import signal; signal.signal(15, lambda *_: exit(0)); signal.pause()"
MARK = "import socket; s = socket.socket(); s.setsockopt(1, 36, 1337); print('marked')"
ECHO = (
    "import signal, socket, threading\n"
    "signal.signal(15, lambda *_: exit(0))\n"
    "def serve(port):\n"
    "    listener = socket.create_server(('', port), family=socket.AF_INET)\n"
    "    while True:\n"
    "        connection, peer = listener.accept()\n"
    "        try:\n"
    "            to = connection.getsockopt(0, 80, 16)\n"  # SO_ORIGINAL_DST
    "            wanted = f'{socket.inet_ntoa(to[4:8])}:{int.from_bytes(to[2:4])}'\n"
    "        except OSError: wanted = 'direct'\n"  # nothing was ever translated in this network
    "        connection.sendall(f'{port} {wanted} {peer[0]}'.encode())\n"
    "        connection.close()\n"
    "for port in PORTS: threading.Thread(target=serve, args=(port,), daemon=True).start()\n"
    "print('up', flush=True)\n"
    "signal.pause()\n"
)
ASK = (
    "import socket, sys\n"
    "s = socket.socket()\n"
    "s.settimeout(5)\n"
    "host, port, marked, source = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]\n"
    "if marked == 'marked': s.setsockopt(1, 36, 1337)\n"
    "if source: s.bind((source[0], 0))\n"
    "try: s.connect((host, port)); print(s.recv(100).decode())\n"
    "except OSError as error: print(type(error).__name__)\n"
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A lab without a mesh: pods bring their proxy with them."""
    lab = Lab.start(lab_options(nodes=1, mutant="", images=(), mesh="none"), timeout=60)
    try:
        world = World(lab.ready.kubeconfig, "mesh-pods")
        world.settle()
        yield world
        world.close()
    finally:
        assert lab.end() == []


def init(arguments: list[str] | None = None) -> Object:
    return {"name": "istio-init", "image": IMAGE, "args": REDIRECT if arguments is None else arguments}


def proxy(script: str, **fields: Any) -> Object:
    security = {"runAsUser": 1337, "runAsNonRoot": True, "readOnlyRootFilesystem": True}
    command = ["python3", "-c", script]
    return {"name": "istio-proxy", "image": IMAGE, "command": command, "securityContext": security, **fields}


def echo(*ports: int) -> str:
    return f"PORTS = {ports}\n{ECHO}"


@pytest.fixture(scope="module")
def meshed(world: World) -> tuple[str, str]:
    """A redirected pod whose "proxy" answers on the proxy's ports and whose application on its own; its address."""
    sidecar = proxy(echo(15001, 15006, 15020), restartPolicy="Always")
    name = world.pod({"initContainers": [init(), sidecar], "containers": [world.python(echo(8080, 9000))]})
    address = world.wait(name, running)["status"]["podIP"]
    for each in ("istio-proxy", "main"):
        world.printed(name, "up", container=each)
    return name, address


@pytest.fixture(scope="module")
def naked(world: World) -> tuple[str, str]:
    """A pod without a proxy that serves on 8080; its address."""
    name = world.pod({"containers": [world.python(echo(8080))]})
    address = world.wait(name, running)["status"]["podIP"]
    world.printed(name, "up")
    return name, address


def asks(world: World, name: str, host: str, port: int, *more: str, container: str = "main") -> str:
    """What answers a connection from a container."""
    command = ("python3", "-c", ASK, host, str(port), *(more or ("plain",)))
    return world.exec(name, *command, container=container).stdout.decode().strip()


def test_the_redirection_completes_without_a_process_and_says_what_it_did(
    world: World, meshed: tuple[str, str]
) -> None:
    assert world.logs(meshed[0], container="istio-init").splitlines() == [
        "inbound: every TCP connection but to 15090, 15021, 15020, 9000 goes to 15006",
        "outbound: every TCP connection goes to 15001",
        "left alone: the proxy's own (mark 1337), loopback, UDP",
    ]


def test_what_comes_from_outside_reaches_the_proxy(
    world: World, meshed: tuple[str, str], naked: tuple[str, str]
) -> None:
    assert asks(world, naked[0], meshed[1], 8080) == f"15006 {meshed[1]}:8080 {naked[1]}"


def test_an_excluded_port_reaches_the_application(
    world: World, meshed: tuple[str, str], naked: tuple[str, str]
) -> None:
    assert asks(world, naked[0], meshed[1], 9000).startswith("9000 ")


def test_what_the_application_calls_goes_through_the_proxy(
    world: World, meshed: tuple[str, str], naked: tuple[str, str]
) -> None:
    assert asks(world, meshed[0], naked[1], 8080).startswith(f"15001 {naked[1]}:8080 ")


@pytest.mark.parametrize(
    ("arguments", "answered"),
    [
        pytest.param(["-o", "8080"], "8080", id="port-excluded"),
        pytest.param(["-x", "10.244.0.0/16"], "8080", id="range-excluded"),
        pytest.param(["-i", "192.0.2.0/24"], "8080", id="other-range-included"),
        pytest.param(["-i", "192.0.2.0/24,10.244.0.0/16"], "15001", id="range-included"),
        pytest.param(["-i", ""], "8080", id="nothing-included"),
        pytest.param(["-i", "", "-q", "8080"], "15001", id="port-included"),
        pytest.param(["-x", "10.244.0.0/16", "-q", "8080"], "8080", id="excluded-range-before-included-port"),
    ],
)
def test_annotations_say_which_calls_go_through_the_proxy(
    world: World, naked: tuple[str, str], arguments: list[str], answered: str
) -> None:
    sidecar = proxy(echo(15001, 15006), restartPolicy="Always")
    inits = [init([*REDIRECT, *arguments]), sidecar]
    name = world.pod({"initContainers": inits, "containers": [world.python(FOREVER)]})
    world.wait(name, running)
    world.printed(name, "up", container="istio-proxy")
    assert asks(world, name, naked[1], 8080).split()[0] == answered


@pytest.mark.parametrize(
    ("arguments", "answered"),
    [
        pytest.param(["-b", "8080"], "15006", id="port-included"),
        pytest.param(["-b", "8081", "-d", ""], "8080", id="other-port-included"),
        pytest.param(["-b", ""], "8080", id="nothing-included"),
        pytest.param(["-d", "8080"], "8080", id="port-excluded"),
    ],
)
def test_annotations_say_which_ports_are_the_proxys(
    world: World, naked: tuple[str, str], arguments: list[str], answered: str
) -> None:
    sidecar = proxy(echo(15001, 15006), restartPolicy="Always")
    inits = [init([*REDIRECT, *arguments]), sidecar]
    name = world.pod({"initContainers": inits, "containers": [world.python(echo(8080))]})
    address = world.wait(name, running)["status"]["podIP"]
    for each in ("istio-proxy", "main"):
        world.printed(name, "up", container=each)
    assert asks(world, naked[0], address, 8080).split()[0] == answered


@pytest.mark.parametrize(
    ("host", "answered"),
    [
        pytest.param("127.0.0.1", "8080 ", id="loopback"),
        pytest.param("own", "8080 ", id="own-address"),
    ],
)
def test_an_application_that_calls_itself_is_left_alone(
    world: World, meshed: tuple[str, str], host: str, answered: str
) -> None:
    assert asks(world, meshed[0], meshed[1] if host == "own" else host, 8080).startswith(answered)


def test_application_containers_cannot_mark(world: World, meshed: tuple[str, str]) -> None:
    assert b"Operation not permitted" in world.exec(meshed[0], "python3", "-c", MARK).stderr


def test_the_proxy_marks_and_is_left_alone(world: World, naked: tuple[str, str]) -> None:
    script = f"import sys; sys.argv = ['-', {naked[1]!r}, '8080', 'marked']\n{ASK}"
    name = world.pod({"restartPolicy": "Never", "initContainers": [init()], "containers": [proxy(script)]})
    world.wait(name, over)
    assert world.logs(name).startswith("8080 direct ")


@pytest.mark.parametrize(
    ("more", "answered"),
    [
        pytest.param(("marked",), "15006 ", id="by-the-front-door"),
        pytest.param(("marked", "127.0.0.6"), "8080 ", id="as-the-server-side-proxy"),
    ],
)
def test_a_proxy_that_calls_its_own_pod_goes(world: World, more: tuple[str, ...], answered: str) -> None:
    awaits = (
        "import os, socket, sys, time\n"
        "while socket.socket().connect_ex(('127.0.0.1', 8080)): time.sleep(0.01)\n"
        f"sys.argv = ['-', os.environ['ADDRESS'], '8080', *{more!r}]\n"
    )
    asking = {**proxy(awaits + ASK, env=[field("ADDRESS", "status.podIP")]), "name": "asking"}
    sidecar = proxy(echo(15006), restartPolicy="Always")
    spec = {"restartPolicy": "Never", "initContainers": [init(), sidecar]}
    name = world.pod({**spec, "containers": [asking, world.python(echo(8080))]})
    world.wait(name, lambda status: "terminated" in first(status)["state"])
    assert world.logs(name, container="asking").startswith(answered)


def test_a_redirection_that_cannot_be_made_fails_the_pod_with_its_words(world: World) -> None:
    given = [init(["istio-iptables", "-m", "TPROXY"])]
    name = world.pod({"restartPolicy": "Never", "initContainers": given, "containers": [world.python(FOREVER)]})
    status = world.wait(name, over)["status"]
    ended = status["initContainerStatuses"][0]["state"]["terminated"]
    words = "istio-iptables: -m TPROXY: the lab redirects with REDIRECT only"
    assert (status["phase"], ended["exitCode"], ended["message"]) == ("Failed", 1, words)
    assert world.logs(name, container="istio-init") == f"{words}\n"


def test_a_proxy_has_one_capability_and_the_rest_of_its_isolation(world: World) -> None:
    script = (
        "import json, os, subprocess\n"
        "status = dict(line.split(':\\t', 1) for line in open('/proc/self/status'))\n"
        "seen = {key: status[key].strip() for key in ('CapPrm', 'CapEff', 'NoNewPrivs')}\n"
        "def tried(action):\n"
        "    try: action(); return 'done'\n"
        "    except OSError as error: return os.strerror(error.errno)\n"
        "run = lambda *command: subprocess.run(command, capture_output=True, text=True)\n"
        "after = run('sh', '-c', 'grep CapEff /proc/self/status')\n"
        "refused = run('python3', '-c', 'import os; os.chroot(\"/\")')\n"
        "why = refused.stderr.rpartition('] ')[2].partition(': ')[0]\n"
        "seen['after'] = f'{after.stdout.split()[1]} {refused.returncode}: {why}'\n"
        "seen['root'] = tried(lambda: open('/new', 'w'))\n"
        "seen['volume'] = tried(lambda: open('/etc/istio/proxy/new', 'w'))\n"
        "seen['processes'] = [each for each in os.listdir('/proc') if each.isdigit()]\n"
        "seen['lab'] = [each for each in ('/run/eastwest', '/proc/1/root/run/eastwest') if os.path.exists(each)]\n"
        "seen['name'] = os.uname().nodename\n"
        "print(json.dumps(seen))\n"
    )
    mounts = [{"name": "own", "mountPath": "/etc/istio/proxy"}]
    spec = {"volumes": [{"name": "own", "emptyDir": {"medium": "Memory"}}], "restartPolicy": "Never"}
    name = world.pod({**spec, "containers": [proxy(script, volumeMounts=mounts)]})
    world.wait(name, over)
    seen = json.loads(world.logs(name))
    net_admin = f"{1 << 12:016x}"
    assert [seen[each] for each in ("CapPrm", "CapEff", "NoNewPrivs")] == [net_admin, net_admin, "1"]
    assert seen["after"] == f"{net_admin} 1: Operation not permitted"
    assert (seen["root"], seen["volume"]) == ("Read-only file system", "done")
    assert (seen["processes"], seen["lab"], seen["name"]) == (["1"], [], name)


def test_a_command_joins_a_proxys_container_without_its_capability(world: World, meshed: tuple[str, str]) -> None:
    seen = world.exec(
        meshed[0], "sh", "-c", "id -u; grep CapEff /proc/self/status; echo $PATH", container="istio-proxy"
    )
    assert seen.stdout.decode().split()[:3] == ["0", "CapEff:", "0" * 16]


def test_envoy_and_its_agent_are_on_the_path(world: World, meshed: tuple[str, str]) -> None:
    seen = world.exec(meshed[0], "envoy", "--version", container="istio-proxy").stdout.decode()
    assert "version:" in seen
    found = world.exec(meshed[0], "sh", "-c", "command -v pilot-agent", container="istio-proxy")
    assert (found.code, found.stdout) == (0, b"/opt/eastwest/bin/pilot-agent\n")


def test_an_application_waits_for_a_held_proxy(world: World) -> None:
    waits = "import os, time\nwhile not os.path.exists('/shared/go'): time.sleep(0.01)"
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    held = proxy(FOREVER, volumeMounts=mounts, lifecycle={"postStart": {"exec": {"command": ["python3", "-c", waits]}}})
    main = world.python("print('ran')", volumeMounts=mounts)
    spec = {"volumes": [{"name": "shared", "emptyDir": {}}], "terminationGracePeriodSeconds": 1}
    name = world.pod({**spec, "restartPolicy": "Never", "containers": [held, main]})
    before = world.wait(name, lambda status: "running" in first(status)["state"])["status"]["containerStatuses"]
    assert "waiting" in before[1]["state"]
    world.exec(name, "touch", "/shared/go", container="istio-proxy")
    world.wait(name, lambda status: "terminated" in status["containerStatuses"][1]["state"])


def test_a_native_proxy_outlives_its_application(world: World) -> None:
    slow = "import signal, time\nsignal.signal(15, lambda *_: (time.sleep(0.3), exit(0)))\nprint('up', flush=True)\n"
    sidecar = proxy(echo(15001), restartPolicy="Always")
    main = world.python(f"{slow}signal.pause()")
    name = world.pod({"initContainers": [init(), sidecar], "containers": [main]})
    world.wait(name, running)
    for each in ("istio-proxy", "main"):
        world.printed(name, "up", container=each)
    status = world.end(name)["status"]
    ended = [status[kind][-1]["state"]["terminated"] for kind in ("containerStatuses", "initContainerStatuses")]
    assert [each["exitCode"] for each in ended] == [0, 0]
    assert ended[0]["finishedAt"] <= ended[1]["finishedAt"]


def field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def first(status: Object) -> Object:
    found: Object = (status.get("containerStatuses") or [{"state": {}}])[0]
    return found


STAND_IN = (
    "import json, os, signal, socket, threading\n"
    "signal.signal(15, lambda *_: os._exit(0))\n"
    "def serve(port):\n"
    "    listener = socket.create_server(('', port))\n"
    "    while True:\n"
    "        connection, _ = listener.accept()\n"
    "        connection.recv(4096)\n"
    "        connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')\n"
    "        connection.close()\n"
    "for port in (15020, 15021): threading.Thread(target=serve, args=(port,), daemon=True).start()\n"
    "seen = {each: open(each).read() for each in ('/var/run/secrets/tokens/istio-token', '/etc/istio/pod/labels')}\n"
    "seen |= {each: os.environ[each] for each in ('CA_ADDR', 'INSTANCE_IP', 'SERVICE_ACCOUNT')}\n"
    "open('/etc/istio/proxy/own', 'w').write('x')\n"
    "print(json.dumps(seen), flush=True)\n"
    "signal.pause()\n"
)


@pytest.fixture(scope="module")
def trust(world: World) -> None:
    """What istiod writes into every namespace."""
    body = {"metadata": {"name": "istio-ca-root-cert"}, "data": {"root-cert.pem": "PEM"}}
    world.run(world.client.create(CONFIG_MAPS, body, world.namespace))


def test_a_volume_is_there_as_soon_as_its_late_source_is(world: World) -> None:
    volumes = [{"name": "late", "configMap": {"name": "late"}}]
    name = world.pod({"volumes": volumes, "containers": [world.python(FOREVER)]})
    assert world.events(name, "FailedMount") == [
        'MountVolume.SetUp failed for volume "late": configmap "late" not found'
    ]
    world.run(world.client.create(CONFIG_MAPS, {"metadata": {"name": "late"}, "data": {}}, world.namespace))
    world.wait(name, running)


@pytest.mark.parametrize("native", [pytest.param("true", id="native"), pytest.param("false", id="two-containers")])
@pytest.mark.usefixtures("trust")
def test_an_injected_pod_is_taken_as_it_is_and_becomes_ready(world: World, native: str) -> None:
    ask = {"sidecar.istio.io/nativeSidecar": native, "proxy.istio.io/config": "holdApplicationUntilProxyStarts: true"}
    app = world.python(FOREVER, readinessProbe={"httpGet": {"path": "/", "port": 8080}})
    sent: Object = {
        "metadata": {"name": f"injected-{native}", "namespace": world.namespace, "annotations": ask},
        "spec": {"containers": [app]},
    }
    pod = injected(sent, revision="default")
    spec = pod["spec"]
    for each in (*spec["initContainers"], *spec["containers"]):
        if each["name"] == "istio-proxy":
            each |= {"command": ["python3", "-c", STAND_IN], "args": [], "lifecycle": {}}
    name = world.pod(spec, name=f"injected-{native}", metadata=pod["metadata"])
    status = world.wait(name, is_ready)["status"]
    seen = json.loads(world.logs(name, container="istio-proxy"))
    assert seen["CA_ADDR"] == "istiod.istio-system.svc:15012"
    assert (seen["INSTANCE_IP"], seen["SERVICE_ACCOUNT"]) == (status["podIP"], "default")
    assert 'security.istio.io/tlsMode="istio"' in seen["/etc/istio/pod/labels"]
    claims = seen["/var/run/secrets/tokens/istio-token"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"] == ["istio-ca"]
