import { createHash, randomBytes } from 'node:crypto'
import { newId, type Role } from '@caracal/core'
import { createAdminToken } from '@caracal/postgres'
import type { RouteRow } from '@caracal/service'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COORDINATOR_TOKEN, established, member, openWorld, started, type TestZone, type World } from '../test-support/world.ts'

let world: World
let zone: TestZone
let other: TestZone
beforeAll(async () => {
  world = await openWorld('embedded')
  zone = await world.zone({ applications: ['agent', 'peer'], resources: { bank: ['read'] } })
  other = await world.zone({ applications: ['stranger'] })
})
afterAll(() => world?.close())

async function adminToken(roles: readonly Role[], of: TestZone | null): Promise<string> {
  const token = `cat_${randomBytes(32).toString('base64url')}`
  const digest = createHash('sha256').update(token).digest('hex')
  const row = { id: newId('token'), name: `token-${newId('token')}`, roles, zone: of?.id ?? null, expiresAt: world.clock.now + 60_000 }
  established(await createAdminToken(world.database.query, { ...row, digest, createdBy: 'test' }, world.clock.now))
  return token
}

/** A path of the row in this zone, with ids that exist nowhere. */
function pathIn(of: { id: string }, row: RouteRow): string {
  const id = row.path.includes('/delegations/') ? newId('delegation') : newId('session')
  return row.path.replace(':zone', of.id).replace(':id', id)
}

/** A body that the row takes, naming nothing that exists. */
function bodyFor(row: RouteRow): unknown {
  if (row.method !== 'POST') return undefined
  if (row.path.endsWith('/sessions')) return { kind: 'task', ttl: 60, parent: newId('session') }
  if (row.path.endsWith('/heartbeat')) return { generation: 1 }
  if (row.path.endsWith('/lease')) return {}
  if (row.path.endsWith('/accept')) return { session: newId('session') }
  if (row.path.endsWith('/delegations')) {
    return { from: newId('session'), toApplication: 'peer', grants: [{ resource: newId('resource'), scopes: ['read'] }] }
  }
  return undefined
}

const call = (of: { id: string }, row: RouteRow, token: string | null) => world.call(row.method, pathIn(of, row), token, bodyFor(row))

/** What an answer says, without what differs from request to request. */
const said = (text: string) => text.replaceAll(/req_[0-9a-z]{26}/g, 'req')

describe('every row by every caller', () => {
  it('lets in applications with its scope and operators, and nobody else', async () => {
    const agent = member(zone.applications, 'agent')
    const tokens = {
      nothing: null,
      nonsense: 'nonsense',
      sessionsOnly: zone.token(agent, { scope: 'sessions' }),
      delegationsOnly: zone.token(agent, { scope: 'delegations' }),
      operator: COORDINATOR_TOKEN,
      viewer: await adminToken(['viewer'], zone),
      admin: await adminToken(['admin'], null),
      policyAuthor: await adminToken(['policy_author'], zone),
    }
    expect(world.service.routes().length).toBe(17)
    for (const row of world.service.routes()) {
      const about = row.path.includes('delegations') ? 'delegations' : 'sessions'
      const reads = row.method === 'GET'
      const status = async (token: string | null) => (await call(zone, row, token)).status
      const name = `${row.method} ${row.path}`
      expect(await status(tokens.nothing), name).toBe(401)
      expect(await status(tokens.nonsense), name).toBe(401)
      expect(await status(tokens.policyAuthor), name).toBe(403)
      expect(await status(about === 'sessions' ? tokens.delegationsOnly : tokens.sessionsOnly), name).toBe(403)
      expect([401, 403], name).not.toContain(await status(about === 'sessions' ? tokens.sessionsOnly : tokens.delegationsOnly))
      expect([401, 403], name).not.toContain(await status(tokens.operator))
      expect([401, 403], name).not.toContain(await status(tokens.admin))
      if (reads) expect([401, 403], name).not.toContain(await status(tokens.viewer))
      else expect(await status(tokens.viewer), name).toBe(403)
    }
  })

  it('[P-131] answers a zone that is not the caller’s exactly as one that does not exist', async () => {
    const unknown = { id: newId('zone') }
    const callers = [zone.token(member(zone.applications, 'agent')), await adminToken(['operator', 'viewer'], zone)]
    for (const row of world.service.routes()) {
      for (const token of callers) {
        const foreign = await call(other, row, token)
        const missing = await call(unknown, row, token)
        expect(foreign.status, `${row.method} ${row.path}`).toBe(404)
        expect(said(foreign.text).replaceAll(other.id, '')).toBe(said(missing.text).replaceAll(unknown.id, ''))
      }
    }
  })

  it('[P-131] answers an id of another zone exactly as an unknown one', async () => {
    const foreign = await started(world, other, other.token(member(other.applications, 'stranger')))
    for (const row of world.service.routes().filter((one) => one.path.includes('/sessions/:id'))) {
      const at = (id: string) =>
        world.call(row.method, row.path.replace(':zone', zone.id).replace(':id', id), COORDINATOR_TOKEN, bodyFor(row))
      const [theirs, nobodys] = [await at(foreign.id), await at(newId('session'))]
      expect(theirs.status, row.path).toBe(404)
      expect(said(theirs.text)).toBe(said(nobodys.text))
    }
  })
})

describe('mandates', () => {
  const list = (token: string) => world.call('GET', zone.path('/sessions'), token)
  const agent = () => member(zone.applications, 'agent')

  it('are refused when bound to a key, for another audience, over, or signed by a foreign zone', async () => {
    const seconds = Math.floor(world.clock.now / 1000)
    const cases: readonly (readonly [string, string, string])[] = [
      ['bound', zone.token(agent(), { cnf: { jkt: 'k' } }), 'invalid_token'],
      ['audience', zone.token(agent(), { aud: 'https://bank.caracal-tests.dev/' }), 'wrong_audience'],
      ['over', zone.token(agent(), { iat: seconds - 900, nbf: seconds - 900, exp: seconds - 61 }), 'token_expired'],
      ['header', zone.token(agent(), {}, { typ: 'JWT' }), 'invalid_token'],
      ['foreign', other.token(agent(), { zone: zone.id, iss: zone.token(agent()) }), 'invalid_token'],
      ['application', zone.token({ ...agent(), id: newId('application') }), 'invalid_token'],
    ]
    for (const [name, token, code] of cases) {
      const answered = await list(token)
      expect([answered.status, answered.body.code], name).toEqual([401, code])
      expect(answered.headers.get('www-authenticate')).toContain('Bearer')
    }
  })

  it('are refused once the application, an ancestor session or the mandate itself is revoked', async () => {
    for (const [kind, id, token] of [
      ['mandate', 'mnd', null],
      ['session', newId('session'), null],
      ['application', member(zone.applications, 'peer').id, zone.token(member(zone.applications, 'peer'))],
    ] as const) {
      const jti = newId('mandate')
      const ctx = { session: { kind: 'task', depth: 1, labels: [] } }
      const mandate = token ?? zone.token(agent(), kind === 'session' ? { ses: [id], ctx } : { jti })
      expect((await list(mandate)).status, kind).toBe(200)
      await world.revoke(zone.id, kind, kind === 'mandate' ? jti : id)
      await expect.poll(async () => (await list(mandate)).body.code).toBe('token_revoked')
    }
  })

  it('are refused when a rule denies the application its sessions, with the policy active now', async () => {
    const governed = await world.zone({ applications: ['agent'] })
    const token = governed.token(member(governed.applications, 'agent'))
    const call = () => world.call('GET', governed.path('/sessions'), token)
    expect((await call()).status).toBe(200)
    await world.policy(
      governed.id,
      'kind: Policy\nname: frozen\nrules:\n  - id: none\n    deny: [sessions]\n    on: ["*"]\n    for: { any: true }\n',
    )
    await expect.poll(async () => (await call()).body.code).toBe('denied_by_rule')
  })

  it('that are for single use are good for one call', async () => {
    const token = zone.token(agent(), { once: true })
    expect((await list(token)).status).toBe(200)
    expect((await list(token)).body.code).toBe('token_replayed')
  })
})

it('an application that is new to this replica is let in at once', async () => {
  const late = await world.zone({ applications: ['newcomer'] })
  expect((await world.call('GET', late.path('/sessions'), late.token(member(late.applications, 'newcomer')))).status).toBe(200)
})

it('a refused mandate is evidence of the zone it was shown to, counted by source and reason', async () => {
  const asked = await world.zone({ applications: ['agent'] })
  const events: { type: string; zone: string; reason: string; count: number }[] = []
  const work = await world.streams.consume('caracal.audit.events', {
    group: 'test',
    consumer: 'test',
    batch: 500,
    handle: async (messages) => {
      events.push(...messages.flatMap(({ payload }) => payload.trimEnd().split('\n').slice(1)).map((text) => JSON.parse(text)))
      return messages.map(() => 'done' as const)
    },
  })
  const token = asked.token(member(asked.applications, 'agent'), { scope: 'delegations' })
  for (let times = 0; times < 3; times += 1) expect((await world.call('GET', asked.path('/sessions'), token)).status).toBe(403)
  const counted = () =>
    events.filter((one) => one.zone === asked.id && one.type === 'call.refused').reduce((sum, one) => sum + one.count, 0)
  await expect.poll(counted, { timeout: 5_000 }).toBe(3)
  expect(events.find((one) => one.zone === asked.id)?.reason).toBe('insufficient_scope')
  await work.stop()
})
