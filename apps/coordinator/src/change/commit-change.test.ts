import { newId } from '@caracal/core'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { member, openWorld, started, type TestZone, type World } from '../test-support/world.ts'

let world: World
let zone: TestZone
const agentToken = () => zone.token(member(zone.applications, 'agent'))
beforeAll(async () => {
  world = await openWorld('server')
  zone = await world.zone({ applications: ['agent', 'peer'], resources: { bank: ['read'] } })
})
afterAll(() => world?.close())

const start = (token: string, key: string, body: Record<string, unknown> = {}) =>
  world.call('POST', zone.path('/sessions'), token, { kind: 'task', ttl: 60, ...body }, { 'idempotency-key': key })

describe('[P-044] an Idempotency-Key', () => {
  it('gives the same answer again after a new mandate and from another replica, and starts one session', async () => {
    const first = await start(agentToken(), 'one')
    expect(first.status).toBe(201)
    world.clock.now += 600_000
    const again = await start(agentToken(), 'one')
    expect(again.text).toBe(first.text)
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
    const another = await world.replica()
    const elsewhere = await fetch(another.address.url + zone.path('/sessions'), {
      method: 'POST',
      headers: { authorization: `Bearer ${agentToken()}`, 'content-type': 'application/json', 'idempotency-key': 'one' },
      body: JSON.stringify({ kind: 'task', ttl: 60 }),
    })
    expect(await elsewhere.text()).toBe(first.text)
  })

  it('is 422 with another body, another application’s own, and free again after a refusal', async () => {
    expect((await start(agentToken(), 'two')).status).toBe(201)
    expect(await start(agentToken(), 'two', { ttl: 61 })).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
    const peer = await start(zone.token(member(zone.applications, 'peer')), 'two', { ttl: 61 })
    expect(peer.body.application).toBe(member(zone.applications, 'peer').id)
    expect((await start(agentToken(), 'three', { parent: newId('session') })).status).toBe(400)
    expect((await start(agentToken(), 'three')).status).toBe(201)
  })

  it('of many requests at once lets one work; the others wait or get its answer', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => start(agentToken(), 'four')))
    const made = answers.filter((one) => one.status === 201)
    expect(new Set(made.map((one) => one.body.id)).size).toBe(1)
    for (const one of answers.filter((answer) => answer.status !== 201))
      expect([one.status, one.body.code]).toEqual([409, 'idempotency_in_flight'])
  })
})

describe('[P-124] a change is all there or not at all', () => {
  /** Everything that a change may have written. */
  async function written(): Promise<string> {
    const found: unknown[] = []
    for (const table of ['sessions', 'delegations', 'revocations'] as const) {
      found.push(await world.database.query.selectFrom(table).selectAll().orderBy('id').execute())
    }
    found.push(
      await world.database.query.selectFrom('idempotency_receipts').selectAll().where('status', 'is not', null).orderBy('key').execute(),
    )
    return JSON.stringify(found)
  }

  it.each(['outbox', 'revocations', 'idempotency_receipts'] as const)(
    'when %s cannot be written every row changes nothing and says 5xx',
    async (table) => {
      const token = agentToken()
      const own = await started(world, zone, token)
      const to = await started(world, zone, zone.token(member(zone.applications, 'peer')))
      const grants = [{ resource: member(zone.resources, 'bank').id, scopes: ['read'] }]
      const offer = { from: own.id, toApplication: 'peer', grants }
      const offered = (await world.call('POST', zone.path('/delegations'), token, offer)).body
      const service = (await world.call('POST', zone.path('/sessions'), token, { kind: 'service', lease: 60 })).body
      const before = await written()
      const broken = table === 'idempotency_receipts' ? 'update' : 'insert'
      await sql`
      create function test_break() returns trigger language plpgsql as $$ begin raise exception 'broken'; end $$`.execute(
        world.database.query,
      )
      await sql`create trigger test_break before ${sql.raw(broken)} on ${sql.table(table)} execute function test_break()`.execute(
        world.database.query,
      )
      try {
        const changes: readonly (readonly [string, unknown])[] = [
          ['/sessions', { kind: 'task', ttl: 60 }],
          [`/sessions/${own.id}/suspend`, undefined],
          [`/sessions/${own.id}/end`, undefined],
          [`/sessions/${service.id}/heartbeat`, { generation: 1 }],
          [`/sessions/${service.id}/lease`, {}],
          ['/delegations', offer],
          [`/delegations/${offered.id}/revoke`, undefined],
        ]
        for (const [path, body] of changes) {
          const answered = await world.call('POST', zone.path(path), token, body, { 'idempotency-key': newId('request') })
          // What writes nothing into this table goes through; everything else leaves no trace.
          const revokes = /suspend|end$|revoke/.test(path)
          if (table !== 'revocations' || revokes) expect(answered.status, path).toBeGreaterThanOrEqual(500)
        }
        const peer = zone.token(member(zone.applications, 'peer'))
        const accepted = await world.call(
          'POST',
          zone.path(`/delegations/${offered.id}/accept`),
          peer,
          { session: to.id },
          { 'idempotency-key': 'a' },
        )
        if (table !== 'revocations') {
          expect(accepted.status).toBeGreaterThanOrEqual(500)
          expect(await written()).toBe(before)
        } else {
          const states = await world.call('GET', zone.path(`/sessions/${own.id}`), token)
          expect(states.body.state).toBe('active')
        }
      } finally {
        await sql`drop trigger test_break on ${sql.table(table)}`.execute(world.database.query)
        await sql`drop function test_break`.execute(world.database.query)
      }
    },
  )
})
