import { newId, type Session } from '@caracal/core'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Answered, member, openWorld, started, type TestZone, type World } from '../test-support/world.ts'

let world: World
let zone: TestZone
beforeAll(async () => {
  world = await openWorld('server', { SESSIONS_PER_APPLICATION: '10' })
  zone = await world.zone({ applications: ['agent', 'peer'] })
})
afterAll(() => world?.close())

const token = (name: string) => zone.token(member(zone.applications, name))
const start = (key: string) =>
  world.call('POST', zone.path('/sessions'), token('agent'), { kind: 'task', ttl: 60 }, { 'idempotency-key': key })
const end = (id: string) => world.call('POST', zone.path(`/sessions/${id}/end`), token('agent'))
const statuses = (answers: readonly Answered[]) => answers.map(({ status }) => status).sort()
const stored = async (table: 'sessions' | 'revocations') =>
  (await sql<{ many: number }>`select count(*)::int as many from ${sql.table(table)} where zone = ${zone.id}`.execute(world.database.query))
    .rows[0]?.many

it('[P-042] [P-124] starts at once are each granted or refused for themselves, no more than the limit, each with its receipt', async () => {
  const keys = Array.from({ length: 15 }, (_, at) => `start-${at}`)
  const answers = await Promise.all(keys.map(start))
  expect(statuses(answers)).toEqual([...Array(10).fill(201), ...Array(5).fill(429)])
  expect(await stored('sessions')).toBe(10)
  const granted = answers.flatMap(({ status }, at) => (status === 201 ? [at] : []))
  for (const at of granted) expect((await start(keys[at] ?? '')).text).toBe(answers[at]?.text)
})

it('[P-053] [P-124] ends at once: each session once, the same one again as it is, and what is not there for the caller not at all', async () => {
  const mine = (await world.call('GET', zone.path('/sessions'), token('agent'))).body.items as Session[]
  const foreign = await started(world, zone, token('peer'))
  const ids = mine.map(({ id }) => id)
  const answers = await Promise.all([...ids, ...ids.slice(0, 3), foreign.id, newId('session')].map(end))
  expect(statuses(answers)).toEqual([...Array(13).fill(200), 404, 404])
  for (const { body } of answers.slice(0, 13)) expect(body).toMatchObject({ state: 'ended', standing: 'ended', version: 2 })
  expect(await stored('revocations')).toBe(10)
  expect((await world.call('GET', zone.path(`/sessions/${foreign.id}`), token('peer'))).body.state).toBe('active')
})

it('who holds a session back holds back nobody else, and what waits for it is done when it is free', async () => {
  const [held, free] = [await started(world, zone, token('agent')), await started(world, zone, token('agent'))]
  const until = Promise.withResolvers<void>()
  const locked = Promise.withResolvers<void>()
  const holder = world.database.transaction(async (tx) => {
    await sql`select from sessions where id = ${held.id} for update`.execute(tx)
    locked.resolve()
    await until.promise
  })
  await locked.promise
  const waiting = end(held.id)
  expect((await end(free.id)).status).toBe(200)
  until.resolve()
  await holder
  expect((await waiting).body.state).toBe('ended')
})

it('[P-166] a session that is started and ended writes three messages: two events and what is revoked', async () => {
  const written = async () =>
    Number(
      (await sql<{ last: string }>`select last_value as last from ${sql.table('outbox_id_seq')}`.execute(world.database.query)).rows[0]
        ?.last,
    )
  const before = await written()
  const session = await started(world, zone, token('peer'))
  expect((await world.call('POST', zone.path(`/sessions/${session.id}/end`), token('peer'))).status).toBe(200)
  expect((await written()) - before).toBe(3)
})
