"""The API server as an address: credentials, the HTTP connection, resource paths, no answer at all.

What belongs here: everything below the verbs. What does not: the verbs (`kube`), what a
failed answer says (`failures`), the exec stream (`channel`).
"""

from __future__ import annotations

import base64
import copy
import importlib
import json
import logging
import math
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode

from clusters.failures import KubeError, failure
from clusters.loopback import of_this_machine

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for TCP and TLS; across an ocean they need less than one."""
POOL: Final = 32
"""Connections kept open; more threads than this merely open another."""


def unreachable(host: str, what: str, cause: BaseException) -> KubeError:
    """The error for no answer at all; names the address, the cause in the system's words, and what to look at."""
    root = cause
    while True:
        inner = getattr(root, "reason", None)
        if not isinstance(inner, BaseException):
            inner = root.__cause__ or root.__context__
        if inner is None or inner is root:
            break
        root = inner
    said = (root.strerror if isinstance(root, OSError) and root.strerror else str(root)) or type(root).__name__
    said = re.sub(r"^.*?>?: (?=Failed|timed)", "", said)
    return KubeError(
        f"the API server at {host} does not answer: {said}; is the cluster up?",
        reason="Unreachable",
        detail=f"while asked to {what}",
    )


def memory_file(content: bytes) -> str:
    """A path to a file that lives in this process's memory, so that a killed process leaves no key behind."""
    fd = os.memfd_create("eastwest", os.MFD_CLOEXEC)
    os.write(fd, content)
    return f"/proc/self/fd/{fd}"


class _Errors(logging.Handler):
    """Collects what the official client only logs, in this thread: why a credential plugin failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


@dataclass(frozen=True, slots=True)
class _Session:
    """What an opened connection holds: a configuration as the official client has it, and its pool."""

    configuration: Any
    pool: PoolManager
    close: Callable[[], None]


class Connection:
    """Signed requests to one API server; opened with the first one, safe for threads.

    Args:
        kubeconfig: Parsed content; context: the context to use, empty for the current one.
    """

    def __init__(self, kubeconfig: dict[str, Any], context: str) -> None:
        self._kubeconfig, self._context = kubeconfig, context
        self._lock = threading.Lock()
        self._opened: _Session | None = None

    @staticmethod
    def preload(*, official: bool = True) -> None:
        """Import the official client (about a second), or what a cluster of our own is content with."""
        importlib.import_module("kubernetes.config" if official else "urllib3")

    def close(self) -> None:
        """Drop the pooled connections; the next request opens new ones."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @property
    def host(self) -> str:
        """The API server's URL."""
        return str(self._session().configuration.host).rstrip("/")

    @property
    def proxy(self) -> str:
        """The proxy that the kubeconfig names (`proxy-url`), or empty."""
        return str(self._session().configuration.proxy or "")

    @property
    def server_name(self) -> str:
        """The name to check the server's certificate against, where it is not the host's."""
        return str(self._session().configuration.tls_server_name or "")

    def headers(self) -> dict[str, str]:
        """Who we are: the authorization header, renewed by the official client when the token has expired."""
        session = self._session()
        with self._lock:  # the official client's renewal is not made for threads
            settings = session.configuration.auth_settings()
        signed = {str(each["key"]): str(each["value"]) for each in settings.values() if each["in"] == "header"}
        return {"User-Agent": "eastwest", **signed}

    def secrets(self) -> list[str]:
        """What must never be printed."""
        return [part for value in self.headers().values() for part in value.split()[1:]]

    def tls(self) -> ssl.SSLContext:
        """The kubeconfig's TLS settings, for connections that are not HTTP requests."""
        conf = self._session().configuration
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if conf.verify_ssl:
            if conf.ssl_ca_cert or conf.ca_cert_data:
                context.load_verify_locations(cafile=conf.ssl_ca_cert, cadata=conf.ca_cert_data)
            else:
                context.load_default_certs()
        else:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if conf.cert_file:
            context.load_cert_chain(conf.cert_file, conf.key_file)
        return context

    def request(
        self,
        method: str,
        path: str,
        what: str,
        *,
        body: object = None,
        params: dict[str, str] | None = None,
        content_type: str = "application/json",
        read_timeout: float,
    ) -> BaseHTTPResponse:
        """One request; the answer, not yet read.

        Args:
            what: The verb and the place, for errors: `create Pod demo/server`.

        Raises:
            KubeError: The server did not answer, or answered with a failure.
        """
        from urllib3 import Retry, Timeout
        from urllib3.exceptions import HTTPError

        session = self._session()
        query = f"?{urlencode(params)}" if params else ""
        # A pooled connection that the server has just closed is no news; only what changes nothing is asked again.
        retries = Retry(total=2, connect=0, redirect=0, other=0, status=0, read=1 if method == "GET" else 0)
        try:
            answer = session.pool.request(
                method,
                f"{self.host}{path}{query}",
                body=None if body is None else json.dumps(body),
                headers={**self.headers(), "Content-Type": content_type, "Accept": "application/json"},
                timeout=Timeout(connect=CONNECT_TIMEOUT, read=read_timeout),
                retries=retries,
                preload_content=False,
            )
            if answer.status >= 400:
                raise failure(answer.status, answer.read(), what, self.secrets())
        except HTTPError as error:
            raise unreachable(self.host, what, error) from error
        return answer

    def json(self, method: str, path: str, what: str, **given: Any) -> dict[str, Any]:
        """One request; the answer's JSON object. Arguments as for `request`."""
        from urllib3.exceptions import HTTPError

        answer = self.request(method, path, what, **given)
        try:
            return cast("dict[str, Any]", json.loads(answer.read() or b"{}"))
        except HTTPError as error:
            raise unreachable(self.host, what, error) from error
        except ValueError as error:
            raise KubeError(
                f"{what}: {self.host} answered no JSON; is it a Kubernetes API server?", status=answer.status
            ) from error
        finally:
            answer.release_conn()

    def text(self, path: str, what: str, *, params: dict[str, str], read_timeout: float) -> str:
        """One GET; the answer as text, undecodable bytes replaced."""
        from urllib3.exceptions import HTTPError

        answer = self.request("GET", path, what, params=params, read_timeout=read_timeout)
        try:
            return answer.read().decode(errors="replace")
        except HTTPError as error:
            raise unreachable(self.host, what, error) from error
        finally:
            answer.release_conn()

    def lines(
        self, path: str, what: str, *, params: dict[str, str], timeout: float
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of one watch, until the server ends it or `timeout` seconds have passed."""
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        deadline = time.monotonic() + timeout
        params = params | {"timeoutSeconds": str(max(1, math.ceil(timeout)))}
        try:
            answer = self.request("GET", path, what, params=params, read_timeout=max(timeout, 0.1))
        except KubeError as error:
            if isinstance(error.__cause__, HTTPError) and _timed_out(error.__cause__):
                return  # no event came; some servers send their headers with the first one
            raise
        try:
            buffer = b""
            for chunk in _until(answer, deadline):
                buffer += chunk
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    if line.strip():
                        yield _event(line, what)
        except ReadTimeoutError:
            return
        except HTTPError as error:
            raise unreachable(self.host, what, error) from error
        finally:
            answer.close()

    def _session(self) -> _Session:
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> _Session:
        own = of_this_machine(self._kubeconfig, self._context)
        if own:
            pool = own.pool(POOL)
            return _Session(own, pool, pool.clear)
        from kubernetes.client import Configuration
        from kubernetes.config import ConfigException, new_client_from_config_dict

        content, authority = _in_memory(self._kubeconfig)
        configuration = Configuration()
        configuration.connection_pool_maxsize = POOL
        heard = _Errors()
        logging.getLogger().addHandler(heard)  # also keeps the client from configuring logging for the whole process
        try:
            make: Callable[..., Any] = new_client_from_config_dict
            client = make(
                content, context=self._context or None, persist_config=False, client_configuration=configuration
            )
        except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
            raise KubeError(
                "the kubeconfig cannot be used; mend it (kubectl config view shows it)", detail=str(error)
            ) from error
        finally:
            logging.getLogger().removeHandler(heard)
        if heard.lines:
            raise KubeError(
                "the kubeconfig's credential plugin gave no credentials; log in again", detail="\n".join(heard.lines)
            )
        if authority:
            configuration.ca_cert_data = authority
            client = type(client)(configuration)
        return _Session(configuration, client.rest_client.pool_manager, client.close)


def _until(answer: BaseHTTPResponse, deadline: float) -> Iterator[bytes]:
    """The body's chunks as they come; a read begins with the time that is left, not with the whole timeout anew."""
    chunks = answer.stream()
    while (left := deadline - time.monotonic()) > 0:
        sock: socket.socket | None = getattr(answer.connection, "sock", None)
        if sock is not None:
            sock.settimeout(left)
        chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _timed_out(error: BaseException) -> bool:
    from urllib3.exceptions import MaxRetryError, ReadTimeoutError

    return isinstance(error.reason if isinstance(error, MaxRetryError) else error, ReadTimeoutError)


def _event(line: bytes, what: str) -> tuple[str, dict[str, Any]]:
    event = json.loads(line)
    if event["type"] == "ERROR":
        raise failure(int(event["object"].get("code", 500)), json.dumps(event["object"]).encode(), what)
    return str(event["type"]), event["object"]


def _in_memory(kubeconfig: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The kubeconfig with keys in memory files instead of temporary files, and the certificate authority's PEM."""
    content = copy.deepcopy(kubeconfig)
    authority = ""
    for cluster in content.get("clusters") or []:
        data = cluster["cluster"].pop("certificate-authority-data", "")
        authority = base64.b64decode(data).decode("ascii") if data else authority
    for user in content.get("users") or []:
        for part in ("client-certificate", "client-key"):
            data = (user.get("user") or {}).get(f"{part}-data")
            if data and hasattr(os, "memfd_create"):
                del user["user"][f"{part}-data"]
                user["user"][part] = memory_file(base64.b64decode(data))
    return content, authority
