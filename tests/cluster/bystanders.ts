import { readFileSync } from 'node:fs'
import { DOORS, OTHERS } from '../chart/call-graph.ts'
import { type Actor, actorsIn } from './connection-matrix.ts'
import { IMAGE } from './images.ts'
import { apply, kubectl, NAMESPACE } from './installation.ts'
import { serveNamesFrom } from './node.ts'
import { OUTSIDE_NAMESPACE, startOutside, stopOutside } from './outside.ts'
import { NODE_ADDRESS } from './place.ts'
import { tool } from './processes.ts'

type Bystander = { readonly name: string; readonly namespace: string; readonly labels: Readonly<Record<string, string>> }
type Beyond = { readonly name: string; readonly address: string }

/** Who else is in a cluster, as the call graph of the chart knows them: pods of others … */
const pods = OTHERS.flatMap((party) => ('labels' in party ? [party as Bystander] : []))
/** … and addresses beyond the node. The stores stand on the node's own. */
const beyond = OTHERS.flatMap((party) => ('address' in party && !['postgres', 'redis'].includes(party.name) ? [party as Beyond] : []))

const ports = [...new Set(DOORS.map(({ port }) => port))]
const own = pods.filter(({ namespace }) => namespace !== NAMESPACE && namespace !== 'default' && namespace !== 'kube-system')

/** Stays within `restricted`, with a port below 1024 all the same. */
const SECURITY = {
  pod: {
    runAsNonRoot: true,
    runAsUser: 10001,
    seccompProfile: { type: 'RuntimeDefault' },
    sysctls: [{ name: 'net.ipv4.ip_unprivileged_port_start', value: '0' }],
  },
  container: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
}

/** A pod with these labels that answers on every port of the matrix. */
const listening = ({ name, namespace, labels }: Bystander) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: `bystander-${name}`, namespace, labels },
  spec: {
    terminationGracePeriodSeconds: 1,
    automountServiceAccountToken: false,
    securityContext: SECURITY.pod,
    containers: [
      {
        name: 'listener',
        image: `${IMAGE}:dev`,
        command: [
          '/caracal/node_modules/node/bin/node',
          '--input-type=module',
          '--eval',
          readFileSync(new URL('./connection-listener.ts', import.meta.url), 'utf8'),
        ],
        env: [{ name: 'PORTS', value: ports.join(',') }],
        securityContext: SECURITY.container,
        resources: { requests: { cpu: '1m', memory: '32Mi' } },
      },
    ],
  },
})

/** CoreDNS as a pod under the labels it has everywhere; it asks the one of the node. */
const naming = ({ name, namespace, labels }: Bystander) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: `bystander-${name}`, namespace, labels },
  spec: {
    terminationGracePeriodSeconds: 1,
    automountServiceAccountToken: false,
    dnsPolicy: 'Default',
    securityContext: SECURITY.pod,
    containers: [
      {
        name: 'coredns',
        image: `${IMAGE}:dev`,
        command: ['/tool/coredns', '-conf', '/config/Corefile'],
        securityContext: SECURITY.container,
        volumeMounts: [
          { name: 'tool', mountPath: '/tool/coredns', readOnly: true },
          { name: 'config', mountPath: '/config', readOnly: true },
        ],
        resources: { requests: { cpu: '1m', memory: '32Mi' } },
      },
    ],
    volumes: [
      { name: 'tool', hostPath: { path: tool('coredns'), type: 'File' } },
      { name: 'config', configMap: { name: `bystander-${name}` } },
    ],
  },
})

/** Brings everybody up, and names come from a pod from now on. */
export function startBystanders(): void {
  startOutside(
    beyond.map(({ address }) => address),
    ports,
  )
  for (const { namespace } of own) apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
  for (const pod of pods) {
    if (pod.name !== 'dns') apply(listening(pod))
    else {
      const metadata = { name: `bystander-${pod.name}`, namespace: pod.namespace }
      apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { Corefile: `.:53 {\n  errors\n  forward . ${NODE_ADDRESS}\n}\n` } })
      apply(naming(pod))
    }
  }
  for (const pod of pods) ready(pod)
  const dns = pods.find(({ name }) => name === 'dns')
  serveNamesFrom(kubectl('-n', dns?.namespace ?? '', 'get', 'pod', 'bystander-dns', '-o', 'jsonpath={.status.podIP}'))
}

/** A pod under the labels of one that the release runs for a short time only. */
export function startInPlaceOf(component: string): void {
  const labels = {
    'app.kubernetes.io/name': 'caracal',
    'app.kubernetes.io/instance': 'caracal',
    'app.kubernetes.io/component': component,
  }
  const pod = { name: component, namespace: NAMESPACE, labels }
  apply(listening(pod))
  ready(pod)
}

const ready = ({ name, namespace }: Bystander) =>
  kubectl('-n', namespace, 'wait', '--for=condition=Ready', `pod/bystander-${name}`, '--timeout=120s')

/** Takes them away, and names come from the node again. */
export async function stopBystanders(): Promise<void> {
  serveNamesFrom(NODE_ADDRESS)
  for (const { name, namespace } of pods) {
    for (const kind of ['pod', 'configmap']) kubectl('-n', namespace, 'delete', kind, `bystander-${name}`, '--ignore-not-found', '--wait')
  }
  for (const { namespace } of own) kubectl('delete', 'namespace', namespace, '--ignore-not-found', '--wait', '--timeout=120s')
  await stopOutside()
}

/** Everybody with the address he has now. */
export function bystanders(): readonly Actor[] {
  const named = pods.flatMap(({ name, namespace }) =>
    actorsIn(namespace, (labels) =>
      pods.find((pod) => pod.namespace === namespace && isOf(pod, labels))?.name === name ? name : undefined,
    ),
  )
  const outside = beyond.map(({ name, address }) => ({
    party: name,
    name,
    address,
    network: `/run/netns/${OUTSIDE_NAMESPACE}`,
    ours: false,
  }))
  return [...named, ...outside]
}

const isOf = (pod: Bystander, labels: Readonly<Record<string, string>>): boolean =>
  Object.entries(pod.labels).every(([key, value]) => labels[key] === value)
