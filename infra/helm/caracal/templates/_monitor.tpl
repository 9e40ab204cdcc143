{{- define "caracal.serviceMonitor" -}}
{{- $root := .root -}}
{{- $monitor := $root.Values.serviceMonitor -}}
{{- if and $monitor.enabled (include "caracal.isEnabled" .) }}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ include "caracal.componentName" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- merge (include "caracal.labels" . | fromYaml) $monitor.labels | toYaml | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  selector:
    matchLabels:
      {{- include "caracal.selectorLabels" . | nindent 6 }}
  namespaceSelector:
    matchNames: [{{ $root.Release.Namespace }}]
  endpoints:
    - port: metrics
      path: /metrics
      interval: {{ $monitor.interval }}
      scrapeTimeout: {{ $monitor.scrapeTimeout }}
      {{- if $root.Values.secrets.metricsBearer.enabled }}
      {{- $ref := include "caracal.secretRef" (dict "root" $root "key" "metricsBearer" "component" .component) | fromYaml }}
      authorization:
        type: Bearer
        credentials:
          name: {{ $ref.secretName }}
          key: {{ $ref.key }}
      {{- end }}
      relabelings:
        - action: replace
          targetLabel: role
          replacement: {{ .component }}
{{- end }}
{{- end -}}
