{{/* (root, component) → Deployment, or StatefulSet with a claim for evidence. */}}
{{- define "caracal.workload" -}}
{{- $root := .root -}}
{{- $own := include "caracal.service" . | fromYaml -}}
{{- if $own.enabled }}
{{- $contract := include "caracal.contract" $root | fromYaml -}}
{{- $spec := index $contract.components .component -}}
{{- $name := include "caracal.componentName" . -}}
{{- $stateful := include "caracal.isStateful" (dict "root" $root "component" .component "spool" $spec.spool) -}}
apiVersion: apps/v1
kind: {{ ternary "StatefulSet" "Deployment" (eq $stateful "true") }}
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  {{- if not (or $own.hpa.enabled $own.keda.enabled) }}
  replicas: {{ $own.replicas }}
  {{- end }}
  minReadySeconds: {{ $own.minReadySeconds }}
  revisionHistoryLimit: {{ $own.revisionHistoryLimit }}
  selector:
    matchLabels:
      {{- include "caracal.selectorLabels" . | nindent 6 }}
  {{- if $stateful }}
  serviceName: {{ $name }}-headless
  podManagementPolicy: Parallel
  updateStrategy:
    type: RollingUpdate
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: {{ $root.Values.replayPersistence.retentionPolicy.whenDeleted }}
    whenScaled: {{ $root.Values.replayPersistence.retentionPolicy.whenScaled }}
  volumeClaimTemplates:
    - metadata:
        name: replay
        labels:
          {{- include "caracal.selectorLabels" . | nindent 10 }}
      spec:
        accessModes:
          {{- toYaml $root.Values.replayPersistence.accessModes | nindent 10 }}
        {{- with $root.Values.replayPersistence.storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ $root.Values.replayPersistence.size }}
  {{- else }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  {{- end }}
  template:
    {{- include "caracal.podTemplate" . | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "caracal.serviceAccount" -}}
{{- $own := include "caracal.service" . | fromYaml -}}
{{- if and $own.enabled .root.Values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "caracal.componentName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" .root "extra" (merge (dict) $own.serviceAccountAnnotations .root.Values.serviceAccount.annotations)) | trim }}{{ . | nindent 2 }}{{ end }}
automountServiceAccountToken: {{ .root.Values.serviceAccount.automountToken }}
{{- end }}
{{- end -}}

{{/* (root, component) → its ClusterIP Service, the governing one of a StatefulSet, and the load balancer's. */}}
{{- define "caracal.services" -}}
{{- $root := .root -}}
{{- $own := include "caracal.service" . | fromYaml -}}
{{- if $own.enabled }}
{{- $contract := include "caracal.contract" $root | fromYaml -}}
{{- $spec := index $contract.components .component -}}
{{- $name := include "caracal.componentName" . -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root "extra" $own.service.annotations) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  type: ClusterIP
  {{- with $own.service.trafficDistribution }}
  trafficDistribution: {{ . }}
  {{- end }}
  selector:
    {{- include "caracal.selectorLabels" . | nindent 4 }}
  ports:
    - name: http
      port: {{ $spec.port }}
      targetPort: http
      protocol: TCP
      appProtocol: http
    - name: metrics
      port: {{ $contract.metricsPort }}
      targetPort: metrics
      protocol: TCP
      appProtocol: http
{{- if include "caracal.isStateful" (dict "root" $root "component" .component "spool" $spec.spool) }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-headless
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  type: ClusterIP
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "caracal.selectorLabels" . | nindent 4 }}
  ports:
    - name: http
      port: {{ $spec.port }}
      targetPort: http
      protocol: TCP
      appProtocol: http
{{- end }}
{{- if and (hasKey $own "loadBalancer") ($own.loadBalancer | default dict).enabled }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-lb
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root "extra" $own.loadBalancer.annotations) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  {{- with $own.loadBalancer.class }}
  loadBalancerClass: {{ . }}
  {{- end }}
  {{- with $own.loadBalancer.sourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  selector:
    {{- include "caracal.selectorLabels" . | nindent 4 }}
  ports:
    - name: http
      port: {{ default $spec.port $own.loadBalancer.port }}
      targetPort: http
      protocol: TCP
      appProtocol: http
{{- end }}
{{- end }}
{{- end -}}

{{/* (root, component) → HPA or ScaledObject, and PodDisruptionBudget. */}}
{{- define "caracal.scaling" -}}
{{- $root := .root -}}
{{- $own := include "caracal.service" . | fromYaml -}}
{{- if $own.enabled }}
{{- $contract := include "caracal.contract" $root | fromYaml -}}
{{- $spec := index $contract.components .component -}}
{{- $name := include "caracal.componentName" . -}}
{{- $kind := ternary "StatefulSet" "Deployment" (eq "true" (include "caracal.isStateful" (dict "root" $root "component" .component "spool" $spec.spool))) -}}
{{- if $own.hpa.enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ $kind }}
    name: {{ $name }}
  minReplicas: {{ $own.hpa.minReplicas }}
  maxReplicas: {{ $own.hpa.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ $own.hpa.targetCPUUtilizationPercentage }}
    {{- with $own.hpa.targetMemoryUtilizationPercentage }}
    - type: Resource
      resource:
        name: memory
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
  {{- with $own.hpa.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- if $own.keda.enabled }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ $kind }}
    name: {{ $name }}
  minReplicaCount: {{ $own.hpa.minReplicas }}
  maxReplicaCount: {{ $own.hpa.maxReplicas }}
  {{- with $own.hpa.behavior }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        {{- toYaml . | nindent 8 }}
  {{- end }}
  triggers:
    - type: prometheus
      metadata:
        serverAddress: {{ $own.keda.serverAddress | quote }}
        query: {{ tpl $own.keda.query $root | quote }}
        threshold: {{ $own.keda.threshold | quote }}
{{- end }}
{{- if $own.pdb.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  {{- if ne (toString $own.pdb.minAvailable) "" }}
  minAvailable: {{ $own.pdb.minAvailable }}
  {{- else }}
  maxUnavailable: {{ $own.pdb.maxUnavailable }}
  {{- end }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "caracal.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}
