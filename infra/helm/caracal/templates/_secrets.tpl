{{/* Data of the Secret that the chart makes itself: exactly what was given. */}}
{{- define "caracal.plaintextData" -}}
{{- range $key, $value := .Values.secrets.plaintext }}
{{- if $value }}
{{ $key }}: {{ $value | toString | b64enc | quote }}
{{- end }}
{{- end }}
{{- end -}}
