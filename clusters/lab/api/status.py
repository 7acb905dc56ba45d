"""Failures as Kubernetes words them: `StatusError` and its makers, and the `Status` body that clients read.

What belongs here: reasons, codes and sentences. What does not: deciding that something failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from clusters.lab.api.resources import ResourceType

Object = dict[str, Any]


class StatusError(Exception):
    """The request failed; `body` is the Status object that the client gets."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.body: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
        }
        if details is not None:
            self.body["details"] = details
        self.body["code"] = code


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong with an object: where, of which class, and in words.

    Attributes:
        field: The path, `spec.ingress[0].ports[0].port`.
        reason: Kubernetes' class, e.g. `FieldValueInvalid`.
        text: Everything behind the path.
    """

    field: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


@dataclass(slots=True)
class Causes:
    """Collects what is wrong with an object, in Kubernetes' wording."""

    found: list[Cause] = field(default_factory=list)

    def invalid(self, path: str, value: object, why: str) -> None:
        """The value is of the wrong form."""
        self.found.append(Cause(path, "FieldValueInvalid", f"Invalid value: {quoted(value)}: {why}"))

    def required(self, path: str, why: str = "") -> None:
        """The value is missing."""
        self.found.append(Cause(path, "FieldValueRequired", f"Required value: {why}" if why else "Required value"))

    def unsupported(self, path: str, value: object, supported: list[str]) -> None:
        """The value is not one of a closed set."""
        choices = ", ".join(quoted(each) for each in supported)
        text = f"Unsupported value: {quoted(value)}: supported values: {choices}"
        self.found.append(Cause(path, "FieldValueNotSupported", text))

    def duplicate(self, path: str, value: object) -> None:
        """The value is there twice."""
        self.found.append(Cause(path, "FieldValueDuplicate", f"Duplicate value: {quoted(value)}"))

    def forbidden(self, path: str, why: str) -> None:
        """The field must not be used here."""
        self.found.append(Cause(path, "FieldValueForbidden", f"Forbidden: {why}"))

    def not_found(self, path: str, value: object) -> None:
        """The value refers to nothing."""
        self.found.append(Cause(path, "FieldValueNotFound", f"Not found: {quoted(value)}"))


def quoted(value: object) -> str:
    """A value as Kubernetes prints it inside a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, (dict, list)):
        import json

        return json.dumps(value, separators=(",", ":"))
    return str(value)


def _details(resource: ResourceType, name: str) -> Object:
    details: Object = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.plural
    return details


def not_found(resource: ResourceType, name: str) -> StatusError:
    """404: no such object."""
    return StatusError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def already_exists(resource: ResourceType, name: str, *, ending: bool = False) -> StatusError:
    """409: the name is taken, by an object that is perhaps about to end."""
    text = "object is being deleted: " if ending else ""
    text += f'{resource.qualified} "{name}" already exists'
    return StatusError(409, "AlreadyExists", text, _details(resource, name))


def conflict(resource: ResourceType, name: str, why: str = "") -> StatusError:
    """409: somebody else was faster, or a precondition does not hold."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    text = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", text, _details(resource, name))


def forbidden(resource: ResourceType, name: str, why: str, details: Object | None = None) -> StatusError:
    """403: an admission step or the authorizer says no."""
    subject = f'{resource.qualified} "{name}"' if name else resource.qualified
    return StatusError(403, "Forbidden", f"{subject} is forbidden: {why}", _details(resource, name) | (details or {}))


def invalid(resource: ResourceType, name: str, causes: list[Cause]) -> StatusError:
    """422: the object breaks its kind's rules; one cause for each."""
    sentences = list(dict.fromkeys(str(each) for each in causes))
    text = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
    details: Object = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = resource.kind
    details["causes"] = [{"reason": each.reason, "message": each.text, "field": each.field} for each in causes]
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    return StatusError(422, "Invalid", f'{kind} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> StatusError:
    """400: the request itself cannot be read."""
    return StatusError(400, "BadRequest", message)


def method_not_allowed() -> StatusError:
    """405: the resource exists, the verb does not."""
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def no_such_path() -> StatusError:
    """404: no such resource type or path."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def unsupported_media_type(message: str) -> StatusError:
    """415: a patch or body in a format that is not read here."""
    return StatusError(415, "UnsupportedMediaType", message, {})


def expired(message: str) -> StatusError:
    """410: the resourceVersion is no longer in the log; list again."""
    return StatusError(410, "Expired", message)
