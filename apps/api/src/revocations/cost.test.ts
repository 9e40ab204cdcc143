import { newId, RESOURCE_DEFAULTS, type Result, type RevocationKind, type SessionId, type ZoneId } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import {
  addApplicationKey,
  createApplication,
  createProvider,
  createResource,
  createZone,
  type Database,
  insertDelegation,
  insertSession,
  migrateUp,
  openDatabase,
  type Queryable,
} from '@caracal/postgres'
import { sql } from 'kysely'
import { afterAll, expect, test } from 'vitest'
import { kill } from './kill.ts'

/** Mandates that were issued, and what of that is left: their evidence, in blocks of 1,000, and the claims of those that were single-use. */
const ISSUED = 1_000_000
const CLAIMS = 100_000

const KINDS: readonly RevocationKind[] = [
  'mandate',
  'session',
  'delegation',
  'application',
  'credential',
  'resource',
  'provider',
  'subject',
  'connection',
  'zone',
]

const databases: Database[] = []
afterAll(() => Promise.all(databases.map((database) => database.close())))

function established<T>(result: Result<T>): T {
  if (!result.ok) throw new Error(result.reason)
  return result.value
}

/** A zone with one of everything: two applications, sessions three deep, a delegation between them, a resource with its provider. */
async function oneOfEverything(database: Database): Promise<Readonly<Record<RevocationKind, string>> & { readonly zoneId: ZoneId }> {
  const now = Date.now()
  const db = database.query
  const zone = established(await createZone(db, { id: newId('zone'), name: newId('zone'), labels: [] }, now)).id
  const application = async (name: string) =>
    established(await createApplication(db, { id: newId('application'), zone, name, labels: [] }, now)).id
  const [own, peer] = [await application('own'), await application('peer')]
  const fixed = { zone, labels: [], subject: null, lease: null, kind: 'task' as const, expiresAt: now + 600_000 }
  const session = async (of: typeof own, above: readonly SessionId[]) => {
    const id = newId('session')
    await insertSession(db, { ...fixed, id, application: of, parent: above.at(-1) ?? null, lineage: [...above, id] }, now)
    return id
  }
  const root = await session(own, [])
  const middle = await session(own, [root])
  await session(own, [root, middle])
  const delegation = newId('delegation')
  const offer = { to: null, parent: null, lineage: [delegation], grants: [], hops: 0, state: 'offered' as const, expiresAt: now + 600_000 }
  const from = { from: root, fromApplication: own, fromLineage: [root], toApplication: peer }
  await insertDelegation(db, { ...offer, ...from, id: delegation, zone }, now)
  const credential = newId('credential')
  const key = { name: 'k', kind: 'api_key' as const, digest: 'd', createdAt: now, expiresAt: null }
  established(await addApplicationKey(db, { ...key, id: credential, zone, application: own }))
  const provider = newId('provider')
  const held = { name: 'p', hosts: ['up.example'], method: { kind: 'none' as const }, expiresAt: null, secret: null }
  established(await createProvider(db, { ...held, id: provider, zone }, now))
  const resource = newId('resource')
  const identifier = `https://${resource}.example/`
  const fields = { kind: 'http' as const, identifier, upstream: identifier, scopes: ['use'], operations: [], provider, egressAllow: [] }
  established(await createResource(db, { ...RESOURCE_DEFAULTS, ...fields, id: resource, zone, name: 'r' }, now))
  const nowhere = { mandate: newId('mandate'), subject: newId('subject'), connection: newId('connection') }
  return { ...nowhere, session: root, delegation, application: peer, credential, resource, provider, zone, zoneId: zone }
}

/** What issuing so many mandates leaves in Postgres. */
async function issued(database: Database, zone: ZoneId): Promise<void> {
  const run = (text: ReturnType<typeof sql>) => text.execute(database.query)
  await run(sql`insert into log_heads (zone, size, root, frontier, updated_at) values (${zone}, ${ISSUED}, '', '', now())`)
  await run(sql`
    insert into log_blocks (first_seq, from_time, to_time, appended_at, bucket, ids_from, ids_to, count, codec, zone, terms, event_ids, other_ids, data)
    select n * 1000, now(), now(), now(), n, n, n, 1000, 0, ${zone}, array[n, n + 1], decode(repeat('00', 4000), 'hex'), '', decode(repeat('ab', 20000), 'hex')
    from generate_series(0, ${ISSUED / 1000 - 1}) as n`)
  await run(sql`
    insert into stream_claims (key, owner, expires_at)
    select 'once:mnd_' || n, 'gateway', now() + interval '5 minutes' from generate_series(1, ${CLAIMS}) as n`)
  await run(sql`analyze`)
}

type Cost = {
  readonly statements: number
  readonly written: Readonly<Record<string, number>>
  readonly read: Readonly<Record<string, number>>
}

/** What revoking costs: its statements, and the rows that it writes and reads of every table, as Postgres counts them. */
async function costOf(database: Database, kind: RevocationKind, of: Awaited<ReturnType<typeof oneOfEverything>>): Promise<Cost> {
  const order = { zone: of.zoneId, kind, target: of[kind], reason: 'a test revokes it', by: 'tok_test' }
  return await database.transaction(async (tx) => {
    const before = await touched(tx)
    const sent = database.statements()
    established(await kill(tx, order, Date.now()))
    const statements = database.statements() - sent
    const after = await touched(tx)
    const column = (which: 'read' | 'written') => {
      const rows = after.map((row) => [row.name, row[which] - (before.find(({ name }) => name === row.name)?.[which] ?? 0)] as const)
      return Object.fromEntries(rows.filter(([, many]) => many > 0))
    }
    return { statements, written: column('written'), read: column('read') }
  })
}

/** Rows of every table that this connection has read and written and not reported yet. */
async function touched(tx: Queryable) {
  const { rows } = await sql<{ name: string; read: number; written: number }>`
    select relname as name, (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int as read,
           (n_tup_ins + n_tup_upd + n_tup_del)::int as written
    from pg_stat_xact_user_tables`.execute(tx)
  return rows
}

test('[P-177] revoking costs the same statements and rows with no mandate and with a million issued, for every kind: none of them is looked at', async () => {
  const costs = await Promise.all(
    [false, true].map(async (busy) => {
      const database = await openDatabase({ url: await freshDatabaseUrl() })
      databases.push(database)
      await migrateUp(database)
      const found: Record<string, Cost> = {}
      const grounds = new Map<RevocationKind, Awaited<ReturnType<typeof oneOfEverything>>>()
      for (const kind of KINDS) grounds.set(kind, await oneOfEverything(database))
      const [first] = grounds.values()
      if (busy && first !== undefined) await issued(database, first.zoneId)
      for (const [kind, ground] of grounds) found[kind] = await costOf(database, kind, ground)
      return found
    }),
  )
  const [idle, busy] = costs
  for (const kind of KINDS) {
    expect(busy?.[kind]?.statements, kind).toBe(idle?.[kind]?.statements)
    expect(busy?.[kind]?.written, kind).toEqual(idle?.[kind]?.written)
    for (const cost of [idle?.[kind], busy?.[kind]]) {
      // A handful of rows that hang on it, and nothing of what mandates leave behind.
      expect(
        Object.keys({ ...cost?.read, ...cost?.written }).filter((name) => /^log_|^stream_|^outbox_unconfirmed/.test(name)),
        kind,
      ).toEqual([])
      expect(Math.max(...Object.values(cost?.read ?? {}), 0), kind).toBeLessThan(200)
    }
  }
})

test('[P-177] no table holds mandates: what is revoked is named by an id, and no row is there for each that was issued', async () => {
  const [database] = databases
  if (database === undefined) throw new Error('the databases are those of the test before')
  const { rows } = await sql<{ place: string }>`
    select table_name || '.' || column_name as place from information_schema.columns
    where table_schema = 'public' and (table_name ~ 'mandate' or column_name ~ '(^|_)(mandate|jti|mnd)(s|_id)?$')`.execute(database.query)
  expect(rows).toEqual([])
})
