"""Hides secrets in everything that goes to a report, from the first attachment on.

What belongs here: what a secret looks like in text, in a manifest and in a record. What does not: who asks. Whatever
leaves the process by a report passes `redact` (text) or `scrub` (records); both may be applied twice without harm.
"""

from __future__ import annotations

import re
from collections.abc import Callable

HIDDEN = "«redacted»"

_FIELDS = (
    r"client-key-data|client-certificate-data|tokenSecret|token|access[_-]?token|id[_-]?token|refresh[_-]?token"
    r"|bearerToken|password|passwd|client[_-]?secret|api[_-]?key|private[_-]?key|secret[_-]?key"
    r"|aws_secret_access_key|aws_session_token|\.dockerconfigjson|\.dockercfg|tls\.key|ca\.key"
)
_HEADERS = r"(?:proxy-)?authorization|cookie|set-cookie|x-api-key|x-auth-token|x-forwarded-client-cert"
_QUOTE = r"(?:\\*[\"'])"  # a quote, escaped any number of times: JSON inside JSON
_SECRET_FIELD = re.compile(rf"(?:{_FIELDS}|{_HEADERS})", re.IGNORECASE)

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)",
            re.DOTALL,
        ),
        HIDDEN,
    ),
    # header.payload.signature of a JWT; both of the first parts are JSON objects, hence `eyJ`
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"), HIDDEN),
    (re.compile(r"([a-z][a-z0-9+.-]*://[^\s:/@\"'<>]*:)[^\s/@\"'<>]+(?=@)", re.IGNORECASE), rf"\1{HIDDEN}"),
    # a quoted header with its value: {"Authorization": "…"} and ["authorization", "…"] and ('cookie', '…')
    (
        re.compile(rf"({_QUOTE}(?:{_HEADERS}){_QUOTE}\s*[:,=]\s*(\\*[\"']))(?!{HIDDEN}).*?(?=\2)", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    # a header as it is sent; the value ends with the line or with the quote that encloses the header (curl -H "…")
    (
        re.compile(rf"((?:^|[\s\"'])(?:{_HEADERS})\s*:[ \t]*)(?!{HIDDEN})[^\r\n\"'\\]+", re.IGNORECASE | re.MULTILINE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b((?:Bearer|Basic|Negotiate)\s+)[A-Za-z0-9._~+/-]{8,}=*", re.IGNORECASE), rf"\1{HIDDEN}"),
    # ServiceAccount and bootstrap tokens of Kubernetes, wherever they stand
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), HIDDEN),
    (
        re.compile(rf"({_QUOTE}(?:{_FIELDS}){_QUOTE}\s*:\s*(\\*[\"']))(?!{HIDDEN}).*?(?=\2)", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    # YAML, environment and command lines: `token: x`, `PASSWORD=x`, `--token x`
    (
        re.compile(rf"(^[\s-]*(?:{_FIELDS}):[ \t]+)(?!{HIDDEN})[^\s\"'{{\[|>&][^\r\n]*", re.IGNORECASE | re.MULTILINE),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(
            rf"(^[\s-]*(?:{_FIELDS}):[ \t]+([\"']))(?!{HIDDEN})(?:(?!\2)[^\r\n])*(?=\2)", re.IGNORECASE | re.MULTILINE
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(rf"(--(?:{_FIELDS})[= ])(?!{HIDDEN})\S+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(rf"(\b[A-Z0-9_]*(?:{_FIELDS})=)(?!{HIDDEN})[^\s&;\"']+", re.IGNORECASE), rf"\1{HIDDEN}"),
)

_YAML_SECRET = re.compile(r"^(?:- )?\s*kind:\s*[\"']?Secret[\"']?\s*$", re.MULTILINE)
_YAML_BLOCK = re.compile(r"^(\s*(?:- )?)(?:data|stringData):\s*$")
_YAML_FLOW = re.compile(r"^(\s*(?:- )?(?:data|stringData):\s*)\{.*\}\s*$")
_YAML_ENTRY = re.compile(r"^(\s*[^\s:#][^:]*:)(?:\s.*)?$")
_JSON_SECRET = re.compile(rf"{_QUOTE}kind{_QUOTE}\s*:\s*{_QUOTE}Secret{_QUOTE}")
_JSON_DATA = re.compile(rf"({_QUOTE}(?:data|stringData){_QUOTE}\s*:\s*)\{{[^{{}}]*\}}")
_DOCUMENTS = re.compile(r"^(---.*\n)", re.MULTILINE)


def redact(text: str) -> str:
    """The text with every secret that we know the look of replaced by `«redacted»`.

    Hidden are: private keys (PEM), JWTs, bearer and basic credentials, Authorization and cookie headers, passwords in
    URLs, tokens and client keys of kubeconfigs, bootstrap tokens, fields named like a password, and the data of Secrets
    in YAML or JSON.
    """
    if _YAML_SECRET.search(text):
        text = "".join(_secret_yaml(part) for part in _DOCUMENTS.split(text))
    if _JSON_SECRET.search(text):
        text = _JSON_DATA.sub(_hide_json, text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def scrub(value: object) -> object:
    """A JSON value with `redact` applied to every string; a field or header with a secret's name loses its value."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        hide: Callable[[object], object] = _hide_all if value.get("kind") == "Secret" else scrub
        return {
            key: _hide_all(item)
            if isinstance(key, str) and _SECRET_FIELD.fullmatch(key)
            else hide(item)
            if key in {"data", "stringData"}
            else scrub(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        match value:
            case [str(name), str()] if re.fullmatch(_HEADERS, name, re.IGNORECASE):
                return [name, HIDDEN]
            case _:
                return [scrub(item) for item in value]
    return value


def _hide_all(value: object) -> object:
    """Hide every string inside; an empty one stays, so that a report can tell absent from present."""
    if isinstance(value, dict):
        return {key: _hide_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hide_all(item) for item in value]
    return HIDDEN if isinstance(value, str) and value else value


def _hide_json(found: re.Match[str]) -> str:
    return f'{found[1]}{{"{HIDDEN}": ""}}'


def _secret_yaml(document: str) -> str:
    """Hide the values under `data:` and `stringData:` of a YAML document that holds a Secret."""
    if not _YAML_SECRET.search(document):
        return document
    lines: list[str] = []
    depth: int | None = None
    for line in document.splitlines(keepends=True):
        indent = len(line) - len(line.lstrip(" "))
        if depth is not None and line.strip() and indent <= depth:
            depth = None
        if depth is not None:
            lines.append(_hide_line(line))
            continue
        if opened := _YAML_BLOCK.match(line):
            depth = len(opened[1])
        lines.append(_YAML_FLOW.sub(rf"\1{HIDDEN}", line))
    return "".join(lines)


def _hide_line(line: str) -> str:
    entry = _YAML_ENTRY.match(line.rstrip("\n"))
    end = "\n" if line.endswith("\n") else ""
    if entry:
        return f"{entry[1]} {HIDDEN}{end}"
    return f"{' ' * (len(line) - len(line.lstrip(' ')))}{HIDDEN}{end}" if line.strip() else line
