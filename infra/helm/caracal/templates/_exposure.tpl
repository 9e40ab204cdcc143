{{/* (root, component) → path prefixes that are let through. */}}
{{- define "caracal.publicPaths" -}}
{{- $contract := include "caracal.contract" .root | fromYaml -}}
{{- default (index $contract.publicPaths .component) (include "caracal.exposure" (dict "root" .root "component" .component "kind" "ingress") | fromYaml).paths | toYaml -}}
{{- end -}}

{{- define "caracal.ingress" -}}
{{- $root := .root -}}
{{- $own := include "caracal.exposure" (dict "root" $root "component" .component "kind" "ingress") | fromYaml -}}
{{- if and $own.enabled (include "caracal.isEnabled" .) }}
{{- $hosts := list $own.host -}}
{{- if and (eq .component "gateway") $root.Values.services.gateway.baseDomain }}
{{- $hosts = append $hosts (printf "*.%s" $root.Values.services.gateway.baseDomain) }}
{{- end }}
{{- $paths := include "caracal.publicPaths" . | fromYamlArray }}
{{- /* Google's controller knows its class by the annotation only, and the API takes one of the two. */ -}}
{{- $google := has $own.className (list "gce" "gce-internal") -}}
{{- $annotations := $own.annotations -}}
{{- if $google }}{{ $annotations = merge (dict "kubernetes.io/ingress.class" $own.className) $annotations }}{{ end }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ include "caracal.componentName" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root "extra" $annotations) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  {{- if and $own.className (not $google) }}
  ingressClassName: {{ $own.className }}
  {{- end }}
  {{- if not $own.tlsAtController }}
  tls:
    - hosts:
        {{- toYaml $hosts | nindent 8 }}
      secretName: {{ $own.tlsSecretName }}
  {{- end }}
  rules:
    {{- range $host := $hosts }}
    - host: {{ $host | quote }}
      http:
        paths:
          {{- range $paths }}
          - path: {{ . }}
            pathType: Prefix
            backend:
              service:
                name: {{ include "caracal.componentName" $ }}
                port:
                  name: http
          {{- end }}
    {{- end }}
{{- end }}
{{- end -}}

{{- define "caracal.httpRoute" -}}
{{- $root := .root -}}
{{- $own := include "caracal.exposure" (dict "root" $root "component" .component "kind" "httpRoute") | fromYaml -}}
{{- if and $own.enabled (include "caracal.isEnabled" .) }}
{{- $contract := include "caracal.contract" $root | fromYaml }}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ include "caracal.componentName" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root "extra" $own.annotations) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  parentRefs:
    {{- toYaml $own.parentRefs | nindent 4 }}
  hostnames:
    - {{ $own.hostname | quote }}
    {{- if and (eq .component "gateway") $root.Values.services.gateway.baseDomain }}
    - {{ printf "*.%s" $root.Values.services.gateway.baseDomain | quote }}
    {{- end }}
  rules:
    - matches:
        {{- range (include "caracal.publicPaths" . | fromYamlArray) }}
        - path:
            type: PathPrefix
            value: {{ . }}
        {{- end }}
      backendRefs:
        - name: {{ include "caracal.componentName" . }}
          port: {{ (index $contract.components .component).port }}
{{- end }}
{{- end -}}
