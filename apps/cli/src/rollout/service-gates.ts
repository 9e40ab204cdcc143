import { OPTIONAL_SERVICES, SERVICE_NAMES } from '@caracal/service'
import type { Look, Replica } from './replica.ts'
import { type Row, type RowState, row } from './row.ts'
import { highest, total } from './samples.ts'

/** Every role that a release may have. */
export const ROLES: readonly string[] = SERVICE_NAMES

/** Those that each release needs; the others are needed when it has a workload of them. */
const NEEDED: readonly string[] = SERVICE_NAMES.filter((name) => !OPTIONAL_SERVICES.includes(name))

const EVIDENCE_STREAM = { stream: 'caracal.audit.events' }

/** The same services at two moments; what grows is seen between them. */
export type Looks = { readonly first: Look; readonly second: Look }

/** One number that each replica has, or which replicas lack it. */
type Reading = { readonly name: string; readonly value: number | undefined }

/** Gates that services answer for themselves: readiness, streams, outbox, ingestion, revocations, replay. `installed`: what has a workload. */
export function serviceGates({ first, second }: Looks, installed: readonly string[] = []): Row[] {
  return [
    readiness(first, second, [...NEEDED, ...installed.filter((role) => ROLES.includes(role) && !NEEDED.includes(role))]),
    atMost(
      'G7',
      'Redis streams',
      second,
      ['audit'],
      (metrics) => highest(metrics, 'caracal_stream_oldest_pending_seconds'),
      30,
      's oldest message',
    ),
    both(
      'G8',
      'Outbox dispatch',
      atMost('', '', second, ['api', 'coordinator'], (metrics) => highest(metrics, 'caracal_outbox_dead'), 0, 'dead messages'),
      atMost(
        '',
        '',
        second,
        ['api', 'coordinator'],
        (metrics) => highest(metrics, 'caracal_outbox_oldest_pending_seconds'),
        60,
        's oldest message',
      ),
    ),
    both(
      'G9',
      'Audit ingestion',
      growth('', '', { first, second }, ['audit'], 'caracal_audit_quarantine_records', 'records more in quarantine (the dead letters)'),
      atMost('', '', second, ['audit'], (metrics) => highest(metrics, 'caracal_stream_lag', EVIDENCE_STREAM), 1_000, 'messages behind'),
    ),
    atLeast(
      'G10',
      'Revocation propagation',
      second,
      ['sts', 'gateway', 'mcp-adapter', 'coordinator'],
      'caracal_revocation_view_fresh',
      1,
      'view fresh',
    ),
    both(
      'G11',
      'Replay backlog',
      atMost(
        '',
        '',
        second,
        ['sts', 'gateway', 'mcp-adapter'],
        (metrics) => highest(metrics, 'caracal_spool_oldest_seconds'),
        60,
        's oldest event of a spool',
      ),
      atMost('', '', second, ['audit'], (metrics) => highest(metrics, 'caracal_audit_writers_lost'), 0, 'lost writers'),
    ),
  ]
}

/** Whether the schema is what the services need; part of the gate on migrations. */
export function schemaGate(look: Look): Row {
  const roles = ['api', 'sts', 'audit', 'coordinator']
  return both(
    'G5',
    'Migration safety',
    atMost('', '', look, roles, (metrics) => highest(metrics, 'caracal_schema_pending'), 0, 'migrations pending'),
    atLeast('', '', look, roles, 'caracal_schema_compatible', 1, 'schema compatible'),
  )
}

/** Stop conditions that services show: a condition that holds is a `stop`, one that does not is `go`. */
export function serviceStops(looks: Looks): Row[] {
  const { first, second } = looks
  return [
    stopWhen('S3', 'Dead letters grow or replay ages', [
      ...growing(looks, 'caracal_audit_quarantine_records', ({ before, now }) => now > before),
      ...growing(looks, 'caracal_spool_oldest_seconds', ({ before, now }) => now > 60 && now > before),
    ]),
    stopWhen(
      'S4',
      'Revocation view stale',
      growing(looks, 'caracal_revocation_view_fresh', ({ before, now }) => before === 0 && now === 0),
    ),
    stopWhen('S5', 'Outbox dead messages', [
      ...readings(second, ['api', 'coordinator'], (metrics) => highest(metrics, 'caracal_outbox_dead'))
        .filter(({ value }) => (value ?? 0) > 0)
        .map(({ name, value }) => `${name}: ${value}`),
    ]),
    stopWhen(
      'S6',
      'Pool or Redis pressure persists',
      second.replicas.flatMap((replica) => {
        const before = first.replicas.find(({ name }) => name === replica.name)
        const high = before === undefined ? [] : pressure(replica).filter((one) => pressure(before).some(({ what }) => what === one.what))
        return high.map(({ what, share }) => `${replica.name}: ${what} ${Math.round(share * 100)} %`)
      }),
    ),
  ]
}

/** What is more than nine tenths full. */
function pressure({ metrics }: Replica): { readonly what: string; readonly share: number }[] {
  if (metrics === null) return []
  const share = (used: number | undefined, of: number | undefined) => (used === undefined || !of ? 0 : used / of)
  return [
    {
      what: 'pool',
      share: share(highest(metrics, 'caracal_db_pool_connections', { state: 'in_use' }), highest(metrics, 'caracal_db_pool_max')),
    },
    { what: 'Redis memory', share: share(highest(metrics, 'caracal_redis_used_bytes'), highest(metrics, 'caracal_redis_limit_bytes')) },
  ].filter((one) => one.share > 0.9)
}

function readiness(first: Look, second: Look, needed: readonly string[]): Row {
  const missing = needed.filter((role) => !second.replicas.some((replica) => replica.role === role))
  const unready = [first, second].flatMap(({ replicas }) =>
    replicas.filter(({ ready }) => ready.status !== 200).map(({ name, ready }) => `${name}: ${ready.reasons.join(', ') || ready.status}`),
  )
  if (missing.length > 0) return row('G6', 'Readiness', 'stop', `no replica of ${missing.join(', ')}`)
  if (unready.length > 0) return row('G6', 'Readiness', 'stop', [...new Set(unready)].join('; '))
  return row('G6', 'Readiness', 'go', `${second.replicas.length} replicas ready, ${Math.round((second.at - first.at) / 1000)} s apart too`)
}

function readings(look: Look, roles: readonly string[], read: (metrics: NonNullable<Replica['metrics']>) => number | undefined): Reading[] {
  return look.replicas
    .filter(({ role }) => roles.includes(role))
    .map(({ name, metrics }) => ({ name, value: metrics === null ? undefined : read(metrics) }))
}

function judged(
  id: string,
  name: string,
  found: readonly Reading[],
  holds: (value: number) => boolean,
  words: (value: number) => string,
): Row {
  const silent = found.filter(({ value }) => value === undefined).map((one) => one.name)
  const bad = found.flatMap(({ name: who, value }) => (value === undefined || holds(value) ? [] : [`${who}: ${words(value)}`]))
  if (bad.length > 0) return row(id, name, 'stop', bad.join('; '))
  if (found.length === 0) return row(id, name, 'unknown', 'nobody was asked')
  if (silent.length > 0) return row(id, name, 'unknown', `no figures from ${silent.join(', ')}`)
  return row(id, name, 'go', words(Math.max(...found.map(({ value }) => value ?? 0))))
}

function atMost(
  id: string,
  name: string,
  look: Look,
  roles: readonly string[],
  read: (metrics: NonNullable<Replica['metrics']>) => number | undefined,
  limit: number,
  unit: string,
): Row {
  return judged(
    id,
    name,
    readings(look, roles, read),
    (value) => value <= limit,
    (value) => `${round(value)} ${unit}`,
  )
}

function atLeast(id: string, name: string, look: Look, roles: readonly string[], family: string, limit: number, unit: string): Row {
  const found = readings(look, roles, (metrics) => highest(metrics, family))
  return judged(
    id,
    name,
    found,
    (value) => value >= limit,
    (value) => (value >= limit ? unit : `not: ${unit}`),
  )
}

function growth(id: string, name: string, { first, second }: Looks, roles: readonly string[], family: string, unit: string): Row {
  const before = new Map(
    first.replicas.map((replica) => [replica.name, replica.metrics === null ? undefined : total(replica.metrics, family)]),
  )
  const found = readings(second, roles, (metrics) => total(metrics, family)).map((now) => ({
    name: now.name,
    value: now.value === undefined ? undefined : now.value - (before.get(now.name) ?? now.value),
  }))
  return judged(
    id,
    name,
    found,
    (value) => value <= 0,
    (value) => `${round(Math.max(0, value))} ${unit}`,
  )
}

function growing({ first, second }: Looks, family: string, holds: (change: { before: number; now: number }) => boolean): string[] {
  return second.replicas.flatMap((replica) => {
    const then = first.replicas.find(({ name }) => name === replica.name)
    const before = then?.metrics ? highest(then.metrics, family) : undefined
    const now = replica.metrics ? highest(replica.metrics, family) : undefined
    return before !== undefined && now !== undefined && holds({ before, now })
      ? [`${replica.name}: ${family} ${round(before)} → ${round(now)}`]
      : []
  })
}

function stopWhen(id: string, name: string, found: readonly string[]): Row {
  return row(id, name, found.length === 0 ? 'go' : 'stop', found.length === 0 ? 'no' : found.join('; '))
}

/** Two questions of one gate: the worse answer, and both evidences. */
function both(id: string, name: string, one: Row, other: Row): Row {
  const order: readonly RowState[] = ['stop', 'unknown', 'wait', 'go', 'none']
  const state = order.find((candidate) => [one.state, other.state].includes(candidate)) ?? 'unknown'
  const told = [one, other].filter((part) => part.state === state || state === 'go')
  return row(id, name, state, told.map(({ evidence }) => evidence).join('; '))
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
