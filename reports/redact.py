"""Hides secrets in everything that goes to a report, from the first attachment on.

What belongs here: what a secret looks like in text, in a manifest and in a record. What does not: who asks. Whatever
leaves the process by a report passes `redact` (text) or `scrub` (records); both may be applied twice without harm.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HIDDEN = "«redacted»"

_FIELDS = (
    r"(?:\w*[_-])?(?:client-key-data|tokenSecret|token|bearerToken|password|passwd|passphrase|client[_-]?secret"
    r"|api[_-]?key|private[_-]?key|secret[_-]?key|secret_access_key|\.dockerconfigjson|\.dockercfg|tls\.key|ca\.key)"
)
_HEADERS = r"(?:proxy-)?authorization|cookie|set-cookie|x-api-key|x-auth-token"
_VARIABLE = r"\w*(?:PASSWORD|PASSWD|TOKEN|SECRET|API_?KEY|PRIVATE_?KEY)\w*"
_QUOTE = r"(?:\\*[\"'])"  # a quote, escaped any number of times: JSON inside JSON
_SECRET_FIELD = re.compile(rf"(?:{_FIELDS}|{_HEADERS})", re.IGNORECASE)
_SECRET_VARIABLE = re.compile(_VARIABLE, re.IGNORECASE)
# Words, in lower case, one of which every text must have that a rule can change: looking for them costs a hundredth of
# the rule.
_FIELD_WORDS = (
    *("token", "passw", "passphrase", "secret", "client-key-data", "dockerc", "tls.key", "ca.key"),
    *(f"{word}{joint}key" for word in ("api", "private") for joint in ("", "-", "_")),
)
_FOLDED = {0x17F: "s", 0x131: "i", 0x307: None}
"""Letters that IGNORECASE takes for ASCII ones and `lower` does not: ſ, ı, and the dot that is left of İ."""
_HEADER_WORDS = ("authorization", "cookie", "x-api-key", "x-auth-token")
_VARIABLE_WORDS = ("passw", "token", "secret", "apikey", "api_key", "privatekey", "private_key")


@dataclass(frozen=True, slots=True)
class _Rule:
    """Replace what follows group 1, or all where there is no such group; needs one of its words."""

    words: tuple[str, ...]
    pattern: re.Pattern[str]

    def apply(self, text: str, lowered: str) -> str:
        if not any(word in lowered for word in self.words):
            return text
        prefixed = self.pattern.groups and "kind" not in self.pattern.groupindex
        return self.pattern.sub(rf"\1{HIDDEN}" if prefixed else HIDDEN, text)


def _rule(words: str | tuple[str, ...], pattern: str, flags: re.RegexFlag = re.IGNORECASE) -> _Rule:
    return _Rule((words,) if isinstance(words, str) else words, re.compile(pattern, flags))


_RULES: tuple[_Rule, ...] = (
    _rule(
        "private key",
        r"-----BEGIN (?P<kind>(?:[A-Z0-9]+ )*PRIVATE KEY)-----.*?(?:-----END (?P=kind)-----|\Z)",
        re.DOTALL,
    ),
    # header.payload.signature of a JWT; both of the first parts are JSON objects, hence `eyJ`
    _rule("eyj", r"\beyJ[A-Za-z0-9_-]{5,}\.eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*", re.NOFLAG),
    _rule("@", rf"([a-z][a-z0-9+.-]*://[^\s:/@\"'<>]*:)(?!{HIDDEN})[^\s/@\"'<>]+(?=@)"),
    # a quoted header or field with its quoted value: {"Authorization": "…"}, ["cookie", "…"], {"password": "…"}
    _rule(_HEADER_WORDS, rf"({_QUOTE}(?:{_HEADERS}){_QUOTE}\s*[:,=]\s*(\\*[\"']))(?!{HIDDEN}).*?(?=\2)"),
    _rule(_FIELD_WORDS, rf"({_QUOTE}(?:{_FIELDS}){_QUOTE}\s*:\s*(\\*[\"']))(?!{HIDDEN}).*?(?=\2)"),
    # a header as it is sent; the value ends with the line or with the quote that encloses the header (curl -H "…")
    _rule(_HEADER_WORDS, rf"((?<![\w-])(?:{_HEADERS})[ \t]*:[ \t]*+)(?!{HIDDEN})[^\r\n\"'\\]+"),
    _rule("bearer", r"(\bBearer\s+)(?=\S*\d)[A-Za-z0-9._~+/-]{8,}=*"),
    _rule(("basic", "negotiate"), r"(\b(?:Basic|Negotiate)\s+)(?=\S*[\d=])[A-Za-z0-9+/]{8,}=*", re.NOFLAG),
    # YAML: the whole value, quoted or not; in the middle of a line one word
    _rule(
        _FIELD_WORDS,
        rf"(^[ \t-]*(?:{_FIELDS}):[ \t]+)(?!{HIDDEN})[^\s{{\[|>&\"'][^\r\n]*",
        re.IGNORECASE | re.MULTILINE,
    ),
    _rule(_FIELD_WORDS, rf"((?<![\w.-])(?:{_FIELDS}):[ \t]*([\"']))(?!{HIDDEN})(?:(?!\2)[^\r\n])+(?=\2)"),
    _rule(_FIELD_WORDS, rf"((?<![\w.-])(?:{_FIELDS}):[ \t]+)(?!{HIDDEN})[^\s{{\[|>&\"'][^\s,;\"']*"),
    # environment and command lines: `DB_PASSWORD=x`, `--token x`, `--token=x`
    _rule(_FIELD_WORDS, rf"(--(?:{_FIELDS})[= ]\s*+)(?!{HIDDEN}|-)\S+"),
    _rule(_FIELD_WORDS, rf"((?<![\w.-])(?:{_FIELDS})=)(?!{HIDDEN})[^\s&;,\"']+"),
    # a container's variable: name on one line, value on the next; or both in one JSON object
    _rule(
        _VARIABLE_WORDS,
        rf"(\bname:[ \t]*[\"']?{_VARIABLE}[\"']?[ \t]*\n[ \t]*value:[ \t]+)(?!{HIDDEN})[^\r\n]+",
    ),
    _rule(
        _VARIABLE_WORDS,
        rf"({_QUOTE}name{_QUOTE}\s*:\s*{_QUOTE}{_VARIABLE}{_QUOTE}\s*,\s*{_QUOTE}value{_QUOTE}\s*:\s*(\\*[\"']))"
        rf"(?!{HIDDEN}).*?(?=\2)",
    ),
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
    URLs, tokens and client keys of kubeconfigs, fields and variables named like a password, and the data of Secrets in
    YAML or JSON.
    """
    lowered = text.lower().translate(_FOLDED)
    if "secret" in lowered and _YAML_SECRET.search(text):
        text = "".join(_secret_yaml(part) for part in _DOCUMENTS.split(text))
    if "secret" in lowered and _JSON_SECRET.search(text):
        text = _JSON_DATA.sub(_hide_json, text)
    for rule in _RULES:
        text = rule.apply(text, lowered)
    return text


def scrub(value: object) -> object:
    """A JSON value with `redact` applied to every string; a field or header with a secret's name loses its value."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _scrub_entry(value, key, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        match value:
            case [str(name), str()] if re.fullmatch(_HEADERS, name, re.IGNORECASE):
                return [name, HIDDEN]
            case _:
                return [scrub(item) for item in value]
    return value


def _scrub_entry(owner: dict[object, object], key: object, item: object) -> object:
    """One entry of an object, hidden where its own name, or what it stands beside, says that it is secret."""
    secret = (
        (isinstance(key, str) and isinstance(item, str) and _SECRET_FIELD.fullmatch(key))
        or (key in {"data", "stringData"} and owner.get("kind") == "Secret")
        or (key == "value" and _SECRET_VARIABLE.fullmatch(str(owner.get("name", ""))))
    )
    return _hide_all(item) if secret else scrub(item)


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
