{{/* The chart's name, as it stands in app.kubernetes.io/name. */}}
{{- define "caracal.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Release name, with the chart's name when it does not hold it; short enough for every suffix and for the labels of StatefulSet pods. */}}
{{- define "caracal.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 34 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 34 | trimSuffix "-" -}}
{{- else -}}
{{- $room := int (max 1 (sub 33 (len $name))) -}}
{{- printf "%s-%s" (.Release.Name | trunc $room | trimSuffix "-") $name | trunc 34 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (root, component) → name of the component's objects. */}}
{{- define "caracal.componentName" -}}
{{- printf "%s-%s" (include "caracal.fullname" .root) .component -}}
{{- end -}}

{{/* component → where its values are: services.<name>, or a tree of its own for what is off unless asked for. */}}
{{- define "caracal.valuesPath" -}}
{{- if eq . "mcp-adapter" }}mcpAdapter{{ else }}services.{{ . }}{{ end -}}
{{- end -}}

{{/* (root, component) → the values of a service; of a task nothing. */}}
{{- define "caracal.service" -}}
{{- if eq .component "mcp-adapter" -}}
{{- toYaml .root.Values.mcpAdapter -}}
{{- else -}}
{{- index .root.Values.services .component | default dict | toYaml -}}
{{- end -}}
{{- end -}}

{{/* (root, component) → "true" when the release has it. */}}
{{- define "caracal.isEnabled" -}}
{{- if eq .component "canary" -}}
{{- if .root.Values.canary.enabled }}true{{ end -}}
{{- else if (include "caracal.service" . | fromYaml).enabled -}}true
{{- end -}}
{{- end -}}

{{/* root → names of the services that the release has, in order. */}}
{{- define "caracal.enabledServices" -}}
{{- $contract := include "caracal.contract" . | fromYaml -}}
{{- $names := list -}}
{{- range $name := $contract.services -}}
{{- if include "caracal.isEnabled" (dict "root" $ "component" $name) }}{{ $names = append $names $name }}{{ end -}}
{{- end -}}
{{- toYaml $names -}}
{{- end -}}

{{/* (root, component, kind) → the values of its `ingress` or `httpRoute`; of a service that has none nothing. */}}
{{- define "caracal.exposure" -}}
{{- if eq .component "mcp-adapter" -}}
{{- index .root.Values.mcpAdapter .kind | toYaml -}}
{{- else -}}
{{- index .root.Values .kind .component | default dict | toYaml -}}
{{- end -}}
{{- end -}}

{{/* (component, kind) → where these values are. */}}
{{- define "caracal.exposurePath" -}}
{{- if eq .component "mcp-adapter" }}mcpAdapter.{{ .kind }}{{ else }}{{ .kind }}.{{ .component }}{{ end -}}
{{- end -}}

{{/* (root, component) → what selects its pods; these never change. */}}
{{- define "caracal.selectorLabels" -}}
app.kubernetes.io/name: {{ include "caracal.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* (root, component) → labels of an object. */}}
{{- define "caracal.labels" -}}
{{ include "caracal.selectorLabels" . }}
app.kubernetes.io/part-of: caracal
app.kubernetes.io/version: {{ include "caracal.versionLabel" .root | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "caracal.versionLabel" -}}
{{- $version := default .Chart.AppVersion .Values.global.tag -}}
{{- regexReplaceAll "[^A-Za-z0-9_.-]" $version "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{/* (root, extra) → the annotations block of an object, or nothing. */}}
{{- define "caracal.annotations" -}}
{{- $all := merge (dict) (.extra | default dict) .root.Values.commonAnnotations -}}
{{- with $all }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* (root, component) → name of its account. */}}
{{- define "caracal.serviceAccountName" -}}
{{- if .root.Values.serviceAccount.create }}{{ include "caracal.componentName" . }}{{ else }}default{{ end -}}
{{- end -}}

{{- define "caracal.image" -}}
{{- $image := .Values.global.repository -}}
{{- with .Values.global.registry }}{{ $image = printf "%s/%s" (trimSuffix "/" .) $image }}{{ end -}}
{{- if .Values.global.digest -}}
{{- printf "%s@%s" $image .Values.global.digest -}}
{{- else -}}
{{- printf "%s:%s" $image (default .Chart.AppVersion .Values.global.tag) -}}
{{- end -}}
{{- end -}}

{{/* (root, component) → host by which it can be reached from outside, or nothing. */}}
{{- define "caracal.outsideHost" -}}
{{- $ingress := include "caracal.exposure" (dict "root" .root "component" .component "kind" "ingress") | fromYaml -}}
{{- $route := include "caracal.exposure" (dict "root" .root "component" .component "kind" "httpRoute") | fromYaml -}}
{{- if $ingress.enabled }}{{ $ingress.host }}
{{- else if $route.enabled }}{{ $route.hostname }}
{{- end -}}
{{- end -}}

{{- define "caracal.stsHost" -}}
{{- include "caracal.outsideHost" (dict "root" . "component" "sts") -}}
{{- end -}}

{{- define "caracal.issuerUrl" -}}
{{- if .Values.global.issuerUrl }}{{ trimSuffix "/" .Values.global.issuerUrl }}
{{- else if include "caracal.stsHost" . }}https://{{ include "caracal.stsHost" . }}
{{- else }}https://{{ include "caracal.componentName" (dict "root" . "component" "sts") }}.{{ .Release.Namespace }}.svc
{{- end -}}
{{- end -}}

{{/* (root, component, port) → its address in the cluster. */}}
{{- define "caracal.internalUrl" -}}
http://{{ include "caracal.componentName" . }}.{{ .root.Release.Namespace }}.svc:{{ .port }}
{{- end -}}

{{/* Hosts that stand in values.yaml for none. */}}
{{- define "caracal.databaseSentinel" -}}postgres.default.svc.cluster.local{{- end -}}
{{- define "caracal.redisSentinel" -}}redis.default.svc.cluster.local{{- end -}}

{{/* "true" when migrations take the whole connection from the runtime Secret. */}}
{{- define "caracal.databaseFromSecret" -}}
{{- if and .Values.secrets.database.hostFromSecret (eq .Values.secrets.database.host (include "caracal.databaseSentinel" .)) }}true{{ end -}}
{{- end -}}

{{/* (root, component) → "true" when evidence waits on a volume of its own. */}}
{{- define "caracal.isStateful" -}}
{{- if and .spool .root.Values.replayPersistence.enabled }}true{{ end -}}
{{- end -}}

{{/* (root, component) → replicas at least and at most, as a fraction min/max that callers split. */}}
{{- define "caracal.replicaRange" -}}
{{- $service := include "caracal.service" . | fromYaml -}}
{{- if or $service.hpa.enabled $service.keda.enabled -}}
{{- printf "%d/%d" (int $service.hpa.minReplicas) (int $service.hpa.maxReplicas) -}}
{{- else -}}
{{- printf "%d/%d" (int $service.replicas) (int $service.replicas) -}}
{{- end -}}
{{- end -}}

{{/* The contract with the services, read once per object. */}}
{{- define "caracal.contract" -}}
{{- .Files.Get "files/contract.yaml" -}}
{{- end -}}
