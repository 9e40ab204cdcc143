import { expect, test } from 'vitest'
import type { Look, Replica } from './replica.ts'
import { decide, type Row } from './row.ts'
import { readSamples } from './samples.ts'
import { schemaGate, serviceGates, serviceStops } from './service-gates.ts'

const HEALTHY: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  api: {
    caracal_schema_compatible: 1,
    caracal_schema_pending: 0,
    'caracal_outbox_dead{producer="api"}': 0,
    'caracal_outbox_oldest_pending_seconds{producer="api"}': 1.5,
    'caracal_db_pool_connections{state="in_use"}': 2,
    'caracal_db_pool_connections{state="idle"}': 8,
    caracal_db_pool_max: 10,
  },
  sts: {
    caracal_schema_compatible: 1,
    caracal_schema_pending: 0,
    caracal_revocation_view_fresh: 1,
    caracal_spool_oldest_seconds: 0.2,
  },
  gateway: { caracal_revocation_view_fresh: 1, caracal_spool_oldest_seconds: 3 },
  audit: {
    caracal_schema_compatible: 1,
    caracal_schema_pending: 0,
    'caracal_stream_oldest_pending_seconds{stream="caracal.audit.events"}': 2,
    'caracal_stream_lag{stream="caracal.audit.events"}': 12,
    caracal_audit_quarantine_records: 4,
    caracal_audit_writers_lost: 0,
    caracal_redis_used_bytes: 1e6,
    caracal_redis_limit_bytes: 1e9,
  },
  coordinator: {
    caracal_schema_compatible: 1,
    caracal_schema_pending: 0,
    caracal_revocation_view_fresh: 1,
    'caracal_outbox_dead{producer="coordinator"}': 0,
    'caracal_outbox_oldest_pending_seconds{producer="coordinator"}': 0,
  },
}

type Change = Readonly<Record<string, Readonly<Record<string, number>>>>

function look(at: number, change: Change = {}, silent: readonly string[] = []): Look {
  const replicas = Object.entries(HEALTHY).map(([role, values]): Replica => {
    const text = Object.entries({ ...values, ...change[role] }).map(([series, value]) => `${series} ${value}\n`)
    const ready = silent.includes(role) ? { status: 503, reasons: ['draining'] } : { status: 200, reasons: [] }
    return { role, name: `${role}-0`, ready, metrics: readSamples(text.join('')) }
  })
  return { at, replicas }
}

const allRows = (first: Look, second: Look): Row[] => [
  ...serviceGates({ first, second }),
  ...serviceStops({ first, second }),
  schemaGate(second),
]
const stopped = (rows: readonly Row[]) => rows.filter(({ state }) => state === 'stop').map(({ id }) => id)

test('[3-11] a healthy day goes, a quarantine that does not grow included', () => {
  const rows = allRows(look(0), look(60_000))
  expect(rows.map(({ id }) => id)).toEqual(['G6', 'G7', 'G8', 'G9', 'G10', 'G11', 'S3', 'S4', 'S5', 'S6', 'G5'])
  expect(stopped(rows)).toEqual([])
  expect(decide(rows)).toBe('go')
})

test.each<[string, Change, Change, readonly string[]]>([
  ['a message of a stream waits', {}, { audit: { 'caracal_stream_oldest_pending_seconds{stream="caracal.audit.events"}': 31 } }, ['G7']],
  ['the outbox has dead messages', {}, { api: { 'caracal_outbox_dead{producer="api"}': 1 } }, ['G8', 'S5']],
  ['the outbox is slow', {}, { coordinator: { 'caracal_outbox_oldest_pending_seconds{producer="coordinator"}': 61 } }, ['G8']],
  ['dead letters grow', {}, { audit: { caracal_audit_quarantine_records: 5 } }, ['G9', 'S3']],
  ['the ledger is behind', {}, { audit: { 'caracal_stream_lag{stream="caracal.audit.events"}': 1001 } }, ['G9']],
  ['a revocation view is stale', {}, { gateway: { caracal_revocation_view_fresh: 0 } }, ['G10']],
  ['it stays stale', { gateway: { caracal_revocation_view_fresh: 0 } }, { gateway: { caracal_revocation_view_fresh: 0 } }, ['G10', 'S4']],
  ['replay is old but shrinks', { sts: { caracal_spool_oldest_seconds: 90 } }, { sts: { caracal_spool_oldest_seconds: 61 } }, ['G11']],
  ['replay ages', { sts: { caracal_spool_oldest_seconds: 70 } }, { sts: { caracal_spool_oldest_seconds: 130 } }, ['G11', 'S3']],
  ['a writer was lost', {}, { audit: { caracal_audit_writers_lost: 1 } }, ['G11']],
  [
    'a pool stays full',
    { api: { 'caracal_db_pool_connections{state="in_use"}': 10 } },
    { api: { 'caracal_db_pool_connections{state="in_use"}': 10 } },
    ['S6'],
  ],
  ['a pool is full for a moment', {}, { api: { 'caracal_db_pool_connections{state="in_use"}': 10 } }, []],
  ['Redis stays full', { audit: { caracal_redis_used_bytes: 9.1e8 } }, { audit: { caracal_redis_used_bytes: 9.2e8 } }, ['S6']],
  ['migrations are pending', {}, { sts: { caracal_schema_pending: 1 } }, ['G5']],
  ['a role cannot work with the schema', {}, { audit: { caracal_schema_compatible: 0 } }, ['G5']],
])('[3-06] [3-11] %s: the row says so and who it is', (_, before, after, ids) => {
  const rows = allRows(look(0, before), look(60_000, after))
  expect(stopped(rows).sort()).toEqual([...ids].sort())
  expect(decide(rows)).toBe(ids.length > 0 ? 'stop' : 'go')
  const [role] = Object.keys(after)
  for (const { evidence } of rows.filter(({ state }) => state === 'stop')) expect(evidence).toContain(`${role}-0`)
})

test('[3-05] a role that is not ready at either look stops, and says why', () => {
  for (const [first, second] of [
    [look(0, {}, ['sts']), look(1)],
    [look(0), look(1, {}, ['sts'])],
  ] as const) {
    const [readiness] = serviceGates({ first, second })
    expect(readiness).toMatchObject({ id: 'G6', state: 'stop', evidence: 'sts-0: draining' })
  }
})

test('[3-05] a role without any replica stops', () => {
  const without = ({ at, replicas }: Look): Look => ({ at, replicas: replicas.filter(({ role }) => role !== 'audit') })
  const rows = serviceGates({ first: without(look(0)), second: without(look(1)) })
  expect(rows[0]).toMatchObject({ state: 'stop', evidence: 'no replica of audit' })
})

test('[3-05] an MCP Adapter is waited for only where it is installed; one that is there is judged like the Gateway', () => {
  const installed = ['api', 'mcp-adapter']
  expect(serviceGates({ first: look(0), second: look(1) })[0]).toMatchObject({ state: 'go' })
  expect(serviceGates({ first: look(0), second: look(1) }, installed)[0]).toMatchObject({
    state: 'stop',
    evidence: 'no replica of mcp-adapter',
  })
  const withAdapter = (one: Look, figures: string): Look => ({
    ...one,
    replicas: [
      ...one.replicas,
      { role: 'mcp-adapter', name: 'mcp-adapter-0', ready: { status: 200, reasons: [] }, metrics: readSamples(figures) },
    ],
  })
  const good = 'caracal_revocation_view_fresh 1\ncaracal_spool_oldest_seconds 0\n'
  expect(stopped(serviceGates({ first: withAdapter(look(0), good), second: withAdapter(look(1), good) }, installed))).toEqual([])
  const bad = 'caracal_revocation_view_fresh 0\ncaracal_spool_oldest_seconds 61\n'
  expect(stopped(serviceGates({ first: withAdapter(look(0), good), second: withAdapter(look(1), bad) }, installed))).toEqual(['G10', 'G11'])
})

test('figures that are not to be had are no reason to go on, and none to stop', () => {
  const blind = (one: Look): Look => ({ ...one, replicas: one.replicas.map((replica) => ({ ...replica, metrics: null })) })
  const rows = allRows(blind(look(0)), blind(look(1)))
  expect(stopped(rows)).toEqual([])
  expect(decide(rows)).toBe('cannot tell')
})
