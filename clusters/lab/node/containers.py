"""One container of a pod through all its lives: image, start, probes, end, back-off, again.

What belongs here: the state that `containerStatuses` shows. What does not: bubblewrap (`runtime`), the pod (`pod`).

Back-off of the lab: the first restart is immediate, then 0.5 s, doubled up to 10 s; a run of 30 s forgets it.
(Kubernetes: 10 s to 5 minutes, 10 minutes.)
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import aiohttp

from clusters.lab.client import ApiError, Object
from clusters.lab.node import images, probes, redirection
from clusters.lab.node.archives import ImageError
from clusters.lab.node.context import Patience, PodContext, first_of
from clusters.lab.node.environment import ConfigError
from clusters.lab.node.events import age, moment
from clusters.lab.node.logs import Log
from clusters.lab.node.network import PodNetwork
from clusters.lab.node.planning import compute
from clusters.lab.node.runtime import START_ERROR, Container, Exit, Plan, StartError

Role = Literal["init", "sidecar", "main"]

BACK_OFF: Final = 0.5
BACK_OFF_LIMIT: Final = 10.0
BACK_OFF_FORGOTTEN: Final = 30.0
_CONFIG_RETRY: Final = 1.0
"""Seconds between looks for a ConfigMap or Secret that a container misses."""
_PULL_SHOWN: Final = 0.5
"""Seconds that `ErrImagePull` stands before it becomes `ImagePullBackOff`."""


class Runner:
    """One container of a pod.

    Attributes:
        state, last_state: As in a container status.
        ready, started, restarts, image_id, container_id: Likewise.
        done: Set when it will not run again.
        settled: Set when its start has been tried once, `postStart` included; containers after it may then start.
        up: Set when it has started (startup probe passed) for the first time, or is done.
        container: The run of now, or None.
        log, previous_log: Of this run and of the one before.
    """

    def __init__(self, context: PodContext, spec: Object, role: Role) -> None:
        self.context, self.spec, self.role = context, spec, role
        self.name = str(spec["name"])
        self.state: Object = {"waiting": {"reason": "PodInitializing" if role == "main" else "ContainerCreating"}}
        self.last_state: Object = {}
        self.ready = self.started = False
        self.restarts = 0
        self.image_id = self.container_id = ""
        self.done, self.settled, self.up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.exit_code: int | None = None
        self.container: Container | None = None
        self.log: Log | None = None
        self.previous_log: Log | None = None
        self._began = 0.0
        self._stop = asyncio.Event()
        self._unhealthy = asyncio.Event()

    def stop(self) -> None:
        """Let it end within the pod's patience and never run again."""
        self._stop.set()

    async def run(self) -> None:
        """Live until done."""
        back_off = 0.0
        try:
            while not self._stop.is_set():
                image = await self._pull()
                plan = None if image is None else await self._plan(image)
                if plan is None:
                    break
                ended = await self._live(plan)
                self.exit_code = ended.code
                if self._stop.is_set() or not self._again(ended.code):
                    break
                ran = age(self._began)
                back_off = 0.0 if ran >= BACK_OFF_FORGOTTEN else back_off
                if back_off:
                    pod = self.context.pod["metadata"]["name"]
                    words = f"back-off {back_off:g}s restarting failed container={self.name} pod={pod}"
                    self._wait("CrashLoopBackOff", words)
                    self._tell("BackOff", f"Back-off restarting failed container {self.name} in pod", warning=True)
                    if await self._pause(back_off):
                        self.state = self.last_state
                        break
                back_off = min(back_off * 2, BACK_OFF_LIMIT) if back_off else BACK_OFF
                self.restarts += 1
        finally:
            self.ready = self.ready if self.role == "init" else False
            self.done.set()
            self.settled.set()
            self.up.set()
            self.context.changed()

    def _again(self, code: int) -> bool:
        policy = self.context.pod["spec"].get("restartPolicy") or "Always"
        if self.role == "sidecar":
            return True
        if self.role == "init":
            return code != 0 and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    def _tell(self, reason: str, message: str, *, warning: bool = False) -> None:
        self.context.node.recorder.tell(self.context.pod, reason, message, container=self.name, warning=warning)

    def _wait(self, reason: str, message: str = "") -> None:
        waiting = {"reason": reason} | ({"message": message} if message else {})
        self.state = {"waiting": waiting}
        self.settled.set()
        self.context.changed()

    async def _pause(self, seconds: float) -> bool:
        """Wait; True when the container has to end."""
        await first_of(self._stop, seconds=seconds)
        return self._stop.is_set()

    async def _pull(self) -> images.Image | None:
        """The image, however long it takes; None when the container has to end first."""
        name, node = str(self.spec["image"]), self.context.node
        back_off = BACK_OFF
        while True:
            try:
                image = await asyncio.get_running_loop().run_in_executor(
                    node.threads, images.resolve, name, node.options
                )
            except ImageError as error:
                message = f'failed to pull image "{name}": {error}'
                never = self.spec.get("imagePullPolicy") == "Never"
                self._wait("ErrImageNeverPull" if never else "ErrImagePull", message)
                self._tell("Failed", "F" + message.removeprefix("f"), warning=True)
                if await self._pause(_PULL_SHOWN):
                    return None
                if not never:
                    self._wait("ImagePullBackOff", f'Back-off pulling image "{name}": ErrImagePull: {message}')
                    self._tell("BackOff", f'Back-off pulling image "{name}"')
                if await self._pause(back_off):
                    return None
                back_off = min(back_off * 2, BACK_OFF_LIMIT)
                continue
            self.image_id = image.digest
            self._tell("Pulled", f'Container image "{name}" already present on machine')
            return image

    async def _plan(self, image: images.Image) -> Plan | None:
        """How to run it; waits for what it refers to; None when the container has to end first."""
        while True:
            try:
                return await compute(self.context, self.spec, self.name, image)
            except (ConfigError, ImageError, ApiError, aiohttp.ClientError, TimeoutError) as error:
                self._wait("CreateContainerConfigError", str(error) or type(error).__name__)
                self._tell("Failed", f"Error: {error}", warning=True)
                if await self._pause(_CONFIG_RETRY):
                    return None

    async def _live(self, plan: Plan) -> Exit:
        """One run from start to end."""
        if self.previous_log:
            self.previous_log.remove()
        self.previous_log = self.log
        logs = self.context.folder / "logs" / self.name
        log = self.log = Log(logs / f"{self.restarts}.log")
        self._began = time.time()
        self.container_id = f"bubblewrap://{plan.identifier}"
        self._unhealthy = asyncio.Event()
        self._tell("Created", f"Created container: {self.name}")
        network = self.context.network
        try:
            if network is None:
                raise StartError("the pod has no network")
            if redirection.is_meant(plan):
                return await self._redirect(plan, network, log)
            container = self.container = await Container.start(plan, network.netns, log)
        except StartError as error:
            log.close()
            self._tell("Failed", f"Error: failed to start container {self.name!r}: {error}", warning=True)
            ended = Exit(code=START_ERROR, problem=str(error))
            self._record(ended, ended.finished)
            shutil.rmtree(plan.folder, ignore_errors=True)
            return ended
        self._tell("Started", f"Started container {self.name}")
        self.state = {"running": {"startedAt": moment(container.started)}}
        minding = asyncio.create_task(self._mind(container))
        try:
            ended = await self._until_end(container)
        finally:
            minding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await minding
        self._record(ended, container.started)
        shutil.rmtree(plan.folder, ignore_errors=True)
        return ended

    async def _redirect(self, plan: Plan, network: PodNetwork, log: Log) -> Exit:
        """`istio-init`: the node does its work."""
        node = self.context.node
        ended = await redirection.run(plan, network, log, node.threads, node.options.mutant)
        self._tell("Started", f"Started container {self.name}")
        self._record(ended, self._began)
        shutil.rmtree(plan.folder, ignore_errors=True)
        return ended

    def _record(self, ended: Exit, started: float) -> None:
        failed = "StartError" if ended.code == START_ERROR and ended.problem else "Error"
        reason = "Completed" if ended.code == 0 else failed
        terminated: Object = {
            "exitCode": ended.code,
            "reason": reason,
            "startedAt": moment(started),
            "finishedAt": moment(ended.finished),
            "containerID": self.container_id,
        }
        if ended.problem:
            terminated["message"] = ended.problem
        self.state = {"terminated": terminated}
        self.last_state = self.state
        self.settled.set()
        self.ready = self.role == "init" and ended.code == 0
        self.started = False
        self.context.changed()

    async def _until_end(self, container: Container) -> Exit:
        await first_of(container.ended, self._stop, self._unhealthy)
        if not container.ended.is_set():
            patience = self.context.patience
            if not self._stop.is_set():
                patience = Patience()
                patience.limit(self._probe_grace())
            else:
                self._tell("Killing", f"Stopping container {self.name}")
            await self._end(container, patience)
        return await container.wait()

    def _probe_grace(self) -> float:
        for kind in ("livenessProbe", "startupProbe"):
            value = (self.spec.get(kind) or {}).get("terminationGracePeriodSeconds")
            if value is not None:
                return float(value)
        return self.context.grace

    async def _end(self, container: Container, patience: Patience) -> None:
        """preStop, the stop signal, patience, SIGKILL."""
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if hook and patience.left > 0:
            asked = await probes.ask(hook, self._place(container), min(patience.left, 3600.0))
            if not asked.good:
                self._tell("FailedPreStopHook", f"PreStopHook failed: {asked.words}", warning=True)
        name = (self.spec.get("lifecycle") or {}).get("stopSignal") or container.plan.image.stop_signal
        container.signal(_stop_signal(str(name)))
        while not container.ended.is_set():
            if self._stop.is_set():  # the pod itself has to go: its patience counts from here on
                patience = self.context.patience
            if patience.left <= 0:
                container.kill()
                await container.wait()
                return
            wake = patience.changed if self._stop.is_set() else self._stop
            await first_of(container.ended, wake, seconds=patience.left)

    def _place(self, container: Container) -> probes.Place:
        addresses = self.context.addresses
        address = addresses[0] if addresses else "127.0.0.1"
        return probes.Place(address=address, ports=probes.port_names(self.spec), target=container.target)

    async def _mind(self, container: Container) -> None:
        """postStart, then the probes, until cancelled."""
        place = self._place(container)
        hook = (self.spec.get("lifecycle") or {}).get("postStart")
        if hook:
            self.context.changed()
            asked = await probes.ask(hook, place, 3600.0)
            if not asked.good:
                self._tell("FailedPostStartHook", f"PostStartHook failed: {asked.words}", warning=True)
                self._unhealthy.set()
                return
        self.settled.set()
        for kind in ("startup", "readiness", "liveness"):
            if "grpc" in (self.spec.get(f"{kind}Probe") or {}):
                self._tell(
                    "Unhealthy",
                    f"{kind.capitalize()} probe: the lab does not offer grpc probes; use httpGet, tcpSocket or exec",
                    warning=True,
                )
        startup = self.spec.get("startupProbe")
        if startup:
            self.context.changed()
            await self._probe("startup", startup, place, self._fail_unless("startup")).run()
            if self._unhealthy.is_set():
                return
        self.started = True
        self.up.set()
        async with asyncio.TaskGroup() as group:
            if self.role != "init":
                readiness = self.spec.get("readinessProbe")
                if readiness:
                    group.create_task(self._probe("readiness", readiness, place, self._set_ready).run())
                else:
                    self.ready = True
                liveness = self.spec.get("livenessProbe")
                if liveness:
                    group.create_task(self._probe("liveness", liveness, place, self._fail_unless("liveness")).run())
            self.context.changed()

    def _probe(
        self, kind: str, probe: Mapping[str, Any], place: probes.Place, turn: Callable[[bool], None]
    ) -> probes.Probe:
        def fail(words: str) -> None:
            self._tell("Unhealthy", f"{kind.capitalize()} probe failed: {words}", warning=True)

        return probes.Probe(kind, probe, place, turn, fail)

    def _set_ready(self, good: bool) -> None:
        self.ready = good
        self.context.changed()

    def _fail_unless(self, kind: str) -> Callable[[bool], None]:
        def turn(good: bool) -> None:
            if not good:
                self._tell("Killing", f"Container {self.name} failed {kind} probe, will be restarted")
                self._unhealthy.set()

        return turn


def _stop_signal(name: str) -> signal.Signals:
    if name.isdigit():
        return signal.Signals(int(name))
    full = name if name.startswith("SIG") else f"SIG{name}"
    return signal.Signals[full] if full in signal.Signals.__members__ else signal.SIGTERM
