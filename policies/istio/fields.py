"""Every field that Istio 1.31 knows for the lab's kinds, as its CustomResourceDefinitions have them, in compact text.

One line a type: `Type: field shape, …`. A shape is `str`, `int`, `uint`, `num`, `bool`, `dur` (a duration), `any`, a
closed set `A|B`, another type's name, `[shape]` or `{shape}` (a map by string). Marks behind a shape: `!` the field
must be there, `?` null is a value, `+` not empty. `@a/b` at a line's end: at most one of these fields.

What belongs here: shapes. What does not: what values mean to Istio (`rules`), what the lab does not do (`refusals`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

FIELDS = """
PeerAuthentication: spec PeerAuthenticationSpec
AuthorizationPolicy: spec AuthorizationPolicySpec
RequestAuthentication: spec RequestAuthenticationSpec
DestinationRule: spec DestinationRuleSpec
VirtualService: spec VirtualServiceSpec
ServiceEntry: spec ServiceEntrySpec
Mtls: mode UNSET|DISABLE|PERMISSIVE|STRICT
Selector: matchLabels {str}
PeerAuthenticationSpec: mtls Mtls, portLevelMtls {Mtls}+, selector Selector
Provider: name str
Source: ipBlocks [str], namespaces [str], notIpBlocks [str], notNamespaces [str], notPrincipals [str],
  notRemoteIpBlocks [str], notRequestPrincipals [str], notServiceAccounts [str], notTrustDomains [str], principals
  [str], remoteIpBlocks [str], requestPrincipals [str], serviceAccounts [str], trustDomains [str]
AccessFrom: source Source
Operation: hosts [str], methods [str], notHosts [str], notMethods [str], notPaths [str], notPorts [str], paths
  [str], ports [str]
AccessTo: operation Operation
Condition: key str!, notValues [str], values [str]
AccessRule: from [AccessFrom], to [AccessTo], when [Condition]
TargetRef: group str, kind str+!, name str+!, namespace str
AuthorizationPolicySpec: action ALLOW|DENY|AUDIT|CUSTOM, provider Provider, rules [AccessRule], selector Selector,
  targetRef TargetRef, targetRefs [TargetRef], @provider
JwtHeader: name str+!, prefix str
ClaimToHeader: claim str+!, header str+!
JwtRule: audiences [str+], forwardOriginalToken bool, fromCookies [str+], fromHeaders [JwtHeader], fromParams
  [str+], issuer str+, jwks str, jwksUri str+, jwks_uri str+, outputClaimToHeaders [ClaimToHeader],
  outputPayloadToHeader str, spaceDelimitedClaims [str+], timeout dur
RequestAuthenticationSpec: jwtRules [JwtRule], selector Selector, targetRef TargetRef, targetRefs [TargetRef]
Http2KeepAlive: interval dur, timeout dur
ConnectionPoolHttp: h2UpgradePolicy DEFAULT|DO_NOT_UPGRADE|UPGRADE, http1MaxPendingRequests int, http2KeepAlive
  Http2KeepAlive, http2MaxRequests int, idleTimeout dur, maxConcurrentStreams int, maxRequestsPerConnection int,
  maxRetries int, useClientProtocol bool
TcpKeepalive: interval dur, probes uint, time dur
ConnectionPoolTcp: connectTimeout dur, idleTimeout str, maxConnectionDuration dur, maxConnections int, tcpKeepalive
  TcpKeepalive
ConnectionPool: http ConnectionPoolHttp, tcp ConnectionPoolTcp
CookieAttribute: name str!, value str
HttpCookie: attributes [CookieAttribute], name str!, path str, ttl str
Maglev: tableSize uint
RingHash: minimumRingSize uint
ConsistentHash: httpCookie HttpCookie, httpHeaderName str, httpQueryParameterName str, maglev Maglev,
  minimumRingSize uint, ringHash RingHash, useSourceIp bool,
  @httpHeaderName/httpCookie/useSourceIp/httpQueryParameterName, @ringHash/maglev
Distribute: from str, to {uint}
Failover: from str, to str
LocalityLbSetting: distribute [Distribute], enabled bool?, failover [Failover], failoverPriority [str]
Warmup: aggression num?, duration dur!, minimumPercent num?
ZoneAwareLbSetting: enabled bool?, failover [Failover], failoverPriority [str], minClusterSize uint?
LoadBalancer: consistentHash ConsistentHash, localityLbSetting LocalityLbSetting, simple
  UNSPECIFIED|LEAST_CONN|RANDOM|PASSTHROUGH|ROUND_ROBIN|LEAST_REQUEST, warmup Warmup, warmupDurationSecs dur,
  zoneAwareLbSetting ZoneAwareLbSetting, @simple/consistentHash
OutlierDetection: baseEjectionTime dur, consecutive5xxErrors uint?, consecutiveErrors int, consecutiveGatewayErrors
  uint?, consecutiveLocalOriginFailures uint?, interval dur, maxEjectionPercent int, minHealthPercent int,
  outlierDetectionHttpErrorCodes [int], splitExternalLocalOriginErrors bool
PortNumber: number uint
ClientTls: caCertificates str, caCrl str, clientCertificate str, credentialName str, insecureSkipVerify bool?, mode
  DISABLE|SIMPLE|MUTUAL|ISTIO_MUTUAL, privateKey str, sni str, subjectAltNames [str]
PortTrafficPolicy: connectionPool ConnectionPool, loadBalancer LoadBalancer, outlierDetection OutlierDetection, port
  PortNumber, tls ClientTls
ProxyProtocol: version V1|V2
RetryBudget: budgetInterval str, minRetryConcurrency uint, percent num?
Tunnel: protocol str, targetHost str!, targetPort uint!
TrafficPolicy: connectionPool ConnectionPool, loadBalancer LoadBalancer, outlierDetection OutlierDetection,
  portLevelSettings [PortTrafficPolicy], proxyProtocol ProxyProtocol, retryBudget RetryBudget, tls ClientTls, tunnel
  Tunnel
Subset: labels {str}, name str!, trafficPolicy TrafficPolicy
DestinationRuleSpec: exportTo [str], host str!, subsets [Subset], trafficPolicy TrafficPolicy, workloadSelector
  Selector
StringMatch: exact str, prefix str, regex str, @exact/prefix/regex
CorsPolicy: allowCredentials bool?, allowHeaders [str], allowMethods [str], allowOrigin [str], allowOrigins
  [StringMatch], exposeHeaders [str], maxAge dur, unmatchedPreflights UNSPECIFIED|FORWARD|IGNORE
Delegate: name str, namespace str
Body: bytes str, string str, @string/bytes
DirectResponse: body Body, status uint!
Percentage: value num
Abort: grpcStatus str, http2Error str, httpStatus int, percentage Percentage, @httpStatus/grpcStatus/http2Error
Delay: exponentialDelay dur, fixedDelay dur, percent int, percentage Percentage, @fixedDelay/exponentialDelay
Fault: abort Abort, delay Delay
HeaderChanges: add {str}, remove [str], set {str}
Headers: request HeaderChanges, response HeaderChanges
HttpMatch: authority StringMatch, gateways [str], headers {StringMatch}, ignoreUriCase bool, method StringMatch,
  name str, port uint, queryParams {StringMatch}, scheme StringMatch, sourceLabels {str}, sourceNamespace str,
  statPrefix str, uri StringMatch, withoutHeaders {StringMatch}
Destination: host str!, port PortNumber, subset str
MirrorDestination: destination Destination!, percentage Percentage
Redirect: authority str, derivePort FROM_PROTOCOL_DEFAULT|FROM_REQUEST_PORT, port uint, prefixRewrite str,
  redirectCode uint, scheme str, uri str, @port/derivePort
Retries: attempts int, backoff dur, perTryTimeout dur, retryIgnorePreviousHosts bool?, retryOn str,
  retryRemoteLocalities bool?
UriRegexRewrite: match str, rewrite str
Rewrite: authority str, uri str, uriRegexRewrite UriRegexRewrite
WeightedRoute: destination Destination!, headers Headers, weight int
HttpRoute: corsPolicy CorsPolicy, delegate Delegate, directResponse DirectResponse, fault Fault, headers Headers,
  match [HttpMatch], mirror Destination, mirrorPercent uint?, mirrorPercentage Percentage, mirror_percent uint?,
  mirrors [MirrorDestination], name str, redirect Redirect, retries Retries, rewrite Rewrite, route [WeightedRoute],
  timeout dur
TcpMatch: destinationSubnets [str], gateways [str], port uint, sourceLabels {str}, sourceNamespace str, sourceSubnet
  str
WeightedTcp: destination Destination!, weight int
TcpRoute: match [TcpMatch], route [WeightedTcp]
TlsMatch: destinationSubnets [str], gateways [str], port uint, sniHosts [str]!, sourceLabels {str}, sourceNamespace
  str
TlsRoute: match [TlsMatch]!, route [WeightedTcp]
VirtualServiceSpec: exportTo [str], gateways [str], hosts [str], http [HttpRoute], tcp [TcpRoute], tls [TlsRoute]
EntryEndpoint: address str, labels {str}, locality str, network str, ports {uint}, serviceAccount str, weight uint
EntryPort: name str!, number uint!, protocol str, targetPort uint
WorkloadSelector: labels {str}
ServiceEntrySpec: addresses [str], endpoints [EntryEndpoint], exportTo [str], hosts [str]+!, location
  MESH_EXTERNAL|MESH_INTERNAL, ports [EntryPort], resolution NONE|STATIC|DNS|DNS_ROUND_ROBIN|DYNAMIC_DNS,
  subjectAltNames [str], workloadSelector WorkloadSelector
"""
SCALARS = {"str", "int", "uint", "num", "bool", "dur", "any"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a field holds.

    Attributes:
        type: A scalar's name, a struct's, `enum`, or `list` or `map` with `item` for what is inside.
        required: The field must be there; nullable: null is a value; filled: it must not be empty.
    """

    type: str
    item: Shape | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    nullable: bool = False
    filled: bool = False

    @property
    def struct(self) -> bool:
        """Whether `type` names a struct."""
        return self.item is None and not self.choices and self.type not in SCALARS


@dataclass(frozen=True, slots=True, kw_only=True)
class Struct:
    """A type's fields, and groups of which at most one field may be given."""

    fields: dict[str, Shape]
    alternatives: tuple[tuple[str, ...], ...] = ()


@functools.cache
def types() -> dict[str, Struct]:
    """Every type."""
    found: dict[str, Struct] = {}
    for line in FIELDS.replace("\n  ", " ").strip().splitlines():
        name, _, rest = line.partition(": ")
        parts = rest.split(", ")
        pairs = (each.split(" ", 1) for each in parts if not each.startswith("@"))
        groups = tuple(tuple(each[1:].split("/")) for each in parts if each.startswith("@") and "/" in each)
        found[name] = Struct(fields={field: _shape(shape) for field, shape in pairs}, alternatives=groups)
    return found


def _shape(text: str) -> Shape:
    plain = text.rstrip("!?+")
    marks = text[len(plain) :]
    kind, item, choices = plain, None, tuple[str, ...]()
    if plain[0] in "[{":
        kind, item = ("list" if plain[0] == "[" else "map"), _shape(plain[1:-1])
    elif "|" in plain:
        kind, choices = "enum", tuple(plain.split("|"))
    return Shape(
        type=kind,
        item=item,
        choices=choices,
        required="!" in marks,
        nullable="?" in marks,
        filled="+" in marks,
    )
