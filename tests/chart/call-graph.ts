import type { Door, Party } from './network-matrix.ts'
import { COMPONENTS } from './profiles.ts'

/** Who else there is: pods of others, and addresses outside. */
export const OTHERS: readonly Party[] = [
  { name: 'prometheus', namespace: 'monitoring', labels: { 'app.kubernetes.io/name': 'prometheus' } },
  { name: 'dns', namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' } },
  { name: 'controller', namespace: 'ingress-nginx', labels: { 'app.kubernetes.io/name': 'ingress-nginx' } },
  { name: 'collector', namespace: 'observability', labels: { app: 'otel-collector' } },
  { name: 'neighbour', namespace: 'caracal', labels: { app: 'neighbour' } },
  { name: 'foreigner', namespace: 'default', labels: { app: 'foreigner' } },
  { name: 'postgres', address: '10.0.5.5' },
  { name: 'redis', address: '10.0.5.6' },
  { name: 'private', address: '192.168.7.7' },
  { name: 'internet', address: '93.184.216.34' },
  { name: 'metadata', address: '169.254.169.254' },
]

export const DOORS: readonly Door[] = [
  ...[53, 80, 443, 3000, 4000, 4317, 4318, 5432, 6379, 6380, 8080, 8081, 8090, 8443, 9090, 9464].map(
    (port) => ({ protocol: 'TCP', port }) as const,
  ),
  { protocol: 'UDP', port: 53 },
]

export const TASKS = ['migrate', 'schema-check', 'canary']
export const ALL = [...COMPONENTS, ...TASKS]

export const calls = (callers: readonly string[], callee: string, ...ports: (number | string)[]) =>
  callers.flatMap((caller) => ports.map((port) => `${caller} > ${callee}:${port}`))

/** The call graph, written down by hand: who calls whom, and nobody else does. */
export const CALL_GRAPH = [
  ...calls(['api', 'gateway', 'canary'], 'sts', 8080),
  ...calls(['canary'], 'api', 3000),
  ...calls(['canary'], 'gateway', 8081),
  ...calls(['canary'], 'audit', 9090),
  ...calls(['gateway'], 'canary', 8090),
  ...COMPONENTS.flatMap((component) => calls(['prometheus', 'canary'], component, 9464)),
  ...calls(['api', 'sts', 'audit', 'coordinator', 'migrate', 'schema-check'], 'postgres', 5432),
  ...calls([...COMPONENTS, 'migrate', 'schema-check'], 'redis', 6379),
  ...calls(ALL, 'dns', 53, '53/udp'),
].toSorted()

/** Egress to everything reaches what has no policy of its own: everybody but our own pods. */
const NOT_OURS = OTHERS.map((party) => party.name)

export type Switch = {
  readonly title: string
  readonly values: Readonly<Record<string, unknown>>
  readonly opened?: readonly string[]
  readonly closed?: readonly string[]
}

const controller = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'ingress-nginx' } } }
const host = { host: 'sts.acme.io', tlsSecretName: 'sts-tls' }

export const SWITCHES: readonly Switch[] = [
  {
    title: 'allowOpenDns opens port 53 to everywhere',
    values: { networkPolicy: { allowOpenDns: true } },
    opened: NOT_OURS.filter((name) => name !== 'dns').flatMap((name) => calls(ALL, name, 53, '53/udp')),
  },
  {
    title: 'allowOpenHttps opens port 443 to addresses, never to link-local ones and never for the Coordinator',
    values: { networkPolicy: { allowOpenHttps: true } },
    opened: ['postgres', 'redis', 'private', 'internet'].flatMap((name) =>
      calls(
        ALL.filter((one) => one !== 'coordinator'),
        name,
        443,
      ),
    ),
  },
  {
    title: 'a CIDR in dnsEgress opens port 53 there',
    values: { networkPolicy: { dnsEgress: ['192.168.7.7/32'] } },
    opened: calls(ALL, 'private', 53, '53/udp'),
  },
  {
    title: 'a rule in dnsEgress opens port 53 to its peer',
    values: { networkPolicy: { dnsEgress: [{ to: [controller] }] } },
    opened: calls(ALL, 'controller', 53, '53/udp'),
  },
  {
    title: 'extraEgress opens its addresses and ports for its components',
    values: { networkPolicy: { extraEgress: [{ cidrs: ['93.184.216.0/24'], ports: [443], components: ['gateway'] }] } },
    opened: calls(['gateway'], 'internet', 443),
  },
  {
    title: 'extraEgress leaves out what it excepts',
    values: {
      networkPolicy: {
        extraEgress: [
          { cidrs: ['0.0.0.0/0'], except: ['10.0.0.0/8', '169.254.0.0/16', '192.168.0.0/16'], ports: [443], components: ['sts'] },
        ],
      },
    },
    opened: calls(['sts'], 'internet', 443),
  },
  {
    title: 'extraEgress without components is for all',
    values: { networkPolicy: { extraEgress: [{ to: [controller], ports: [443] }] } },
    opened: calls(ALL, 'controller', 443),
  },
  {
    title: 'extraIngress opens a component to its peer',
    values: {
      networkPolicy: {
        extraIngress: [{ from: [{ podSelector: { matchLabels: { app: 'neighbour' } } }], ports: [9090], components: ['audit'] }],
      },
    },
    opened: calls(['neighbour'], 'audit', 9090),
  },
  {
    title: 'ingressController reaches API and Gateway, and not the STS that is not exposed',
    values: { networkPolicy: { ingressController: [controller] } },
    opened: [...calls(['controller'], 'api', 3000), ...calls(['controller'], 'gateway', 8081)],
  },
  {
    title: 'ingressController reaches the STS when it is exposed',
    values: { networkPolicy: { ingressController: [controller] }, ingress: { sts: { enabled: true, ...host } } },
    opened: [...calls(['controller'], 'api', 3000), ...calls(['controller'], 'gateway', 8081), ...calls(['controller'], 'sts', 8080)],
  },
  {
    title: 'the ranges of a load balancer reach its service',
    values: { services: { gateway: { loadBalancer: { enabled: true, sourceRanges: ['192.168.7.0/24'] } } } },
    opened: calls(['private'], 'gateway', 8081),
  },
  {
    title: 'no peers in prometheus: nobody scrapes but the canary',
    values: { networkPolicy: { prometheus: [] } },
    closed: COMPONENTS.flatMap((component) => calls(['prometheus'], component, 9464)),
  },
  {
    title: 'clusterDns off leaves only the servers of dnsEgress',
    values: { networkPolicy: { clusterDns: { enabled: false }, dnsEgress: ['192.168.7.7/32'] } },
    opened: calls(ALL, 'private', 53, '53/udp'),
    closed: calls(ALL, 'dns', 53, '53/udp'),
  },
  {
    title: 'an OTLP endpoint in the cluster opens its namespace on its port',
    values: { global: { otelExporterOtlpEndpoint: 'http://otel-collector.observability.svc.cluster.local:4317' } },
    opened: calls(COMPONENTS, 'collector', 4317),
  },
  {
    title: 'an OTLP endpoint elsewhere opens the peers of otlp.to',
    values: {
      global: { otelExporterOtlpEndpoint: 'https://otel.acme.io:4318', otelExporterOtlpProtocol: 'http/protobuf' },
      networkPolicy: { otlp: { to: ['93.184.216.34/32'] } },
    },
    opened: calls(COMPONENTS, 'internet', 4318),
  },
  {
    title: 'the port of Redis moves its cells',
    values: { secrets: { redis: { port: 6380 } } },
    opened: calls([...COMPONENTS, 'migrate', 'schema-check'], 'redis', 6380),
    closed: calls([...COMPONENTS, 'migrate', 'schema-check'], 'redis', 6379),
  },
  {
    title: 'without the canary nobody has its ways',
    values: { canary: { enabled: false } },
    closed: CALL_GRAPH.filter((call) => call.includes('canary')),
  },
  {
    title: 'without the Coordinator nothing of it is left',
    values: { services: { coordinator: { enabled: false } } },
    closed: CALL_GRAPH.filter((call) => call.includes('coordinator')),
  },
]
