"""The registry of broken meshes: what each one breaks, and what should catch it.

What belongs here: names and sentences. What does not: how a mutant breaks things (`faults`); the sound mesh knows only
the seams of `mutation`.
"""

from __future__ import annotations

from typing import Final

from clusters.lab.mutant import Mutant


def _broken(suite: str, name: str, breaks: str, *tests: str, seen_in: str = "") -> Mutant:
    return Mutant(name=name, breaks=breaks, suite=f"suites/{suite}", tests=tests, seen_in=seen_in, mesh=True)


_MTLS: Final = (
    _broken(
        "mtls",
        "plaintext-in-strict",
        "Strict mutual TLS takes plaintext, too.",
        "test_strict_namespace_refuses_plaintext",
        seen_in="meshes left in the permissive mode of their migration",
    ),
    _broken(
        "mtls",
        "strict-for-http-only",
        "Strict mutual TLS holds for HTTP; raw TCP takes plaintext all the same.",
        "test_strict_namespace_refuses_plaintext",
    ),
    _broken(
        "mtls",
        "port-mode-ignored",
        "A port has its workload's mode, whatever is said of the port.",
        "test_port_before_workload",
    ),
    _broken(
        "mtls",
        "namespace-mode-wins",
        "A namespace's mode wins over its workload's.",
        "test_workload_before_namespace",
    ),
    _broken(
        "mtls",
        "unset-is-permissive",
        "A workload that leaves its mode open is permissive instead of what its namespace is.",
        "test_unset_inherits",
    ),
    _broken("layers", "mesh-mode-ignored", "The mode of the whole mesh counts for nobody.", "test_strict_mesh"),
    _broken(
        "mtls",
        "disable-unknown-to-callers",
        "Callers' proxies do not know that a server takes no TLS.",
        "test_disable_takes_plaintext",
        seen_in="meshes in which what callers send is configured apart from what servers take",
    ),
    _broken(
        "mtls",
        "client-tls-ignored",
        "What a DestinationRule says of TLS counts for nothing.",
        "test_plaintext_to_a_strict_server",
    ),
    _broken(
        "mtls",
        "auto-mtls-off",
        "Callers' proxies send plaintext unless a rule tells them otherwise.",
        "test_strict_namespace_refuses_plaintext",
        "test_nothing_in_plaintext",
        seen_in="meshes whose automatic mutual TLS is switched off",
    ),
    _broken(
        "mtls",
        "any-authority-trusted",
        "Servers take certificates of any authority.",
        "test_only_certificates_of_the_mesh",
    ),
    _broken(
        "mtls",
        "expired-certificates-taken",
        "Servers take certificates that have expired.",
        "test_only_certificates_of_the_mesh",
    ),
    _broken(
        "mtls",
        "trust-domain-ignored",
        "Servers take every certificate of the mesh's authority, whatever name it bears.",
        "test_only_certificates_of_the_mesh",
    ),
    _broken(
        "mtls",
        "certificate-not-required",
        "Strict servers take TLS without a certificate of the caller.",
        "test_only_certificates_of_the_mesh",
    ),
    _broken("mtls", "old-tls-taken", "Servers take TLS 1.0 and 1.1.", "test_old_version_is_refused"),
    _broken(
        "mtls",
        "identity-claimed-in-a-header",
        "A caller without a proxy is who it says it is in a header of its own.",
        "test_identity_cannot_be_claimed",
        seen_in="proxies that forward the header of untrusted callers",
    ),
    _broken(
        "mtls",
        "certificates-never-renewed",
        "Certificates are not renewed before they end.",
        "test_renewed_under_traffic",
        seen_in="control planes that are away for longer than a certificate lives",
    ),
)
_AUTHORIZATION: Final = (
    _broken(
        "authorization",
        "identity-of-the-node",
        "A proxy has the identity of its node instead of its workload's.",
        "test_deny_before_allow",
        seen_in="agents that fetch certificates for all pods of a node with their own token",
    ),
    _broken(
        "authorization",
        "principals-ignored",
        "A rule that names identities is for everybody.",
        "test_allows_add_up",
    ),
    _broken(
        "authorization",
        "not-principals-ignored",
        "A rule for everybody but some identities is for these, too.",
        "test_exceptions_within_a_rule",
    ),
    _broken(
        "authorization", "namespaces-ignored", "A rule that names namespaces is for all of them.", "test_namespace"
    ),
    _broken(
        "authorization",
        "service-accounts-ignored",
        "A rule that names ServiceAccounts is for all of them.",
        "test_account",
        seen_in="control planes older than the field, whose API drops it",
    ),
    _broken(
        "authorization",
        "allow-before-deny",
        "What is allowed is not denied any more.",
        "test_deny_before_allow",
    ),
    _broken(
        "authorization",
        "allow-nothing-allows",
        "A policy that grants nothing grants everything.",
        "test_allow_nothing_and_back",
        seen_in="templates that write an empty rule for no rule",
    ),
    _broken("authorization", "audit-allows", "What is only watched is allowed.", "test_audit_decides_nothing"),
    _broken(
        "authorization",
        "custom-skipped",
        "What is left to an external authorizer that nobody knows is decided without it.",
        "test_custom_without_its_authorizer",
    ),
    _broken(
        "authorization",
        "policy-selector-ignored",
        "A workload's policy holds for its whole namespace.",
        "test_deny_before_allow",
    ),
    _broken(
        "layers",
        "root-policies-ignored",
        "The policies of the whole mesh hold for nobody.",
        "test_deny_of_the_mesh",
    ),
    _broken(
        "authorization",
        "authorization-for-http-only",
        "Raw TCP is authorized by nobody.",
        "test_allow_nothing_and_back",
    ),
    _broken(
        "authorization",
        "rule-parts-apart",
        "Of a rule's source, operation and conditions one is enough.",
        "test_parts_of_a_rule_add_up",
    ),
    _broken(
        "authorization",
        "path-not-normalised",
        "Paths are compared as they are written, dots and coded letters included.",
        "test_paths_that_are_made_plain",
        seen_in="meshes whose path normalisation is off",
    ),
    _broken(
        "authorization",
        "prefix-path-is-exact",
        "A path's prefix is that path alone.",
        "test_path and not paths and not template",
    ),
    _broken(
        "authorization",
        "exact-path-is-prefix",
        "A path is everything that begins so.",
        "test_path and not paths and not template",
    ),
    _broken("authorization", "method-ignored", "A rule that names methods is for all of them.", "test_method"),
    _broken("authorization", "host-case-counts", "Hosts are compared letter by letter.", "test_host"),
    _broken(
        "authorization",
        "conditions-ignored",
        "A rule's conditions need not hold.",
        "test_header",
    ),
    _broken("authorization", "token-expiry-unchecked", "Tokens that have expired are good ones.", "test_bad_tokens"),
    _broken("authorization", "token-audience-unchecked", "Tokens for somebody else are good ones.", "test_audience"),
    _broken(
        "authorization",
        "token-signature-unchecked",
        "A token's claims are believed whoever signed it.",
        "test_bad_tokens",
    ),
    _broken(
        "authorization",
        "bad-token-is-no-token",
        "A request with a bad token passes like one without any.",
        "test_bad_tokens",
    ),
    _broken(
        "authorization",
        "token-not-required",
        "A rule that requires a token takes requests without one.",
        "test_required",
    ),
    _broken(
        "authorization",
        "token-keys-cached",
        "An issuer's keys are those that it had first.",
        "test_new_key",
        seen_in="validators that fetch keys once",
    ),
    _broken(
        "authorization",
        "deletions-not-delivered",
        "What was deleted stays in force.",
        "test_allow_nothing_and_back",
    ),
    _broken(
        "authorization",
        "updates-not-delivered",
        "What was changed stays as it was made.",
        "test_allow_nothing_and_back",
    ),
    _broken(
        "authorization",
        "late-push",
        "Proxies are told of rules half a minute late.",
        "test_allow_nothing_and_back",
        seen_in="overloaded control planes",
    ),
    _broken(
        "authorization",
        "one-proxy-stale",
        "One proxy of a namespace keeps what it was told first.",
        "test_allows_add_up",
        seen_in="proxies that lost their control plane or refused a push",
    ),
)
_TRAFFIC: Final = (
    _broken(
        "traffic", "even-split", "Every version gets the same share, whatever the weights.", "test_split and 90-10"
    ),
    _broken("traffic", "leaky-split", "A version of weight 0 gets a hundredth of the requests.", "test_all_to_one"),
    _broken(
        "traffic",
        "sticky-split",
        "All requests of one caller go to the same version.",
        "test_split and 90-10",
        seen_in="splits made by balancers of connections or addresses",
    ),
    _broken("traffic", "last-route-wins", "Of several routes that match the last one decides.", "test_header"),
    _broken("traffic", "route-headers-ignored", "A route's headers need not match.", "test_header"),
    _broken("traffic", "route-source-ignored", "A route for one caller is for all of them.", "test_source"),
    _broken("traffic", "exact-route-is-prefix", "A route's exact path is a prefix.", "test_path_exact_and_prefix"),
    _broken(
        "traffic", "unmatched-passes", "What no route takes goes where it would without routes.", "test_nothing_matches"
    ),
    _broken(
        "traffic", "empty-subset-is-whole", "A version that nobody has is served by the others.", "test_empty_subset"
    ),
)
_INJECTION: Final = (
    _broken("injection", "opt-out-ignored", "A pod that wants no proxy gets one.", "test_opted_out"),
    _broken(
        "injection",
        "revision-ignored",
        "Whoever asks for a revision that nobody serves gets the one there is.",
        "test_wrong_revision",
    ),
    _broken(
        "injection",
        "annotation-injects",
        "An annotation is enough for a proxy where nobody asked for it.",
        "test_annotation_alone",
    ),
    _broken(
        "injection",
        "injection-fails-open",
        "While the webhook is down pods pass without a proxy, although they must not.",
        "test_webhook_down_and_failing",
        seen_in="webhooks with failurePolicy Ignore",
    ),
    _broken(
        "injection", "proxy-form-ignored", "A pod's wish for the form of its proxy is not heard.", "test_container_form"
    ),
    _broken(
        "injection",
        "application-not-held",
        "Applications start before their proxies work.",
        "test_proxy_before_application",
        seen_in="proxies that are ordinary containers",
    ),
    _broken(
        "injection",
        "exclusions-ignored",
        "Ports that were to be left alone are redirected.",
        "test_around_the_proxy",
    ),
    _broken(
        "mtls",
        "calls-not-redirected",
        "Calls to port 9090 go past the caller's proxy.",
        "test_strict_namespace_refuses_plaintext",
        seen_in="forgotten exclusions of database ports",
    ),
)
MESH_MUTANTS: Final = (*_MTLS, *_AUTHORIZATION, *_TRAFFIC, *_INJECTION)
"""Every one, by the suite that catches it."""
