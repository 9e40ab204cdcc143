import { connect } from 'node:net'
import { type Id, newId, type ZoneId } from '@caracal/core'
import { insertDelegation, insertSession } from '@caracal/postgres'
import type { RouteRow } from '@caracal/service'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiForTest, apiForTest, SAMPLE } from './test-support/api-for-test.ts'

let api: ApiForTest
let ours: World
let theirs: World
/** Holds every role, in our zone only. */
let zoneToken: string

type World = { readonly zone: ZoneId; readonly ids: Readonly<Record<string, string>> }

/** A zone with one of everything that a path can name. */
async function world(name: string): Promise<World> {
  await api.apply(SAMPLE.replace('name: lab', `name: ${name}`))
  const zone: ZoneId = (await api.call('GET', `/v1/zones?name=${name}`)).body.items[0].id
  const first = async (noun: string) => (await api.call('GET', `/v1/zones/${zone}/${noun}`)).body.items[0].id
  const application = await first('applications')
  const policy = await first('policies')
  const set = await first('policy-sets')
  const { query } = api.database
  const now = Date.now()
  const session = newId('session')
  await insertSession(
    query,
    {
      id: session,
      zone,
      application,
      kind: 'task',
      parent: null,
      lineage: [session],
      labels: [],
      subject: null,
      expiresAt: now + 60_000,
      lease: null,
    },
    now,
  )
  const delegation = newId('delegation')
  const offer = { id: delegation, zone, from: session, fromApplication: application, fromLineage: [session], toApplication: application }
  const rest = { to: null, parent: null, lineage: [delegation], grants: [], hops: 0, state: 'offered' as const, expiresAt: now + 60_000 }
  await insertDelegation(query, { ...offer, ...rest }, now)
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }
  const credential = (await api.call('POST', `/v1/zones/${zone}/applications/${application}/credentials`, { kind: 'jwk', jwk })).body.id
  const ids = {
    applications: application,
    resources: await first('resources'),
    providers: await first('providers'),
    policies: policy,
    'policy-sets': set,
    sessions: session,
    delegations: delegation,
    credential,
    policyVersion: (await api.call('GET', `/v1/zones/${zone}/policies/${policy}/versions`)).body.items[0].id,
    setVersion: (await api.call('GET', `/v1/zones/${zone}/policy-sets/${set}/versions`)).body.items[0].id,
  }
  return { zone, ids }
}

beforeAll(async () => {
  api = await apiForTest('server')
  ours = await world('ours')
  theirs = await world('theirs')
  const roles = ['viewer', 'operator', 'policy_author', 'approver', 'auditor', 'admin']
  zoneToken = (await api.call('POST', '/v1/tokens', { name: 'ours', roles, zone: ours.zone })).body.token
})
afterAll(() => api?.stop())

const UNKNOWN: Readonly<Record<string, Id>> = {
  applications: newId('application'),
  resources: newId('resource'),
  providers: newId('provider'),
  policies: newId('policy'),
  'policy-sets': newId('policySet'),
  sessions: newId('session'),
  delegations: newId('delegation'),
  credential: newId('credential'),
  policyVersion: newId('policyVersion'),
  tokens: newId('token'),
}

const REQUEST = newId('request')

/** The path of a row with ids of one world: `noun` says which table `:id` is of. */
function pathOf(row: RouteRow, zone: string, ids: Readonly<Record<string, string>>): string {
  const noun = row.path.split('/').at(row.path.split('/').indexOf(':id') - 1) ?? ''
  return row.path
    .replace(':zone', zone)
    .replace(':id', ids[noun] ?? UNKNOWN[noun] ?? '')
    .replace(':credential', ids.credential ?? '')
    .replace(':version', ids.policyVersion ?? '')
    .replace(':request', REQUEST)
}

const RESOURCE = { name: 'r', identifier: 'https://r.example/', upstream: 'http://127.0.0.1:1', scopes: ['a'] }
const POLICY = { source: 'kind: Policy\nname: notes\nrules:\n  - { id: x, allow: [a], on: ["*"], for: { any: true } }\n' }

/** A body that fits the row, so that what refuses is not its form. */
function bodyOf(row: RouteRow, set: string): unknown {
  const bodies: Readonly<Record<string, unknown>> = {
    'POST /v1/zones': { name: 'z' },
    'PATCH /v1/zones/:zone': {},
    'POST /v1/zones/:zone/applications': { name: 'a' },
    'PATCH /v1/zones/:zone/applications/:id': {},
    'POST /v1/zones/:zone/applications/:id/credentials': { kind: 'jwk', jwk: { kty: 'OKP', crv: 'Ed25519', x: 'AA' } },
    'POST /v1/zones/:zone/providers': { name: 'p', kind: 'none', hosts: ['a'] },
    'PATCH /v1/zones/:zone/providers/:id': {},
    'POST /v1/zones/:zone/resources': RESOURCE,
    'PUT /v1/zones/:zone/resources/:id': RESOURCE,
    'POST /v1/zones/:zone/policies': POLICY,
    'POST /v1/zones/:zone/policies/:id/versions': POLICY,
    'POST /v1/zones/:zone/policy-sets': { name: 's' },
    'POST /v1/zones/:zone/policy-sets/:id/versions': { members: [] },
    'POST /v1/zones/:zone/policy-sets/:id/activate': { version: set, expected: null },
    'POST /v1/zones/:zone/revocations': { kind: 'mandate', id: newId('mandate'), reason: 'test' },
    'POST /v1/tokens': { name: 't', roles: ['viewer'] },
    'POST /v1/apply': { mode: 'plan', activate: true, documents: [{ file: 'a', text: 'kind: Zone\nname: x\n' }], secrets: {} },
  }
  return bodies[`${row.method} ${row.path}`]
}

/** An answer without what differs between any two requests. */
function essence({ status, text, headers }: { status: number; text: string; headers: Headers }): string {
  const kept = [...headers].filter(([name]) => !['x-request-id', 'date', 'content-length', 'connection', 'keep-alive'].includes(name))
  return JSON.stringify([status, kept, text.replace(/req_[0-9a-z]{26}/g, 'req')])
}

describe('rows', () => {
  test('[P-121] every row refuses without a credential, with a malformed one and with an unknown one', async () => {
    const rows = api.service.routes()
    expect(rows.length).toBeGreaterThan(45)
    for (const row of rows) {
      const path = pathOf(row, ours.zone, ours.ids)
      for (const authorization of ['', 'Bearer', 'Basic YTpi', `Bearer cat_${'A'.repeat(43)}`, `bearer ${api.token}x`]) {
        const answer = await api.call(row.method, path, bodyOf(row, UNKNOWN.policies ?? ''), { headers: { authorization } })
        expect.soft([row.method, row.path, authorization.slice(0, 6), answer.status]).toEqual([
          row.method,
          row.path,
          authorization.slice(0, 6),
          // The throttle of failures answers the rest.
          expect.toSatisfy((status) => status === 401 || status === 429),
        ])
        expect.soft(answer.text).not.toContain(ours.zone)
      }
    }
  })

  test('[P-121] a megabyte of garbage from a stranger is refused unread', async () => {
    const answer = await api.call('POST', '/v1/apply', 'x'.repeat(1_048_576), { token: 'nobody-knows-this-token' })
    expect([401, 429]).toContain(answer.status)
    expect(answer.body.code).not.toBe('malformed_json')
  })

  test('[P-121] what matches no row is 404, with or without a credential', async () => {
    for (const path of ['/v2/zones', '/v1', '/v1/zone', '/v1/zones/x/y/z', '/admin'])
      expect((await api.call('GET', path)).status, path).toBe(404)
  })

  test('[P-131] for every row with a zone, a foreign zone answers exactly as one that does not exist', async () => {
    for (const row of api.service.routes().filter(({ path }) => path.includes(':zone'))) {
      const body = bodyOf(row, theirs.ids.setVersion ?? '')
      const foreign = await api.call(row.method, pathOf(row, theirs.zone, theirs.ids), body, { token: zoneToken })
      const unknown = await api.call(row.method, pathOf(row, newId('zone'), UNKNOWN as Record<string, string>), body, { token: zoneToken })
      expect.soft([row.method, row.path, foreign.status]).toEqual([row.method, row.path, 404])
      expect.soft(essence(foreign), `${row.method} ${row.path}`).toBe(essence(unknown))
    }
  })

  test('[P-131] for every row within a zone, a row of another zone answers exactly as one that does not exist', async () => {
    const headers = { 'if-match': '*' }
    for (const row of api.service.routes().filter(({ path }) => path.includes(':zone') && path.includes(':id'))) {
      const body = bodyOf(row, theirs.ids.setVersion ?? '')
      const foreign = await api.call(row.method, pathOf(row, ours.zone, theirs.ids), body, { headers })
      const unknown = await api.call(row.method, pathOf(row, ours.zone, UNKNOWN as Record<string, string>), body, { headers })
      expect.soft(foreign.status, `${row.method} ${row.path}`).toBeGreaterThanOrEqual(400)
      expect.soft(essence(foreign), `${row.method} ${row.path}`).toBe(essence(unknown))
    }
    for (const kind of ['session', 'delegation', 'application', 'resource', 'provider'] as const) {
      const revoke = (id: string) => api.call('POST', `/v1/zones/${ours.zone}/revocations`, { kind, id, reason: 'test' })
      const table = kind === 'session' ? 'sessions' : kind === 'delegation' ? 'delegations' : `${kind}s`
      const foreign = await revoke(theirs.ids[table] ?? '')
      expect.soft(foreign.status).toBe(404)
      expect.soft(essence(foreign)).toBe(essence(await revoke(newId(kind))))
    }
    const standing = await api.call('GET', `/v1/zones/${theirs.zone}/sessions/${theirs.ids.sessions}`)
    expect(standing.body).toMatchObject({ state: 'active' })
  })

  test('[P-131] a list of zones shows a token of one zone that one only', async () => {
    expect((await api.call('GET', '/v1/zones', undefined, { token: zoneToken })).body.items.map(({ id }: { id: string }) => id)).toEqual([
      ours.zone,
    ])
    expect((await api.call('GET', '/v1/zones?name=theirs', undefined, { token: zoneToken })).body.items).toEqual([])
    const tokens = (await api.call('GET', '/v1/tokens', undefined, { token: zoneToken })).body.items
    expect(tokens.map(({ name }: { name: string }) => name)).toEqual(['ours'])
  })
})

/** One request as these bytes and nothing else. */
function spelled(target: string, token: string | undefined): Promise<number> {
  const { host, port } = new URL(api.service.address.url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), '127.0.0.1')
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('end', () => resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1])))
    socket.on('error', reject)
    const credential = token === undefined ? '' : `authorization: Bearer ${token}\r\n`
    socket.write(`GET ${target} HTTP/1.1\r\nhost: ${host}\r\n${credential}connection: close\r\n\r\n`)
  })
}

describe('spellings', () => {
  const spellings: readonly [what: string, target: (zone: string) => string][] = [
    ['as it is', (zone) => `/v1/zones/${zone}/applications`],
    ['a letter escaped', (zone) => `/v1/zones/${zone}/%61pplications`],
    ['the zone escaped', (zone) => `/v1/zones/%7a${zone.slice(1)}/applications`],
    ['the zone in capitals', (zone) => `/v1/zones/${zone.toUpperCase()}/applications`],
    ['a double slash', (zone) => `/v1//zones/${zone}/applications`],
    ['a trailing slash', (zone) => `/v1/zones/${zone}/applications/`],
    ['a dot segment', (zone) => `/v1/./zones/${zone}/applications`],
    ['a parent segment', (zone) => `/v1/whoami/../zones/${zone}/applications`],
    ['an escaped slash', (zone) => `/v1/zones%2f${zone}/applications`],
    ['absolute form', (zone) => `http://127.0.0.1/v1/zones/${zone}/applications`],
    ['a query that hides the path', (zone) => `/v1/zones/${zone}/applications?x=/livez`],
    ['a fragment', (zone) => `/v1/zones/${zone}/applications#/livez`],
    ['a backslash', (zone) => `/v1/zones/${zone}\\applications`],
    ['capitals', (zone) => `/V1/zones/${zone}/applications`],
    ['a semicolon', (zone) => `/v1/zones/${zone}/applications;x=1`],
  ]
  test.each(spellings)(
    '[P-120] %s: nothing without a credential, nothing of a foreign zone, and with one no more than the row gives',
    async (_, target) => {
      expect([400, 401, 404, 429]).toContain(await spelled(target(ours.zone), undefined))
      expect([400, 404]).toContain(await spelled(target(theirs.zone), zoneToken))
      expect([200, 400, 404, 422]).toContain(await spelled(target(ours.zone), zoneToken))
    },
  )
})
