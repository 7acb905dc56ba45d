"""Every field that Kubernetes 1.34 knows for the lab's kinds, in one compact text that `schema` parses.

One line a type: `Type: field#number shape, …`; the number is the field's place in Kubernetes' protobuf encoding (a dot
leads into an embedded message; `metadata` is always 1). A shape is `str`, `int`, `long`, `bool`, `time`, `bytes`,
`quantity`, `any`, `intstr` (a number or a name), another type's name, `[shape]` or `{shape}` (a map by string). Marks
behind a shape:

- `?`: the zero value is a value (`false` is kept); without it empty values are dropped on the way in, as Kubernetes'
  `omitempty` does,
- `!`: always written, zero value and all,
- `~key`: strategic merge patch merges the list by `key`; a bare `~` merges a list of plain values,
- `^`: a list element may say `$retainKeys`.

Volume sources that the lab refuses by name (`admission`) are `any`: nobody looks inside.
"""

from __future__ import annotations

FIELDS = """
Namespace: apiVersion str, kind str, metadata ObjectMeta!, spec#2 NamespaceSpec!, status#3 NamespaceStatus!
NamespaceSpec: finalizers#1 [str]
NamespaceStatus: conditions#2 [NamespaceCondition]~type, phase#1 str
NamespaceCondition: lastTransitionTime#4 time, message#6 str, reason#5 str, status#2 str!, type#1 str!
Pod: apiVersion str, kind str, metadata ObjectMeta!, spec#2 PodSpec!, status#3 PodStatus!
PodSpec: activeDeadlineSeconds#5 long?, affinity#18 Affinity, automountServiceAccountToken#21 bool?,
  containers#2 [Container]!~name, dnsConfig#26 PodDNSConfig, dnsPolicy#6 str, enableServiceLinks#30 bool?,
  ephemeralContainers#34 [EphemeralContainer]~name, hostAliases#23 [HostAlias]~ip, hostIPC#13 bool,
  hostNetwork#11 bool, hostPID#12 bool, hostUsers#37 bool?, hostname#16 str, hostnameOverride#41 str?,
  imagePullSecrets#15 [LocalObjectReference]~name, initContainers#20 [Container]~name, nodeName#10 str,
  nodeSelector#7 {str}, os#36 PodOS, overhead#32 {quantity}, preemptionPolicy#31 str?, priority#25 int?,
  priorityClassName#24 str, readinessGates#28 [PodReadinessGate], resourceClaims#39 [PodResourceClaim]~name^,
  resources#40 ResourceRequirements, restartPolicy#3 str, runtimeClassName#29 str?, schedulerName#19 str,
  schedulingGates#38 [PodSchedulingGate]~name, securityContext#14 PodSecurityContext, serviceAccount#9 str,
  serviceAccountName#8 str, setHostnameAsFQDN#35 bool?, shareProcessNamespace#27 bool?, subdomain#17 str,
  terminationGracePeriodSeconds#4 long?, tolerations#22 [Toleration],
  topologySpreadConstraints#33 [TopologySpreadConstraint]~topologyKey, volumes#1 [Volume]~name^
Volume: awsElasticBlockStore#2.4 any, azureDisk#2.22 any, azureFile#2.18 any, cephfs#2.14 any, cinder#2.13 any,
  configMap#2.19 ConfigMapVolumeSource, csi#2.28 any, downwardAPI#2.16 DownwardAPIVolumeSource,
  emptyDir#2.2 EmptyDirVolumeSource, ephemeral#2.29 any, fc#2.17 any, flexVolume#2.12 any, flocker#2.15 any,
  gcePersistentDisk#2.3 any, gitRepo#2.5 any, glusterfs#2.9 any, hostPath#2.1 any, image#2.30 any, iscsi#2.8 any,
  name#1 str!, nfs#2.7 any, persistentVolumeClaim#2.10 any, photonPersistentDisk#2.23 any, portworxVolume#2.24 any,
  projected#2.26 ProjectedVolumeSource, quobyte#2.21 any, rbd#2.11 any, scaleIO#2.25 any,
  secret#2.6 SecretVolumeSource, storageos#2.27 any, vsphereVolume#2.20 any
EmptyDirVolumeSource: medium#1 str, sizeLimit#2 quantity
SecretVolumeSource: defaultMode#3 int?, items#2 [KeyToPath], optional#4 bool?, secretName#1 str
KeyToPath: key#1 str!, mode#3 int?, path#2 str!
DownwardAPIVolumeSource: defaultMode#2 int?, items#1 [DownwardAPIVolumeFile]
DownwardAPIVolumeFile: fieldRef#2 ObjectFieldSelector, mode#4 int?, path#1 str!,
  resourceFieldRef#3 ResourceFieldSelector
ObjectFieldSelector: apiVersion#1 str, fieldPath#2 str!
ResourceFieldSelector: containerName#1 str, divisor#3 quantity, resource#2 str!
ConfigMapVolumeSource: defaultMode#3 int?, items#2 [KeyToPath], name#1.1 str, optional#4 bool?
ProjectedVolumeSource: defaultMode#2 int?, sources#1 [VolumeProjection]!
VolumeProjection: clusterTrustBundle#5 any, configMap#3 ConfigMapProjection, downwardAPI#2 DownwardAPIProjection,
  podCertificate#6 any, secret#1 SecretProjection, serviceAccountToken#4 ServiceAccountTokenProjection
SecretProjection: items#2 [KeyToPath], name#1.1 str, optional#4 bool?
DownwardAPIProjection: items#1 [DownwardAPIVolumeFile]
ConfigMapProjection: items#2 [KeyToPath], name#1.1 str, optional#4 bool?
ServiceAccountTokenProjection: audience#1 str, expirationSeconds#2 long?, path#3 str!
Container: args#4 [str], command#3 [str], env#7 [EnvVar]~name, envFrom#19 [EnvFromSource], image#2 str,
  imagePullPolicy#14 str, lifecycle#12 Lifecycle, livenessProbe#10 Probe, name#1 str!,
  ports#6 [ContainerPort]~containerPort, readinessProbe#11 Probe, resizePolicy#23 [ContainerResizePolicy],
  resources#8 ResourceRequirements!, restartPolicy#24 str?, restartPolicyRules#25 [ContainerRestartRule],
  securityContext#15 SecurityContext, startupProbe#22 Probe, stdin#16 bool, stdinOnce#17 bool,
  terminationMessagePath#13 str, terminationMessagePolicy#20 str, tty#18 bool,
  volumeDevices#21 [VolumeDevice]~devicePath, volumeMounts#9 [VolumeMount]~mountPath, workingDir#5 str
ContainerPort: containerPort#3 int!, hostIP#5 str, hostPort#2 int, name#1 str, protocol#4 str
EnvFromSource: configMapRef#2 ConfigMapEnvSource, prefix#1 str, secretRef#3 SecretEnvSource
ConfigMapEnvSource: name#1.1 str, optional#2 bool?
SecretEnvSource: name#1.1 str, optional#2 bool?
EnvVar: name#1 str!, value#2 str, valueFrom#3 EnvVarSource
EnvVarSource: configMapKeyRef#3 ConfigMapKeySelector, fieldRef#1 ObjectFieldSelector, fileKeyRef#5 FileKeySelector,
  resourceFieldRef#2 ResourceFieldSelector, secretKeyRef#4 SecretKeySelector
ConfigMapKeySelector: key#2 str!, name#1.1 str, optional#3 bool?
SecretKeySelector: key#2 str!, name#1.1 str, optional#3 bool?
FileKeySelector: key#3 str!, optional#4 bool?, path#2 str!, volumeName#1 str!
ResourceRequirements: claims#3 [ResourceClaim], limits#1 {quantity}, requests#2 {quantity}
ResourceClaim: name#1 str!, request#2 str
ContainerResizePolicy: resourceName#1 str!, restartPolicy#2 str!
ContainerRestartRule: action#1 str, exitCodes#2 ContainerRestartRuleOnExitCodes
ContainerRestartRuleOnExitCodes: operator#1 str, values#2 [int]
VolumeMount: mountPath#3 str!, mountPropagation#5 str?, name#1 str!, readOnly#2 bool, recursiveReadOnly#7 str?,
  subPath#4 str, subPathExpr#6 str
VolumeDevice: devicePath#2 str!, name#1 str!
Probe: exec#1.1 ExecAction, failureThreshold#6 int, grpc#1.4 GRPCAction, httpGet#1.2 HTTPGetAction,
  initialDelaySeconds#2 int, periodSeconds#4 int, successThreshold#5 int, tcpSocket#1.3 TCPSocketAction,
  terminationGracePeriodSeconds#7 long?, timeoutSeconds#3 int
ExecAction: command#1 [str]
HTTPGetAction: host#3 str, httpHeaders#5 [HTTPHeader], path#1 str, port#2 intstr!, scheme#4 str
HTTPHeader: name#1 str!, value#2 str!
TCPSocketAction: host#2 str, port#1 intstr!
GRPCAction: port#1 int!, service#2 str?
Lifecycle: postStart#1 LifecycleHandler, preStop#2 LifecycleHandler, stopSignal#3 str?
LifecycleHandler: exec#1 ExecAction, httpGet#2 HTTPGetAction, sleep#4 SleepAction, tcpSocket#3 TCPSocketAction
SleepAction: seconds#1 long!
SecurityContext: allowPrivilegeEscalation#7 bool?, appArmorProfile#12 AppArmorProfile, capabilities#1 Capabilities,
  privileged#2 bool?, procMount#9 str?, readOnlyRootFilesystem#6 bool?, runAsGroup#8 long?, runAsNonRoot#5 bool?,
  runAsUser#4 long?, seLinuxOptions#3 SELinuxOptions, seccompProfile#11 SeccompProfile,
  windowsOptions#10 WindowsSecurityContextOptions
Capabilities: add#1 [str], drop#2 [str]
SELinuxOptions: level#4 str, role#2 str, type#3 str, user#1 str
WindowsSecurityContextOptions: gmsaCredentialSpec#2 str?, gmsaCredentialSpecName#1 str?, hostProcess#4 bool?,
  runAsUserName#3 str?
SeccompProfile: localhostProfile#2 str?, type#1 str!
AppArmorProfile: localhostProfile#2 str?, type#1 str!
EphemeralContainer: args#1.4 [str], command#1.3 [str], env#1.7 [EnvVar]~name, envFrom#1.19 [EnvFromSource],
  image#1.2 str, imagePullPolicy#1.14 str, lifecycle#1.12 Lifecycle, livenessProbe#1.10 Probe, name#1.1 str!,
  ports#1.6 [ContainerPort]~containerPort, readinessProbe#1.11 Probe, resizePolicy#1.23 [ContainerResizePolicy],
  resources#1.8 ResourceRequirements!, restartPolicy#1.24 str?, restartPolicyRules#1.25 [ContainerRestartRule],
  securityContext#1.15 SecurityContext, startupProbe#1.22 Probe, stdin#1.16 bool, stdinOnce#1.17 bool,
  targetContainerName#2 str, terminationMessagePath#1.13 str, terminationMessagePolicy#1.20 str, tty#1.18 bool,
  volumeDevices#1.21 [VolumeDevice]~devicePath, volumeMounts#1.9 [VolumeMount]~mountPath, workingDir#1.5 str
PodSecurityContext: appArmorProfile#11 AppArmorProfile, fsGroup#5 long?, fsGroupChangePolicy#9 str?,
  runAsGroup#6 long?, runAsNonRoot#3 bool?, runAsUser#2 long?, seLinuxChangePolicy#13 str?,
  seLinuxOptions#1 SELinuxOptions, seccompProfile#10 SeccompProfile, supplementalGroups#4 [long],
  supplementalGroupsPolicy#12 str?, sysctls#7 [Sysctl], windowsOptions#8 WindowsSecurityContextOptions
Sysctl: name#1 str!, value#2 str!
LocalObjectReference: name#1 str
Affinity: nodeAffinity#1 NodeAffinity, podAffinity#2 PodAffinity, podAntiAffinity#3 PodAntiAffinity
NodeAffinity: preferredDuringSchedulingIgnoredDuringExecution#2 [PreferredSchedulingTerm],
  requiredDuringSchedulingIgnoredDuringExecution#1 NodeSelector
NodeSelector: nodeSelectorTerms#1 [NodeSelectorTerm]!
NodeSelectorTerm: matchExpressions#1 [NodeSelectorRequirement], matchFields#2 [NodeSelectorRequirement]
NodeSelectorRequirement: key#1 str!, operator#2 str!, values#3 [str]
PreferredSchedulingTerm: preference#2 NodeSelectorTerm!, weight#1 int!
PodAffinity: preferredDuringSchedulingIgnoredDuringExecution#2 [WeightedPodAffinityTerm],
  requiredDuringSchedulingIgnoredDuringExecution#1 [PodAffinityTerm]
PodAffinityTerm: labelSelector#1 LabelSelector, matchLabelKeys#5 [str], mismatchLabelKeys#6 [str],
  namespaceSelector#4 LabelSelector, namespaces#2 [str], topologyKey#3 str!
LabelSelector: matchExpressions#2 [LabelSelectorRequirement], matchLabels#1 {str}
LabelSelectorRequirement: key#1 str!, operator#2 str!, values#3 [str]
WeightedPodAffinityTerm: podAffinityTerm#2 PodAffinityTerm!, weight#1 int!
PodAntiAffinity: preferredDuringSchedulingIgnoredDuringExecution#2 [WeightedPodAffinityTerm],
  requiredDuringSchedulingIgnoredDuringExecution#1 [PodAffinityTerm]
Toleration: effect#4 str, key#1 str, operator#2 str, tolerationSeconds#5 long?, value#3 str
HostAlias: hostnames#2 [str], ip#1 str!
PodDNSConfig: nameservers#1 [str], options#3 [PodDNSConfigOption], searches#2 [str]
PodDNSConfigOption: name#1 str, value#2 str?
PodReadinessGate: conditionType#1 str!
TopologySpreadConstraint: labelSelector#4 LabelSelector, matchLabelKeys#8 [str], maxSkew#1 int!, minDomains#5 int?,
  nodeAffinityPolicy#6 str?, nodeTaintsPolicy#7 str?, topologyKey#2 str!, whenUnsatisfiable#3 str!
PodOS: name#1 str!
PodSchedulingGate: name#1 str!
PodResourceClaim: name#1 str!, resourceClaimName#3 str?, resourceClaimTemplateName#4 str?
PodStatus: conditions#2 [PodCondition]~type, containerStatuses#8 [ContainerStatus],
  ephemeralContainerStatuses#13 [ContainerStatus], extendedResourceClaimStatus#18 PodExtendedResourceClaimStatus,
  hostIP#5 str, hostIPs#16 [HostIP]~ip, initContainerStatuses#10 [ContainerStatus], message#3 str,
  nominatedNodeName#11 str, observedGeneration#17 long, phase#1 str, podIP#6 str, podIPs#12 [PodIP]~ip,
  qosClass#9 str, reason#4 str, resize#14 str, resourceClaimStatuses#15 [PodResourceClaimStatus]~name^,
  startTime#7 time
PodCondition: lastProbeTime#3 time, lastTransitionTime#4 time, message#6 str, observedGeneration#7 long, reason#5 str,
  status#2 str!, type#1 str!
HostIP: ip#1 str!
PodIP: ip#1 str!
ContainerStatus: allocatedResources#10 {quantity}, allocatedResourcesStatus#14 [ResourceStatus]~name,
  containerID#8 str, image#6 str!, imageID#7 str!, lastState#3 ContainerState!, name#1 str!, ready#4 bool!,
  resources#11 ResourceRequirements, restartCount#5 int!, started#9 bool?, state#2 ContainerState!,
  stopSignal#15 str?, user#13 ContainerUser, volumeMounts#12 [VolumeMountStatus]~mountPath
ContainerState: running#2 ContainerStateRunning, terminated#3 ContainerStateTerminated,
  waiting#1 ContainerStateWaiting
ContainerStateWaiting: message#2 str, reason#1 str
ContainerStateRunning: startedAt#1 time
ContainerStateTerminated: containerID#7 str, exitCode#1 int!, finishedAt#6 time, message#4 str, reason#3 str,
  signal#2 int, startedAt#5 time
VolumeMountStatus: mountPath#2 str!, name#1 str!, readOnly#3 bool, recursiveReadOnly#4 str?
ContainerUser: linux#1 LinuxContainerUser
LinuxContainerUser: gid#2 long!, supplementalGroups#3 [long], uid#1 long!
ResourceStatus: name#1 str!, resources#2 [ResourceHealth]
ResourceHealth: health#2 str, resourceID#1 str!
PodResourceClaimStatus: name#1 str!, resourceClaimName#2 str?
PodExtendedResourceClaimStatus: requestMappings#1 [ContainerExtendedResourceRequest]!, resourceClaimName#2 str!
ContainerExtendedResourceRequest: containerName#1 str!, requestName#3 str!, resourceName#2 str!
Binding: apiVersion str, kind str, metadata ObjectMeta!, target#2 ObjectReference!
ObjectReference: apiVersion#5 str, fieldPath#7 str, kind#1 str, name#3 str, namespace#2 str, resourceVersion#6 str,
  uid#4 str
Service: apiVersion str, kind str, metadata ObjectMeta!, spec#2 ServiceSpec!, status#3 ServiceStatus!
ServiceSpec: allocateLoadBalancerNodePorts#20 bool?, clusterIP#3 str, clusterIPs#18 [str], externalIPs#5 [str],
  externalName#10 str, externalTrafficPolicy#11 str, healthCheckNodePort#12 int, internalTrafficPolicy#22 str?,
  ipFamilies#19 [str], ipFamilyPolicy#17 str?, loadBalancerClass#21 str?, loadBalancerIP#8 str,
  loadBalancerSourceRanges#9 [str], ports#1 [ServicePort]~port, publishNotReadyAddresses#13 bool, selector#2 {str},
  sessionAffinity#7 str, sessionAffinityConfig#14 SessionAffinityConfig, trafficDistribution#23 str?, type#4 str
ServicePort: appProtocol#6 str?, name#1 str, nodePort#5 int, port#3 int!, protocol#2 str, targetPort#4 intstr!
SessionAffinityConfig: clientIP#1 ClientIPConfig
ClientIPConfig: timeoutSeconds#1 int?
ServiceStatus: conditions#2 [Condition]~type, loadBalancer#1 LoadBalancerStatus!
LoadBalancerStatus: ingress#1 [LoadBalancerIngress]
LoadBalancerIngress: hostname#2 str, ip#1 str, ipMode#3 str?, ports#4 [PortStatus]
PortStatus: error#3 str?, port#1 int!, protocol#2 str!
Condition: lastTransitionTime#4 time, message#6 str!, observedGeneration#3 long, reason#5 str!, status#2 str!,
  type#1 str!
EndpointSlice: addressType#4 str!, apiVersion str, endpoints#2 [SliceEndpoint]!, kind str, metadata ObjectMeta!,
  ports#3 [SliceEndpointPort]!
SliceEndpoint: addresses#1 [str]!, conditions#2 SliceEndpointConditions!, deprecatedTopology#5 {str},
  hints#8 SliceEndpointHints, hostname#3 str?, nodeName#6 str?, targetRef#4 ObjectReference, zone#7 str?
SliceEndpointConditions: ready#1 bool?, serving#2 bool?, terminating#3 bool?
SliceEndpointHints: forNodes#2 [SliceForNode], forZones#1 [SliceForZone]
SliceForZone: name#1 str!
SliceForNode: name#1 str!
SliceEndpointPort: appProtocol#4 str?, name#1 str?, port#3 int?, protocol#2 str?
ConfigMap: apiVersion str, binaryData#3 {bytes}, data#2 {str}, immutable#4 bool?, kind str, metadata ObjectMeta!
Secret: apiVersion str, data#2 {bytes}, immutable#5 bool?, kind str, metadata ObjectMeta!, stringData#4 {str},
  type#3 str
ServiceAccount: apiVersion str, automountServiceAccountToken#4 bool?, imagePullSecrets#3 [LocalObjectReference],
  kind str, metadata ObjectMeta!, secrets#2 [ObjectReference]~name
Node: apiVersion str, kind str, metadata ObjectMeta!, spec#2 NodeSpec!, status#3 NodeStatus!
NodeSpec: configSource#6 any, externalID#2 str, podCIDR#1 str, podCIDRs#7 [str]~, providerID#3 str, taints#5 [Taint],
  unschedulable#4 bool
Taint: effect#3 str!, key#1 str!, timeAdded#4 time, value#2 str
NodeStatus: addresses#5 [NodeAddress]~type, allocatable#2 {quantity}, capacity#1 {quantity},
  conditions#4 [NodeCondition]~type, config#11 any, daemonEndpoints#6 NodeDaemonEndpoints!, features#13 NodeFeatures,
  images#8 [ContainerImage], nodeInfo#7 NodeSystemInfo!, phase#3 str, runtimeHandlers#12 [NodeRuntimeHandler],
  volumesAttached#10 [AttachedVolume], volumesInUse#9 [str]
NodeCondition: lastHeartbeatTime#3 time, lastTransitionTime#4 time, message#6 str, reason#5 str, status#2 str!,
  type#1 str!
NodeAddress: address#2 str!, type#1 str!
NodeDaemonEndpoints: kubeletEndpoint#1 DaemonEndpoint!
DaemonEndpoint: Port#1 int!
NodeSystemInfo: architecture#10 str!, bootID#3 str!, containerRuntimeVersion#6 str!, kernelVersion#4 str!,
  kubeProxyVersion#8 str!, kubeletVersion#7 str!, machineID#1 str!, operatingSystem#9 str!, osImage#5 str!,
  swap#11 NodeSwapStatus, systemUUID#2 str!
NodeSwapStatus: capacity#1 long?
ContainerImage: names#1 [str]!, sizeBytes#2 long
AttachedVolume: devicePath#2 str!, name#1 str!
NodeRuntimeHandler: features#2 NodeRuntimeHandlerFeatures, name#1 str!
NodeRuntimeHandlerFeatures: recursiveReadOnlyMounts#1 bool?, userNamespaces#2 bool?
NodeFeatures: supplementalGroupsPolicy#1 bool?
Event: action#12 str, apiVersion str, count#8 int, eventTime#10 time, firstTimestamp#6 time,
  involvedObject#2 ObjectReference!, kind str, lastTimestamp#7 time, message#4 str, metadata ObjectMeta!,
  reason#3 str, related#13 ObjectReference, reportingComponent#14 str!, reportingInstance#15 str!,
  series#11 EventSeries, source#5 EventSource!, type#9 str
EventSource: component#1 str, host#2 str
EventSeries: count#1 int, lastObservedTime#2 time
NetworkPolicy: apiVersion str, kind str, metadata ObjectMeta!, spec#2 NetworkPolicySpec!
NetworkPolicySpec: egress#3 [NetworkPolicyEgressRule], ingress#2 [NetworkPolicyIngressRule],
  podSelector#1 LabelSelector!, policyTypes#4 [str]
NetworkPolicyIngressRule: from#2 [NetworkPolicyPeer], ports#1 [NetworkPolicyPort]
NetworkPolicyPort: endPort#3 int?, port#2 intstr?, protocol#1 str?
NetworkPolicyPeer: ipBlock#3 IPBlock, namespaceSelector#2 LabelSelector, podSelector#1 LabelSelector
IPBlock: cidr#1 str!, except#2 [str]
NetworkPolicyEgressRule: ports#1 [NetworkPolicyPort], to#2 [NetworkPolicyPeer]
Lease: apiVersion str, kind str, metadata ObjectMeta!, spec#2 LeaseSpec!
LeaseSpec: acquireTime#3 time, holderIdentity#1 str?, leaseDurationSeconds#2 int?, leaseTransitions#5 int?,
  preferredHolder#7 str?, renewTime#4 time, strategy#6 str?
TokenRequest: apiVersion str, kind str, metadata ObjectMeta!, spec#2 AuthTokenRequestSpec!,
  status#3 AuthTokenRequestStatus!
AuthTokenRequestSpec: audiences#1 [str]!, boundObjectRef#3 AuthBoundObjectReference, expirationSeconds#4 long?
AuthBoundObjectReference: apiVersion#2 str, kind#1 str, name#3 str, uid#4 str
AuthTokenRequestStatus: expirationTimestamp#2 time, token#1 str!
SelfSubjectAccessReview: apiVersion str, kind str, metadata ObjectMeta!, spec#2 SelfSubjectAccessReviewSpec!,
  status#3 SubjectAccessReviewStatus!
SelfSubjectAccessReviewSpec: nonResourceAttributes#2 NonResourceAttributes, resourceAttributes#1 ResourceAttributes
ResourceAttributes: fieldSelector#8 any, group#3 str, labelSelector#9 any, name#7 str, namespace#1 str,
  resource#5 str, subresource#6 str, verb#2 str, version#4 str
NonResourceAttributes: path#1 str, verb#2 str
SubjectAccessReviewStatus: allowed#1 bool!, denied#4 bool, evaluationError#3 str, reason#2 str
TokenReview: apiVersion str, kind str, metadata ObjectMeta!, spec#2 TokenReviewSpec!, status#3 TokenReviewStatus!
TokenReviewSpec: audiences#2 [str], token#1 str
TokenReviewStatus: audiences#4 [str], authenticated#1 bool, error#3 str, user#2 AuthUserInfo!
MutatingWebhookConfiguration: apiVersion str, kind str, metadata ObjectMeta!, webhooks#2 [MutatingWebhook]~name
MutatingWebhook: admissionReviewVersions#8 [str]!, clientConfig#2 WebhookClientConfig!, failurePolicy#4 str?,
  matchConditions#12 [MatchCondition]~name, matchPolicy#9 str?, name#1 str!, namespaceSelector#5 LabelSelector,
  objectSelector#11 LabelSelector, reinvocationPolicy#10 str?, rules#3 [RuleWithOperations], sideEffects#6 str?,
  timeoutSeconds#7 int?
WebhookClientConfig: caBundle#2 bytes, service#1 WebhookService, url#3 str?
WebhookService: name#2 str!, namespace#1 str!, path#3 str?, port#4 int?
RuleWithOperations: apiGroups#2.1 [str], apiVersions#2.2 [str], operations#1 [str], resources#2.3 [str],
  scope#2.4 str?
MatchCondition: expression#2 str!, name#1 str!
SelfSubjectReview: apiVersion str, kind str, metadata ObjectMeta!, status#2 AuthSelfSubjectReviewStatus!
AuthSelfSubjectReviewStatus: userInfo#1 AuthUserInfo!
AuthUserInfo: extra#4 {[str]}, groups#3 [str], uid#2 str, username#1 str
DeleteOptions: apiVersion str, dryRun#5 [str], gracePeriodSeconds#1 long?,
  ignoreStoreReadErrorWithClusterBreakingPotential#6 bool?, kind str, orphanDependents#3 bool?,
  preconditions#2 Preconditions, propagationPolicy#4 str?
Preconditions: resourceVersion#2 str?, uid#1 str?
ObjectMeta: annotations#12 {str}, creationTimestamp#8 time, deletionGracePeriodSeconds#10 long?,
  deletionTimestamp#9 time, finalizers#14 [str]~, generateName#2 str, generation#7 long, labels#11 {str},
  managedFields#17 [ManagedFieldsEntry], name#1 str, namespace#3 str, ownerReferences#13 [OwnerReference]~uid,
  resourceVersion#6 str, selfLink#4 str, uid#5 str
OwnerReference: apiVersion#5 str!, blockOwnerDeletion#7 bool?, controller#6 bool?, kind#1 str!, name#3 str!,
  uid#4 str!
ManagedFieldsEntry: apiVersion#3 str, fieldsType#6 str, fieldsV1#7 any, manager#1 str, operation#2 str,
  subresource#8 str, time#4 time
"""
