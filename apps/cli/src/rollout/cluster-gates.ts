import { X509Certificate } from 'node:crypto'
import type { HelmRevision } from './helm-release.ts'
import { type Kubectl, type KubeObject, listAt, nameOf, numberAt, textAt } from './kubectl.ts'
import type { RolloutPlan } from './plan.ts'
import { type Row, row } from './row.ts'
import { ofRelease, type Pod, type Workload } from './workloads.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Ages that evidence of a backup and of a tried restore may have, and how long certificates must still hold. */
const MOST = { backupMs: 26 * HOUR_MS, drillMs: 8 * DAY_MS } as const
const LEAST_CERTIFICATE_MS = 14 * DAY_MS
/** An updated pod that is not ready for so long does not become it. Seconds. */
const MOST_UNREADY_SECONDS = 180

/** What runs is what the plan goes back to. */
export function planGate(plan: RolloutPlan | undefined, liveRevision: number | undefined): Row {
  if (plan === undefined) return row('G3', 'Rollback plan', 'stop', 'there is none: `caracal rollout plan` writes it down')
  if (liveRevision !== undefined && plan.revision !== liveRevision)
    return row(
      'G3',
      'Rollback plan',
      'stop',
      `it goes back to revision ${plan.revision}, and ${liveRevision} runs: \`caracal rollout plan\` again`,
    )
  return row('G3', 'Rollback plan', 'go', `revision ${plan.revision}, ${plan.verdict}: ${plan.reason}`)
}

/** Somebody saw a backup lately, and lately a restore worked. */
export function backupGate(plan: RolloutPlan | undefined, now: number): Row {
  const age = (text: string | null | undefined) => (text ? now - Date.parse(text) : Number.NaN)
  const found = [
    { what: 'backup', ms: age(plan?.backupAt), most: MOST.backupMs, option: '--backup-at' },
    { what: 'restore drill', ms: age(plan?.drillAt), most: MOST.drillMs, option: '--drill-at' },
  ]
  const absent = found.filter(({ ms }) => Number.isNaN(ms))
  if (absent.length > 0)
    return row('G4', 'Backup', 'stop', `no evidence of a ${absent.map(({ what, option }) => `${what} (${option})`).join(' and of a ')}`)
  const old = found.filter(({ ms, most }) => ms > most)
  const words = ({ what, ms }: { what: string; ms: number }) => `${what} ${Math.round(ms / HOUR_MS)} h old`
  return old.length > 0
    ? row('G4', 'Backup', 'stop', old.map((one) => `${words(one)}, at most ${one.most / HOUR_MS} h`).join('; '))
    : row('G4', 'Backup', 'go', found.map(words).join(', '))
}

/** The migration Job of this release, where it is one. */
export function migrationJob(job: KubeObject | undefined): { readonly gate: Row; readonly stop: Row } {
  const name = 'Migration Job fails'
  if (job === undefined)
    return { gate: row('G5', 'Migration Job', 'none', 'there is no Job'), stop: row('S1', name, 'none', 'there is no Job') }
  const failed = listAt(job, 'status', 'conditions').find((one) => textAt(one, 'type') === 'Failed' && textAt(one, 'status') === 'True')
  const why = failed === undefined ? '' : `${nameOf(job)}: ${textAt(failed, 'reason')} ${textAt(failed, 'message')}`.trim()
  if (failed !== undefined) return { gate: row('G5', 'Migration Job', 'stop', why), stop: row('S1', name, 'stop', why) }
  const succeeded = numberAt(job, 'status', 'succeeded') > 0
  return {
    gate: row('G5', 'Migration Job', succeeded ? 'go' : 'wait', `${nameOf(job)} ${succeeded ? 'succeeded' : 'runs'}`),
    stop: row('S1', name, 'go', `no: ${numberAt(job, 'status', 'failed')} failed pods`),
  }
}

/** Every workload runs its new pods only, and they are ready. While they are rolled that is waited for. */
export function rolledGate(workloads: readonly Workload[], rolling: boolean): Row {
  if (workloads.length === 0) return row('G6', 'Rolled out', 'stop', 'the release has no workloads')
  const behind = workloads.filter(({ desired, updated, ready, observed }) => !observed || updated < desired || ready < desired)
  if (behind.length === 0)
    return row('G6', 'Rolled out', 'go', workloads.map(({ name, ready, desired }) => `${name} ${ready}/${desired}`).join(', '))
  const words = behind.map(({ name, updated, ready, desired }) => `${name}: ${updated} updated, ${ready} ready of ${desired}`)
  return row('G6', 'Rolled out', rolling ? 'wait' : 'stop', words.join('; '))
}

/** Helm has finished with the newest revision: its hooks ran, and it waited as long as it was told to. */
export function releaseGate([newest]: readonly HelmRevision[]): Row {
  if (newest === undefined) return row('G6', 'Helm release', 'none', 'not installed by Helm')
  const { revision, status } = newest
  const state = status === 'deployed' ? 'go' : status.startsWith('pending-') ? 'wait' : 'stop'
  return row('G6', 'Helm release', state, `revision ${revision} ${status}`)
}

/** STS, Gateway or MCP Adapter cannot prove readiness. */
export function unreadyStop(pods: readonly Pod[]): Row {
  const stuck = pods.filter(
    ({ role, ready, ageSeconds, deleted }) =>
      ['sts', 'gateway', 'mcp-adapter'].includes(role) && !ready && !deleted && ageSeconds > MOST_UNREADY_SECONDS,
  )
  const words = stuck.map(({ name, ageSeconds }) => `${name}: not ready after ${Math.round(ageSeconds)} s`)
  return row('S2', 'STS or Gateway cannot prove readiness', stuck.length > 0 ? 'stop' : 'go', words.join('; ') || 'no')
}

/** Certificates are issued, and those of the Ingresses hold for a while. */
export async function certificateGate(cluster: Kubectl, release: string, now: number): Promise<Row> {
  const ingresses = await cluster.list('ingresses', ofRelease(release))
  const names = [...new Set(ingresses.flatMap((one) => listAt(one, 'spec', 'tls').map((tls) => textAt(tls, 'secretName'))))].filter(Boolean)
  if (names.length === 0) return row('G13', 'Certificates', 'none', 'no Ingress holds a certificate')
  const certificates = await cluster.list('certificates.cert-manager.io')
  const found = await Promise.all(
    names.map(async (name) => {
      const issuing = certificates.find((one) => textAt(one, 'spec', 'secretName') === name)
      const pending = issuing !== undefined && !condition(issuing, 'Ready')
      return pending ? { bad: `the Certificate of ${name} is not Ready` } : certificateLife(await cluster.get('secret', name), name, now)
    }),
  )
  const bad = found.flatMap((one) => ('bad' in one ? [one.bad] : []))
  const good = found.flatMap((one) => ('good' in one ? [one.good] : []))
  return row('G13', 'Certificates', bad.length > 0 ? 'stop' : 'go', (bad.length > 0 ? bad : good).join('; '))
}

function certificateLife(secret: KubeObject | undefined, name: string, now: number): { bad: string } | { good: string } {
  const pem = Buffer.from(textAt(secret, 'data', 'tls.crt'), 'base64').toString('utf8')
  try {
    const days = Math.floor((Date.parse(new X509Certificate(pem).validTo) - now) / DAY_MS)
    return days * DAY_MS > LEAST_CERTIFICATE_MS ? { good: `${name}: ${days} days` } : { bad: `${name} ends in ${days} days` }
  } catch {
    return { bad: `${name} holds no certificate` }
  }
}

/** Every ExternalSecret of the namespace says that it is in step. */
export async function externalSecretGate(cluster: Kubectl): Promise<Row> {
  const found = await cluster.list('externalsecrets.external-secrets.io')
  if (found.length === 0) return row('G14', 'Secrets', 'none', 'no ExternalSecret')
  const bad = found.filter((one) => !condition(one, 'Ready'))
  if (bad.length === 0) return row('G14', 'Secrets', 'go', `${found.map(nameOf).join(', ')} in step`)
  const why = (one: KubeObject) => listAt(one, 'status', 'conditions').map((each) => textAt(each, 'reason'))[0] ?? 'no condition yet'
  return row('G14', 'Secrets', 'stop', bad.map((one) => `${nameOf(one)}: ${why(one)}`).join('; '))
}

function condition(object: KubeObject, type: string): boolean {
  return listAt(object, 'status', 'conditions').some((one) => textAt(one, 'type') === type && textAt(one, 'status') === 'True')
}
