"""Containers as Kubernetes runs them: users, roots, environment, volumes, order, restarts, ends."""

from __future__ import annotations

import pytest

from clusters.lab.client import CONFIG_MAPS
from tests.lab.node.world import World, is_ready, main_state, over, running

FOREVER = "import signal; signal.signal(15, lambda *_: exit(0)); print('up', flush=True); signal.pause()"


def test_a_restricted_container_has_its_user_a_read_only_root_and_no_capability(world: World) -> None:
    security = {
        "runAsUser": 1000,
        "runAsGroup": 2000,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    name = world.pod({"containers": [world.python(FOREVER, securityContext=security)]})
    world.wait(name, running)
    seen = world.exec(name, "sh", "-c", "id -u; id -g; hostname; touch /new || echo sealed; grep Cap /proc/self/status")
    words = seen.stdout.decode().split()
    assert words[:3] == ["1000", "2000", name]
    assert "sealed" in words
    assert {each for each in words if len(each) == 16} == {"0" * 16}


@pytest.mark.parametrize(("user", "seen"), [(0, "0000000000002000 hears"), (1000, "0000000000000000 deaf")])
def test_in_the_nodes_network_root_with_net_raw_and_nobody_else_hears_its_packets(
    world: World, user: int, seen: str
) -> None:
    script = """
import os, re, socket
held = re.search(r"CapEff:\\s*(\\w+)", open("/proc/self/status").read()).group(1)
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    print(held, "hears", socket.gethostname())
except PermissionError:
    print(held, "deaf", socket.gethostname())
"""
    security = {"runAsUser": user, "capabilities": {"drop": ["ALL"], "add": ["NET_RAW"]}}
    spec = {
        "hostNetwork": True,
        "restartPolicy": "Never",
        "containers": [world.python(script, securityContext=security)],
    }
    name = world.pod(spec)
    status = world.wait(name, over)["status"]
    assert world.logs(name) == f"{seen} lab-0\n"
    assert status["podIP"] == status["hostIP"]


def test_root_is_refused_where_run_as_non_root_is_asked(world: World) -> None:
    name = world.pod({"containers": [world.python(FOREVER, securityContext={"runAsNonRoot": True})]})
    assert "runAsNonRoot" in world.waiting(name, "CreateContainerConfigError")["message"]


def test_an_unprivileged_container_may_listen_on_port_80(world: World) -> None:
    script = "import socket; socket.create_server(('', 80)); print('listening')"
    spec = {"restartPolicy": "Never", "containers": [world.python(script, securityContext={"runAsUser": 7})]}
    name = world.pod(spec)
    assert world.wait(name, over)["status"]["phase"] == "Succeeded"
    assert world.logs(name) == "listening\n"


def test_environment_comes_from_fields_config_maps_and_references(world: World) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "colours"}, "data": {"sky": "blue"}}
    world.run(world.client.create(CONFIG_MAPS, body, world.namespace))
    env = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "SKY", "valueFrom": {"configMapKeyRef": {"name": "colours", "key": "sky"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "nothing", "key": "x", "optional": True}}},
        {"name": "BOTH", "value": "$(POD)-$(SKY)-$(UNKNOWN)-$$(POD)"},
    ]
    script = "import os; print(*(os.environ.get(k, 'unset') for k in 'LABEL SKY NONE BOTH ALL_sky ADDRESS'.split()))"
    container = world.python(script, env=env, envFrom=[{"prefix": "ALL_", "configMapRef": {"name": "colours"}}])
    spec = {"restartPolicy": "Never", "containers": [container]}
    name = world.pod(spec, metadata={"labels": {"tier": "front"}})
    address = world.wait(name, over)["status"]["podIP"]
    assert world.logs(name).split() == ["front", "blue", "unset", f"{name}-blue-$(UNKNOWN)-$(POD)", "blue", address]


def test_a_missing_config_map_holds_the_container_until_it_is_there(world: World) -> None:
    container = world.python("print('ran')", envFrom=[{"configMapRef": {"name": "late"}}])
    name = world.pod({"restartPolicy": "Never", "containers": [container]})
    assert world.waiting(name, "CreateContainerConfigError")["message"] == 'configmap "late" not found'
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}, "data": {}}
    world.run(world.client.create(CONFIG_MAPS, body, world.namespace))
    assert world.wait(name, over)["status"]["phase"] == "Succeeded"


def test_a_config_map_volume_follows_its_source_in_one_step(world: World) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "texts"}, "data": {"a": "1", "b": "1"}}
    world.run(world.client.create(CONFIG_MAPS, body, world.namespace))
    script = (
        "import os\n"
        "while True:\n"
        "    at = os.open('/texts/..data', os.O_RDONLY)\n"
        "    try: both = [os.read(os.open(n, os.O_RDONLY, dir_fd=at), 9) for n in 'ab']\n"
        "    except FileNotFoundError: continue\n"  # the former step was cleared away while it was read, as on a node
        "    assert both[0] == both[1], both\n"
        "    if both == [b'2', b'2']: break\n"
        "    os.closerange(at, at + 3)\n"
        "print('changed', sorted(n for n in os.listdir('/texts') if not n.startswith('..')))"
    )
    container = world.python(script, volumeMounts=[{"name": "v", "mountPath": "/texts", "readOnly": True}])
    spec = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "v", "configMap": {"name": "texts"}}],
    }
    name = world.pod(spec)
    world.wait(name, running)
    world.run(world.client.patch(CONFIG_MAPS, "texts", {"data": {"a": "2", "b": "2"}}, world.namespace))
    assert world.wait(name, over)["status"]["phase"] == "Succeeded", world.logs(name)
    assert world.logs(name) == "changed ['a', 'b']\n"


def test_the_service_account_token_and_the_cluster_ca_are_in_their_place(world: World) -> None:
    name = world.pod({"containers": [world.python(FOREVER)]})
    world.wait(name, running)
    place = "/var/run/secrets/kubernetes.io/serviceaccount"
    seen = world.exec(name, "sh", "-c", f"cat {place}/namespace; test -s {place}/token && cat {place}/ca.crt")
    assert seen.stdout.decode().startswith(f"{world.namespace}-----BEGIN CERTIFICATE-----")


def test_init_containers_run_in_order_beside_a_sidecar_and_share_a_volume(world: World) -> None:
    mount = [{"name": "shared", "mountPath": "/shared"}]
    steps = [
        world.python("open('/shared/steps','a').write('1')", name="first", volumeMounts=mount),
        world.python(
            "import signal; open('/shared/steps','a').write('2'); signal.pause()",
            name="side",
            volumeMounts=mount,
            restartPolicy="Always",
            startupProbe={"exec": {"command": ["grep", "12", "/shared/steps"]}},
        ),
        world.python("open('/shared/steps','a').write('3')", name="last", volumeMounts=mount),
    ]
    main = world.python("print(open('/shared/steps').read())", volumeMounts=mount)
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "initContainers": steps,
        "containers": [main],
        "volumes": [{"name": "shared", "emptyDir": {}}],
    }
    name = world.pod(spec)
    status = world.wait(name, over)["status"]
    assert status["phase"] == "Succeeded"
    assert world.logs(name, container="main") == "123\n"
    assert [each["ready"] for each in status["initContainerStatuses"]] == [True, False, True]


@pytest.mark.parametrize(
    ("policy", "code", "restarts"), [("Always", 0, True), ("OnFailure", 3, True), ("OnFailure", 0, False)]
)
def test_restart_policy_decides_who_runs_again(world: World, policy: str, code: int, *, restarts: bool) -> None:
    name = world.pod({"restartPolicy": policy, "containers": [world.python(f"exit({code})")]})
    wanted = (lambda s: s["containerStatuses"][0]["restartCount"] > 0) if restarts else over
    status = world.wait(name, lambda s: bool(s.get("containerStatuses")) and wanted(s))["status"]
    assert (status["containerStatuses"][0]["restartCount"] > 0) == restarts
    world.delete(name, grace=0)


def test_a_crashing_container_is_backed_off_and_its_last_end_is_told(world: World) -> None:
    name = world.pod({"containers": [world.python("import sys; print('bye'); sys.exit(3)")]})
    status = world.wait(name, lambda s: main_state(s).get("waiting", {}).get("reason") == "CrashLoopBackOff")["status"]
    last = status["containerStatuses"][0]["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (3, "Error")
    assert world.logs(name, previous="true") == "bye\n"
    assert "Back-off restarting failed container" in world.events(name, "BackOff")[0]
    world.delete(name, grace=0)


def test_a_command_that_is_not_there_is_a_start_error(world: World) -> None:
    container = {"name": "main", "image": "python:3", "command": ["/no/such/thing"]}
    name = world.pod({"restartPolicy": "Never", "containers": [container]})
    state = main_state(world.wait(name, over)["status"])["terminated"]
    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    assert "/no/such/thing" in state["message"]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("import signal; signal.signal(15, lambda *_: exit(4)); print('up', flush=True); signal.pause()", 4),
        (
            "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause(); signal.pause()",
            137,
        ),
    ],
    ids=["heeds-sigterm", "ignores-sigterm"],
)
def test_a_deleted_pod_gets_sigterm_then_sigkill_after_its_grace(world: World, script: str, code: int) -> None:
    name = world.pod({"terminationGracePeriodSeconds": 1, "containers": [world.python(script)]})
    world.wait(name, running)
    world.printed(name, "up")
    assert main_state(world.end(name)["status"])["terminated"]["exitCode"] == code


def test_pre_stop_runs_before_sigterm(world: World) -> None:
    script = (
        "import signal, os\n"
        "signal.signal(15, lambda *_: exit(9 if os.path.exists('/tmp/stopped') else 1))\n"
        "print('up', flush=True); signal.pause()"
    )
    hook = {"preStop": {"exec": {"command": ["touch", "/tmp/stopped"]}}}
    name = world.pod({"containers": [world.python(script, lifecycle=hook)]})
    world.wait(name, running)
    world.printed(name, "up")
    assert main_state(world.end(name)["status"])["terminated"]["exitCode"] == 9


def test_a_failed_liveness_probe_restarts_the_container(world: World) -> None:
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
    name = world.pod({"containers": [world.python(FOREVER, livenessProbe=probe)]})
    world.wait(name, lambda s: bool(s.get("containerStatuses")) and s["containerStatuses"][0]["restartCount"] > 0)
    assert world.events(name, "Killing")[0] == "Container main failed liveness probe, will be restarted"
    world.delete(name, grace=0)


def test_readiness_by_http_follows_the_server(world: World) -> None:
    script = (
        "import http.server, os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        bad = os.path.exists('/tmp/bad') or self.headers['X-Who'] != 'kubelet' or self.path != '/ready?x=1'\n"
        "        self.send_response(500 if bad else 200); self.end_headers()\n"
        "        print(self.client_address[0], flush=True)\n"
        "http.server.HTTPServer(('', 8080), H).serve_forever()"
    )
    get = {"path": "/ready?x=1", "port": "web", "httpHeaders": [{"name": "X-Who", "value": "kubelet"}]}
    probe = {"httpGet": get, "periodSeconds": 1, "failureThreshold": 1}
    ports = [{"name": "web", "containerPort": 8080}]
    name = world.pod({"containers": [world.python(script, readinessProbe=probe, ports=ports)]})
    node = world.wait(name, is_ready)["status"]["hostIP"]
    assert node in world.logs(name).split()
    world.exec(name, "touch", "/tmp/bad")
    world.wait(name, lambda s: not is_ready(s))
    assert "statuscode: 500" in world.events(name, "Unhealthy")[-1]
    world.exec(name, "rm", "/tmp/bad")
    world.wait(name, is_ready)
    world.delete(name, grace=0)
