import type { ZoneId } from '@caracal/core'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, type Called, eventsOf, outboxDuring, SAMPLE } from '../test-support/api-for-test.ts'

let api: ApiForTest
let zone: ZoneId

beforeAll(async () => {
  api = await apiForTest('server')
  await api.apply(SAMPLE)
  zone = (await api.call('GET', '/v1/zones')).body.items[0].id
})
afterAll(() => api?.stop())

const applications = () => `/v1/zones/${zone}/applications`

/** While `work` runs, every insert of such a row breaks. */
async function broken(table: string, condition: string, work: () => Promise<void>): Promise<void> {
  const run = (text: string) => sql.raw(text).execute(api.database.query)
  await run(`CREATE FUNCTION break_${table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken by the test'; END $$`)
  await run(`CREATE TRIGGER broken BEFORE INSERT OR UPDATE ON ${table} FOR EACH ROW WHEN (${condition}) EXECUTE FUNCTION break_${table}()`)
  try {
    await work()
  } finally {
    await run(`DROP TRIGGER broken ON ${table}`)
    await run(`DROP FUNCTION break_${table}()`)
  }
}

/** Rows that a change may leave; messages are counted by what is left to write, because the dispatcher takes them away. */
async function state(): Promise<string> {
  const { query } = api.database
  return JSON.stringify([
    await query.selectFrom('applications').selectAll().orderBy('id').execute(),
    await query.selectFrom('zones').selectAll().execute(),
    await query.selectFrom('policy_heads').selectAll().execute(),
    await query.selectFrom('policy_versions').selectAll().execute(),
    await query.selectFrom('revocations').selectAll().execute(),
  ])
}

describe('a mutation', () => {
  const steps: readonly [what: string, table: string, condition: string][] = [
    ['the row', 'applications', 'true'],
    ['the version of the zone', 'zones', 'true'],
    ['the message to replicas', 'outbox', "NEW.stream = 'caracal.config'"],
    ['the event', 'outbox', "NEW.stream = 'caracal.audit.events'"],
    ['the receipt', 'idempotency_receipts', 'NEW.status IS NOT NULL'],
  ]
  test.each(steps)(
    '[P-124] that fails at %s answers 5xx and changed nothing, and its key may be used again',
    async (what, table, condition) => {
      const before = await state()
      const name = `step-${table.replaceAll('_', '-')}-${what.length}`
      const send = (): Promise<Called> => api.call('POST', applications(), { name }, { headers: { 'idempotency-key': name } })
      await broken(table, condition, async () => {
        expect((await send()).status).toBeGreaterThanOrEqual(500)
      })
      expect(await state()).toBe(before)
      expect((await send()).status).toBe(201)
    },
  )

  test.each([['apply'], ['a revocation']] as const)('[P-124] %s that fails at its event changed nothing', async (what) => {
    const path = what === 'apply' ? '/v1/apply' : `/v1/zones/${zone}/revocations`
    const before = await state()
    const text = 'kind: Policy\nname: late\nrules:\n  - { id: r, deny: ["x"], on: ["*"], for: { any: true } }\n'
    const application: string = (await api.call('GET', `${applications()}?name=agent`)).body.items[0].id
    const body =
      what === 'apply'
        ? { mode: 'apply', activate: true, documents: [{ file: 'a', text }], secrets: {} }
        : { kind: 'application', id: application, reason: 'test' }
    await broken('outbox', "NEW.stream = 'caracal.audit.events'", async () => {
      expect((await api.call('POST', path, body)).status).toBe(500)
    })
    expect(await state()).toBe(before)
  })

  test('[P-107] every change leaves its event, its message and its version together', async () => {
    const version = async () =>
      (await api.database.query.selectFrom('zones').select('config_version').executeTakeFirstOrThrow()).config_version
    const before = await version()
    let made: Called | undefined
    const written = await outboxDuring(api, async () => {
      made = await api.call('POST', applications(), { name: 'witnessed' })
    })
    expect(await version()).toBe(before + 1)
    expect(written.map(({ stream }) => stream).sort()).toEqual(['caracal.audit.events', 'caracal.config'])
    const event = eventsOf(written)[0]
    expect(event).toMatchObject({
      type: 'admin.changed',
      zone,
      service: 'api',
      actor: { admin: 'bootstrap' },
      target: { kind: 'application', id: made?.body.id, name: 'witnessed' },
      operation: { method: 'POST', path: applications() },
      request_id: made?.headers.get('x-request-id'),
    })
    const message = JSON.parse(written.find(({ stream }) => stream === 'caracal.config')?.payload ?? '')
    expect(message).toEqual({ v: 1, zone, entity: 'application', id: made?.body.id, version: before + 1 })
  })
})

describe('conditions and repetitions', () => {
  test('[P-125] a change takes the ETag of what was read: 428 without, 412 with an old one, and of two at once one wins', async () => {
    const made = await api.call('POST', applications(), { name: 'edited' })
    const path = `${applications()}/${made.body.id}`
    const tag = (await api.call('GET', path)).headers.get('etag') ?? ''
    const edit = (labels: string[], headers: Record<string, string>): Promise<Called> => api.call('PATCH', path, { labels }, { headers })
    expect(await edit(['a'], {})).toMatchObject({ status: 428, body: { code: 'precondition_required' } })
    const both = await Promise.all([edit(['a'], { 'if-match': tag }), edit(['b'], { 'if-match': tag })])
    expect(both.map(({ status }) => status).sort()).toEqual([200, 412])
    expect(both.find(({ status }) => status === 200)?.headers.get('etag')).toBe('"2"')
    expect(await edit(['c'], { 'if-match': tag })).toMatchObject({ status: 412, body: { code: 'version_moved' } })
  })

  test('[P-125] a repeated create is one create: the same answer, another body is refused, at once it is in flight', async () => {
    const send = (name: string) => api.call('POST', applications(), { name }, { headers: { 'idempotency-key': 'k-1' } })
    const all = await Promise.all([send('repeated'), send('repeated'), send('repeated')])
    for (const { status, body } of all) expect([status, body.code]).toSatisfy(([s, code]) => s === 201 || code === 'idempotency_in_flight')
    const again = await send('repeated')
    const first = all.find(({ status }) => status === 201)
    expect(again.text).toBe(first?.text)
    expect(again.headers.get('etag')).toBe('"1"')
    expect(await send('other')).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
    expect((await api.call('GET', `${applications()}?name=repeated`)).body.items).toHaveLength(1)
  })

  const errors: readonly [what: string, body: unknown, status: number, code: string][] = [
    ['malformed JSON', '{', 400, 'malformed_json'],
    ['a name that is taken', { name: 'agent' }, 409, 'conflict'],
    ['a malformed name', { name: 'Agent_1' }, 422, 'validation_failed'],
    ['a name that looks like an id', { name: 'app_01kq0000000000000000000000' }, 422, 'validation_failed'],
    ['an unknown field', { name: 'x', colour: 'red' }, 422, 'validation_failed'],
    ['a wrong type', { name: 'x', labels: 'a' }, 422, 'validation_failed'],
  ]
  test.each(errors)('[P-126] %s has its status and code', async (_, body, status, code) => {
    const answer = await api.call('POST', applications(), body)
    expect(answer).toMatchObject({ status, body: { code, request_id: answer.headers.get('x-request-id') } })
  })
})

describe('lists', () => {
  test('[P-127] 1,200 rows of one millisecond are each seen once, in pages of 100, and the cursor is good for that list only', async () => {
    const made = await api.call('POST', '/v1/zones', { name: 'crowded' })
    const crowded = made.body.id
    await sql`insert into applications (id, zone, name, created_at, updated_at)
      select 'app_01kq000000' || lpad(n::text, 16, '0'), ${crowded}, 'a-' || n, now(), now() from generate_series(1, 1200) n`.execute(
      api.database.query,
    )
    const path = `/v1/zones/${crowded}/applications`
    const seen: string[] = []
    let cursor: string | null = null
    let pages = 0
    do {
      const page: { items: { id: string }[]; next_cursor: string | null } = (
        await api.call('GET', cursor === null ? path : `${path}?cursor=${encodeURIComponent(cursor)}`)
      ).body
      seen.push(...page.items.map(({ id }) => id))
      cursor = page.next_cursor
      pages += 1
      if (pages === 3) {
        const foreign = await api.call('GET', `${applications()}?cursor=${encodeURIComponent(cursor ?? '')}`)
        expect(foreign).toMatchObject({ status: 400, body: { code: 'invalid_request' } })
        expect((await api.call('GET', `${path}?name=a-1&cursor=${encodeURIComponent(cursor ?? '')}`)).status).toBe(400)
      }
    } while (cursor !== null)
    expect(pages).toBe(12)
    expect(new Set(seen).size).toBe(1200)
    expect(seen).toEqual([...seen].sort())
    expect((await api.call('GET', `${path}?limit=501`)).status).toBe(422)
    expect((await api.call('GET', `${path}?limit=0`)).status).toBe(422)
  })
})
