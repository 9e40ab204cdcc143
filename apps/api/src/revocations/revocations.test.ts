import { type ApplicationId, newId, type SessionId, type ZoneId } from '@caracal/core'
import { insertDelegation, insertSession } from '@caracal/postgres'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, outboxDuring, SAMPLE } from '../test-support/api-for-test.ts'

let api: ApiForTest
let zone: ZoneId
let base: string

beforeAll(async () => {
  api = await apiForTest('server')
  await api.apply(SAMPLE)
  zone = (await api.call('GET', '/v1/zones')).body.items[0].id
  base = `/v1/zones/${zone}`
})
afterAll(() => api?.stop())

async function application(name: string): Promise<ApplicationId> {
  return (await api.call('POST', `${base}/applications`, { name })).body.id
}

async function session(of: ApplicationId, above: readonly SessionId[] = []): Promise<SessionId> {
  const id = newId('session')
  const lineage = [...above, id]
  const fixed = { kind: 'task' as const, labels: [], subject: null, lease: null, expiresAt: Date.now() + 600_000 }
  await insertSession(api.database.query, { id, zone, application: of, parent: above.at(-1) ?? null, lineage, ...fixed }, Date.now())
  return id
}

async function delegation(from: SessionId, fromApplication: ApplicationId, toApplication: ApplicationId) {
  const id = newId('delegation')
  const fixed = { to: null, parent: null, lineage: [id], grants: [], hops: 0, state: 'offered' as const, expiresAt: Date.now() + 600_000 }
  await insertDelegation(api.database.query, { id, zone, from, fromApplication, fromLineage: [from], toApplication, ...fixed }, Date.now())
  return id
}

const stateOf = async (noun: string, id: string) => (await api.call('GET', `${base}/${noun}/${id}`)).body.state
const revoke = (kind: string, id: string, query = '') =>
  api.call('POST', `${base}/revocations${query}`, { kind, id, reason: 'it went astray' })

type Feed = { readonly next: (event: string) => Promise<unknown>; readonly close: () => Promise<void> }

/** Follows the feed; `next` gives the data of the next event of that name. */
async function feed(): Promise<Feed> {
  const stop = new AbortController()
  const response = await fetch(`${api.service.address.url}${base}/revocations/feed`, {
    headers: { authorization: `Bearer ${api.token}` },
    signal: stop.signal,
  })
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  return {
    async next(event) {
      for (;;) {
        const found = new RegExp(`event: ${event}\\ndata: (.*)\\n\\n`).exec(text)
        if (found !== null) {
          text = text.slice(found.index + found[0].length)
          return JSON.parse(found[1] ?? '')
        }
        const part = await reader?.read()
        if (part === undefined || part.done) throw new Error('the feed ended')
        text += part.value
      }
    },
    close: async () => {
      stop.abort()
      await reader?.cancel().catch(() => {})
    },
  }
}

describe('a revocation', () => {
  test('[P-053] of a session ends it, what is below it and what it delegated, and nothing beside it', async () => {
    const [a, b] = [await application('branch-a'), await application('branch-b')]
    const root = await session(a)
    const [left, right] = [await session(a, [root]), await session(b, [root])]
    const leaf = await session(b, [root, left])
    const other = await session(a)
    const [given, kept] = [await delegation(left, a, b), await delegation(other, a, b)]

    const preview = await revoke('session', left, '?dryRun=true')
    expect(preview.body).toEqual({ dryRun: true, kind: 'session', id: left, at: null, affects: { sessions: 2, delegations: 1 } })
    expect(await stateOf('sessions', left)).toBe('active')

    expect((await revoke('session', left)).body).toMatchObject({ dryRun: false, affects: { sessions: 2, delegations: 1 } })
    const states = await Promise.all([root, left, right, leaf, other].map((id) => stateOf('sessions', id)))
    expect(states).toEqual(['active', 'ended', 'active', 'ended', 'active'])
    expect([await stateOf('delegations', given), await stateOf('delegations', kept)]).toEqual(['revoked', 'offered'])
  })

  test('[P-052] [P-060] of an application publishes it and its topmost sessions; those of others below them end too', async () => {
    const [a, b] = [await application('gone'), await application('stays')]
    const foreignRoot = await session(b)
    const under = await session(a, [foreignRoot])
    const root = await session(a)
    const child = await session(a, [root])
    const grandchild = await session(b, [root, child])
    const follower = await feed()
    await follower.next('snapshot')
    const path = `${base}/applications/${a}`
    const preview = (await api.call('DELETE', `${path}?dryRun=true`)).body
    expect(preview).toMatchObject({ dryRun: true, deleted: false, affects: { sessions: 4, delegations: 0, credentials: 0 } })
    expect((await api.call('GET', path)).status).toBe(200)

    const deleted = (await api.call('DELETE', path)).body
    expect(deleted).toEqual({ ...preview, dryRun: false, deleted: true })
    const ids = deleted.revokes.map((one: { id: string }) => one.id)
    expect(ids.sort()).toEqual([a, under, root].sort())
    const told = [await follower.next('revocation'), await follower.next('revocation'), await follower.next('revocation')]
    expect(told.map((one) => (one as { id: string }).id).sort()).toEqual(ids.sort())
    await follower.close()
    expect(await Promise.all([foreignRoot, under, grandchild].map((id) => stateOf('sessions', id)))).toEqual(['active', 'ended', 'ended'])
    expect((await api.call('GET', path)).status).toBe(404)
    expect((await api.call('POST', `${base}/applications`, { name: 'gone' })).status).toBe(201)
  })

  test('[P-060] of a provider waits for its resources, then both go and their ids are published', async () => {
    const of = async (noun: string) => (await api.call('GET', `${base}/${noun}`)).body.items[0].id
    const [provider, resource] = [await of('providers'), await of('resources')]
    const blocked = await api.call('DELETE', `${base}/providers/${provider}`)
    expect(blocked).toMatchObject({ status: 409, body: { code: 'conflict', detail: expect.stringContaining('notes') } })
    expect((await api.call('DELETE', `${base}/resources/${resource}`)).body.revokes).toEqual([{ kind: 'resource', id: resource }])
    expect((await api.call('DELETE', `${base}/providers/${provider}`)).body.revokes).toEqual([{ kind: 'provider', id: provider }])
    const listed = await api.call('GET', `${base}/revocations`)
    expect(listed.body.items.map(({ kind, id }: { kind: string; id: string }) => `${kind} ${id}`)).toEqual(
      expect.arrayContaining([`resource ${resource}`, `provider ${provider}`]),
    )
  })

  test.each(['mandate', 'subject', 'connection'] as const)(
    '[P-054] of a %s is one id; twice is the same revocation, published again',
    async (kind) => {
      const id = newId(kind)
      const first = await revoke(kind, id)
      expect(first).toMatchObject({ status: 200, body: { kind, id, affects: {} } })
      expect((await revoke(kind, id)).body).toEqual(first.body)
      const rows = (await api.call('GET', `${base}/revocations`)).body.items.filter((row: { id: string }) => row.id === id)
      expect(rows).toEqual([expect.objectContaining({ kind, at: first.body.at, reason: 'it went astray', by: 'bootstrap', lifted: null })])
    },
  )

  test('takes an id of its kind only', async () => {
    expect(await revoke('session', newId('mandate'))).toMatchObject({ status: 422, body: { code: 'validation_failed' } })
    expect((await revoke('policy', newId('policy'))).status).toBe(422)
    expect((await revoke('session', newId('session'))).status).toBe(404)
    expect((await revoke('zone', newId('zone'))).status).toBe(404)
  })
})

describe('the feed', () => {
  test('begins with what is revoked, tells what comes within a moment, of its zone only, and beats', async () => {
    const before = newId('mandate')
    await revoke('mandate', before)
    const other = (await api.call('POST', '/v1/zones', { name: 'elsewhere' })).body.id
    const follower = await feed()
    const { entries } = (await follower.next('snapshot')) as { entries: { id: string }[] }
    expect(entries.map(({ id }) => id)).toContain(before)
    const [foreign, own] = [newId('mandate'), newId('mandate')]
    await api.call('POST', `/v1/zones/${other}/revocations`, { kind: 'mandate', id: foreign, reason: 'x' })
    const began = performance.now()
    await revoke('mandate', own)
    // What the snapshot told may come once more: the feed listens before it reads.
    let told = await follower.next('revocation')
    while ((told as { id: string }).id === before) told = await follower.next('revocation')
    expect(told).toMatchObject({ op: 'revoke', kind: 'mandate', id: own, zone })
    expect(performance.now() - began).toBeLessThan(10_000)
    await follower.next('heartbeat')
    await follower.next('heartbeat')
    await follower.close()
  })

  test('ends when the service stops, which it does not hold up', async () => {
    const own = await apiForTest('embedded')
    const made = (await own.call('POST', '/v1/zones', { name: 'short' })).body.id
    const response = await fetch(`${own.service.address.url}/v1/zones/${made}/revocations/feed`, {
      headers: { authorization: `Bearer ${own.token}` },
    })
    const body = response.text()
    const began = performance.now()
    await own.stop()
    expect(performance.now() - began).toBeLessThan(8_000)
    expect(await body).toContain('event: snapshot')
  })

  test('[P-060] a zone that is deleted revokes itself and is gone', async () => {
    const made = (await api.call('POST', '/v1/zones', { name: 'doomed' })).body.id
    await api.call('POST', `/v1/zones/${made}/applications`, { name: 'inmate' })
    const preview = await api.call('DELETE', `/v1/zones/${made}?dryRun=true`)
    expect(preview.body).toMatchObject({ revokes: [{ kind: 'zone', id: made }], affects: { applications: 1, sessions: 0 } })
    expect((await api.call('DELETE', `/v1/zones/${made}`)).body).toMatchObject({ deleted: true })
    for (const path of ['', '/applications', '/revocations']) expect((await api.call('GET', `/v1/zones/${made}${path}`)).status).toBe(404)
    expect((await api.call('POST', '/v1/zones', { name: 'doomed' })).status).toBe(201)
  })
})

test('what is revoked says so wherever it is read, and to whoever applies it again', async () => {
  const { body: app } = await api.call('POST', `${base}/applications`, { name: 'astray' })
  const nouns = { application: 'applications', resource: 'resources', provider: 'providers' } as const
  const documents = SAMPLE.replaceAll('name: lab', 'name: revoked-lab')
  await api.apply(documents)
  const second = (await api.call('GET', '/v1/zones?name=revoked-lab')).body.items[0].id
  for (const [kind, noun] of Object.entries(nouns)) {
    const path = `/v1/zones/${second}/${noun}`
    const [row] = (await api.call('GET', path)).body.items
    expect(row).not.toHaveProperty('revokedAt')
    await api.call('POST', `/v1/zones/${second}/revocations`, { kind, id: row.id, reason: 'it went astray' })
    const shown = { id: row.id, revokedAt: expect.any(Number) }
    expect((await api.call('GET', path)).body.items[0]).toMatchObject(shown)
    expect((await api.call('GET', `${path}?name=${row.name}`)).body.items[0]).toMatchObject(shown)
    if (kind !== 'provider') expect((await api.call('GET', `${path}/${row.id}`)).body).toMatchObject(shown)
  }
  const again = await api.apply(documents, { mode: 'plan' })
  const said = again.body.steps.map((step: { action: string; kind: string }) => `${step.action} ${step.kind}`)
  expect(said).toEqual(expect.arrayContaining(['revoked Application', 'revoked Provider', 'revoked Resource', 'unchanged Zone']))
  expect(again.body.warnings).toContainEqual(expect.stringMatching(/^Resource \S+ is revoked: /))
  expect((await api.call('GET', `${base}/applications/${app.id}`)).body).not.toHaveProperty('revokedAt')
})

describe('[P-061] a filter', () => {
  const matching = (filter: object, query = '') =>
    api.call('POST', `${base}/revocations/matching${query}`, { filter, reason: 'they went astray' })
  const standing = async (kind: string) =>
    (
      await api.database.query
        .selectFrom('revocations')
        .select(['target', 'reason'])
        .where('kind', '=', kind as 'session')
        .execute()
    ).filter(({ reason }) => reason === 'they went astray')

  test('ends every session of an application and what hangs on them; done again it finds nothing', async () => {
    const [own, other] = [await application('many'), await application('beside')]
    const root = await session(own)
    const child = await session(own, [root])
    const kept = await session(other)
    const handed = await delegation(child, own, other)
    const keptToo = await delegation(kept, other, own)
    const shown = await matching({ application: own }, '?dryRun=true')
    expect(shown.body).toEqual({ dryRun: true, affects: { sessions: 2, delegations: 1 } })
    expect(await stateOf('sessions', root)).toBe('active')
    const messages = await outboxDuring(api, async () => {
      expect((await matching({ application: own })).body).toEqual({ dryRun: false, affects: { sessions: 2, delegations: 1 } })
    })
    // The topmost id is enough, with its reason; one event tells of all.
    const published = messages.filter(({ stream }) => stream === 'caracal.revocations').map(({ payload }) => JSON.parse(payload))
    expect(published).toMatchObject([{ kind: 'session', id: root, reason: 'they went astray' }])
    const events = messages.filter(({ stream }) => stream === 'caracal.audit.events')
    expect(events).toHaveLength(1)
    for (const said of ['revocation.published', 'they went astray']) expect(events[0]?.payload).toContain(said)
    for (const [noun, id, state] of [
      ['sessions', root, 'ended'],
      ['sessions', child, 'ended'],
      ['delegations', handed, 'revoked'],
      ['sessions', kept, 'active'],
      ['delegations', keptToo, 'offered'],
    ] as const)
      expect(await stateOf(noun, id), id).toBe(state)
    expect((await matching({ application: own })).body.affects).toEqual({ sessions: 0, delegations: 0 })
  })

  test('of a resource revokes the delegations that grant something at it, by prefix, and of an age only what is older', async () => {
    const [own, other] = [await application('granting'), await application('granted')]
    const from = await session(own)
    const { body: resource } = await api.call('POST', `${base}/resources`, {
      name: 'granted',
      identifier: 'https://granted.example/',
      upstream: 'https://granted.example',
      scopes: ['x'],
    })
    const at = async (target: string, created: number) => {
      const id = await delegation(from, own, other)
      const grants = JSON.stringify([{ resource: target, scopes: ['x'] }])
      await api.database.query
        .updateTable('delegations')
        .set({ grants, created_at: new Date(created) } as never)
        .where('id', '=', id)
        .execute()
      return id
    }
    const [old, young, foreign] = [
      await at(resource.id, Date.now() - 600_000),
      await at(resource.id, Date.now()),
      await at(newId('resource'), 0),
    ]
    const resources = `${resource.identifier.slice(0, -2)}*`
    expect((await matching({ resource: resources, olderThan: 300 })).body.affects).toEqual({ sessions: 0, delegations: 1 })
    expect(await stateOf('delegations', old)).toBe('revoked')
    expect((await matching({ resource: resources, application: other })).body.affects).toEqual({ sessions: 0, delegations: 1 })
    expect(await stateOf('delegations', young)).toBe('revoked')
    expect(await stateOf('delegations', foreign)).toBe('offered')
    expect(await stateOf('sessions', from)).toBe('active')
  })

  test('leaves out nobody whose row is held or not committed yet', async () => {
    const own = await application('held')
    const [held, free] = [await session(own), await session(own)]
    const holding = Promise.withResolvers<void>()
    const late = newId('session')
    const holder = api.database.transaction(async (tx) => {
      await tx.selectFrom('sessions').select('id').where('id', '=', held).forUpdate().execute()
      const fixed = { kind: 'task' as const, labels: [], subject: null, lease: null, parent: null, expiresAt: Date.now() + 600_000 }
      await insertSession(tx, { id: late, zone, application: own, lineage: [late], ...fixed }, Date.now())
      await holding.promise
    })
    const revoking = matching({ application: own })
    let done = false
    void revoking.then(() => {
      done = true
    })
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(done).toBe(false)
    holding.resolve()
    await holder
    expect((await revoking).body.affects).toEqual({ sessions: 3, delegations: 0 })
    for (const id of [held, free, late]) expect(await stateOf('sessions', id)).toBe('ended')
  })

  test('of many is one transaction', async () => {
    const own = await application('crowd')
    const ids = Array.from({ length: 10_000 }, () => newId('session'))
    await sql`insert into sessions (id, zone, application, kind, lineage, labels, state, expires_at, created_at, updated_at)
      select id, ${zone}, ${own}, 'task', array[id], '{}', 'active', now() + interval '1 hour', now(), now() from unnest(${ids}::text[]) as new (id)`.execute(
      api.database.query,
    )
    expect((await matching({ application: own })).body.affects).toEqual({ sessions: 10_000, delegations: 0 })
    const revoked = new Set((await standing('session')).map(({ target }) => target))
    expect(ids.every((id) => revoked.has(id))).toBe(true)
  }, 60_000)

  test('names something, of this zone, and no pattern that is none', async () => {
    expect(await matching({})).toMatchObject({ status: 422 })
    expect(await matching({ subject: newId('subject') })).toMatchObject({ status: 422 })
    expect(await matching({ resource: 'https://*.example/' })).toMatchObject({ status: 422 })
    expect(await matching({ application: newId('application') })).toMatchObject({ status: 404 })
  })
})
