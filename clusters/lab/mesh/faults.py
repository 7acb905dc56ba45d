"""The mesh mutants' faults by name: what stands at which seam. What each breaks, in words, is in `mutants`.

What belongs here: the table. What does not: the faults themselves (`misreadings`, `miswirings`, `lapses`,
`mishandlings`). Only a lab with a mutant imports any of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from clusters.lab.mesh import lapses, misreadings, miswirings
from clusters.lab.mesh.mishandlings import (
    annotation_counts,
    any_revision,
    asked_otherwise,
    form_ignored,
    leaving_out,
    never_out,
    not_held,
    open_when_down,
    without_exceptions,
)
from clusters.lab.mesh.misreadings import (
    instead,
    on_matches,
    on_modes,
    on_operations,
    on_paths,
    on_policies,
    on_routes,
    on_rules,
    on_services,
    on_sources,
    on_tokens,
)
from clusters.lab.mesh.miswirings import clusters, inbound, put, put_beside, routes
from clusters.lab.mesh.mutation import Fault

_CALLERS: Final = "default_validation_context"
_MODES: Final[Mapping[str, Callable[[], Fault]]] = {
    "plaintext-in-strict": lambda: on_modes(misreadings.strict_is_permissive),
    "strict-for-http-only": lambda: inbound(miswirings.raw_tcp_open),
    "port-mode-ignored": lambda: on_modes(misreadings.without_ports),
    "namespace-mode-wins": lambda: instead(misreadings.namespace_wins),
    "unset-is-permissive": lambda: on_modes(misreadings.unset_is_permissive),
    "mesh-mode-ignored": lambda: on_modes(misreadings.not_of_the_mesh),
    "disable-unknown-to-callers": lambda: instead(misreadings.disabled_unknown_to_callers),
    "client-tls-ignored": lambda: instead(misreadings.without_client_tls),
    "auto-mtls-off": lambda: clusters(miswirings.in_plaintext),
}
_IDENTITIES: Final[Mapping[str, Callable[[], Fault]]] = {
    "any-authority-trusted": lambda: inbound(put("trust_chain_verification", "ACCEPT_UNTRUSTED", _CALLERS)),
    "expired-certificates-taken": lambda: inbound(put("allow_expired_certificate", True, _CALLERS)),
    "trust-domain-ignored": lambda: inbound(miswirings.without_names),
    "certificate-not-required": lambda: inbound(miswirings.certificates_optional),
    "old-tls-taken": lambda: inbound(miswirings.old_versions),
    "identity-of-the-node": lapses.nodes_identities,
    "identity-claimed-in-a-header": lambda: inbound(miswirings.naked_vouch_for_themselves),
    "certificates-never-renewed": lambda: Fault(issuing=lapses.never_renewed),
}
_ACCESS: Final[Mapping[str, Callable[[], Fault]]] = {
    "principals-ignored": lambda: on_sources(lambda each: replace(each, principals=())),
    "not-principals-ignored": lambda: on_sources(lambda each: replace(each, not_principals=())),
    "namespaces-ignored": lambda: on_sources(lambda each: replace(each, namespaces=())),
    "service-accounts-ignored": lambda: on_sources(lambda each: replace(each, service_accounts=())),
    "allow-before-deny": lambda: instead(misreadings.allow_first),
    "allow-nothing-allows": lambda: on_policies(misreadings.nothing_is_everything),
    "audit-allows": lambda: misreadings.as_action("AUDIT", "ALLOW"),
    "custom-skipped": lambda: misreadings.without_action("CUSTOM"),
    "policy-selector-ignored": lambda: on_policies(misreadings.for_the_whole_namespace),
    "root-policies-ignored": lambda: on_policies(misreadings.not_of_the_root),
    "authorization-for-http-only": lambda: inbound(miswirings.unauthorized_tcp),
    "rule-parts-apart": lambda: on_rules(misreadings.parts_apart),
    "path-not-normalised": lambda: inbound(put_beside("normalize_path", False, "normalize_path")),
    "prefix-path-is-exact": lambda: on_paths(misreadings.without_star),
    "exact-path-is-prefix": lambda: on_paths(misreadings.with_star),
    "method-ignored": lambda: on_operations(lambda each: replace(each, methods=())),
    "host-case-counts": lambda: inbound(miswirings.case_counts),
    "conditions-ignored": lambda: on_rules(lambda rule: (replace(rule, conditions=()),)),
}
_TOKENS: Final[Mapping[str, Callable[[], Fault]]] = {
    "token-expiry-unchecked": lambda: inbound(put_beside("clock_skew_seconds", 315360000, "local_jwks")),
    "token-audience-unchecked": lambda: on_tokens(lambda rule: replace(rule, audiences=())),
    "token-signature-unchecked": lambda: inbound(miswirings.read_not_verified),
    "bad-token-is-no-token": lambda: inbound(miswirings.failed_is_missing),
    "token-not-required": lambda: on_sources(lambda each: replace(each, request_principals=())),
    "token-keys-cached": lapses.keys_of_birth,
}
_ROUTES: Final[Mapping[str, Callable[[], Fault]]] = {
    "even-split": lambda: on_routes(misreadings.evenly),
    "leaky-split": lambda: on_routes(misreadings.leaking),
    "sticky-split": lambda: routes(miswirings.one_backend_a_caller),
    "last-route-wins": lambda: on_services(misreadings.last_first),
    "route-headers-ignored": lambda: on_matches(lambda each: replace(each, headers=())),
    "route-source-ignored": lambda: on_matches(lambda each: replace(each, source_labels={})),
    "exact-route-is-prefix": lambda: on_matches(misreadings.exact_as_prefix),
    "unmatched-passes": lambda: on_services(misreadings.with_a_way_out),
    "empty-subset-is-whole": lambda: clusters(miswirings.empty_is_whole),
}
_TIMES: Final[Mapping[str, Callable[[], Fault]]] = {
    "one-proxy-stale": lambda: Fault(delivery=lapses.one_is_stale),
    "late-push": lapses.late,
    "deletions-not-delivered": lambda: lapses.remembering(lapses.undying),
    "updates-not-delivered": lambda: lapses.remembering(lapses.as_born),
}
_PODS: Final[Mapping[str, Callable[[], Fault]]] = {
    "opt-out-ignored": lambda: asked_otherwise(never_out),
    "revision-ignored": lambda: asked_otherwise(any_revision),
    "annotation-injects": lambda: asked_otherwise(annotation_counts),
    "injection-fails-open": lambda: asked_otherwise(open_when_down),
    "proxy-form-ignored": lambda: asked_otherwise(form_ignored),
    "application-not-held": not_held,
    "exclusions-ignored": lambda: Fault(redirection=without_exceptions),
    "calls-not-redirected": lambda: Fault(redirection=leaving_out("9090")),
}
FAULTS: Final[Mapping[str, Callable[[], Fault]]] = MappingProxyType(
    {**_MODES, **_IDENTITIES, **_ACCESS, **_TOKENS, **_ROUTES, **_TIMES, **_PODS}
)
"""Mutant → makes what stands at the seams, with a memory of its own."""
