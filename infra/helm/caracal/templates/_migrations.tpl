{{/* Arguments of the migration: what it looks at first, and how many connections the services will want. */}}
{{- define "caracal.migrateArgs" -}}
{{- $contract := include "caracal.contract" . | fromYaml -}}
{{- $args := concat (index $contract.components "migrate").args (list "--preflight") -}}
{{- $replicas := list -}}
{{- $pools := list -}}
{{- range $name := list "sts" "api" "audit" "coordinator" -}}
{{- $service := index $.Values.services $name -}}
{{- $range := splitList "/" (include "caracal.replicaRange" (dict "root" $ "component" $name)) -}}
{{- $most := ternary (index $range 1) "0" $service.enabled -}}
{{- $replicas = append $replicas (printf "%s=%s" $name $most) -}}
{{- $pools = append $pools (printf "%s=%d" $name (int $service.dbPool)) -}}
{{- end -}}
{{- concat $args (list "--replicas") $replicas (list "--pool") $pools | toYaml -}}
{{- end -}}

{{/* How the migration logs in, beside the secret: by host and name, unless the whole URL comes from the Secret. */}}
{{- define "caracal.databaseEnv" -}}
{{- $database := .Values.secrets.database -}}
{{- if not (include "caracal.databaseFromSecret" .) }}
- name: DB_HOST
  value: {{ $database.host | quote }}
- name: DB_PORT
  value: {{ $database.port | quote }}
- name: DB_NAME
  value: {{ $database.name | quote }}
- name: DB_USER
  value: {{ $database.user | quote }}
- name: DB_SSLMODE
  value: {{ $database.sslMode | quote }}
{{- end }}
{{- end -}}

{{/* (root, component, args, runtime) → pod template of a migration task. */}}
{{- define "caracal.migrationPod" -}}
{{- $root := .root -}}
{{- $in := merge (dict "own" (dict) "resources" $root.Values.migrations.resources) . -}}
metadata:
  labels:
    {{- include "caracal.podLabels" . | nindent 4 }}
  {{- with $root.Values.global.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: Never
  {{- include "caracal.podBasics" (merge (dict "component" "migrate") $in) | nindent 2 }}
  containers:
    - name: {{ .component }}
      {{- include "caracal.container" $in | nindent 6 }}
      volumeMounts:
        {{- include "caracal.commonMounts" $in | nindent 8 }}
  volumes:
    {{- include "caracal.commonVolumes" $in | nindent 4 }}
{{- end -}}
