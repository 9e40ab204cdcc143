import { setTimeout as sleep } from 'node:timers/promises'
import { METRICS_PORT } from '@caracal/service'
import {
  backupGate,
  certificateGate,
  externalSecretGate,
  migrationJob,
  planGate,
  releaseGate,
  rolledGate,
  unreadyStop,
} from './cluster-gates.ts'
import { fullnameOf } from './fullname.ts'
import { helmRevisions } from './helm-release.ts'
import type { Forward, Kubectl } from './kubectl.ts'
import { readPlan } from './plan.ts'
import { prometheusGate } from './prometheus-gate.ts'
import { type RenderOptions, renderGates } from './render.ts'
import { askReplica, type Look, type ReplicaAddress } from './replica.ts'
import { type Row, row } from './row.ts'
import { type Looks, ROLES, schemaGate, serviceGates, serviceStops } from './service-gates.ts'
import { ofRelease, type Pod, podsOf, workloadsOf } from './workloads.ts'

export type Phase = 'pre' | 'during' | 'post'

export type Place = {
  readonly cluster: Kubectl
  readonly namespace: string
  readonly release: string
  readonly env: NodeJS.ProcessEnv
  readonly windowMs: number
  readonly bearer: string | undefined
  readonly prometheus: string | undefined
  readonly render: RenderOptions
}

/** The gates of one phase, asked once. */
export async function checkCluster(place: Place, phase: Phase): Promise<readonly Row[]> {
  if (phase === 'pre') return await beforehand(place)
  const { cluster, release, namespace } = place
  const [workloads, pods, revisions, job] = await Promise.all([
    workloadsOf(cluster, release),
    podsOf(cluster, release, ROLES),
    helmRevisions(cluster, release),
    cluster.get('job', `${fullnameOf(release)}-migrate`),
  ])
  const migration = migrationJob(job)
  const looks = await lookAtPods(place, pods)
  const stops = [migration.stop, unreadyStop(pods), ...serviceStops(looks)]
  const rolled = rolledGate(
    workloads.filter(({ role }) => ROLES.includes(role)),
    phase === 'during',
  )
  const gates = serviceGates(
    looks,
    workloads.map(({ role }) => role),
  )
  if (phase === 'during') {
    const ready = gates.filter(({ id }) => id === 'G6').map((one) => (one.state === 'stop' ? { ...one, state: 'wait' as const } : one))
    return [migration.gate, schemaGate(looks.second), rolled, releaseGate(revisions), ...ready, ...stops]
  }
  const monitored = await Promise.all(
    ['servicemonitors.monitoring.coreos.com', 'prometheusrules.monitoring.coreos.com'].map((kind) =>
      cluster.list(kind, ofRelease(release)),
    ),
  )
  const live = new Set(pods.filter(({ deleted }) => !deleted).map(({ name }) => name))
  return [
    rolled,
    releaseGate(revisions),
    ...gates,
    await prometheusGate(place.prometheus, namespace, monitored.flat().length > 0, (pod) => pod !== '' && !live.has(pod)),
    await certificateGate(cluster, release, Date.now()),
    ...stops,
  ]
}

async function beforehand(place: Place): Promise<readonly Row[]> {
  const { cluster, release } = place
  const [plan, revisions] = await Promise.all([readPlan(cluster, fullnameOf(release)), helmRevisions(cluster, release)])
  const live = revisions.find(({ status }) => status === 'deployed')
  const first = revisions.length === 0
  return [
    ...(await renderGates(place.render, place, cluster, live)),
    first ? row('G3', 'Rollback plan', 'none', 'there is nothing to go back to: a first install') : planGate(plan, live?.revision),
    first ? row('G4', 'Backup', 'none', 'there is nothing to back up: a first install') : backupGate(plan, Date.now()),
    await externalSecretGate(cluster),
  ]
}

/** Two looks at every pod through the API server, `windowMs` apart. */
async function lookAtPods({ cluster, windowMs, bearer }: Place, pods: readonly Pod[]): Promise<Looks> {
  const forwards: Forward[] = []
  try {
    const addresses = await Promise.all(
      pods
        .filter(({ deleted }) => !deleted)
        .map(async ({ name, role }): Promise<ReplicaAddress> => {
          try {
            const forward = await cluster.forward(name, METRICS_PORT)
            forwards.push(forward)
            return { role, name, url: forward.url }
          } catch {
            // Nothing answers there: that is what it will say.
            return { role, name, url: 'http://127.0.0.1:9' }
          }
        }),
    )
    return await lookTwice(addresses, windowMs, bearer)
  } finally {
    for (const forward of forwards) forward.stop()
  }
}

/** The same replicas at two moments. */
export async function lookTwice(addresses: readonly ReplicaAddress[], windowMs: number, bearer: string | undefined): Promise<Looks> {
  const look = async (): Promise<Look> => ({
    at: performance.now(),
    replicas: await Promise.all(addresses.map((one) => askReplica(one, bearer))),
  })
  const first = await look()
  await sleep(windowMs)
  return { first, second: await look() }
}
