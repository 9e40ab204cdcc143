{{- define "caracal.validate" -}}
{{- if not .Values.global.mode -}}
{{- fail "\n\nNo profile is chosen: the chart does not install on its bare values. Choose one with --values:\n  infra/helm/caracal/values.production.yaml   (stable)\n  infra/helm/caracal/values.rc.yaml           (rc)\n  infra/helm/caracal/values.dev.yaml          (dev)\n" -}}
{{- end -}}
{{- end -}}
