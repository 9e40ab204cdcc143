import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { prometheusRule } from '../../infra/kubernetes/prometheus-rules.ts'
import { ALL, at, CORE, FOLDER, OPTIONAL, objectsOf, one, workloads, yamlFiles } from './manifests.ts'

const gateway = one('Deployment', 'caracal-gateway')
const adapter = one('Deployment', 'caracal-mcp-adapter')
const postgres = one('StatefulSet', 'caracal-postgres')
const container = (object: unknown) => at(object, 'spec.template.spec.containers.0')

test('the files are those that the README names, and no other', () => {
  const others = ['kustomization.yaml', 'nodeport/kustomization.yaml', 'tls-secret.example.yaml']
  expect(yamlFiles()).toEqual([...CORE, ...OPTIONAL, ...others].sort())
})

test('every object stands in the namespace and says what it belongs to; selectors are name and component', () => {
  for (const object of ALL) {
    const { labels = {}, namespace } = object.metadata
    expect(object.kind === 'Namespace' ? undefined : namespace, object.metadata.name).toBe(
      object.kind === 'Namespace' ? undefined : 'caracal',
    )
    for (const label of ['name', 'component', 'part-of', 'version'])
      expect(labels[`app.kubernetes.io/${label}`], `${object.kind} ${object.metadata.name}`).toBeTruthy()
  }
  for (const { object, labels } of workloads().filter(({ object }) => object.kind !== 'CronJob')) {
    const selector = at(object, 'spec.selector.matchLabels') as Record<string, string>
    expect(Object.keys(selector).sort()).toEqual(['app.kubernetes.io/component', 'app.kubernetes.io/name'])
    expect(labels).toMatchObject(selector)
  }
})

test('every Service finds pods, and every port that is named exists there', () => {
  for (const service of ALL.filter(({ kind }) => kind === 'Service')) {
    const selector = at(service, 'spec.selector') as Record<string, string>
    const found = workloads().filter(({ labels }) => Object.entries(selector).every(([name, value]) => labels[name] === value))
    expect(found, service.metadata.name).toHaveLength(1)
    const ports = (at(container(found[0]?.object), 'ports') as { name: string }[]).map(({ name }) => name)
    for (const { targetPort } of at(service, 'spec.ports') as { targetPort: string }[]) expect(ports).toContain(targetPort)
  }
})

test('[4-01] Postgres keeps its data on a claim of 10Gi', () => {
  const [claim, ...more] = at(postgres, 'spec.volumeClaimTemplates') as unknown[]
  expect(more).toEqual([])
  expect(claim).toMatchObject({
    metadata: { name: 'postgres-data' },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '10Gi' } } },
  })
  expect(at(container(postgres), 'volumeMounts')).toContainEqual({ name: 'postgres-data', mountPath: '/var/lib/postgresql' })
  expect(one('Service', 'caracal-postgres')).toMatchObject({ spec: { clusterIP: 'None', ports: [{ port: 5432 }] } })
})

test('[4-02] the MCP Adapter has two replicas behind a ClusterIP', () => {
  expect(at(adapter, 'spec.replicas')).toBe(2)
  expect(one('Service', 'caracal-mcp-adapter')).toMatchObject({ spec: { type: 'ClusterIP', ports: [{ name: 'http', port: 8080 }] } })
  expect(at(container(adapter), 'args')).toEqual(['serve', 'mcp-adapter', '--with', 'sts'])
})

test('[4-03] the Gateway is a Deployment of two replicas behind a LoadBalancer, with the other roles beside it', () => {
  expect(at(gateway, 'spec.replicas')).toBe(2)
  expect(one('Service', 'caracal-gateway', 'gateway-deployment.yaml')).toMatchObject({
    spec: { type: 'LoadBalancer', ports: [{ name: 'https', port: 8443 }] },
  })
  expect(one('Service', 'caracal-gateway-metrics')).toMatchObject({ spec: { type: 'ClusterIP', ports: [{ port: 9090 }] } })
  expect(at(container(gateway), 'args')).toEqual(['serve', 'gateway', '--with', 'api,sts,audit,coordinator', '--migrate'])
  expect(at(gateway, 'spec.strategy.rollingUpdate')).toEqual({ maxSurge: 1, maxUnavailable: 0 })
})

test('[4-09] what stands in secret.yaml is a placeholder, and Postgres refuses it before it makes a database', () => {
  const [secret] = objectsOf('secret.yaml')
  expect(Object.keys(secret?.data as object)).toEqual(['DB_PASSWORD'])
  const given = Buffer.from(String(at(secret, 'data.DB_PASSWORD')), 'base64').toString()
  const folder = mkdtempSync(join(tmpdir(), 'caracal-manifests-'))
  const file = join(folder, 'DB_PASSWORD')
  const start = (password: string) => {
    writeFileSync(file, password)
    const [program = '', ...args] = at(container(postgres), 'command') as string[]
    return spawnSync(program, args, { encoding: 'utf8', env: { PATH: process.env.PATH, POSTGRES_PASSWORD_FILE: file } })
  }
  try {
    for (const refused of [given, '', 'change-me'])
      expect(start(refused)).toMatchObject({ status: 78, stderr: expect.stringContaining('placeholder') })
    // The commands of the README make one that is not refused: what is missing then is the server.
    const made = execFileSync('bash', ['-c', 'NEW_PASSWORD=$(openssl rand -base64 32)\necho -n "$NEW_PASSWORD" | base64'], {
      encoding: 'utf8',
    })
    const ran = start(Buffer.from(made.trim(), 'base64').toString())
    expect([ran.status, ran.stderr]).toEqual([127, expect.stringContaining('docker-entrypoint.sh')])
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('[4-19] resources are those of the document', () => {
  const edge = { requests: { cpu: '250m', memory: '256Mi' }, limits: { cpu: '2000m', memory: '1Gi' } }
  expect(at(container(gateway), 'resources')).toEqual(edge)
  expect(at(container(adapter), 'resources')).toEqual(edge)
  expect(at(container(postgres), 'resources')).toEqual({
    requests: { cpu: '500m', memory: '512Mi' },
    limits: { cpu: '2000m', memory: '2Gi' },
  })
})

test('[4-05] a storage class is optional: the line that names one is a comment', () => {
  expect(readFileSync(join(FOLDER, 'postgres-statefulset.yaml'), 'utf8')).toMatch(/^ +# storageClassName: your-storage-class$/m)
  expect(at(postgres, 'spec.volumeClaimTemplates.0.spec.storageClassName')).toBeUndefined()
})

test('[4-23] pods say where they are scraped, and listen there', () => {
  const annotations = (object: unknown) => at(object, 'spec.template.metadata.annotations')
  const scraped = (port: string) => ({ 'prometheus.io/scrape': 'true', 'prometheus.io/port': port, 'prometheus.io/path': '/metrics' })
  expect(annotations(gateway)).toEqual(scraped('9090'))
  expect(annotations(adapter)).toEqual(scraped('8080'))
  expect(annotations(postgres)).toBeUndefined()
  for (const [object, port] of [
    [gateway, 9090],
    [adapter, 8080],
  ] as const)
    expect((at(container(object), 'ports') as { containerPort: number }[]).map(({ containerPort }) => containerPort)).toContain(port)
})

test('[4-24] probes ask what exists: kubelet needs no client certificate, Postgres is asked by pg_isready', () => {
  const probe = (object: unknown, kind: string) => at(container(object), `${kind}Probe.httpGet`)
  expect(probe(gateway, 'startup')).toEqual({ path: '/health', port: 'metrics' })
  expect(probe(gateway, 'liveness')).toEqual({ path: '/livez', port: 'metrics' })
  expect(probe(gateway, 'readiness')).toEqual({ path: '/ready', port: 'https', scheme: 'HTTPS' })
  expect(['startup', 'liveness', 'readiness'].map((kind) => probe(adapter, kind))).toEqual([
    { path: '/health', port: 'http' },
    { path: '/livez', port: 'http' },
    { path: '/ready', port: 'http' },
  ])
  for (const kind of ['startup', 'liveness', 'readiness'])
    expect(at(container(postgres), `${kind}Probe.exec.command`)).toEqual(['pg_isready', '-h', '127.0.0.1', '-U', 'caracal'])
})

test('five containers and no init container: as many log streams as kubectl follows at once', () => {
  const pods = [gateway, adapter, postgres].map((object) => ({
    many: Number(at(object, 'spec.replicas')),
    containers: at(object, 'spec.template.spec.containers') as unknown[],
    init: at(object, 'spec.template.spec.initContainers'),
  }))
  expect(pods.reduce((sum, { many, containers }) => sum + many * containers.length, 0)).toBe(5)
  expect(pods.map(({ init }) => init)).toEqual([undefined, undefined, undefined])
})

test('[4-29] the network policy has the name and the rules of the document’s sample, and what these miss', () => {
  const policy = one('NetworkPolicy', 'caracal-network-policy')
  const own = [{ namespaceSelector: { matchLabels: { name: 'caracal' } } }]
  expect(at(policy, 'spec.podSelector.matchLabels')).toEqual({ 'app.kubernetes.io/name': 'caracal' })
  expect(at(policy, 'spec.policyTypes')).toEqual(['Ingress', 'Egress'])
  expect(at(policy, 'spec.ingress')).toContainEqual({ from: own })
  expect(at(policy, 'spec.egress')).toContainEqual({ to: own })
  // What the sample selects by is a label of our namespace.
  expect(one('Namespace', 'caracal').metadata.labels?.name).toBe('caracal')
  const open = (rules: unknown, peer: 'from' | 'to', port: number) =>
    (rules as { from?: unknown; to?: unknown; ports?: { port: number }[] }[]).some(
      (rule) => rule.ports?.some((one) => one.port === port) && (peer === 'to' || rule[peer] === undefined || port !== 8443),
    )
  for (const port of [8443, 9090, 8080]) expect(open(at(policy, 'spec.ingress'), 'from', port), String(port)).toBe(true)
  for (const port of [53, 443]) expect(open(at(policy, 'spec.egress'), 'to', port), String(port)).toBe(true)
})

test('[4-30] every container runs as user 1000 without capabilities, without escalation, on a read-only root', () => {
  expect(workloads()).toHaveLength(4)
  for (const { object, pod } of workloads()) {
    expect(at(pod, 'securityContext'), object.metadata.name).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 1000,
      runAsGroup: 1000,
      fsGroup: 1000,
      seccompProfile: { type: 'RuntimeDefault' },
    })
    for (const one of at(pod, 'containers') as unknown[])
      expect(at(one, 'securityContext'), object.metadata.name).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
  }
  expect(one('Namespace', 'caracal').metadata.labels).toMatchObject({ 'pod-security.kubernetes.io/enforce': 'restricted' })
})

test('[4-31] every workload has an account of its own, without a token; there are no roles', () => {
  const accounts = workloads().map(({ object, pod }) => {
    expect([at(pod, 'automountServiceAccountToken'), at(pod, 'enableServiceLinks')], object.metadata.name).toEqual([false, false])
    return String(at(pod, 'serviceAccountName'))
  })
  expect(new Set(accounts).size).toBe(accounts.length)
  for (const name of accounts) expect(one('ServiceAccount', name).automountServiceAccountToken).toBe(false)
  expect(ALL.filter(({ kind }) => /Role/.test(kind))).toEqual([])
})

test('[4-33] without a load balancer: the same Service as NodePort 30443, or an Ingress that passes TLS through', () => {
  const balanced = one('Service', 'caracal-gateway', 'gateway-deployment.yaml')
  const node = one('Service', 'caracal-gateway', 'nodeport/service.yaml')
  const { type, ports, ...rest } = node.spec as { type: string; ports: { nodePort: number }[] }
  const { type: _, ports: given, ...balancedRest } = balanced.spec as { type: string; ports: object[] }
  expect([type, rest, node.metadata]).toEqual(['NodePort', balancedRest, balanced.metadata])
  expect(ports).toEqual([{ ...given[0], nodePort: 30443 }])
  const ingress = one('Ingress', 'caracal-gateway')
  expect(at(ingress, 'spec.rules.0.http.paths.0.backend.service')).toEqual({ name: 'caracal-gateway', port: { name: 'https' } })
  expect(at(ingress, 'metadata.annotations')).toMatchObject({ 'nginx.ingress.kubernetes.io/ssl-passthrough': 'true' })
})

test('[4-35] one pod of each at a time is moved, and pods spread over zones and nodes', () => {
  for (const name of ['caracal-gateway', 'caracal-mcp-adapter']) {
    const deployment = one('Deployment', name)
    expect(one('PodDisruptionBudget', name)).toMatchObject({ spec: { maxUnavailable: 1, selector: at(deployment, 'spec.selector') } })
    const spread = at(deployment, 'spec.template.spec.topologySpreadConstraints') as { topologyKey: string; labelSelector: unknown }[]
    expect(spread.map(({ topologyKey }) => topologyKey)).toEqual(['topology.kubernetes.io/zone', 'kubernetes.io/hostname'])
    for (const { labelSelector } of spread) expect(labelSelector).toEqual(at(deployment, 'spec.selector'))
  }
})

test('[4-36] a dump is made each night by the client of the server that it is of', () => {
  const job = workloads().find(({ object }) => object.kind === 'CronJob')
  expect(at(job?.object, 'spec.concurrencyPolicy')).toBe('Forbid')
  expect(at(job?.pod, 'containers.0.image')).toBe(at(container(postgres), 'image'))
  // The script is one that bash takes.
  const [program = '', , script = ''] = at(job?.pod, 'containers.0.command') as string[]
  expect(spawnSync(program, ['-n', '-c', script]).status).toBe(0)
})

test('[4-37] ServiceMonitors select one Service each by labels that it has; the rules are made from those of the chart', () => {
  for (const monitor of ALL.filter(({ kind }) => kind === 'ServiceMonitor')) {
    const wanted = Object.entries(at(monitor, 'spec.selector.matchLabels') as Record<string, string>)
    const found = ALL.filter(
      ({ kind, file, metadata }) =>
        kind === 'Service' && file !== 'nodeport/service.yaml' && wanted.every(([name, value]) => metadata.labels?.[name] === value),
    )
    expect(found, monitor.metadata.name).toHaveLength(1)
    const ports = (at(found[0], 'spec.ports') as { name: string }[]).map(({ name }) => name)
    expect(ports).toContain(at(monitor, 'spec.endpoints.0.port'))
  }
  expect(readFileSync(join(FOLDER, 'prometheusrule.yaml'), 'utf8')).toBe(prometheusRule())
})

test('[4-38] evidence is written through and images are pinned', () => {
  expect(at(one('ConfigMap', 'caracal-config'), 'data.EVIDENCE')).toBe('write-through')
  const images = workloads().flatMap(({ pod }) => (at(pod, 'containers') as { image: string }[]).map(({ image }) => image))
  for (const image of images) expect(image).toMatch(/@sha256:[0-9a-f]{64}$|^ghcr\.io\/caracal\/caracal:\d+\.\d+\.\d+$/)
})

test('[4-39] the autoscaler has the bounds of the document', () => {
  const of = (name: string) => one('HorizontalPodAutoscaler', name)
  expect(of('caracal-gateway')).toMatchObject({
    spec: { minReplicas: 2, maxReplicas: 10, scaleTargetRef: { kind: 'Deployment', name: 'caracal-gateway' } },
  })
  expect(of('caracal-mcp-adapter')).toMatchObject({ spec: { minReplicas: 2, maxReplicas: 8 } })
  for (const object of ALL.filter(({ kind }) => kind === 'HorizontalPodAutoscaler'))
    expect(at(object, 'spec.metrics.0.resource')).toEqual({ name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } })
})

test('what the pods mount is what the Secrets have, and nothing that is applied makes caracal-tls', () => {
  expect(ALL.filter(({ kind }) => kind === 'Secret').map(({ metadata }) => metadata.name)).toEqual(['caracal-secrets'])
  const tls = at(gateway, 'spec.template.spec.volumes') as { name: string; secret?: { secretName: string; defaultMode: number } }[]
  expect(tls.find(({ name }) => name === 'tls')?.secret).toEqual({ secretName: 'caracal-tls', defaultMode: 0o440 })
  expect(at(adapter, 'spec.template.spec.volumes.2.secret')).toEqual({
    secretName: 'caracal-tls',
    defaultMode: 0o440,
    items: [{ key: 'jwt_public.pem', path: 'jwt_public.pem' }],
  })
  expect(readFileSync(join(FOLDER, '.gitignore'), 'utf8')).toMatch(/^certs\/\ntls-secret-generated\.yaml$/m)
})
