{{/*
Everything that a render can know to be wrong, told before anything is applied: what is wrong, which key, what mends it. All faults of
one render are told together. The ids are those of the table in README.md.
*/}}
{{- define "caracal.validate" -}}
{{- $mode := .Values.global.mode -}}
{{- /* V01 */ -}}
{{- if not $mode -}}
{{- fail "\n\nglobal.mode is empty: no profile is chosen, and the chart does not install on its bare values. Choose one with --values:\n  infra/helm/caracal/values.production.yaml   (stable)\n  infra/helm/caracal/values.rc.yaml           (rc)\n  infra/helm/caracal/values.dev.yaml          (dev)\n" -}}
{{- end -}}
{{- $faults := list -}}
{{- range $part := list "Secrets" "Stores" "Network" "Exposure" "Replicas" "McpAdapter" "Rest" "Regulated" -}}
{{- range $line := splitList "\n" (include (printf "caracal.faults%s" $part) $) -}}
{{- if trim $line -}}{{- $faults = append $faults (trim $line) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n\nThe values do not hold for mode %s:\n  - %s\n" $mode (join "\n  - " ($faults | uniq))) -}}
{{- end -}}
{{- end -}}

{{- define "caracal.faultsSecrets" -}}
{{- $secrets := .Values.secrets -}}
{{- $mode := .Values.global.mode -}}
{{- if $secrets.create -}}
{{- /* V02 */ -}}
{{- if or (eq $mode "stable") (and (eq $mode "rc") (not .Values.global.evaluation)) }}
secrets.create is true: this mode takes its Secret from outside. Set it to false and provide {{ $secrets.runtimeSecretName }} by External Secrets (examples/external-secrets) or with `caracal secrets generate`{{ if eq $mode "rc" }}; for an evaluation that is thrown away set global.evaluation=true{{ end }}
{{- end -}}
{{- /* V03 */ -}}
{{- $missing := list -}}
{{- $contract := include "caracal.contract" . | fromYaml -}}
{{- $plaintext := $secrets.plaintext -}}
{{- range $key, $about := $contract.keys -}}
{{- $wanted := $about.required -}}
{{- if and (eq $key "redisUrl") (ne $.Values.streams.driver "redis") }}{{ $wanted = false }}{{ end -}}
{{- if and (eq $key "metricsBearer") $secrets.metricsBearer.enabled }}{{ $wanted = true }}{{ end -}}
{{- if and $wanted (not (index $plaintext $key)) }}{{ $missing = append $missing (printf "secrets.plaintext.%s" $key) }}{{ end -}}
{{- end -}}
{{- if $missing }}
secrets.create is true and these are empty: {{ join ", " $missing }}. Make them with `caracal secrets generate -o values > secrets.yaml` and add --values secrets.yaml
{{- end -}}
{{- end -}}
{{- range $key := $secrets.rotation -}}
{{- $contract := include "caracal.contract" $ | fromYaml -}}
{{- if not (dig $key "rotates" false $contract.keys) }}
secrets.rotation names {{ $key }}, which has no second value: it takes keys and tokens, e.g. [zoneKek]
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "caracal.isLoopback" -}}
{{- if regexMatch "^(localhost|127\\..*|::1|\\[::1\\]|0\\.0\\.0\\.0)?$" . }}true{{ end -}}
{{- end -}}

{{- define "caracal.faultsStores" -}}
{{- $mode := .Values.global.mode -}}
{{- $database := .Values.secrets.database -}}
{{- $redis := .Values.secrets.redis -}}
{{- $strict := ne $mode "dev" -}}
{{- $usesRedis := eq .Values.streams.driver "redis" -}}
{{- /* V04 */ -}}
{{- if and (eq $mode "stable") (eq $database.host (include "caracal.databaseSentinel" .)) (not $database.hostFromSecret) }}
secrets.database.host is not set: name your Postgres with --set secrets.database.host=<host>, or let databaseUrl of the Secret say it with --set secrets.database.hostFromSecret=true
{{- end -}}
{{- /* V05 */ -}}
{{- if and (eq $mode "stable") $usesRedis (eq $redis.host (include "caracal.redisSentinel" .)) (not $redis.hostFromSecret) }}
secrets.redis.host is not set: name your Redis with --set secrets.redis.host=<host>, or let redisUrl of the Secret say it with --set secrets.redis.hostFromSecret=true
{{- end -}}
{{- /* V06 */ -}}
{{- if and $strict (include "caracal.isLoopback" $database.host) }}
secrets.database.host is {{ $database.host | default "empty" }}: a pod's localhost is no database; set secrets.database.host to the name of your Postgres
{{- end -}}
{{- if and $strict $usesRedis (include "caracal.isLoopback" $redis.host) }}
secrets.redis.host is {{ $redis.host | default "empty" }}: a pod's localhost is no Redis; set secrets.redis.host to the name of your Redis
{{- end -}}
{{- /* V07 */ -}}
{{- if and $strict (eq $database.sslMode "disable") }}
secrets.database.sslMode is disable: TLS is part of the contract here; set it to verify-full and, for an authority of your own, global.caBundle.secretName
{{- end -}}
{{- /* V08 */ -}}
{{- if and (eq $mode "stable") (ne .Values.streams.driver "redis") }}
streams.driver is {{ .Values.streams.driver }}: stable runs on a managed Redis; set streams.driver=redis
{{- end -}}
{{- if and $strict .Values.devStores.postgres.enabled }}
devStores.postgres.enabled is true: it has no TLS, no backup and no second replica; set it to false and use a managed Postgres
{{- end -}}
{{- /* V24 */ -}}
{{- if and $strict (gt (int $database.maxConnections) 0) -}}
{{- $sum := 0 -}}
{{- $terms := list -}}
{{- range $name := list "api" "sts" "audit" "coordinator" -}}
{{- $service := index $.Values.services $name -}}
{{- if $service.enabled -}}
{{- $most := int (index (splitList "/" (include "caracal.replicaRange" (dict "root" $ "component" $name))) 1) -}}
{{- $sum = add $sum (mul $most (int $service.dbPool)) -}}
{{- $terms = append $terms (printf "%s %d × %d" $name $most (int $service.dbPool)) -}}
{{- end -}}
{{- end -}}
{{- if gt (mul $sum 100) (mul (int $database.maxConnections) 80) }}
secrets.database.maxConnections is {{ $database.maxConnections }}, and the pools may open {{ $sum }} connections ({{ join ", " $terms }}), more than 80 % of it: lower services.<name>.dbPool or maxReplicas, or give the database more
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "caracal.faultsNetwork" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $strict := ne .Values.global.mode "dev" -}}
{{- /* V09 */ -}}
{{- if and $strict (not $policy.enabled) }}
networkPolicy.enabled is false: set it to true; what is missing then is opened with networkPolicy.extraEgress and extraIngress
{{- end -}}
{{- if $policy.enabled -}}
{{- /* V10 */ -}}
{{- if not (or $policy.clusterDns.enabled $policy.dnsEgress $policy.allowOpenDns) }}
networkPolicy has no way to DNS, so nothing could resolve a name: set networkPolicy.clusterDns.enabled=true or name the servers in networkPolicy.dnsEgress
{{- end -}}
{{- /* V11 */ -}}
{{- if and (not $policy.postgres.to) (not .Values.devStores.postgres.enabled) }}
networkPolicy.postgres.to is empty, so Postgres could not be reached: put its CIDR there
{{- end -}}
{{- if and (not $policy.redis.to) (eq .Values.streams.driver "redis") }}
networkPolicy.redis.to is empty, so Redis could not be reached: put its CIDR there
{{- end -}}
{{- /* V12 */ -}}
{{- if and $strict .Values.global.otelExporterOtlpEndpoint (not $policy.otlp.to) (not (include "caracal.clusterNamespaceOf" .Values.global.otelExporterOtlpEndpoint)) }}
global.otelExporterOtlpEndpoint is no Service of this cluster (<service>.<namespace>.svc), so the policies cannot know where it is: put its CIDR into networkPolicy.otlp.to
{{- end -}}
{{- end -}}
{{- if and $strict .Values.global.otelExporterOtlpEndpoint -}}
{{- $port := include "caracal.otlpPort" . -}}
{{- $protocol := .Values.global.otelExporterOtlpProtocol -}}
{{- if or (and (eq $port "4317") (ne $protocol "grpc")) (and (eq $port "4318") (ne $protocol "http/protobuf")) }}
global.otelExporterOtlpProtocol is {{ $protocol }} and the endpoint's port is {{ $port }}: 4317 goes with grpc, 4318 with http/protobuf
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "caracal.faultsExposure" -}}
{{- $values := .Values -}}
{{- $strict := ne $values.global.mode "dev" -}}
{{- $policy := $values.networkPolicy -}}
{{- $peers := or $policy.ingressController $policy.clients -}}
{{- range $name := list "api" "gateway" "sts" "mcp-adapter" -}}
{{- $ingress := include "caracal.exposure" (dict "root" $ "component" $name "kind" "ingress") | fromYaml -}}
{{- $route := include "caracal.exposure" (dict "root" $ "component" $name "kind" "httpRoute") | fromYaml -}}
{{- $balancer := (include "caracal.service" (dict "root" $ "component" $name) | fromYaml).loadBalancer -}}
{{- $ingressKey := include "caracal.exposurePath" (dict "component" $name "kind" "ingress") -}}
{{- $routeKey := include "caracal.exposurePath" (dict "component" $name "kind" "httpRoute") -}}
{{- $balancerKey := printf "%s.loadBalancer" (include "caracal.valuesPath" $name) -}}
{{- $extra := false -}}
{{- range $policy.extraIngress }}{{ if or (not .components) (has $name .components) }}{{ $extra = true }}{{ end }}{{ end -}}
{{- /* V13 */ -}}
{{- if and $strict $policy.enabled -}}
{{- range $key, $on := dict $ingressKey $ingress.enabled $routeKey $route.enabled -}}
{{- if and $on (not $peers) (not $extra) }}
{{ $key }}.enabled is true and no policy lets its traffic in: name the controller's pods or addresses in networkPolicy.ingressController
{{- end -}}
{{- end -}}
{{- if and $balancer.enabled (not $peers) (not $extra) (not $balancer.sourceRanges) }}
{{ $balancerKey }}.enabled is true and no policy lets its traffic in: set {{ $balancerKey }}.sourceRanges, or networkPolicy.clients
{{- end -}}
{{- end -}}
{{- /* V14 */ -}}
{{- if and $ingress.enabled (not $ingress.host) }}
{{ $ingressKey }}.enabled is true and {{ $ingressKey }}.host is empty: set the host name
{{- end -}}
{{- if and $route.enabled (not $route.hostname) }}
{{ $routeKey }}.enabled is true and {{ $routeKey }}.hostname is empty: set the host name
{{- end -}}
{{- if and $route.enabled (not $route.parentRefs) }}
{{ $routeKey }}.enabled is true and {{ $routeKey }}.parentRefs is empty: name the Gateway it belongs to
{{- end -}}
{{- if and $strict $ingress.enabled (not $ingress.tlsSecretName) (not $ingress.tlsAtController) }}
{{ $ingressKey }} has no certificate: set {{ $ingressKey }}.tlsSecretName, or tlsAtController=true when the load balancer holds it
{{- end -}}
{{- range $ingress.paths -}}
{{- if or (hasPrefix "/internal" .) (hasPrefix "/admin" .) (and (eq . "/") (ne $name "gateway")) }}
{{ $ingressKey }}.paths lets {{ . }} in: internal routes are for the cluster only; leave the list empty for the public ones
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* V15 */ -}}
{{- $issuer := $values.global.issuerUrl -}}
{{- if and $strict $issuer -}}
{{- $host := (urlParse $issuer).hostname -}}
{{- if not (hasPrefix "https://" $issuer) }}
global.issuerUrl is {{ $issuer }}: it must begin with https://, for verifiers fetch keys from there
{{- end -}}
{{- if regexMatch "(^|\\.)(example(\\.(com|net|org))?|invalid|test)$" $host }}
global.issuerUrl is {{ $issuer }}, an example: set the name under which your STS is known
{{- end -}}
{{- $stsHost := include "caracal.stsHost" . -}}
{{- $names := list $host -}}
{{- range $values.global.issuerAliases }}{{ $names = append $names (urlParse .).hostname }}{{ end -}}
{{- if and $stsHost (not (has $stsHost $names)) }}
the STS is exposed as {{ $stsHost }}, but global.issuerUrl is {{ $issuer }}, so verifiers would reject every mandate: use one name for both, or add the other to global.issuerAliases
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "caracal.faultsReplicas" -}}
{{- $root := . -}}
{{- range $name := include "caracal.enabledServices" $root | fromYamlArray -}}
{{- $service := include "caracal.service" (dict "root" $root "component" $name) | fromYaml -}}
{{- $key := include "caracal.valuesPath" $name -}}
{{- $range := splitList "/" (include "caracal.replicaRange" (dict "root" $root "component" $name)) -}}
{{- $least := int (index $range 0) -}}
{{- $scaled := or $service.hpa.enabled $service.keda.enabled -}}
{{- /* V16 */ -}}
{{- if and (eq $root.Values.global.mode "stable") (lt $least 2) }}
{{ $key }} has {{ $least }} replica: stable needs two or more; set {{ $key }}.{{ ternary "hpa.minReplicas" "replicas" $scaled }}
{{- end -}}
{{- /* V17 */ -}}
{{- if and $service.pdb.enabled (ne (toString $service.pdb.minAvailable) "") -}}
{{- $text := toString $service.pdb.minAvailable -}}
{{- $blocked := ternary (eq $text "100%") (ge (int $service.pdb.minAvailable) $least) (hasSuffix "%" $text) -}}
{{- if $blocked }}
{{ $key }}.pdb.minAvailable is {{ $text }} of {{ $least }}, so no node could ever be drained: leave it empty and keep maxUnavailable=1
{{- end -}}
{{- end -}}
{{- /* V20 */ -}}
{{- if and $service.hpa.enabled $service.keda.enabled }}
{{ $key }} has hpa.enabled and keda.enabled: two scalers would fight; keep one
{{- end -}}
{{- if and $scaled (lt (int $service.hpa.maxReplicas) (int $service.hpa.minReplicas)) }}
{{ $key }}.hpa.maxReplicas is {{ $service.hpa.maxReplicas }}, less than minReplicas {{ $service.hpa.minReplicas }}
{{- end -}}
{{- if and $service.keda.enabled (or (not $service.keda.serverAddress) (not $service.keda.query) (not $service.keda.threshold)) }}
{{ $key }}.keda.enabled is true: it needs serverAddress, query and threshold
{{- end -}}
{{- /* V19 */ -}}
{{- if and (has $name (list "sts" "gateway" "mcp-adapter")) $root.Values.replayPersistence.enabled -}}
{{- $full := include "caracal.componentName" (dict "root" $root "component" $name) -}}
{{- $live := lookup "apps/v1" "StatefulSet" $root.Release.Namespace $full -}}
{{- range $claim := dig "spec" "volumeClaimTemplates" list ($live | default dict) -}}
{{- $size := dig "spec" "resources" "requests" "storage" "" $claim -}}
{{- if and (eq $claim.metadata.name "replay") (ne $size $root.Values.replayPersistence.size) }}
replayPersistence.size is {{ $root.Values.replayPersistence.size }}, but {{ $full }} was made with {{ $size }} and Kubernetes does not change that: expand each claim (`kubectl -n {{ $root.Release.Namespace }} patch pvc replay-{{ $full }}-0 --patch '{"spec":{"resources":{"requests":{"storage":"{{ $root.Values.replayPersistence.size }}"}}}}'`), then `kubectl -n {{ $root.Release.Namespace }} delete statefulset {{ $full }} --cascade=orphan`, then upgrade
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* V18 */ -}}
{{- if and (eq $root.Values.global.mode "stable") (not $root.Values.replayPersistence.enabled) }}
replayPersistence.enabled is false: evidence that waits would die with its pod; set it to true
{{- end -}}
{{- end -}}

{{/* A number with its unit → milliseconds. */}}
{{- define "caracal.milliseconds" -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- mul (trimSuffix $unit . | int64) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000) $unit) -}}
{{- end -}}

{{- define "caracal.faultsRest" -}}
{{- $values := .Values -}}
{{- $mode := $values.global.mode -}}
{{- /* V21 */ -}}
{{- if and (eq $mode "stable") (has $values.global.logLevel (list "debug" "trace")) }}
global.logLevel is {{ $values.global.logLevel }}: stable logs info or less; set global.logLevel=info
{{- end -}}
{{- if and (ne $mode "dev") (eq $values.global.tag "latest") (not $values.global.digest) }}
global.tag is latest: nobody could say what runs; set a version, or global.digest
{{- end -}}
{{- /* V22 */ -}}
{{- if and (eq $mode "stable") (eq $values.migrations.mode "init") }}
migrations.mode is init: services must not hold the rights to change the schema; set migrations.mode=job, or external
{{- end -}}
{{- if and (eq $values.migrations.mode "init") (not $values.services.api.enabled) }}
migrations.mode is init and services.api.enabled is false: nobody would migrate; set migrations.mode=job
{{- end -}}
{{- /* V26 */ -}}
{{- $expiration := include "caracal.milliseconds" $values.budgets.chargeExpiration -}}
{{- if lt (int64 (include "caracal.milliseconds" $values.budgets.chargeMax)) (int64 $expiration) }}
budgets.chargeMax is {{ $values.budgets.chargeMax }}, less than budgets.chargeExpiration {{ $values.budgets.chargeExpiration }}: a charge would be asked for longer than allowed; raise the one or lower the other
{{- end -}}
{{- /* V25 */ -}}
{{- range $values.audit.anchors -}}
{{- if not (hasPrefix "file:///" .) }}
audit.anchors has {{ . }}: an anchor is file:///path/anchors.jsonl on a volume of services.audit.extraVolumes
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "caracal.faultsMcpAdapter" -}}
{{- $own := .Values.mcpAdapter -}}
{{- $policy := .Values.networkPolicy -}}
{{- range $kind := list "ingress" "httpRoute" "loadBalancer" -}}
{{- if and (index $own $kind).enabled (not $own.enabled) }}
mcpAdapter.{{ $kind }}.enabled is true and mcpAdapter.enabled is false, so there is nothing to expose: set mcpAdapter.enabled=true
{{- end -}}
{{- end -}}
{{- if $own.enabled -}}
{{- /* V23 */ -}}
{{- if not $own.servers }}
mcpAdapter.enabled is true and mcpAdapter.servers is empty: name the MCP servers, e.g. --set mcpAdapter.servers[0].name=tools --set mcpAdapter.servers[0].url=http://tools.agents.svc:8000/mcp
{{- end -}}
{{- $names := list -}}
{{- range $own.servers -}}
{{- if has .name $names }}
mcpAdapter.servers has {{ .name }} twice: the name is the path under which clients reach it, so each needs its own
{{- end -}}
{{- $names = append $names .name -}}
{{- $url := urlParse .url -}}
{{- if or $url.userinfo $url.query $url.fragment }}
mcpAdapter.servers: the URL of {{ .name }} has credentials, a query or a fragment: a credential belongs to the provider of its resource, and the rest to the call
{{- end -}}
{{- end -}}
{{- if and $own.servers $policy.enabled (ne .Values.global.mode "dev") (not $policy.allowOpenHttps) -}}
{{- $reaches := false -}}
{{- range $policy.extraEgress }}{{ if or (not .components) (has "mcp-adapter" .components) }}{{ $reaches = true }}{{ end }}{{ end -}}
{{- if not $reaches }}
mcpAdapter.servers cannot be reached, for no policy lets the adapter out to them: add to networkPolicy.extraEgress a rule with components [mcp-adapter], e.g. {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: agents}}}], ports: [8000], components: [mcp-adapter]}
{{- end -}}
{{- end -}}
{{- if and (ne .Values.global.mode "dev") $own.publicUrl (not (hasPrefix "https://" $own.publicUrl)) }}
mcpAdapter.publicUrl is {{ $own.publicUrl }}: it must begin with https://, for clients send mandates there
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "caracal.faultsRegulated" -}}
{{- if .Values.global.regulated -}}
{{- $values := .Values -}}
{{- $policy := $values.networkPolicy -}}
{{- $private := list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" "fc00::/7" -}}
{{- /* R1 */ -}}
{{- if ne $values.secrets.database.sslMode "verify-full" }}
regulated: secrets.database.sslMode is {{ $values.secrets.database.sslMode }}; set verify-full
{{- end -}}
{{- /* R2 */ -}}
{{- if not $values.global.digest }}
regulated: global.digest is empty; set the image's sha256 digest
{{- end -}}
{{- /* R3 */ -}}
{{- if or $policy.allowOpenDns $policy.allowOpenHttps }}
regulated: networkPolicy.allowOpenDns and allowOpenHttps must be false; name destinations in dnsEgress and extraEgress
{{- end -}}
{{- /* R4 */ -}}
{{- range $store := list "postgres" "redis" -}}
{{- range (index $policy $store).to -}}
{{- if and (kindIs "string" .) (has . $private) }}
regulated: networkPolicy.{{ $store }}.to still has a whole private range; put the store's own CIDR there
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* R9 */ -}}
{{- if not $values.secrets.metricsBearer.enabled }}
regulated: secrets.metricsBearer.enabled is false; set it to true
{{- end -}}
{{- /* R10 */ -}}
{{- if not $values.audit.anchors }}
regulated: audit.anchors is empty; name a file on a volume outside of the database's reach
{{- end -}}
{{- /* R11 */ -}}
{{- $hosts := list $values.secrets.database.host $values.secrets.redis.host -}}
{{- range $name := list "api" "gateway" "sts" "mcp-adapter" -}}
{{- with include "caracal.outsideHost" (dict "root" $ "component" $name) }}{{ $hosts = append $hosts . }}{{ end -}}
{{- end -}}
{{- range $hosts -}}
{{- if regexMatch "(^|\\.)(example(\\.(com|net|org))?|invalid|test)$" . }}
regulated: {{ . }} is a placeholder; set the real host name
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
