{{/* Entries (CIDR strings or raw peers) → peers of a rule. */}}
{{- define "caracal.peers" -}}
{{- range . }}
{{- if kindIs "string" . }}
- ipBlock:
    cidr: {{ . }}
{{- else }}
- {{ toYaml . | nindent 2 | trim }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Port numbers or raw port entries → ports of a rule. */}}
{{- define "caracal.ports" -}}
{{- range . }}
{{- if kindIs "map" . }}
- {{ toYaml . | nindent 2 | trim }}
{{- else }}
- protocol: TCP
  port: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (entry, side) → one rule of extraEgress (`to`) or extraIngress (`from`). */}}
{{- define "caracal.extraRule" -}}
{{- $entry := .entry -}}
- {{ .side }}:
    {{- if hasKey $entry "cidrs" }}
    {{- range $entry.cidrs }}
    - ipBlock:
        cidr: {{ . }}
        {{- with $entry.except }}
        except:
          {{- toYaml . | nindent 10 }}
        {{- end }}
    {{- end }}
    {{- else }}
    {{- include "caracal.peers" (index $entry .side) | trim | nindent 4 }}
    {{- end }}
  {{- with $entry.ports }}
  ports:
    {{- include "caracal.ports" . | trim | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* (root, component) → a peer: the pods of a component of this release. */}}
{{- define "caracal.podPeer" -}}
- podSelector:
    matchLabels:
      {{- include "caracal.selectorLabels" . | nindent 6 }}
{{- end -}}

{{/* Host of a URL that is a Service of this cluster → its namespace, else nothing. */}}
{{- define "caracal.clusterNamespaceOf" -}}
{{- $host := (urlParse .).hostname -}}
{{- $parts := splitList "." $host -}}
{{- if and (ge (len $parts) 3) (eq (index $parts 2) "svc") }}{{ index $parts 1 }}{{ end -}}
{{- end -}}

{{- define "caracal.otlpPort" -}}
{{- $url := urlParse .Values.global.otelExporterOtlpEndpoint -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- default (ternary "443" "80" (eq $url.scheme "https")) $port -}}
{{- end -}}

{{/* (root, component) → ways out that every pod may need: names, and more that the values open. */}}
{{- define "caracal.commonEgress" -}}
{{- $policy := .root.Values.networkPolicy -}}
{{- $component := .component -}}
{{- $dns := list (dict "protocol" "UDP" "port" 53) (dict "protocol" "TCP" "port" 53) -}}
{{- if $policy.clusterDns.enabled }}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ $policy.clusterDns.namespace }}
      podSelector:
        matchLabels:
          {{- toYaml $policy.clusterDns.podLabels | nindent 10 }}
  ports:
    {{- toYaml $dns | nindent 4 }}
{{- end }}
{{- range $policy.dnsEgress }}
- to:
    {{- if kindIs "string" . }}
    - ipBlock:
        cidr: {{ . }}
    {{- else }}
    {{- include "caracal.peers" .to | trim | nindent 4 }}
    {{- end }}
  ports:
    {{- toYaml $dns | nindent 4 }}
{{- end }}
{{- if $policy.allowOpenDns }}
- ports:
    {{- toYaml $dns | nindent 4 }}
{{- end }}
{{- if and $policy.allowOpenHttps (ne $component "coordinator") }}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [169.254.0.0/16]
    - ipBlock:
        cidr: ::/0
        except: ["fe80::/10"]
  ports:
    - protocol: TCP
      port: 443
{{- end }}
{{- range $policy.extraEgress }}
{{- if or (not .components) (has $component .components) }}
{{ include "caracal.extraRule" (dict "entry" . "side" "to") }}
{{- end }}
{{- end }}
{{- end -}}

{{/* (root, stores) → ways to the stores. */}}
{{- define "caracal.storeEgress" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- if has "postgres" .stores }}
- to:
    {{- include "caracal.peers" $values.networkPolicy.postgres.to | trim | nindent 4 }}
    {{- if $values.devStores.postgres.enabled }}
    {{- include "caracal.podPeer" (dict "root" $root "component" "postgres") | nindent 4 }}
    {{- end }}
  ports:
    - protocol: TCP
      port: {{ $values.secrets.database.port }}
{{- end }}
{{- if and (has "redis" .stores) (eq $values.streams.driver "redis") }}
- to:
    {{- include "caracal.peers" $values.networkPolicy.redis.to | trim | nindent 4 }}
  ports:
    - protocol: TCP
      port: {{ $values.secrets.redis.port }}
{{- end }}
{{- end -}}

{{/* (root, component) → the policy of a service: exactly the rows of the contract. */}}
{{- define "caracal.networkPolicy" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := $root.Values -}}
{{- $policy := $values.networkPolicy -}}
{{- $own := include "caracal.service" . | fromYaml -}}
{{- if and $policy.enabled $own.enabled }}
{{- $contract := include "caracal.contract" $root | fromYaml -}}
{{- $spec := index $contract.components $component -}}
{{- $canary := and $values.canary.enabled true -}}
{{- $balancer := $own.loadBalancer | default dict -}}
{{- $route := include "caracal.exposure" (dict "root" $root "component" $component "kind" "httpRoute") | fromYaml -}}
{{- $ingress := include "caracal.exposure" (dict "root" $root "component" $component "kind" "ingress") | fromYaml -}}
{{- $exposed := or (has $component (list "api" "gateway")) $ingress.enabled $route.enabled $balancer.enabled -}}
{{- $outside := list -}}
{{- if has "clients" $spec.calledFromOutside }}{{ $outside = concat $outside $policy.clients }}{{ end -}}
{{- if and (has "ingressController" $spec.calledFromOutside) $exposed }}{{ $outside = concat $outside $policy.ingressController }}{{ end -}}
{{- if $balancer.enabled }}{{ $outside = concat $outside $balancer.sourceRanges }}{{ end -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "caracal.componentName" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "caracal.labels" . | nindent 4 }}
  {{- with include "caracal.annotations" (dict "root" $root) | trim }}{{ . | nindent 2 }}{{ end }}
spec:
  podSelector:
    matchLabels:
      {{- include "caracal.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- range $caller := $spec.calledBy }}
    {{- if include "caracal.isEnabled" (dict "root" $root "component" $caller) }}
    - from:
        {{- include "caracal.podPeer" (dict "root" $root "component" $caller) | nindent 8 }}
      ports:
        - protocol: TCP
          port: {{ $spec.port }}
    {{- end }}
    {{- end }}
    {{- with $outside }}
    - from:
        {{- include "caracal.peers" . | trim | nindent 8 }}
      ports:
        - protocol: TCP
          port: {{ $spec.port }}
    {{- end }}
    {{- $scrapers := $policy.prometheus }}
    {{- if or $scrapers $canary }}
    - from:
        {{- with $scrapers }}
        {{- include "caracal.peers" . | trim | nindent 8 }}
        {{- end }}
        {{- if $canary }}
        {{- include "caracal.podPeer" (dict "root" $root "component" "canary") | nindent 8 }}
        {{- end }}
      ports:
        - protocol: TCP
          port: {{ $contract.metricsPort }}
    {{- end }}
    {{- range $policy.extraIngress }}
    {{- if or (not .components) (has $component .components) }}
    {{- include "caracal.extraRule" (dict "entry" . "side" "from") | nindent 4 }}
    {{- end }}
    {{- end }}
  egress:
    {{- include "caracal.commonEgress" . | trim | nindent 4 }}
    {{- range $callee := $spec.calls }}
    {{- if include "caracal.isEnabled" (dict "root" $root "component" $callee.component) }}
    - to:
        {{- include "caracal.podPeer" (dict "root" $root "component" $callee.component) | nindent 8 }}
      ports:
        - protocol: TCP
          port: {{ $callee.port }}
    {{- end }}
    {{- end }}
    {{- $stores := $spec.stores }}
    {{- range $spec.keys }}
    {{- if and (eq .when "postgres-streams") (eq $values.streams.driver "postgres") }}{{ $stores = append $stores "postgres" }}{{ end }}
    {{- end }}
    {{- include "caracal.storeEgress" (dict "root" $root "stores" $stores) | trim | nindent 4 }}
    {{- if $values.global.otelExporterOtlpEndpoint }}
    {{- $namespace := include "caracal.clusterNamespaceOf" $values.global.otelExporterOtlpEndpoint }}
    {{- if or $policy.otlp.to $namespace }}
    - to:
        {{- if $policy.otlp.to }}
        {{- include "caracal.peers" $policy.otlp.to | trim | nindent 8 }}
        {{- else }}
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ $namespace }}
        {{- end }}
      ports:
        - protocol: TCP
          port: {{ include "caracal.otlpPort" $root }}
    {{- end }}
    {{- end }}
{{- end }}
{{- end -}}
