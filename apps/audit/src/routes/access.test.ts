import { createHash, randomBytes } from 'node:crypto'
import { canonicalJson, newId, type Role, type Zone, type ZoneId } from '@caracal/core'
import { decodeEntryBundle, leafHash } from '@caracal/ledger'
import { createAdminToken, searchEntries } from '@caracal/postgres'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { established, event, openWorld, until, type World } from '../test-support/world.ts'

let world: World
let zone: Zone
let other: Zone
const id = newId('event')
beforeAll(async () => {
  world = await openWorld('redis')
  zone = await world.zone()
  other = await world.zone()
  await world.send([event(zone.id, { id }), ...Array.from({ length: 299 }, () => event(zone.id)), event(other.id)])
  await world.grown(zone.id, 300)
})
afterAll(() => world?.close())

async function token(roles: readonly Role[], of: ZoneId | null): Promise<string> {
  const text = `cat_${randomBytes(32).toString('base64url')}`
  const digest = createHash('sha256').update(text).digest('hex')
  const tokenId = newId('token')
  const fields = { id: tokenId, name: tokenId, roles, zone: of, expiresAt: Date.now() + 60_000, digest, createdBy: 'test' }
  established(await createAdminToken(world.database.query, fields, Date.now()))
  return text
}

const paths = (of: Zone) => [
  ['GET', `/v1/zones/${of.id}/events`],
  ['GET', `/v1/zones/${of.id}/events/${id}`],
  ['GET', `/v1/zones/${of.id}/events/${id}/proof`],
  ['GET', `/v1/zones/${of.id}/log/checkpoint`],
  ['GET', `/v1/zones/${of.id}/log/keys`],
  ['GET', `/v1/zones/${of.id}/log/proof/consistency?first=0&second=1`],
  ['GET', `/v1/zones/${of.id}/log/tile/0/000.p/1`],
  ['POST', `/v1/zones/${of.id}/exports`],
]

describe('who may read evidence', () => {
  const ask = async ([method = '', path = '']: readonly string[], bearer: string) =>
    method === 'GET' ? (await world.get(path, bearer)).status : (await world.post(path, {}, bearer)).status

  test('[P-110] an auditor reads the zone the token is for; every other zone is not there', async () => {
    const own = await token(['auditor'], zone.id)
    const everywhere = await token(['auditor'], null)
    for (const row of paths(zone)) {
      expect([row, await ask(row, own)]).toEqual([row, 200])
      expect([row, await ask(row, everywhere)]).toEqual([row, 200])
    }
    for (const row of paths(other)) expect([row, await ask(row, own)]).toEqual([row, 404])
    for (const row of paths({ ...zone, id: newId('zone') })) expect([row, await ask(row, own)]).toEqual([row, 404])
  })

  test('[P-122] no other role but admin reads evidence, and a stranger reads nothing', async () => {
    for (const role of ['viewer', 'operator', 'policy_author', 'approver'] as const) {
      const bearer = await token([role], null)
      for (const row of [...paths(zone), ['GET', '/v1/quarantine']]) expect([role, row, await ask(row, bearer)]).toEqual([role, row, 403])
    }
    for (const row of [
      ...paths(zone),
      ['GET', '/v1/quarantine'],
      ['POST', '/v1/quarantine/1-0/redrive'],
      ['POST', '/v1/quarantine/1-0/discard'],
    ]) {
      expect([row, await ask(row, `cat_${'x'.repeat(43)}`)]).toEqual([row, 401])
    }
    expect(await ask(['GET', `/v1/zones/${zone.id}/events`], await token(['admin'], null))).toBe(200)
  })

  test('the quarantine is for auditors of every zone, and what becomes of it for administrators', async () => {
    expect(await ask(['GET', '/v1/quarantine'], await token(['auditor'], zone.id))).toBe(403)
    expect(await ask(['GET', '/v1/quarantine'], await token(['auditor'], null))).toBe(200)
    expect(await ask(['POST', '/v1/quarantine/1-0/discard'], await token(['auditor'], null))).toBe(403)
  })
})

describe('the log for foreign tools', () => {
  test('[P-101] tiles and entries are served by their C2SP paths and fit each other; other spellings are not there', async () => {
    const bytes = async (path: string) => {
      const answer = await world.get(`/v1/zones/${zone.id}/log/${path}`)
      expect([path, answer.status, answer.headers.get('cache-control')]).toEqual([path, 200, 'private, max-age=31536000, immutable'])
      return Buffer.from(await answer.arrayBuffer())
    }
    await until(15_000, async () => (await world.get(`/v1/zones/${zone.id}/log/tile/0/000`)).status === 200, 'the first full tile')
    const entries = decodeEntryBundle(await bytes('tile/entries/000'), 256)
    const hashes = await bytes('tile/0/000')
    expect(entries?.map((entry) => Buffer.from(leafHash(entry)).toString('hex'))).toEqual(hashes.toString('hex').match(/.{64}/g))
    expect(await bytes('tile/0/001.p/3')).toHaveLength(96)
    expect(await bytes('tile/1/000.p/1')).toHaveLength(32)
    for (const path of [
      'tile/0/000.p/256',
      'tile/0/0',
      'tile/0/x000/000',
      'tile/0/002',
      'tile/1/000',
      'tile/7/000.p/1',
      'tile/entries/005',
      'tile/data/000',
      'tile/0/000/',
    ]) {
      expect([path, (await world.get(`/v1/zones/${zone.id}/log/${path}`)).status]).toEqual([path, 404])
    }
  })

  test.each(['first=2&second=1', 'first=0&second=100000', 'first=-1&second=1', 'first=1.5&second=2', 'first=1', ''])(
    'a consistency proof for %j is a bad request',
    async (query) => {
      expect((await world.get(`/v1/zones/${zone.id}/log/proof/consistency?${query}`)).status).toBe(400)
    },
  )
})

describe('reading is evidence', () => {
  const reads = async (bearer: string) => {
    const actor = createHash('sha256').update(bearer).digest('hex')
    const found = await world.database.query.selectFrom('admin_tokens').select('id').where('digest', '=', actor).executeTakeFirstOrThrow()
    const { items } = await searchEntries(world.database.query, zone.id, { type: 'evidence.read' }, { limit: 500, order: 'asc' })
    return items
      .map(
        (item) =>
          JSON.parse(item.event) as {
            actor?: { admin?: string }
            details: Record<string, unknown>
            count?: number
            operation: { path: string }
          },
      )
      .filter(({ actor: by }) => by?.admin === found.id)
  }

  test('[P-107] each search leaves its mark in the log it searched: the first at once, the rest of the second counted', async () => {
    const bearer = await token(['auditor'], null)
    for (let i = 0; i < 5; i += 1) expect((await world.get(`/v1/zones/${zone.id}/events?limit=1`, bearer)).status).toBe(200)
    await until(5_000, async () => (await reads(bearer)).reduce((sum, { count = 1 }) => sum + count, 0) === 5, 'five reads in the log')
    const [first] = await reads(bearer)
    expect(first).toMatchObject({ details: { what: 'events' }, operation: { method: 'GET', path: `/v1/zones/${zone.id}/events` } })
    expect((await reads(bearer)).length).toBeLessThanOrEqual(4)
  })

  test('[P-107] an export is named with its range', async () => {
    const bearer = await token(['auditor'], zone.id)
    await (await world.post(`/v1/zones/${zone.id}/exports`, { from: 3, to: 9 }, bearer)).text()
    await until(5_000, async () => (await reads(bearer)).length === 1, 'the export in the log')
    expect((await reads(bearer))[0]).toMatchObject({ details: { what: 'export', from: 3, to: 9 } })
  })
})

test('[P-113] what was set aside is listed, handed out again and thrown away by id, and each decision is evidence', async () => {
  const unknown = newId('zone')
  const bad = [world.payload(event(unknown)), world.payload(canonicalJson({ ...event(zone.id), v: 3 }))]
  await world.streams.append(
    'caracal.audit.events',
    bad.map((payload, i) => ({ partition: i === 0 ? unknown : zone.id, payload })),
  )
  type Listed = { items: { id: string; reason: string; partition: string; payload: string }[] }
  const list = async () => ((await (await world.get('/v1/quarantine')).json()) as Listed).items
  await until(5_000, async () => (await list()).length === 2, 'two records set aside')
  const [first, second] = await list()
  expect([first?.reason, second?.reason].sort()).toEqual(['malformed_event: unknown_version', 'unknown_zone'])
  const record = (await list()).find(({ partition }) => partition === zone.id)
  const foreign = (await list()).find(({ partition }) => partition === unknown)
  expect(record?.payload).toBe(bad[1])
  // Once the zone is there it is taken.
  await world.database.query
    .insertInto('zones')
    .columns(['id', 'name', 'labels', 'created_at', 'updated_at'])
    .expression((eb) =>
      eb
        .selectFrom('zones')
        .select((one) => [one.val(unknown).as('id'), one.val('late').as('name'), 'labels', 'created_at', 'updated_at'])
        .limit(1),
    )
    .execute()
  expect((await world.post(`/v1/quarantine/${foreign?.id}/redrive`)).status).toBe(204)
  await world.grown(unknown, 1)
  expect((await world.post(`/v1/quarantine/${record?.id}/discard`)).status).toBe(204)
  expect((await world.post(`/v1/quarantine/${record?.id}/discard`)).status).toBe(404)
  expect(await list()).toEqual([])
  await until(
    5_000,
    async () => {
      const { items } = await searchEntries(world.database.query, zone.id, { type: 'admin.changed' }, { limit: 10 })
      return items.some(({ event: text }) => text.includes('"action":"discard"') && text.includes(`"id":"${record?.id}"`))
    },
    'the decision in the log',
  )
})
