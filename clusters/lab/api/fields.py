"""Every field that Kubernetes 1.34 knows for the lab's kinds, in one compact text that `schema` parses.

One line a type: `Type: field shape, …`. A shape is `str`, `int`, `bool`, `num`, `time`, `bytes`, `quantity`, `any`,
`intstr` (a number or a name), another type's name, `[shape]` or `{shape}` (a map by string). Marks behind a shape:

- `?`: the zero value is a value (`false` is kept); without it empty values are dropped on the way in, as Kubernetes'
  `omitempty` does,
- `!`: always written, zero value and all,
- `~key`: strategic merge patch merges the list by `key`; a bare `~` merges a list of plain values,
- `^`: a list element may say `$retainKeys`.

Volume sources that the lab refuses by name (`admission`) are `any`: nobody looks inside.
"""

from __future__ import annotations

FIELDS = """
Namespace: apiVersion str, kind str, metadata ObjectMeta!, spec NamespaceSpec!, status NamespaceStatus!
NamespaceSpec: finalizers [str]
NamespaceStatus: conditions [NamespaceCondition]~type, phase str
NamespaceCondition: lastTransitionTime time, message str, reason str, status str!, type str!
Pod: apiVersion str, kind str, metadata ObjectMeta!, spec PodSpec!, status PodStatus!
PodSpec: activeDeadlineSeconds int?, affinity Affinity, automountServiceAccountToken bool?,
  containers [Container]!~name, dnsConfig PodDNSConfig, dnsPolicy str, enableServiceLinks bool?,
  ephemeralContainers [EphemeralContainer]~name, hostAliases [HostAlias]~ip, hostIPC bool, hostNetwork bool,
  hostPID bool, hostUsers bool?, hostname str, hostnameOverride str?, imagePullSecrets [LocalObjectReference]~name,
  initContainers [Container]~name, nodeName str, nodeSelector {str}, os PodOS, overhead {quantity},
  preemptionPolicy str?, priority int?, priorityClassName str, readinessGates [PodReadinessGate],
  resourceClaims [PodResourceClaim]~name^, resources ResourceRequirements, restartPolicy str, runtimeClassName str?,
  schedulerName str, schedulingGates [PodSchedulingGate]~name, securityContext PodSecurityContext, serviceAccount str,
  serviceAccountName str, setHostnameAsFQDN bool?, shareProcessNamespace bool?, subdomain str,
  terminationGracePeriodSeconds int?, tolerations [Toleration],
  topologySpreadConstraints [TopologySpreadConstraint]~topologyKey, volumes [Volume]~name^
Volume: awsElasticBlockStore any, azureDisk any, azureFile any, cephfs any, cinder any,
  configMap ConfigMapVolumeSource, csi any, downwardAPI DownwardAPIVolumeSource, emptyDir EmptyDirVolumeSource,
  ephemeral any, fc any, flexVolume any, flocker any, gcePersistentDisk any, gitRepo any, glusterfs any, hostPath any,
  image any, iscsi any, name str!, nfs any, persistentVolumeClaim any, photonPersistentDisk any, portworxVolume any,
  projected ProjectedVolumeSource, quobyte any, rbd any, scaleIO any, secret SecretVolumeSource, storageos any,
  vsphereVolume any
EmptyDirVolumeSource: medium str, sizeLimit quantity
SecretVolumeSource: defaultMode int?, items [KeyToPath], optional bool?, secretName str
KeyToPath: key str!, mode int?, path str!
DownwardAPIVolumeSource: defaultMode int?, items [DownwardAPIVolumeFile]
DownwardAPIVolumeFile: fieldRef ObjectFieldSelector, mode int?, path str!, resourceFieldRef ResourceFieldSelector
ObjectFieldSelector: apiVersion str, fieldPath str!
ResourceFieldSelector: containerName str, divisor quantity, resource str!
ConfigMapVolumeSource: defaultMode int?, items [KeyToPath], name str, optional bool?
ProjectedVolumeSource: defaultMode int?, sources [VolumeProjection]!
VolumeProjection: clusterTrustBundle any, configMap ConfigMapProjection, downwardAPI DownwardAPIProjection,
  podCertificate any, secret SecretProjection, serviceAccountToken ServiceAccountTokenProjection
SecretProjection: items [KeyToPath], name str, optional bool?
DownwardAPIProjection: items [DownwardAPIVolumeFile]
ConfigMapProjection: items [KeyToPath], name str, optional bool?
ServiceAccountTokenProjection: audience str, expirationSeconds int?, path str!
Container: args [str], command [str], env [EnvVar]~name, envFrom [EnvFromSource], image str, imagePullPolicy str,
  lifecycle Lifecycle, livenessProbe Probe, name str!, ports [ContainerPort]~containerPort, readinessProbe Probe,
  resizePolicy [ContainerResizePolicy], resources ResourceRequirements!, restartPolicy str?,
  restartPolicyRules [ContainerRestartRule], securityContext SecurityContext, startupProbe Probe, stdin bool,
  stdinOnce bool, terminationMessagePath str, terminationMessagePolicy str, tty bool,
  volumeDevices [VolumeDevice]~devicePath, volumeMounts [VolumeMount]~mountPath, workingDir str
ContainerPort: containerPort int!, hostIP str, hostPort int, name str, protocol str
EnvFromSource: configMapRef ConfigMapEnvSource, prefix str, secretRef SecretEnvSource
ConfigMapEnvSource: name str, optional bool?
SecretEnvSource: name str, optional bool?
EnvVar: name str!, value str, valueFrom EnvVarSource
EnvVarSource: configMapKeyRef ConfigMapKeySelector, fieldRef ObjectFieldSelector, fileKeyRef FileKeySelector,
  resourceFieldRef ResourceFieldSelector, secretKeyRef SecretKeySelector
ConfigMapKeySelector: key str!, name str, optional bool?
SecretKeySelector: key str!, name str, optional bool?
FileKeySelector: key str!, optional bool?, path str!, volumeName str!
ResourceRequirements: claims [ResourceClaim], limits {quantity}, requests {quantity}
ResourceClaim: name str!, request str
ContainerResizePolicy: resourceName str!, restartPolicy str!
ContainerRestartRule: action str, exitCodes ContainerRestartRuleOnExitCodes
ContainerRestartRuleOnExitCodes: operator str, values [int]
VolumeMount: mountPath str!, mountPropagation str?, name str!, readOnly bool, recursiveReadOnly str?, subPath str,
  subPathExpr str
VolumeDevice: devicePath str!, name str!
Probe: exec ExecAction, failureThreshold int, grpc GRPCAction, httpGet HTTPGetAction, initialDelaySeconds int,
  periodSeconds int, successThreshold int, tcpSocket TCPSocketAction, terminationGracePeriodSeconds int?,
  timeoutSeconds int
ExecAction: command [str]
HTTPGetAction: host str, httpHeaders [HTTPHeader], path str, port intstr!, scheme str
HTTPHeader: name str!, value str!
TCPSocketAction: host str, port intstr!
GRPCAction: port int!, service str?
Lifecycle: postStart LifecycleHandler, preStop LifecycleHandler, stopSignal str?
LifecycleHandler: exec ExecAction, httpGet HTTPGetAction, sleep SleepAction, tcpSocket TCPSocketAction
SleepAction: seconds int!
SecurityContext: allowPrivilegeEscalation bool?, appArmorProfile AppArmorProfile, capabilities Capabilities,
  privileged bool?, procMount str?, readOnlyRootFilesystem bool?, runAsGroup int?, runAsNonRoot bool?, runAsUser int?,
  seLinuxOptions SELinuxOptions, seccompProfile SeccompProfile, windowsOptions WindowsSecurityContextOptions
Capabilities: add [str], drop [str]
SELinuxOptions: level str, role str, type str, user str
WindowsSecurityContextOptions: gmsaCredentialSpec str?, gmsaCredentialSpecName str?, hostProcess bool?,
  runAsUserName str?
SeccompProfile: localhostProfile str?, type str!
AppArmorProfile: localhostProfile str?, type str!
EphemeralContainer: args [str], command [str], env [EnvVar]~name, envFrom [EnvFromSource], image str,
  imagePullPolicy str, lifecycle Lifecycle, livenessProbe Probe, name str!, ports [ContainerPort]~containerPort,
  readinessProbe Probe, resizePolicy [ContainerResizePolicy], resources ResourceRequirements!, restartPolicy str?,
  restartPolicyRules [ContainerRestartRule], securityContext SecurityContext, startupProbe Probe, stdin bool,
  stdinOnce bool, targetContainerName str, terminationMessagePath str, terminationMessagePolicy str, tty bool,
  volumeDevices [VolumeDevice]~devicePath, volumeMounts [VolumeMount]~mountPath, workingDir str
PodSecurityContext: appArmorProfile AppArmorProfile, fsGroup int?, fsGroupChangePolicy str?, runAsGroup int?,
  runAsNonRoot bool?, runAsUser int?, seLinuxChangePolicy str?, seLinuxOptions SELinuxOptions,
  seccompProfile SeccompProfile, supplementalGroups [int], supplementalGroupsPolicy str?, sysctls [Sysctl],
  windowsOptions WindowsSecurityContextOptions
Sysctl: name str!, value str!
LocalObjectReference: name str
Affinity: nodeAffinity NodeAffinity, podAffinity PodAffinity, podAntiAffinity PodAntiAffinity
NodeAffinity: preferredDuringSchedulingIgnoredDuringExecution [PreferredSchedulingTerm],
  requiredDuringSchedulingIgnoredDuringExecution NodeSelector
NodeSelector: nodeSelectorTerms [NodeSelectorTerm]!
NodeSelectorTerm: matchExpressions [NodeSelectorRequirement], matchFields [NodeSelectorRequirement]
NodeSelectorRequirement: key str!, operator str!, values [str]
PreferredSchedulingTerm: preference NodeSelectorTerm!, weight int!
PodAffinity: preferredDuringSchedulingIgnoredDuringExecution [WeightedPodAffinityTerm],
  requiredDuringSchedulingIgnoredDuringExecution [PodAffinityTerm]
PodAffinityTerm: labelSelector LabelSelector, matchLabelKeys [str], mismatchLabelKeys [str],
  namespaceSelector LabelSelector, namespaces [str], topologyKey str!
LabelSelector: matchExpressions [LabelSelectorRequirement], matchLabels {str}
LabelSelectorRequirement: key str!, operator str!, values [str]
WeightedPodAffinityTerm: podAffinityTerm PodAffinityTerm!, weight int!
PodAntiAffinity: preferredDuringSchedulingIgnoredDuringExecution [WeightedPodAffinityTerm],
  requiredDuringSchedulingIgnoredDuringExecution [PodAffinityTerm]
Toleration: effect str, key str, operator str, tolerationSeconds int?, value str
HostAlias: hostnames [str], ip str!
PodDNSConfig: nameservers [str], options [PodDNSConfigOption], searches [str]
PodDNSConfigOption: name str, value str?
PodReadinessGate: conditionType str!
TopologySpreadConstraint: labelSelector LabelSelector, matchLabelKeys [str], maxSkew int!, minDomains int?,
  nodeAffinityPolicy str?, nodeTaintsPolicy str?, topologyKey str!, whenUnsatisfiable str!
PodOS: name str!
PodSchedulingGate: name str!
PodResourceClaim: name str!, resourceClaimName str?, resourceClaimTemplateName str?
PodStatus: conditions [PodCondition]~type, containerStatuses [ContainerStatus],
  ephemeralContainerStatuses [ContainerStatus], extendedResourceClaimStatus PodExtendedResourceClaimStatus,
  hostIP str, hostIPs [HostIP]~ip, initContainerStatuses [ContainerStatus], message str, nominatedNodeName str,
  observedGeneration int, phase str, podIP str, podIPs [PodIP]~ip, qosClass str, reason str, resize str,
  resourceClaimStatuses [PodResourceClaimStatus]~name^, startTime time
PodCondition: lastProbeTime time, lastTransitionTime time, message str, observedGeneration int, reason str,
  status str!, type str!
HostIP: ip str!
PodIP: ip str!
ContainerStatus: allocatedResources {quantity}, allocatedResourcesStatus [ResourceStatus]~name, containerID str,
  image str!, imageID str!, lastState ContainerState!, name str!, ready bool!, resources ResourceRequirements,
  restartCount int!, started bool?, state ContainerState!, stopSignal str?, user ContainerUser,
  volumeMounts [VolumeMountStatus]~mountPath
ContainerState: running ContainerStateRunning, terminated ContainerStateTerminated, waiting ContainerStateWaiting
ContainerStateWaiting: message str, reason str
ContainerStateRunning: startedAt time
ContainerStateTerminated: containerID str, exitCode int!, finishedAt time, message str, reason str, signal int,
  startedAt time
VolumeMountStatus: mountPath str!, name str!, readOnly bool, recursiveReadOnly str?
ContainerUser: linux LinuxContainerUser
LinuxContainerUser: gid int!, supplementalGroups [int], uid int!
ResourceStatus: name str!, resources [ResourceHealth]
ResourceHealth: health str, resourceID str!
PodResourceClaimStatus: name str!, resourceClaimName str?
PodExtendedResourceClaimStatus: requestMappings [ContainerExtendedResourceRequest]!, resourceClaimName str!
ContainerExtendedResourceRequest: containerName str!, requestName str!, resourceName str!
Binding: apiVersion str, kind str, metadata ObjectMeta!, target ObjectReference!
ObjectReference: apiVersion str, fieldPath str, kind str, name str, namespace str, resourceVersion str, uid str
Service: apiVersion str, kind str, metadata ObjectMeta!, spec ServiceSpec!, status ServiceStatus!
ServiceSpec: allocateLoadBalancerNodePorts bool?, clusterIP str, clusterIPs [str], externalIPs [str],
  externalName str, externalTrafficPolicy str, healthCheckNodePort int, internalTrafficPolicy str?, ipFamilies [str],
  ipFamilyPolicy str?, loadBalancerClass str?, loadBalancerIP str, loadBalancerSourceRanges [str],
  ports [ServicePort]~port, publishNotReadyAddresses bool, selector {str}, sessionAffinity str,
  sessionAffinityConfig SessionAffinityConfig, trafficDistribution str?, type str
ServicePort: appProtocol str?, name str, nodePort int, port int!, protocol str, targetPort intstr!
SessionAffinityConfig: clientIP ClientIPConfig
ClientIPConfig: timeoutSeconds int?
ServiceStatus: conditions [Condition]~type, loadBalancer LoadBalancerStatus!
LoadBalancerStatus: ingress [LoadBalancerIngress]
LoadBalancerIngress: hostname str, ip str, ipMode str?, ports [PortStatus]
PortStatus: error str?, port int!, protocol str!
Condition: lastTransitionTime time, message str!, observedGeneration int, reason str!, status str!, type str!
EndpointSlice: addressType str!, apiVersion str, endpoints [SliceEndpoint]!, kind str, metadata ObjectMeta!,
  ports [SliceEndpointPort]!
SliceEndpoint: addresses [str]!, conditions SliceEndpointConditions!, deprecatedTopology {str},
  hints SliceEndpointHints, hostname str?, nodeName str?, targetRef ObjectReference, zone str?
SliceEndpointConditions: ready bool?, serving bool?, terminating bool?
SliceEndpointHints: forNodes [SliceForNode], forZones [SliceForZone]
SliceForZone: name str!
SliceForNode: name str!
SliceEndpointPort: appProtocol str?, name str?, port int?, protocol str?
ConfigMap: apiVersion str, binaryData {bytes}, data {str}, immutable bool?, kind str, metadata ObjectMeta!
Secret: apiVersion str, data {bytes}, immutable bool?, kind str, metadata ObjectMeta!, stringData {str}, type str
ServiceAccount: apiVersion str, automountServiceAccountToken bool?, imagePullSecrets [LocalObjectReference], kind str,
  metadata ObjectMeta!, secrets [ObjectReference]~name
Node: apiVersion str, kind str, metadata ObjectMeta!, spec NodeSpec!, status NodeStatus!
NodeSpec: configSource any, externalID str, podCIDR str, podCIDRs [str]~, providerID str, taints [Taint],
  unschedulable bool
Taint: effect str!, key str!, timeAdded time, value str
NodeStatus: addresses [NodeAddress]~type, allocatable {quantity}, capacity {quantity},
  conditions [NodeCondition]~type, config any, daemonEndpoints NodeDaemonEndpoints!, features NodeFeatures,
  images [ContainerImage], nodeInfo NodeSystemInfo!, phase str, runtimeHandlers [NodeRuntimeHandler],
  volumesAttached [AttachedVolume], volumesInUse [str]
NodeCondition: lastHeartbeatTime time, lastTransitionTime time, message str, reason str, status str!, type str!
NodeAddress: address str!, type str!
NodeDaemonEndpoints: kubeletEndpoint DaemonEndpoint!
DaemonEndpoint: Port int!
NodeSystemInfo: architecture str!, bootID str!, containerRuntimeVersion str!, kernelVersion str!,
  kubeProxyVersion str!, kubeletVersion str!, machineID str!, operatingSystem str!, osImage str!, swap NodeSwapStatus,
  systemUUID str!
NodeSwapStatus: capacity int?
ContainerImage: names [str]!, sizeBytes int
AttachedVolume: devicePath str!, name str!
NodeRuntimeHandler: features NodeRuntimeHandlerFeatures, name str!
NodeRuntimeHandlerFeatures: recursiveReadOnlyMounts bool?, userNamespaces bool?
NodeFeatures: supplementalGroupsPolicy bool?
Event: action str, apiVersion str, count int, eventTime time, firstTimestamp time, involvedObject ObjectReference!,
  kind str, lastTimestamp time, message str, metadata ObjectMeta!, reason str, related ObjectReference,
  reportingComponent str!, reportingInstance str!, series EventSeries, source EventSource!, type str
EventSource: component str, host str
EventSeries: count int, lastObservedTime time
NetworkPolicy: apiVersion str, kind str, metadata ObjectMeta!, spec NetworkPolicySpec!
NetworkPolicySpec: egress [NetworkPolicyEgressRule], ingress [NetworkPolicyIngressRule], podSelector LabelSelector!,
  policyTypes [str]
NetworkPolicyIngressRule: from [NetworkPolicyPeer], ports [NetworkPolicyPort]
NetworkPolicyPort: endPort int?, port intstr?, protocol str?
NetworkPolicyPeer: ipBlock IPBlock, namespaceSelector LabelSelector, podSelector LabelSelector
IPBlock: cidr str!, except [str]
NetworkPolicyEgressRule: ports [NetworkPolicyPort], to [NetworkPolicyPeer]
Lease: apiVersion str, kind str, metadata ObjectMeta!, spec LeaseSpec!
LeaseSpec: acquireTime time, holderIdentity str?, leaseDurationSeconds int?, leaseTransitions int?,
  preferredHolder str?, renewTime time, strategy str?
TokenRequest: apiVersion str, kind str, metadata ObjectMeta!, spec AuthTokenRequestSpec!,
  status AuthTokenRequestStatus!
AuthTokenRequestSpec: audiences [str]!, boundObjectRef AuthBoundObjectReference, expirationSeconds int?
AuthBoundObjectReference: apiVersion str, kind str, name str, uid str
AuthTokenRequestStatus: expirationTimestamp time, token str!
SelfSubjectAccessReview: apiVersion str, kind str, metadata ObjectMeta!, spec SelfSubjectAccessReviewSpec!,
  status SubjectAccessReviewStatus!
SelfSubjectAccessReviewSpec: nonResourceAttributes NonResourceAttributes, resourceAttributes ResourceAttributes
ResourceAttributes: fieldSelector any, group str, labelSelector any, name str, namespace str, resource str,
  subresource str, verb str, version str
NonResourceAttributes: path str, verb str
SubjectAccessReviewStatus: allowed bool!, denied bool, evaluationError str, reason str
SelfSubjectReview: apiVersion str, kind str, metadata ObjectMeta!, status AuthSelfSubjectReviewStatus!
AuthSelfSubjectReviewStatus: userInfo AuthUserInfo!
AuthUserInfo: extra {[str]}, groups [str], uid str, username str
DeleteOptions: apiVersion str, dryRun [str], gracePeriodSeconds int?,
  ignoreStoreReadErrorWithClusterBreakingPotential bool?, kind str, orphanDependents bool?,
  preconditions Preconditions, propagationPolicy str?
Preconditions: resourceVersion str?, uid str?
ObjectMeta: annotations {str}, creationTimestamp time, deletionGracePeriodSeconds int?, deletionTimestamp time,
  finalizers [str]~, generateName str, generation int, labels {str}, managedFields [ManagedFieldsEntry], name str,
  namespace str, ownerReferences [OwnerReference]~uid, resourceVersion str, selfLink str, uid str
OwnerReference: apiVersion str!, blockOwnerDeletion bool?, controller bool?, kind str!, name str!, uid str!
ManagedFieldsEntry: apiVersion str, fieldsType str, fieldsV1 any, manager str, operation str, subresource str,
  time time
"""
