{{/* Every plain setting that a manifest may give, by name; empty ones are left out. (root, component) → YAML map. */}}
{{- define "caracal.settings" -}}
{{- $root := .root -}}
{{- $contract := include "caracal.contract" $root | fromYaml -}}
{{- $service := include "caracal.service" . | fromYaml -}}
{{- $budgets := $root.Values.budgets -}}
{{- $mcp := $root.Values.mcpAdapter -}}
{{- $own := index $contract.components .component -}}
CARACAL_MODE: {{ $root.Values.global.mode | quote }}
HOST: "0.0.0.0"
PORT: {{ $own.port | default "" | quote }}
METRICS_PORT: {{ $contract.metricsPort | quote }}
LOG_LEVEL: {{ $root.Values.global.logLevel | quote }}
DRAIN_DELAY: "5s"
TRUSTED_PROXIES: {{ join "," ($service.trustedProxies | default list) | quote }}
STREAMS_DRIVER: {{ $root.Values.streams.driver | quote }}
DATABASE_POOL: {{ $service.dbPool | default "" | quote }}
ISSUER_URL: {{ include "caracal.issuerUrl" $root | quote }}
ISSUER_ALIASES: {{ join "," $root.Values.global.issuerAliases | quote }}
SPOOL_DIR: "/var/lib/caracal/spool"
GATEWAY_BASE_DOMAIN: {{ $root.Values.services.gateway.baseDomain | quote }}
{{- $allowed := $service.upstreamAllowlist | default list }}
{{- if and $allowed (eq .component "gateway") $root.Values.canary.enabled }}
{{- $allowed = append $allowed (urlParse (include "caracal.internalUrl" (dict "root" $root "component" "canary" "port" 0))).hostname }}
{{- end }}
UPSTREAM_HOST_ALLOWLIST: {{ join "," $allowed | quote }}
BUDGET_REQUIRED: {{ $budgets.required | quote }}
PROVISIONAL_CHARGE_EXPIRATION: {{ $budgets.chargeExpiration | quote }}
PROVISIONAL_CHARGE_MAX: {{ $budgets.chargeMax | quote }}
PROVISIONAL_CHARGE_SWEEP_INTERVAL: {{ $budgets.sweepInterval | quote }}
PROVISIONAL_CHARGE_SWEEP_BATCH: {{ int $budgets.sweepBatch | quote }}
PROVISIONAL_CHARGE_SLICE: {{ int $budgets.slicePercent | quote }}
PROVISIONAL_CHARGE_SLICE_TTL: {{ $budgets.sliceTtl | quote }}
USAGE_RETENTION: {{ $budgets.usageRetention | quote }}
{{- $servers := list }}
{{- range $mcp.servers }}{{ $servers = append $servers (printf "%s=%s" .name .url) }}{{ end }}
MCP_SERVERS: {{ join "," $servers | quote }}
MCP_SERVER_TIMEOUT: {{ $mcp.serverTimeout | quote }}
MCP_PUBLIC_URL: {{ include "caracal.mcpPublicUrl" $root | quote }}
MCP_ALLOWED_ORIGINS: {{ join "," $mcp.allowedOrigins | quote }}
AUDIT_ANCHORS: {{ join "," $root.Values.audit.anchors | quote }}
{{- range $callee := list "api" "sts" "gateway" "audit" "coordinator" }}
{{- $url := include "caracal.internalUrl" (dict "root" $root "component" $callee "port" (index $contract.components $callee).port) }}
{{- if eq $callee "sts" }}
STS_URL: {{ $url | quote }}
{{- end }}
CARACAL_{{ upper $callee }}_URL: {{ $url | quote }}
{{- end }}
{{- end -}}

{{/* Where clients reach the MCP Adapter, or nothing: then what they put in Host. */}}
{{- define "caracal.mcpPublicUrl" -}}
{{- $host := include "caracal.outsideHost" (dict "root" . "component" "mcp-adapter") -}}
{{- if .Values.mcpAdapter.publicUrl }}{{ trimSuffix "/" .Values.mcpAdapter.publicUrl }}
{{- else if $host }}https://{{ $host }}
{{- end -}}
{{- end -}}

{{/* (root, condition) → "true" when a key with this condition is mounted. */}}
{{- define "caracal.mounts" -}}
{{- $redis := eq .root.Values.streams.driver "redis" -}}
{{- if eq .condition "" }}true
{{- else if eq .condition "redis-streams" }}{{ if $redis }}true{{ end }}
{{- else if eq .condition "postgres-streams" }}{{ if not $redis }}true{{ end }}
{{- else if eq .condition "metrics-bearer" }}{{ if .root.Values.secrets.metricsBearer.enabled }}true{{ end }}
{{- else if eq .condition "database-from-secret" }}{{ if include "caracal.databaseFromSecret" .root }}true{{ end }}
{{- else if eq .condition "database-by-host" }}{{ if not (include "caracal.databaseFromSecret" .root) }}true{{ end }}
{{- else }}{{ fail (printf "the contract has a condition that the chart does not know: %s" .condition) }}
{{- end -}}
{{- end -}}

{{/* (root, key, component) → where a key of the contract is: {secretName, key}. */}}
{{- define "caracal.secretRef" -}}
{{- $secrets := .root.Values.secrets -}}
{{- $runtime := default $secrets.runtimeSecretName .runtime -}}
{{- if hasKey (dict "adminToken" 1 "coordinatorToken" 1 "stsAdminToken" 1 "auditAdminToken" 1 "metricsBearer" 1) .key -}}
{{- $ref := index $secrets .key -}}
{{- dict "secretName" (default $runtime $ref.secretName) "key" $ref.key | toYaml -}}
{{- else if eq .key "postgresPassword" -}}
{{- dict "secretName" $runtime "key" $secrets.database.passwordKey | toYaml -}}
{{- else if and (eq .key "databaseUrl") $secrets.database.perService (include "caracal.service" . | fromYaml) -}}
{{- dict "secretName" $runtime "key" (printf "%sDatabaseUrl" (include "caracal.valuesPath" .component | trimPrefix "services.")) | toYaml -}}
{{- else -}}
{{- dict "secretName" $runtime "key" .key | toYaml -}}
{{- end -}}
{{- end -}}

{{/* (root, component, runtime) → env of its container: settings, files of secrets, where the pod is. */}}
{{- define "caracal.env" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $contract := include "caracal.contract" $root | fromYaml -}}
{{- $own := index $contract.components $component -}}
{{- $known := include "caracal.settings" (dict "root" $root "component" $component) | fromYaml -}}
{{- range $setting := $own.settings }}
{{- if eq $setting "CA_BUNDLE" }}
{{- if $root.Values.global.caBundle.secretName }}
- name: CA_BUNDLE_FILE
  value: {{ printf "/etc/caracal/ca/%s" $root.Values.global.caBundle.key }}
{{- end }}
{{- else if not (hasKey $known $setting) }}
{{- fail (printf "the contract has a setting that the chart does not know: %s" $setting) }}
{{- else if index $known $setting }}
- name: {{ $setting }}
  value: {{ index $known $setting | quote }}
{{- end }}
{{- end }}
{{- range $mounted := $own.keys }}
{{- if include "caracal.mounts" (dict "root" $root "condition" $mounted.when) }}
- name: {{ $mounted.setting }}_FILE
  value: /run/secrets/caracal/{{ $mounted.key }}
{{- if has $mounted.key $root.Values.secrets.rotation }}
- name: {{ $mounted.setting }}_PREVIOUS_FILE
  value: /run/secrets/caracal/{{ $mounted.key }}Previous
{{- end }}
{{- end }}
{{- end }}
{{- if or (eq $component "migrate") (eq $component "schema-check") }}
{{- include "caracal.databaseEnv" $root }}
{{- end }}
- name: TMPDIR
  value: /tmp
- name: NODE_OPTIONS
  value: --max-old-space-size-percentage=75
{{- if eq $own.kind "service" }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- with $root.Values.global.otelExporterOtlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ $root.Values.global.otelExporterOtlpProtocol | quote }}
- name: OTEL_SERVICE_NAME
  value: caracal-{{ $component }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (root, component, runtime) → the projected volume of its keys: required ones together, each optional one by itself. */}}
{{- define "caracal.secretsVolume" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $runtime := .runtime | default "" -}}
{{- $contract := include "caracal.contract" $root | fromYaml -}}
{{- $own := index $contract.components $component -}}
name: secrets
projected:
  defaultMode: 0440
  sources:
{{- range $mounted := $own.keys }}
{{- if include "caracal.mounts" (dict "root" $root "condition" $mounted.when) }}
{{- $ref := include "caracal.secretRef" (dict "root" $root "key" $mounted.key "component" $component "runtime" $runtime) | fromYaml }}
    - secret:
        name: {{ $ref.secretName }}
        {{- if not $mounted.required }}
        optional: true
        {{- end }}
        items:
          - key: {{ $ref.key }}
            path: {{ $mounted.key }}
          {{- if and (has $mounted.key $root.Values.secrets.rotation) $mounted.required }}
          - key: {{ $ref.key }}Previous
            path: {{ $mounted.key }}Previous
          {{- end }}
{{- if and (has $mounted.key $root.Values.secrets.rotation) (not $mounted.required) }}
    - secret:
        name: {{ $ref.secretName }}
        optional: true
        items:
          - key: {{ $ref.key }}Previous
            path: {{ $mounted.key }}Previous
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
