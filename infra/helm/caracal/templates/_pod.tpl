{{/* (root, own) → security context of a pod: the defaults of the restricted standard under what the service says. */}}
{{- define "caracal.podSecurityContext" -}}
{{- $defaults := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if not .root.Values.scheduling.openshift -}}
{{- $defaults = merge $defaults (dict "runAsUser" 10001 "runAsGroup" 10001 "fsGroup" 10001 "fsGroupChangePolicy" "OnRootMismatch") -}}
{{- end -}}
{{- mergeOverwrite $defaults (deepCopy (.own.podSecurityContext | default dict)) | toYaml -}}
{{- end -}}

{{- define "caracal.containerSecurityContext" -}}
{{- $defaults := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- mergeOverwrite $defaults (deepCopy (.own.containerSecurityContext | default dict)) | toYaml -}}
{{- end -}}

{{/* (root, own, name) → the service's own value of a scheduling key, else that of all. */}}
{{- define "caracal.scheduling" -}}
{{- $value := default (index .root.Values.scheduling .name) (index (.own | default dict) .name) -}}
{{- with $value }}
{{ $.name }}: {{ if kindIs "string" . }}{{ . | quote }}{{ else }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
{{- end -}}

{{/* (root, component, own) → what every pod of the chart has, jobs included. */}}
{{- define "caracal.podBasics" -}}
serviceAccountName: {{ include "caracal.serviceAccountName" . }}
automountServiceAccountToken: {{ .root.Values.serviceAccount.automountToken }}
enableServiceLinks: false
{{- with .root.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "caracal.podSecurityContext" (dict "root" .root "own" .own) | nindent 2 }}
{{- range list "nodeSelector" "tolerations" "priorityClassName" "runtimeClassName" "hostAliases" "dnsConfig" }}
{{- include "caracal.scheduling" (dict "root" $.root "own" $.own "name" .) }}
{{- end }}
{{- end -}}

{{/* (root, component) → labels of its pods. */}}
{{- define "caracal.podLabels" -}}
{{- $own := include "caracal.service" . | fromYaml -}}
{{- $labels := include "caracal.labels" . | fromYaml -}}
{{- toYaml (merge (include "caracal.selectorLabels" . | fromYaml) ($own.podLabels | default dict) .root.Values.global.podLabels (omit $labels "helm.sh/chart" "app.kubernetes.io/managed-by")) -}}
{{- end -}}

{{- define "caracal.affinity" -}}
{{- $own := include "caracal.service" . | fromYaml -}}
{{- $selector := include "caracal.selectorLabels" . | fromYaml -}}
{{- if $own.affinity }}
affinity:
  {{- toYaml $own.affinity | nindent 2 }}
{{- else if eq .root.Values.scheduling.antiAffinity "hard" }}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- toYaml $selector | nindent 12 }}
{{- else if eq .root.Values.scheduling.antiAffinity "soft" }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- toYaml $selector | nindent 14 }}
{{- end }}
{{- if $own.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml $own.topologySpreadConstraints | nindent 2 }}
{{- else if .root.Values.scheduling.zoneSpread }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- toYaml $selector | nindent 8 }}
    {{- if not .stateful }}
    matchLabelKeys: [pod-template-hash]
    {{- end }}
{{- end }}
{{- end -}}

{{/* (root, component, own, args, resources) → the container of ours in a pod, without ports and probes. */}}
{{- define "caracal.container" -}}
image: {{ include "caracal.image" .root }}
imagePullPolicy: {{ .root.Values.global.imagePullPolicy }}
args:
  {{- toYaml .args | nindent 2 }}
env:
  {{- include "caracal.env" . | trim | nindent 2 }}
{{- with .own.env }}
  {{- tpl (toYaml .) $.root | nindent 2 }}
{{- end }}
{{- with .own.extraEnvFrom }}
envFrom:
  {{- tpl (toYaml .) $.root | nindent 2 }}
{{- end }}
resources:
  {{- toYaml .resources | nindent 2 }}
securityContext:
  {{- include "caracal.containerSecurityContext" (dict "root" .root "own" .own) | nindent 2 }}
{{- end -}}

{{- define "caracal.commonMounts" -}}
- name: secrets
  mountPath: /run/secrets/caracal
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .root.Values.global.caBundle.secretName }}
- name: ca
  mountPath: /etc/caracal/ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "caracal.commonVolumes" -}}
- {{ include "caracal.secretsVolume" . | nindent 2 | trim }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if .root.Values.global.caBundle.secretName }}
- name: ca
  secret:
    secretName: {{ .root.Values.global.caBundle.secretName }}
    defaultMode: 0440
    items:
      - key: {{ .root.Values.global.caBundle.key }}
        path: {{ .root.Values.global.caBundle.key }}
{{- end }}
{{- end -}}

{{/* (root, component) → the pod template of a service. */}}
{{- define "caracal.podTemplate" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $own := include "caracal.service" . | fromYaml -}}
{{- $contract := include "caracal.contract" $root | fromYaml -}}
{{- $spec := index $contract.components $component -}}
{{- $stateful := include "caracal.isStateful" (dict "root" $root "component" $component "spool" $spec.spool) -}}
{{- $in := dict "root" $root "component" $component "own" $own "args" (concat $spec.args $own.extraArgs) "resources" $own.resources "stateful" $stateful -}}
metadata:
  labels:
    {{- include "caracal.podLabels" $in | nindent 4 }}
  {{- with merge (dict) $own.podAnnotations $root.Values.global.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- include "caracal.podBasics" $in | nindent 2 }}
  {{- with include "caracal.affinity" $in | trim }}{{ . | nindent 2 }}{{ end }}
  terminationGracePeriodSeconds: {{ $own.terminationGracePeriodSeconds }}
  {{- $inits := list }}
  {{- if and (eq $component "api") (eq $root.Values.migrations.mode "init") }}
  {{- $inits = append $inits "migrate" }}
  {{- end }}
  {{- if or $inits $own.initContainers }}
  initContainers:
    {{- if $inits }}
    - name: migrate
      {{- include "caracal.container" (dict "root" $root "component" "migrate" "own" $own "args" (include "caracal.migrateArgs" $root | fromYamlArray) "resources" $root.Values.migrations.resources) | nindent 6 }}
      volumeMounts:
        - name: migrate-secrets
          mountPath: /run/secrets/caracal
          readOnly: true
        - name: tmp
          mountPath: /tmp
        {{- if $root.Values.global.caBundle.secretName }}
        - name: ca
          mountPath: /etc/caracal/ca
          readOnly: true
        {{- end }}
    {{- end }}
    {{- with $own.initContainers }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: {{ $component }}
      {{- include "caracal.container" $in | nindent 6 }}
      ports:
        - name: http
          containerPort: {{ $spec.port }}
          protocol: TCP
        - name: metrics
          containerPort: {{ $contract.metricsPort }}
          protocol: TCP
      startupProbe:
        httpGet: { path: /health, port: http }
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /livez, port: http }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 6
      readinessProbe:
        httpGet: { path: /ready, port: http }
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      volumeMounts:
        {{- include "caracal.commonMounts" $in | nindent 8 }}
        {{- if $spec.spool }}
        - name: replay
          mountPath: /var/lib/caracal
        {{- end }}
        {{- with $own.extraVolumeMounts }}
        {{- tpl (toYaml .) $root | nindent 8 }}
        {{- end }}
    {{- with $own.sidecars }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "caracal.commonVolumes" $in | nindent 4 }}
    {{- if $inits }}
    - {{ include "caracal.secretsVolume" (dict "root" $root "component" "migrate") | replace "name: secrets" "name: migrate-secrets" | nindent 6 | trim }}
    {{- end }}
    {{- if and $spec.spool (not $stateful) }}
    - name: replay
      emptyDir: {}
    {{- end }}
    {{- with $own.extraVolumes }}
    {{- tpl (toYaml .) $root | nindent 4 }}
    {{- end }}
{{- end -}}
